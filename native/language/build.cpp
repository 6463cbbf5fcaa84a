#include "build.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace ctckit {
namespace {

constexpr std::uint64_t kReserved = std::uint64_t(1) << 22;  // at most: an announced count may be made up
constexpr float kNoUnknown = static_cast<float>(-100 * kLn10);

// Sorts numbers whose upper halves lie evenly: each goes to its place among them, or near it, and then few are moved.
void sort_even(std::uint64_t* numbers, std::uint32_t count, std::vector<std::uint64_t>& spare) {
    constexpr std::uint32_t kFew = 32, kMost = 1 << 20;
    if (count > kMost) return std::sort(numbers, numbers + count);
    if (count > kFew) {
        std::vector<std::uint32_t> ends(count + 1);
        const auto place = [count](std::uint64_t number) { return ((number >> 32) * count) >> 32; };
        for (std::uint32_t i = 0; i < count; ++i) ++ends[place(numbers[i]) + 1];
        for (std::uint32_t i = 0; i < count; ++i) ends[i + 1] += ends[i];
        spare.assign(numbers, numbers + count);
        for (const std::uint64_t number : spare) numbers[ends[place(number)]++] = number;
    }
    std::uint32_t moved = 0;
    for (std::uint32_t i = 1; i < count; ++i) {
        const std::uint64_t number = numbers[i];
        std::uint32_t at = i;
        for (; at > 0 && numbers[at - 1] > number; --at, ++moved) numbers[at] = numbers[at - 1];
        numbers[at] = number;
        if (moved > 16 * count) return std::sort(numbers, numbers + count);  // chosen to be uneven
    }
}

}  // namespace

NgramBuilder::NgramBuilder(const std::vector<std::uint64_t>& counts)
    : counts_(counts), highest_(static_cast<std::uint32_t>(counts.size())), begins_{1}, words_(counts[0]) {
    contexts_.reserve(std::min(counts[0] + 3, kReserved));
    words_.add("<unk>");
    contexts_ = {{1, 0, 0, {0, 0}}, {0, 0, 0, {kNoUnknown, 0}}};
}

NgramBuilder::Word NgramBuilder::add_word(std::string_view word, float score, float backoff) {
    const bool unknown = word == "<unk>" || word == "<UNK>";
    if (unknown ? has_unknown_ : !words_.add(word)) return Word::kTwice;
    has_unknown_ = has_unknown_ || unknown;
    if (!unknown) contexts_.emplace_back();
    Context& added = unknown ? contexts_[1] : contexts_.back();
    added = {0, 0, backoff, {score, 0}};
    return Word::kNew;
}

// While an order is built, the children of the orders two below it are known.
std::uint32_t NgramBuilder::child(std::uint32_t node, std::uint32_t word) const {
    if (node == 0) return 1 + word;
    const std::uint32_t begin = contexts_[node].first_child, end = contexts_[node + 1].first_child;
    if (begin == end) return 0;
    const std::uint32_t count = end - begin;
    const std::uint32_t found = find_key(keys_.data() + (begin - begins_[1]), count, key_of(word));
    return found < count ? begin + found : 0;
}

void NgramBuilder::add(const std::uint32_t* words, float score, float backoff) {
    const std::uint32_t before = order_ - 1;
    beginnings_.insert(beginnings_.end(), words, words + before);
    entries_.push_back({0, words[before], score, backoff});
}

// The nodes of all beginnings, level by level for a few at a time: so that the memory for one is asked for while others
// are looked at. Returns the index of the first entry without one.
std::uint32_t NgramBuilder::find_parents() {
    constexpr std::uint32_t kBlock = 32;
    const std::uint32_t count = static_cast<std::uint32_t>(entries_.size());
    for (std::uint32_t i = 0; i < count; i += kBlock) find_parents(i, std::min(kBlock, count - i));
    const auto lacking = std::find_if(entries_.begin(), entries_.end(), [](const Entry& e) { return e.parent == 0; });
    return static_cast<std::uint32_t>(lacking - entries_.begin());
}

