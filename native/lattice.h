// One sample's lattice as the sweeps want it: arcs as caps, labels as slots, and the window of states worth visiting.
// Reads arc bits and labels; the rule that made them stands in lattice.py.
#pragma once

#include <cstdint>

#include "cells.h"
#include "kernels.h"
#include "scaled.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace {

using ctckit::kEnd;
using ctckit::kSkip;
using ctckit::kStart;
using ctckit::kStay;
using ctckit::kStep;

// Hands out 64-byte aligned arrays from one block of memory. On address 0 it only measures: then it hands out addresses
// that nobody may touch.
class Arena {
   public:
    explicit Arena(void* base) : base_(reinterpret_cast<std::uintptr_t>(base)) {}
    template <class T>
    T* take(std::int64_t count) {
        T* place = reinterpret_cast<T*>(base_ + kAlign + used_);
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
        std::size_t taken = (bytes + kAlign - 1) / kAlign * kAlign;
#if defined(__SANITIZE_ADDRESS__)
        taken += kAlign;  // a gap that nobody may touch, so that one array run into the next is seen
        if (base_) {
            ASAN_UNPOISON_MEMORY_REGION(place, bytes);
            ASAN_POISON_MEMORY_REGION(reinterpret_cast<char*>(place) + bytes, taken - bytes);
        }
#endif
        used_ += taken;
        return place;
    }
    std::size_t bytes() const { return kAlign + used_; }

   private:
    static constexpr std::size_t kAlign = 64;
    std::uintptr_t base_;
    std::size_t used_ = 0;
};

