// Words as numbers: the hash and the table, in memory and in files, that find a word's number.
#ifndef CTCKIT_LANGUAGE_WORDS_H
#define CTCKIT_LANGUAGE_WORDS_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace ctckit {

// Up to 7 bytes as a number, the first one lowest.
inline std::uint64_t tail(const char* at, std::size_t size) {
    if (size >= 4) {
        std::uint32_t first, last;
        std::memcpy(&first, at, 4);
        std::memcpy(&last, at + size - 4, 4);
        return first | std::uint64_t(last) << (8 * (size - 4));
    }
    const auto byte = [at](std::size_t i) { return std::uint64_t(static_cast<unsigned char>(at[i])) << (8 * i); };
    return byte(0) | byte(size / 2) | byte(size - 1);
}

// MurmurHash64A by Austin Appleby, with seed 0. KenLM's files are made with it, and ours.
inline std::uint64_t murmur_hash(std::string_view text) {
    constexpr std::uint64_t kFactor = 0xc6a4a7935bd1e995u;
    constexpr int kShift = 47;
    const char* at = text.data();
    std::size_t left = text.size();
    std::uint64_t hash = left * kFactor;
    for (; left >= 8; at += 8, left -= 8) {
        std::uint64_t part;
        std::memcpy(&part, at, 8);
        part *= kFactor;
        part ^= part >> kShift;
        hash = (hash ^ part * kFactor) * kFactor;
    }
    if (left) {
        hash = (hash ^ tail(at, left)) * kFactor;
    }
    hash = (hash ^ hash >> kShift) * kFactor;
    return hash ^ hash >> kShift;
}

bool is_utf8(std::string_view text);

// Asks for memory that will be read soon.
inline void prefetch([[maybe_unused]] const void* at) {
#ifdef __GNUC__
    __builtin_prefetch(at);
#endif
}

// A text for a message: in quotes, shortened, and UTF-8 whatever its bytes are.
std::string quoted(std::string_view text);

// Words in the order of their numbers, and an open table of them. A slot is the upper half of a word's hash and below
// it its number plus 1, or 0 if it is empty; the word's slot is the first free one from the lower half of its hash on.
// Points into arrays of someone else, which may hold anything: whatever they hold, nothing outside of them is read.
struct Words {
    std::uint32_t count = 0;
    const std::uint32_t* ends = nullptr;  // (count) where each word ends in `text`; it begins where the one before ends
    const char* text = nullptr;
    std::uint64_t text_size = 0;
    const std::uint64_t* slots = nullptr;
    std::uint64_t num_slots = 0;  // a power of two

    std::string_view word(std::uint32_t id) const;
    std::uint32_t id(std::string_view word) const { return id(word, murmur_hash(word)); }  // 0 if it is not there
    std::uint32_t id(std::string_view word, std::uint64_t hash) const;
    std::vector<std::uint32_t> ids(const std::vector<std::string_view>& words) const;
};

// The same, growing.
class WordTable {
   public:
    explicit WordTable(std::uint64_t expected);

    // The number of a new word, or 0 if it is there already.
    std::uint32_t add(std::string_view word);

    // The number of a word that was added; of any other, most likely 0. Compares hashes only, unless two words share
    // one.
    std::uint32_t id(std::string_view word) const { return id(word, murmur_hash(word)); }
    std::uint32_t id(std::string_view word, std::uint64_t hash) const;
    void expect(std::uint64_t hash) const { prefetch(&slots_[hash & (slots_.size() - 1)]); }
    Words view() const;
    std::uint32_t size() const { return static_cast<std::uint32_t>(ends_.size()); }

    void fit() { resize(slots_for(size())); }  // as many slots as the number of words asks for

    static std::uint64_t slots_for(std::uint64_t words);

   private:
    void resize(std::uint64_t num_slots);

    std::string text_;
    std::vector<std::uint32_t> ends_;
    std::vector<std::uint64_t> slots_;
    bool shared_ = false;  // whether a word comes after another one with an equal upper half of the hash
};

}  // namespace ctckit

#endif
