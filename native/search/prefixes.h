// The tree of prefixes. It has those in the beam, and the beginnings of these. A prefix that is found again gets its
// old node, so the tree has no prefix twice.
#pragma once

#include <cstdint>

#include "search/array.h"

namespace {

constexpr std::int32_t kNoToken = -1;  // of the empty prefix
constexpr std::int32_t kOnlyAWord =
    -2;  // a token that closes several words makes a step for each, and all but the last are these
constexpr std::int32_t kNoWord = -2;     // a step that closes no word
constexpr std::int32_t kNotInBeam = -1;  // a slot
constexpr std::uint32_t kNoPrefix = 0;

struct Prefix {
    std::uint32_t parent, first_child, next, previous;  // siblings
    std::int32_t token, word;                           // the last ones
    std::int32_t slot;                                  // its place in the beam
    std::int32_t frame;                                 // of its token
};

class Prefixes {
   public:
    void reset() {
        all_.clear();
        all_.push(Prefix{});  // the node 0 means: no prefix
        free_ = kNoPrefix;
        alive_ = stem_length_ = 0;
        root_ = stem_ = make(kNoPrefix, kNoToken, kNoWord, 0);
    }
    Prefix& operator[](std::uint32_t node) { return all_[node]; }
    const Prefix& operator[](std::uint32_t node) const { return all_[node]; }
    std::uint32_t root() const { return root_; }
    std::size_t capacity() const { return all_.size(); }
    // The end of the beginning that all prefixes share; and the number of nodes after it, which doesn't depend on
    // whether the stem was taken.
    std::uint32_t stem() const { return stem_; }
    std::size_t apart() {
        while (goes_on_alike(stem_)) {
            stem_ = all_[stem_].first_child;
            ++stem_length_;
        }
        return alive_ - stem_length_;
    }

    std::uint32_t find(std::uint32_t parent, std::int32_t token, std::int32_t word) const {
        std::uint32_t node = all_[parent].first_child;
        while (node != kNoPrefix && (all_[node].token != token || all_[node].word != word)) node = all_[node].next;
        return node;
    }

    // A new prefix, which is not in the beam yet.
    std::uint32_t make(std::uint32_t parent, std::int32_t token, std::int32_t word, std::int32_t frame) {
        std::uint32_t node = free_;
        if (node == kNoPrefix) {
            node = std::uint32_t(all_.size());
            all_.push(Prefix{});
        } else {
            free_ = all_[node].next;
        }
        ++alive_;
        const std::uint32_t next = parent == kNoPrefix ? kNoPrefix : all_[parent].first_child;
        all_[node] = {parent, kNoPrefix, next, kNoPrefix, token, word, kNotInBeam, frame};
        if (next != kNoPrefix) all_[next].previous = node;
        if (parent != kNoPrefix) all_[parent].first_child = node;
        return node;
    }

    // Frees a prefix if it is neither in the beam nor the beginning of another one; then the same for its parent.
    void prune(std::uint32_t node) {
        while (all_[node].slot == kNotInBeam && all_[node].first_child == kNoPrefix && node != root_) {
            const std::uint32_t parent = all_[node].parent, next = all_[node].next, previous = all_[node].previous;
            (previous == kNoPrefix ? all_[parent].first_child : all_[previous].next) = next;
            if (next != kNoPrefix) all_[next].previous = previous;
            give_back(node);
            node = parent;
        }
    }

    // Makes the root's child the root, if all prefixes begin with it.
    bool shorten_stem() {
        apart();
        if (root_ == stem_) return false;
        const std::uint32_t child = all_[root_].first_child;
        give_back(root_);
        root_ = child;
        all_[root_].parent = kNoPrefix;
        --stem_length_;
        return true;
    }

   private:
    // Whether all prefixes that begin with this one also begin with one child of it.
    bool goes_on_alike(std::uint32_t node) const {
        const std::uint32_t child = all_[node].first_child;
        return all_[node].slot == kNotInBeam && child != kNoPrefix && all_[child].next == kNoPrefix;
    }
    void give_back(std::uint32_t node) {
        all_[node].next = free_;
        free_ = node;
        --alive_;
    }

    Array<Prefix> all_;
    std::uint32_t free_ = kNoPrefix, root_ = kNoPrefix, stem_ = kNoPrefix;
    std::size_t alive_ = 0, stem_length_ = 0;  // from the root to the stem's end
};

}  // namespace