inline std::int64_t round_up(std::int64_t n, std::int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

// Blocks of a row of cells.
template <class Real>
int blocks_of(std::int64_t states) {
    return int(((states + 1) / 2 + kLanes<Real> - 1) / kLanes<Real>);
}

// Arrays by cell hold those of one parity, with a block to spare, up to a whole number of cache lines.
template <class Real>
std::int64_t cells_length(std::int64_t states) {
    return round_up((blocks_of<Real>(states) + 1) * kLanes<Real>, 16);
}

template <class Real>
struct LatticeView {
    int states;
    const std::int32_t* label;  // (states,)
    const std::uint8_t* arcs;   // (states,)
    std::int64_t length;        // of the cells of one parity
    const std::int32_t* jumps;  // (jump_count, 3) sample, from, to; in order of the last
    int jump_count;
    const double* tolls;  // (states,) or null: nats to enter a state from another or at the start

    // Shaped as CTC's own lattices are: all even states have one label; every state may be stayed in and stepped into,
    // no even one skipped into; paths begin in the first two and end in the last two. Then a path may as well begin in
    // state 0 before the first frame, and end in the last state after the last frame, by the same arcs as within.
    // It has neither jumps nor tolls.
    bool plain;
    Arcs<Real> within, at_start, at_end;  // between frames; from a virtual frame -1; to a virtual frame T

    // Rows of a table of emissions: one for each distinct label, or, where that is as well, one for each class.
    bool slot_is_class;
    int slots, labels;
    std::int32_t* slot_label;    // (labels,) the distinct labels, that of state 0 first
    std::int32_t* slot_of_cell;  // (2 * length,), even cells first; that of state 0 where there is no state
    std::int32_t* slot_first;    // (slots + 1,) into slot_cells
    std::int32_t* slot_cells;    // (states,) cells grouped by slot; of a plain lattice the odd ones only

    std::int32_t* low;   // (frames,) the first state at t from which an END can still be reached
    std::int32_t* high;  // (frames,) the last state at t that a START can have reached

    // The blocks visited at t. Neither ever falls from one frame to the next, nor rises by more than one.
    int begin(int t) const { return low[t] / 2 / kLanes<Real>; }
    int end(int t) const { return high[t] / 2 / kLanes<Real> + 1; }
    int slot_of_label(int i) const { return slot_is_class ? slot_label[i] : i; }
    // Where state k is in arrays by cell, even ones first.
    std::int64_t cell(int k) const { return (k % 2) * length + k / 2; }
    int jump_from(int j) const { return jumps[3 * j + 1]; }
    int jump_to(int j) const { return jumps[3 * j + 2]; }
    int first_jump_to(int k) const {
        int below = 0, above = jump_count;
        while (below < above) {
            const int middle = (below + above) / 2;
            if (jump_to(middle) < k) below = middle + 1;
            else above = middle;
        }
        return below;
    }
};

// What a batch says of sample n's lattice; the rest is placed and built.
template <class Real>
LatticeView<Real> lattice_of(const ctckit::Batch& batch, std::int64_t n) {
    LatticeView<Real> lattice{};
    lattice.states = batch.states[n];
    lattice.label = batch.labels + n * batch.states_max;
    lattice.arcs = batch.arcs + n * batch.states_max;
    lattice.tolls = batch.tolls ? batch.tolls + n * batch.states_max : nullptr;
    const std::int32_t* jump = batch.jumps;
    const std::int32_t* end = batch.jumps + 3 * batch.jump_count;
    while (jump < end && jump[0] < n) jump += 3;
    lattice.jumps = jump;
    for (; jump < end && jump[0] == n; jump += 3) ++lattice.jump_count;
    return lattice;
}

// Whether the empty path is one: of no frames, it is accepted by the empty target, whose only state is first and last.
template <class Real>
bool accepts_nothing(const LatticeView<Real>& lattice) {
    const std::uint8_t both = kStart | kEnd;
    return lattice.states == 1 && (lattice.arcs[0] & both) == both;
}

inline bool is_plain(const std::int32_t* label, const std::uint8_t* arcs, int states) {
    const std::int32_t shared = label[0];
    bool plain = states % 2 == 1;
    for (int k = 0; k < states; ++k) {
        const bool even = k % 2 == 0;
        const int needed = (k > 0 ? kStay | kStep : kStay) | (k < 2 ? kStart : 0) | (k + 2 >= states ? kEnd : 0);
        const int optional = (even ? 0 : kSkip) | (k == 0 ? kStep : 0);
        plain &= (arcs[k] & ~optional) == needed && (!even || label[k] == shared);
    }
    return plain;
}

template <class Real>
void place(LatticeView<Real>& lattice, Arena& arena, std::int64_t frames, std::int64_t classes,
           std::int32_t*& slot_of_class, BitsOf<Real>*& caps) {
    const int states = lattice.states;
    lattice.length = cells_length<Real>(states);
    lattice.plain = lattice.jump_count == 0 && !lattice.tolls && is_plain(lattice.label, lattice.arcs, states);
    caps = arena.take<BitsOf<Real>>(lattice.length * (lattice.plain ? 1 : 12));
    lattice.slot_label = arena.take<std::int32_t>(states);
    lattice.slot_of_cell = arena.take<std::int32_t>(2 * lattice.length);
    lattice.slot_first = arena.take<std::int32_t>(lattice.slot_is_class ? classes + 1 : states + 1);
    lattice.slot_cells = arena.take<std::int32_t>(states);
    lattice.low = arena.take<std::int32_t>(frames);
    lattice.high = arena.take<std::int32_t>(frames);
    slot_of_class = arena.take<std::int32_t>(classes);
}

// One cap for each cell of a parity: open where the state has the arc.
template <class Real>
const BitsOf<Real>* build_cap(const LatticeView<Real>& lattice, int parity, std::uint8_t arc, BitsOf<Real>*& memory) {
    constexpr BitsOf<Real> open = 1 << 30;
    BitsOf<Real>* cap = memory;
    for (std::int64_t i = 0; i < lattice.length; ++i) cap[i] = kZero;
    for (int k = parity; k < lattice.states; k += 2) cap[k / 2] = lattice.arcs[k] & arc ? open : kZero;
    memory += lattice.length;
    return cap;
}

template <class Real>
void build_caps(LatticeView<Real>& lattice, BitsOf<Real>* memory) {
    lattice.within.odd.skip = build_cap(lattice, 1, kSkip, memory);
    lattice.at_start = lattice.at_end = lattice.within;
    if (lattice.plain) return;
    lattice.within.even.skip = build_cap(lattice, 0, kSkip, memory);
    const BitsOf<Real>* none = build_cap(lattice, 0, 0, memory);
    for (int parity = 0; parity < 2; ++parity) {
        Caps<Real> Arcs<Real>::* side = parity == 0 ? &Arcs<Real>::even : &Arcs<Real>::odd;
        (lattice.within.*side).stay = build_cap(lattice, parity, kStay, memory);
        (lattice.within.*side).step = build_cap(lattice, parity, kStep, memory);
        lattice.at_start.*side = {build_cap(lattice, parity, kStart, memory), none, none};
        lattice.at_end.*side = {build_cap(lattice, parity, kEnd, memory), none, none};
    }
}

// Groups states by label. False if a label is no class (the caller has checked; this keeps memory safe all the same).
template <class Real>
bool build_slots(LatticeView<Real>& lattice, std::int32_t* slot_of_class, std::int64_t classes) {
    for (std::int64_t c = 0; c < classes; ++c) slot_of_class[c] = -1;
    // Cells of no state emit what state 0 does, so that their numbers stay numbers.
    for (std::int64_t i = 0; i < 2 * lattice.length; ++i)
        lattice.slot_of_cell[i] = lattice.slot_is_class ? lattice.label[0] : 0;
    const auto grouped = [&](int k) { return !lattice.plain || k % 2 == 1; };
    if (lattice.slot_is_class)
        for (std::int64_t c = 0; c < classes; ++c) lattice.slot_first[c] = 0;
    lattice.labels = 0;
    for (int k = 0; k < lattice.states; ++k) {
        const std::int32_t label = lattice.label[k];
        if (label < 0 || label >= classes) return false;
        if (slot_of_class[label] < 0) {
            lattice.slot_label[lattice.labels] = label;
            slot_of_class[label] = lattice.slot_of_label(lattice.labels++);
            lattice.slot_first[slot_of_class[label]] = 0;
        }
        lattice.slot_of_cell[lattice.cell(k)] = slot_of_class[label];
        lattice.slot_first[slot_of_class[label]] += grouped(k);
    }
    lattice.slots = lattice.slot_is_class ? int(classes) : lattice.labels;
    std::int32_t end = 0;
    for (int s = 0; s < lattice.slots; ++s) lattice.slot_first[s] = end += lattice.slot_first[s];
    lattice.slot_first[lattice.slots] = end;
    for (int k = lattice.states - 1; k >= 0; --k)
        if (grouped(k))
            lattice.slot_cells[--lattice.slot_first[lattice.slot_of_cell[lattice.cell(k)]]] = int(lattice.cell(k));
    return true;
}

// Bounds on the states that lie on some path, per frame; false if they leave none. For lattices shaped as CTC's they
// are exact; others may have no path within them, which the recursion then finds.
template <class Real>
bool build_windows(LatticeView<Real>& lattice, int frames) {
    const int last = lattice.states - 1;
    const std::uint8_t* arcs = lattice.arcs;
    if (lattice.jump_count > 0) {
        for (int t = 0; t < frames; ++t) {
            lattice.low[t] = 0;
            lattice.high[t] = last;
        }
        return true;
    }
    int high = -1, low = last + 1;
    for (int k = 0; k <= last; ++k) {
        if (arcs[k] & kStart) high = k;
        if ((arcs[k] & kEnd) && low > last) low = k;
    }
    if (high < 0 || low > last) return false;
    for (int t = 0; t < frames; ++t) {
        lattice.high[t] = high;
        if (high + 2 <= last && (arcs[high + 2] & kSkip)) high += 2;
        else if (high + 1 <= last && (arcs[high + 1] & (kStep | kSkip))) high += 1;
    }
    for (int t = frames - 1; t >= 0; --t) {
        if (low > lattice.high[t]) return false;
        lattice.low[t] = low;
        if (low >= 2 && (arcs[low] & kSkip)) low -= 2;
        else if (low >= 1 && ((arcs[low] & kStep) || (low < last && (arcs[low + 1] & kSkip)))) low -= 1;
    }
    return true;
}

enum Cut : std::uint8_t { kCutBelow = 1, kCutAbove = 2 };

// Leaves of the windows what lies near a path: so many states below it and above. They still never fall, nor rise by
// more than two states a frame, whatever the path does. Tells where something was cut off.
template <class Real>
void narrow_windows(LatticeView<Real>& lattice, const std::int32_t* path, int frames, int most, std::uint8_t* cut) {
    int state = lattice.low[0];
    for (int t = 0; t < frames; ++t) {
        state = greater(state, lesser(path[t], state + 2));
        state = greater(lattice.low[t], lesser(state, lattice.high[t]));
        cut[t] = (state - most > lattice.low[t] ? kCutBelow : 0) | (state + most < lattice.high[t] ? kCutAbove : 0);
        lattice.low[t] = greater(lattice.low[t], state - most);
        lattice.high[t] = lesser(lattice.high[t], state + most);
    }
}

}  // namespace
