// The new prefixes of a frame, before it is known which of them go on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "search/array.h"
#include "search/select.h"
#include "search/walk.h"

namespace {

// A prefix of the beam with one token more, read in one way.
struct Candidate {
    double value;  // its probability, as the beam's masses
    double gain;
    std::int32_t parent, token, variant;

    // The order of candidates.
    bool operator<(const Candidate& other) const {
        if (parent != other.parent) return parent < other.parent;
        return token != other.token ? token < other.token : variant < other.variant;
    }
};

// What of a prefix matters for what follows.
struct Key {
    LanguageState model;
    std::int32_t token, node, hot;

    bool operator==(const Key& other) const {
        return token == other.token && node == other.node && hot == other.hot && same(model, other.model);
    }
    std::uint64_t hash() const {
        std::uint64_t h = std::uint64_t(std::uint32_t(token)) << 32 | std::uint32_t(node);
        const auto mix = [&h](std::uint64_t x) {
            h = (h ^ x) * 0x9e3779b97f4a7c15u;
            h ^= h >> 29;
        };
        mix(std::uint32_t(hot));
        for (std::uint32_t word : model.word) mix(word);
        return h;
    }
};

inline Key key_of(const State& state, std::int32_t token) {
    return {state.model, token, state.node, state.hot};
}

// Finds prefixes by their keys. Numbers are the caller's.
class KeyTable {
   public:
    bool empty() const { return size_ == 0; }
    void clear() {
        size_ = 0;
        for (std::int32_t& slot : slots_) slot = -1;
    }
    // The number of the first with this key, after add() `number` itself.
    std::int32_t& find_or_add(const Key& key, std::int32_t number) {
        if (2 * (size_ + 1) > slots_.size()) grow();
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t i = key.hash() & mask;; i = (i + 1) & mask) {
            if (slots_[i] < 0) {
                slots_[i] = std::int32_t(size_);
                if (keys_.size() == size_) keys_.push({});
                keys_[size_++] = {key, number};
                return keys_[slots_[i]].number;
            }
            if (keys_[slots_[i]].key == key) return keys_[slots_[i]].number;
        }
    }

   private:
    struct Numbered {
        Key key;
        std::int32_t number;
    };
    void grow() {
        const std::size_t slots = slots_.size() ? 2 * slots_.size() : 256;
        slots_.clear();
        slots_.resize(slots, -1);
        for (std::size_t k = 0; k < size_; ++k) {
            std::size_t i = keys_[k].key.hash() & (slots - 1);
            while (slots_[i] >= 0) i = (i + 1) & (slots - 1);
            slots_[i] = std::int32_t(k);
        }
    }

    Array<std::int32_t> slots_;
    Array<Numbered> keys_;
    std::size_t size_ = 0;
};

// Candidates in their order. There are few, most often in runs that are sorted.
inline void sort(Array<Candidate>& candidates) {
    const std::size_t count = candidates.size();
    if (count > 64) return std::sort(candidates.begin(), candidates.end());
    for (std::size_t i = 1; i < count; ++i) {
        const Candidate moved = candidates[i];
        std::size_t j = i;
        for (; j > 0 && moved < candidates[j - 1]; --j) candidates[j] = candidates[j - 1];
        candidates[j] = moved;
    }
}

// Leaves the candidates that a cut keeps, and of those equal to it only the first `ties`; then they may get sorted.
inline void leave_kept(Array<Candidate>& candidates, double cut, std::int64_t ties) {
    std::size_t left = 0;
    std::int64_t equal = 0;
    for (const Candidate& candidate : candidates) {
        if (candidate.value < cut) continue;
        equal += candidate.value == cut ? 1 : 0;
        candidates[left++] = candidate;
    }
    candidates.shorten(left);
    if (equal <= ties) return;
    sort(candidates);
    left = 0;
    for (const Candidate& candidate : candidates)
        if (candidate.value > cut || ties-- > 0) candidates[left++] = candidate;
    candidates.shorten(left);
}

}  // namespace
