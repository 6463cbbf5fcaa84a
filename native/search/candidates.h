// The new prefixes of a frame, before it is known which of them are kept.
#pragma once

#include <cstdint>

#include "search/array.h"
#include "search/select.h"
#include "search/walk.h"

namespace {

// A prefix of the beam and one more token, read in one way.
struct Candidate {
    double value;  // its probability, scaled like the beam's masses
    double gain;
    std::int32_t parent, token, variant;
    std::int32_t key;  // the index of its key, if prefixes are recombined

    // The order in which candidates enter the beam.
    bool operator<(const Candidate& other) const {
        if (parent != other.parent) return parent < other.parent;
        return token != other.token ? token < other.token : variant < other.variant;
    }
};

// Prefixes with equal keys can be continued in the same ways.
struct Key {
    LanguageState model;
    std::int32_t token, node, hot;

    bool operator==(const Key& other) const {
        return token == other.token && node == other.node && hot == other.hot && same(model, other.model);
    }
    std::uint64_t hash() const {
        const auto mixed = [](std::uint64_t high, std::uint64_t low, std::uint64_t by) {
            return (high << 32 ^ low) * by;
        };
        const std::uint32_t* const word = model.word;
        std::uint64_t h = mixed(std::uint32_t(token), std::uint32_t(node), 0x9e3779b97f4a7c15u);
        h ^= mixed(word[1], word[0], 0xc2b2ae3d27d4eb4fu) ^ mixed(word[3], word[2], 0x165667b19e3779f9u);
        h ^= mixed(word[5], word[4], 0xd6e8feb86659fd93u) ^ mixed(word[7], word[6], 0xa0761d6478bd642fu);
        h ^= mixed(0, std::uint32_t(hot), 0xe7037ed1a0b428dbu);
        return (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
    }
};

inline Key key_of(const State& state, std::int32_t token) {
    return {state.model, token, state.node, state.hot};
}

// A hash table from keys to numbers. The caller stores the keys, and chooses the numbers.
class KeyTable {
   public:
    void clear(std::size_t room) {
        std::size_t slots = 64;
        while (slots < 4 * room) slots *= 2;
        if (slots_.size() < slots) slots_.resize(slots, Numbered{});
        mask_ = slots_.size() - 1;
        ++age_;
    }
    // The number of a key; `number` is added if the key has none. same(n): whether the number n belongs to the key.
    template <class Same>
    std::int32_t& find_or_add(std::uint64_t hash, std::int32_t number, Same same) {
        std::size_t i = hash & mask_;
        for (; slots_[i].age == age_; i = (i + 1) & mask_)
            if (slots_[i].hash == hash && same(slots_[i].number)) return slots_[i].number;
        slots_[i] = {hash, age_, number};
        return slots_[i].number;
    }

   private:
    struct Numbered {
        std::uint64_t hash, age;  // an entry of another age counts as empty
        std::int32_t number;
    };

    Array<Numbered> slots_;
    std::size_t mask_ = 0;
    std::uint64_t age_ = 0;
};

// Sorts candidates. Many are first distributed by their parents, which are few.
class Sorter {
   public:
    void sort(Array<Candidate>& candidates) {
        constexpr std::size_t few = 24;
        const std::int32_t count = std::int32_t(candidates.size());
        if (candidates.size() <= few) return insert(candidates, 0, candidates.size());
        std::int32_t parents = 0;
        for (const Candidate& candidate : candidates) parents = greater(candidate.parent + 1, parents);
        first_.clear();
        first_.resize(parents, -1);
        next_.resize(count, -1);
        for (std::int32_t i = count - 1; i >= 0; --i) {  // backwards, so that each list keeps the order
            next_[i] = first_[candidates[i].parent];
            first_[candidates[i].parent] = i;
        }
        sorted_.clear();
        for (std::int32_t parent = 0; parent < parents; ++parent) {
            const std::size_t begin = sorted_.size();
            for (std::int32_t i = first_[parent]; i >= 0; i = next_[i]) sorted_.push(candidates[i]);
            insert(sorted_, begin, sorted_.size());
        }
        candidates.swap(sorted_);
    }

   private:
    static void insert(Array<Candidate>& candidates, std::size_t begin, std::size_t end) {
        for (std::size_t i = begin + 1; i < end; ++i) {
            const Candidate moved = candidates[i];
            std::size_t j = i;
            for (; j > begin && moved < candidates[j - 1]; --j) candidates[j] = candidates[j - 1];
            candidates[j] = moved;
        }
    }

    Array<std::int32_t> first_, next_;
    Array<Candidate> sorted_;
};

// Removes the candidates below a cut, and of those equal to it all but the first `ties`. This may sort them.
inline void leave_kept(Array<Candidate>& candidates, double cut, std::int64_t ties, Sorter& sorter) {
    std::size_t left = 0;
    std::int64_t equal = 0;
    for (const Candidate& candidate : candidates) {
        if (candidate.value < cut) continue;
        equal += candidate.value == cut ? 1 : 0;
        candidates[left++] = candidate;
    }
    candidates.shorten(left);
    if (equal <= ties) return;
    sorter.sort(candidates);
    left = 0;
    for (const Candidate& candidate : candidates)
        if (candidate.value > cut || ties-- > 0) candidates[left++] = candidate;
    candidates.shorten(left);
}

}  // namespace