void NgramBuilder::find_parents(std::uint32_t first, std::uint32_t count) {
    const std::uint32_t before = order_ - 1;
    const std::uint32_t* const words = beginnings_.data() + std::size_t(first) * before;
    Entry* const entries = entries_.data() + first;
    for (std::uint32_t i = 0; i < count; ++i) {
        entries[i].parent = 1 + words[i * before];
        prefetch(&contexts_[entries[i].parent]);
    }
    for (std::uint32_t k = 1; k < before; ++k) {
        for (std::uint32_t i = 0; i < count; ++i) {
            const Context* const context = &contexts_[entries[i].parent];
            const std::uint32_t begin = context[0].first_child, size = context[1].first_child - begin;
            if (entries[i].parent && size)
                prefetch(&keys_[begin - begins_[1] + guess(size, key_of(words[i * before + k]))]);
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            if (!entries[i].parent) continue;
            entries[i].parent = child(entries[i].parent, words[i * before + k]);
            prefetch(&contexts_[entries[i].parent]);
        }
    }
}

// For each entry its word's key, and below it its index; by parent, then by key.
std::vector<std::uint64_t> NgramBuilder::sorted_entries() const {
    const std::uint32_t lowest = begins_[order_ - 2], parents = begins_[order_ - 1] - lowest;
    std::vector<std::uint32_t> ends(parents + 1);
    for (const Entry& entry : entries_) ++ends[entry.parent - lowest + 1];
    for (std::uint32_t p = 0; p < parents; ++p) ends[p + 1] += ends[p];
    std::vector<std::uint64_t> sorted(entries_.size()), spare;
    for (std::uint32_t i = 0; i < entries_.size(); ++i)
        sorted[ends[entries_[i].parent - lowest]++] = std::uint64_t(key_of(entries_[i].word)) << 32 | i;
    for (std::uint32_t p = 0; p < parents; ++p) {
        const std::uint32_t begin = p ? ends[p - 1] : 0;
        if (ends[p] - begin > 1) sort_even(sorted.data() + begin, ends[p] - begin, spare);
    }
    return sorted;
}

NgramBuilder::Fault NgramBuilder::end_order(bool leave_out) {
    if (order_ == 1) {
        end_words();
        return {};
    }
    const std::uint32_t lacking = find_parents();
    if (lacking < entries_.size()) {
        if (!leave_out) return {Fault::kNoBeginning, lacking, 0};
        const auto none = [](const Entry& entry) { return entry.parent == 0; };
        entries_.erase(std::remove_if(entries_.begin(), entries_.end(), none), entries_.end());
    }
    const Fault fault = link_entries(sorted_entries());
    start_order();
    return fault;
}

// Makes nodes of the order's n-grams.
NgramBuilder::Fault NgramBuilder::link_entries(const std::vector<std::uint64_t>& sorted) {
    constexpr std::uint32_t kAhead = 8;
    const bool highest = order_ == highest_;
    const std::uint32_t count = static_cast<std::uint32_t>(entries_.size()), begin = begins_.back(),
                        end = begin + count;
    if (highest) {
        arrivals_.resize(count);
    } else {
        contexts_.resize(end + 1);
    }
    keys_.resize(end - begins_[1]);
    std::uint32_t parent = begins_[order_ - 2];
    contexts_[parent].first_child = begin;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (i + 3 * kAhead < count) prefetch(&entries_[static_cast<std::uint32_t>(sorted[i + 3 * kAhead])]);
        if (i + 2 * kAhead < count) {
            const Entry& ahead = entries_[static_cast<std::uint32_t>(sorted[i + 2 * kAhead])];
            prefetch(&contexts_[suffix(ahead.parent)]);
        }
        if (i + kAhead < count) {
            const Entry& ahead = entries_[static_cast<std::uint32_t>(sorted[i + kAhead])];
            const Context* const context = &contexts_[suffix(ahead.parent)];
            const std::uint32_t from = context[0].first_child, size = context[1].first_child - from;
            if (context != contexts_.data() && size)
                prefetch(&keys_[from - begins_[1] + guess(size, key_of(ahead.word))]);
        }
        const std::uint32_t index = static_cast<std::uint32_t>(sorted[i]),
                            key = static_cast<std::uint32_t>(sorted[i] >> 32);
        const Entry& entry = entries_[index];
        while (parent < entry.parent) contexts_[++parent].first_child = begin + i;
        std::uint32_t& key_here = keys_[begin + i - begins_[1]];
        key_here = key;
        if (contexts_[parent].first_child < begin + i && *(&key_here - 1) == key)
            return {Fault::kTwice, index, static_cast<std::uint32_t>(sorted[i - 1])};
        const Arrival arrival{entry.score, longest_suffix(parent, entry.word)};
        if (highest) {
            arrivals_[i] = arrival;
        } else {
            contexts_[begin + i] = {end, 0, entry.backoff, arrival};
        }
    }
    while (++parent < begin) contexts_[parent].first_child = end;
    contexts_.back().first_child = end;
    begins_.push_back(end);
    return {};
}

