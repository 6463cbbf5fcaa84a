// The end of a frame: which prefixes are kept, and the new beam.
#pragma once

#include <cmath>
#include <cstdint>

#include "search/search.h"

namespace {

template <bool kPlain>
void Search<kPlain>::settle() {
    const double far = best_ * threshold_;
    if (candidates_.size() == 0 && stayed_.alive == beam_.size &&
        stayed_.least >= far) {  // the beam has the same prefixes
        beam_.mass.swap(next_.mass);
        beam_.token.swap(next_.token);
    } else {
        std::int64_t count = std::int64_t(candidates_.size());
        for (int i = 0; i < beam_.size; ++i) count += next_.mass[i] > 0 ? 1 : 0;
        Cut last{0x1p-1074, count};
        if (count > options_.beam_width) last = cut();
        if (far > last.value) last = {far, count};
        rebuild(last);
        forget();
    }
    rescale();
}

template <bool kPlain>
void Search<kPlain>::rebuild(const Cut& last) {
    std::int64_t ties = last.ties;
    const int size = beam_.size, none = beam_.none();
    // Lists the slots that are kept and those that are not, without branches, which would be mispredicted.
    int left = 0, gone = 0;
    for (int i = 0; i < size; ++i) {
        const double mass = next_.mass[i];
        bool stays = mass > last.value;
        if (mass == last.value) stays = ties-- > 0;
        moved_[i] = stays ? left : none;
        stays_[left] = goes_[gone] = i;
        left += stays;
        gone += !stays;
    }
    leave_kept(candidates_, last.value, greater<std::int64_t>(ties, 0), sorter_);
    sorter_.sort(candidates_);
    fresh_.clear();
    for (const Candidate& candidate : candidates_) {
        fresh_.push(prefix_of(candidate));
        prefixes_[fresh_[fresh_.size() - 1]].slot = none;  // so that it isn't freed with a child that leaves the beam
    }
    for (int j = 0; j < gone; ++j) leave(goes_[j]);
    moved_[none] = none;
    const std::int32_t* const slots = stays_.data();
    pick(beam_.mass, next_.mass, slots, 0, left);
    pick(beam_.mass, next_.mass, slots, 0, left, beam_.room);
    pick(beam_.token, next_.token, slots, 0, left);
    const int first = gone ? goes_[0] : left;  // slots before the first that is dropped stay where they are
    beam_.keep(slots, first, left);
    for (int i = first; i < left; ++i) prefixes_[beam_.prefix[i]].slot = i;
    pick(beam_.parent, moved_, beam_.parent.data(), 0, left);
    beam_.size = left;
    for (std::size_t j = 0; j < candidates_.size(); ++j) take_in(candidates_[j], fresh_[j]);
    for (int i = beam_.size; i < size; ++i) empty(i);
    number_children();
    if (beam_.size == 0) die();
}

// Puts a candidate into the next slot.
template <bool kPlain>
void Search<kPlain>::take_in(const Candidate& candidate, std::uint32_t prefix) {
    const int slot = beam_.size++;
    beam_.mass[slot] = beam_.token[slot] = candidate.value;
    beam_.mass[beam_.room + slot] = 0;
    beam_.gain[slot] = candidate.gain;
    beam_.last[slot] = candidate.token;
    beam_.parent[slot] = moved_[candidate.parent];
    adopt(slot, prefix);
    enter(slot);
}

// The node of a candidate; it is made if it doesn't exist.
template <bool kPlain>
std::uint32_t Search<kPlain>::prefix_of(const Candidate& candidate) {
    const std::uint32_t parent = beam_.prefix[candidate.parent];
    if constexpr (kPlain) return step_to(parent, candidate.token, kNoWord);
    State state = states_[parent];
    const std::int32_t letter = graph_.by_token ? -1 : graph_.spelling.letter[candidate.token];
    if (letter >= 0) {
        const std::uint32_t found = step_to(parent, candidate.token, kNoWord);
        walk_.read_letter(state, letter);
        states_[found] = state;
        return found;
    }
    std::uint32_t found = kNoPrefix;
    walk_.read(
        state, candidate.token, [&](auto visit) { for_each_closing(candidate.parent, visit); },
        [&](double) { return spoken(state.model, candidate.token); },
        [&](int variant, const Way& way) {
            if (variant != candidate.variant) return;
            found = child(parent, candidate.token, way, true);
            states_[found] = way.state;
        });
    return found;
}

// A child of a node; it is made if it doesn't exist.
template <bool kPlain>
std::uint32_t Search<kPlain>::step_to(std::uint32_t parent, std::int32_t token, std::int32_t word) {
    const std::uint32_t found = prefixes_.find(parent, token, word);
    if (found != kNoPrefix) return found;
    const std::uint32_t made = prefixes_.make(parent, token, word, std::int32_t(num_frames_));
    if constexpr (!kPlain) states_.resize(greater(states_.size(), prefixes_.capacity()), State{});
    return made;
}

// The node that a token leads to, read in one way. If it closes several words, each makes a step. With `make` it is
// made if it doesn't exist; else the result is kNoPrefix.
template <bool kPlain>
std::uint32_t Search<kPlain>::child(std::uint32_t parent, std::int32_t token, const Way& way, bool make) {
    std::uint32_t node = parent;
    for (int i = 0; i < way.num_words || i == 0; ++i) {
        const bool last = i + 1 >= way.num_words;
        const std::int32_t by = last ? token : kOnlyAWord, word = way.num_words ? way.words[i] : kNoWord;
        node = make ? step_to(node, by, word) : prefixes_.find(node, by, word);
        if (node == kNoPrefix) return kNoPrefix;
    }
    return node;
}

// A slot's prefix leaves the beam.
template <bool kPlain>
void Search<kPlain>::leave(int slot) {
    const std::uint32_t prefix = beam_.prefix[slot];
    prefixes_[prefix].slot = kNotInBeam;
    prefixes_[prefix].frame = std::int32_t(beam_.frame[slot]);
    if constexpr (!kPlain) said_.give_back(beam_.said[slot]);
    prefixes_.prune(prefix);
}

// A prefix enters the beam.
template <bool kPlain>
void Search<kPlain>::adopt(int slot, std::uint32_t prefix) {
    beam_.prefix[slot] = prefix;
    beam_.frame[slot] = double(num_frames_);
    prefixes_[prefix].slot = slot;
    adopt_children(slot, prefix);
}

// Sets the parent's slot of a prefix's children that are in the beam already.
template <bool kPlain>
void Search<kPlain>::adopt_children(int slot, std::uint32_t prefix) {
    for (std::uint32_t node = prefixes_[prefix].first_child; node != kNoPrefix; node = prefixes_[node].next) {
        if (prefixes_[node].token == kOnlyAWord) adopt_children(slot, node);
        else if (prefixes_[node].slot != kNotInBeam) beam_.parent[prefixes_[node].slot] = slot;
    }
}

// Fills in what the graph says about a slot's prefix.
template <bool kPlain>
void Search<kPlain>::enter(int slot) {
    if constexpr (kPlain) return;
    const State& state = states_[beam_.prefix[slot]];
    beam_.said[slot] = kNotAsked;
    if (options_.recombine) beam_.hash[slot] = key_of(state, beam_.last[slot]).hash();
    beam_.reach[slot] = walk_.reach(state);
    beam_.closing[slot] = walk_.closing_reach(state, -1);
    const bool bound = graph_.lexicon && graph_.lexicon->tokens && state.node != ctckit::kOffNode;
    beam_.allowed[slot] = bound ? graph_.lexicon->tokens[state.node] : ~std::uint64_t(0);
}

// Fills in what depends on the parents of all slots.
template <bool kPlain>
void Search<kPlain>::number_children() {
    for (int i = 0; i < beam_.size; ++i) beam_.children[i] = 0;
    for (int i = 0; i < beam_.size; ++i) {
        const int parent = beam_.parent[i];
        beam_.source[i] = beam_.last[i] == beam_.last[parent] ? beam_.room + parent : parent;
        if (few_ && parent != beam_.none()) beam_.children[parent] |= std::uint64_t(1) << beam_.last[i];
    }
}

// Multiplies all masses by a power of two if they get too small or too large.
template <bool kPlain>
void Search<kPlain>::rescale() {
    const int exponent = best_ > 0 ? std::ilogb(best_) : kMiddle;
    if (exponent >= kLow && exponent <= kHigh) return;
    const int up = kMiddle - exponent;
    for (int i = 0; i < beam_.packed(); ++i) {
        beam_.mass[i] = std::ldexp(beam_.mass[i], up);
        beam_.mass[beam_.room + i] = std::ldexp(beam_.mass[beam_.room + i], up);
        beam_.token[i] = std::ldexp(beam_.token[i], up);
    }
    best_ = std::ldexp(best_, up);
    exponent_ += up;
}

// Two prefixes that differ early and then have the same tokens keep their distance for ever, so a recording of hours
// would keep all their nodes. When there are too many nodes, this drops the prefixes that differ from the best one in
// the first half of its tokens after the stem. If too many nodes remain, twice as many are allowed before it is done
// again.
template <bool kPlain>
void Search<kPlain>::forget() {
    const std::size_t apart = prefixes_.apart(), least = least_apart();
    if (apart < least) most_apart_ = least;
    if (apart <= most_apart_ || beam_.size == 0) return;
    most_apart_ = 2 * apart;
    const int best = best_slot();
    std::size_t length = 0;
    for (std::uint32_t node = beam_.prefix[best]; node != prefixes_.stem(); node = prefixes_[node].parent) ++length;
    std::uint32_t middle = beam_.prefix[best];
    for (std::size_t i = 0; i < length / 2; ++i) middle = prefixes_[middle].parent;
    for (int i = 0; i < beam_.size; ++i) {
        std::uint32_t node = beam_.prefix[i];
        while (node != middle && node != prefixes_.stem()) node = prefixes_[node].parent;
        if (node == middle) continue;
        beam_.mass[i] = beam_.mass[beam_.room + i] = beam_.token[i] = 0;  // the next frame drops them
    }
}

template <bool kPlain>
int Search<kPlain>::best_slot() const {
    int best = 0;
    for (int i = 1; i < beam_.size; ++i)
        if (beam_.mass[i] > beam_.mass[best]) best = i;
    return best;
}

template <bool kPlain>
void Search<kPlain>::die() {
    for (int i = 0; i < beam_.size; ++i) empty(i);
    beam_.size = 0;
    status_ = CTCKIT_IMPOSSIBLE;
}

}  // namespace
