#include "words.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace ctckit {
namespace {

constexpr std::uint64_t kUpper = 0xffffffff00000000u;
constexpr std::size_t kShown = 60;  // bytes of a text that a message quotes

// How many bytes a UTF-8 character has that begins here; 0 if none does.
std::size_t character(const unsigned char* at, const unsigned char* end) {
    const unsigned char first = *at;
    if (first < 0x80) return 1;
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || static_cast<std::size_t>(end - at) < size) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((at[i] & 0xc0) != 0x80) return 0;
    const bool overlong = (first == 0xe0 && at[1] < 0xa0) || (first == 0xf0 && at[1] < 0x90);
    const bool surrogate = first == 0xed && at[1] > 0x9f;
    const bool beyond = first == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : size;
}

const unsigned char* bytes(const char* text) {
    return reinterpret_cast<const unsigned char*>(text);
}

}  // namespace

bool is_utf8(std::string_view text) {
    const unsigned char *at = bytes(text.data()), *const end = at + text.size();
    while (at != end) {
        const std::size_t size = character(at, end);
        if (!size) return false;
        at += size;
    }
    return true;
}

std::string quoted(std::string_view text) {
    std::string shown = "'";
    const unsigned char *at = bytes(text.data()), *const end = at + text.size();
    while (at != end && shown.size() < kShown) {
        const std::size_t size = character(at, end);
        if (size > 1 || (size == 1 && *at >= 0x20 && *at != 0x7f)) {
            shown.append(reinterpret_cast<const char*>(at), size);
        } else {
            shown += '?';
        }
        at += std::max<std::size_t>(size, 1);
    }
    return shown + (at == end ? "'" : "…'");
}

std::string_view Words::word(std::uint32_t id) const {
    if (id >= count) return {};
    const std::uint64_t begin = id ? ends[id - 1] : 0, end = ends[id];
    return begin <= end && end <= text_size ? std::string_view(text + begin, end - begin) : std::string_view();
}

std::uint32_t Words::id(std::string_view wanted, std::uint64_t hash) const {
    const std::uint64_t mask = num_slots - 1;
    for (std::uint64_t i = 0; i < num_slots; ++i) {  // a damaged table may have no empty slot
        const std::uint64_t slot = slots[(hash + i) & mask];
        if (!slot) return 0;
        if ((slot & kUpper) != (hash & kUpper)) continue;
        const std::uint32_t found = static_cast<std::uint32_t>(slot) - 1;
        if (found < count && word(found) == wanted) return found;
    }
    return 0;
}

// A few words in a row, while the memory for them is on its way.
std::vector<std::uint32_t> Words::ids(const std::vector<std::string_view>& words) const {
    constexpr std::size_t kAtOnce = 16;
    std::vector<std::uint32_t> found(words.size());
    std::uint64_t hashes[kAtOnce];
    for (std::size_t first = 0; first < words.size(); first += kAtOnce) {
        const std::size_t size = std::min(kAtOnce, words.size() - first);
        const auto likely = [&](std::size_t i) {  // beyond all words if the slot is empty
            return static_cast<std::uint32_t>(slots[hashes[i] & (num_slots - 1)]) - 1;
        };
        for (std::size_t i = 0; i < size; ++i) {
            hashes[i] = murmur_hash(words[first + i]);
            prefetch(&slots[hashes[i] & (num_slots - 1)]);
        }
        for (std::size_t i = 0; i < size; ++i)
            if (likely(i) < count) prefetch(&ends[likely(i)]);
        for (std::size_t i = 0; i < size; ++i)
            if (likely(i) < count) prefetch(word(likely(i)).data());
        for (std::size_t i = 0; i < size; ++i) found[first + i] = id(words[first + i], hashes[i]);
    }
    return found;
}

WordTable::WordTable(std::uint64_t expected) {
    const std::uint64_t most = std::min<std::uint64_t>(expected, std::uint64_t(1) << 20);  // it may be made up
    ends_.reserve(most);
    slots_.resize(slots_for(most));
}

std::uint64_t WordTable::slots_for(std::uint64_t words) {
    std::uint64_t slots = 8;
    while (slots < 2 * words) slots *= 2;
    return slots;
}

std::uint32_t WordTable::add(std::string_view word) {
    if (text_.size() + word.size() > std::numeric_limits<std::uint32_t>::max())
        throw std::length_error("the words take more than 4 GiB");
    if (slots_.size() < slots_for(ends_.size() + 1)) resize(2 * slots_.size());
    const std::uint64_t hash = murmur_hash(word), mask = slots_.size() - 1;
    std::uint64_t i = hash & mask;
    for (; slots_[i]; i = (i + 1) & mask) {
        const std::uint32_t found = static_cast<std::uint32_t>(slots_[i]) - 1;
        if ((slots_[i] & kUpper) != (hash & kUpper)) continue;
        if (view().word(found) == word) return 0;
        shared_ = true;
    }
    slots_[i] = (hash & kUpper) | (ends_.size() + 1);
    text_ += word;
    ends_.push_back(static_cast<std::uint32_t>(text_.size()));
    return static_cast<std::uint32_t>(ends_.size() - 1);
}

std::uint32_t WordTable::id(std::string_view word, std::uint64_t hash) const {
    if (shared_) return view().id(word);
    const std::uint64_t mask = slots_.size() - 1;
    for (std::uint64_t i = hash & mask; slots_[i]; i = (i + 1) & mask)
        if ((slots_[i] & kUpper) == (hash & kUpper)) return static_cast<std::uint32_t>(slots_[i]) - 1;
    return 0;
}

void WordTable::resize(std::uint64_t num_slots) {
    if (num_slots == slots_.size()) return;
    std::vector<std::uint64_t> slots(num_slots);
    const std::uint64_t mask = slots.size() - 1;
    for (std::uint32_t id = 0; id < size(); ++id) {
        const std::uint64_t hash = murmur_hash(view().word(id));
        std::uint64_t i = hash & mask;
        for (; slots[i]; i = (i + 1) & mask) shared_ = shared_ || (slots[i] & kUpper) == (hash & kUpper);
        slots[i] = (hash & kUpper) | (std::uint64_t(id) + 1);
    }
    slots_ = std::move(slots);
}

Words WordTable::view() const {
    return {size(), ends_.data(), text_.data(), text_.size(), slots_.data(), slots_.size()};
}

}  // namespace ctckit