void NgramBuilder::end_words() {
    const std::uint32_t end = static_cast<std::uint32_t>(contexts_.size());
    if (highest_ == 1) {
        for (auto word = contexts_.begin() + 1; word != contexts_.end(); ++word) arrivals_.push_back(word->arrival);
        contexts_.resize(1);
    }
    contexts_.push_back({end, 0, 0, {0, 0}});
    begins_.push_back(end);
    start_order();
}

void NgramBuilder::start_order() {
    entries_.clear();
    beginnings_.clear();
    if (++order_ > highest_) return;
    const std::uint64_t expected = std::min(counts_[order_ - 1], kReserved);
    entries_.reserve(expected);
    beginnings_.reserve(expected * (order_ - 1));
}

// The suffix of a node is the child, for the same word, of the longest suffix of its parent that has such a child.
std::uint32_t NgramBuilder::longest_suffix(std::uint32_t parent, std::uint32_t word) const {
    std::uint32_t context = suffix(parent), found = 0;
    while (!(found = child(context, word))) context = suffix(context);
    return found;
}

// Replaces suffixes by the longest ones that matter. Returns the highest score that any state gives a word.
double NgramBuilder::keep_what_matters() {
    const std::uint32_t contexts = static_cast<std::uint32_t>(contexts_.size()) - 1;
    std::vector<std::uint32_t> kept(contexts);
    std::vector<double> highest(contexts);
    const auto score = [&](std::uint32_t node) {
        return node < contexts ? contexts_[node].arrival.score : arrivals_[node - contexts].score;
    };
    const auto best = [&](std::uint32_t first, std::uint32_t last) {
        double found = -std::numeric_limits<double>::infinity();
        for (std::uint32_t node = first; node < last; ++node) found = std::max<double>(found, score(node));
        return found;
    };
    double bound = highest[0] = best(1, begins_[1]);
    for (std::uint32_t node = 1; node < contexts; ++node) {
        Context& context = contexts_[node];
        const std::uint32_t first = context.first_child, last = contexts_[node + 1].first_child;
        context.suffix = kept[context.arrival.state];
        kept[node] = first < last || context.backoff != 0 ? node : context.suffix;
        highest[node] = std::max(best(first, last), context.backoff + highest[context.suffix]);
        bound = std::max(bound, highest[node]);
    }
    for (std::uint32_t node = 1; node < contexts; ++node) contexts_[node].arrival.state = kept[node];
    for (Arrival& arrival : arrivals_) arrival.state = kept[arrival.state];
    return bound + 1e-9;  // sums of back-offs may round up
}

std::vector<char> NgramBuilder::finish() {
    words_.fit();
    const Words words = words_.view();
    NgramHeader header{};
    set_format(header);
    header.order = highest_;
    header.adds_unknown = !has_unknown_;
    header.word_bytes = words.text_size;
    header.start = words.id("<s>");
    header.end = words.id("</s>");
    header.bound = keep_what_matters();
    for (std::uint32_t i = 0; i < highest_; ++i) header.counts[i] = begins_[i + 1] - begins_[i];
    const NgramLayout layout(header);
    header.size = layout.size;
    header.checksum = checksum(header);
    std::vector<char> data(layout.size);
    const auto put = [&data](std::uint64_t at, const auto* from, std::size_t count) {
        if (count) std::memcpy(data.data() + at, from, count * sizeof(*from));
    };
    put(0, &header, 1);
    put(layout.contexts_at, contexts_.data(), contexts_.size());
    put(layout.arrivals_at, arrivals_.data(), arrivals_.size());
    put(layout.keys_at, keys_.data(), keys_.size());
    put(layout.slots_at, words.slots, words.num_slots);
    put(layout.ends_at, words.ends, words.count);
    put(layout.text_at, words.text, words.text_size);
    return data;
}

}  // namespace ctckit
