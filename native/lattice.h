// One sample's lattice as the sweeps want it: arcs as caps, labels as slots, and the window of states worth visiting.
// Reads arc bits and labels; the rule that made them stands in lattice.py.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "scaled.h"

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
        used_ += (static_cast<std::size_t>(count) * sizeof(T) + kAlign - 1) / kAlign * kAlign;
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

constexpr int kLanes = 16;   // row loops run in whole multiples of this, so that the compiler needs no scalar tail
constexpr int kMargin = 16;  // readable cells before state 0
constexpr int kBeyond = 48;  // and after the last

inline std::int64_t row_length(int states) {
    return round_up(kMargin + states + kBeyond, 16);
}

template <class Real>
struct LatticeView {
    int states;
    const std::int32_t* label;  // (states,)
    const std::uint8_t* arcs;   // (states,)

    Caps<Real> within, at_start, at_end;  // between frames; from a virtual frame -1; to a virtual frame T

    int slots;                    // distinct labels
    std::int32_t* slot_label;     // (slots,)
    std::int32_t* slot_of_state;  // (row_length,), 0 beyond the last state
    std::int32_t* slot_first;     // (slots + 1,) into slot_states
    std::int32_t* slot_states;    // (states,) grouped by slot

    std::int32_t* low;   // (frames,) the first state at t from which an END can still be reached
    std::int32_t* high;  // (frames,) the last state at t that a START can have reached

    // How far row loops run at t, in whole lanes.
    int end_of_row(int t) const { return low[t] + int(round_up(high[t] - low[t] + 1, kLanes)); }
};

template <class Real>
void place(LatticeView<Real>& lattice, Arena& arena, int states, std::int64_t frames, std::int64_t classes,
           std::int32_t*& slot_of_class, BitsOf<Real>* caps[6]) {
    lattice.states = states;
    const std::int64_t length = row_length(states);
    for (int i = 0; i < 6; ++i) caps[i] = arena.take<BitsOf<Real>>(length);
    lattice.slot_label = arena.take<std::int32_t>(states);
    lattice.slot_of_state = arena.take<std::int32_t>(length);
    lattice.slot_first = arena.take<std::int32_t>(states + 1);
    lattice.slot_states = arena.take<std::int32_t>(states);
    lattice.low = arena.take<std::int32_t>(frames);
    lattice.high = arena.take<std::int32_t>(frames);
    slot_of_class = arena.take<std::int32_t>(classes);
}

template <class Real>
void build_caps(LatticeView<Real>& lattice, BitsOf<Real>* caps[6]) {
    constexpr BitsOf<Real> open = 1 << 30;
    constexpr std::uint8_t bit[5] = {kStay, kStep, kSkip, kStart, kEnd};
    const std::int64_t length = row_length(lattice.states);
    for (int i = 0; i < 6; ++i) {
        for (std::int64_t j = 0; j < length; ++j) caps[i][j] = kZero;
        caps[i] += kMargin;
        if (i < 5)
            for (int k = 0; k < lattice.states; ++k) caps[i][k] = lattice.arcs[k] & bit[i] ? open : kZero;
    }
    lattice.within = {caps[0], caps[1], caps[2]};
    lattice.at_start = {caps[3], caps[5], caps[5]};
    lattice.at_end = {caps[4], caps[5], caps[5]};
}

// Groups states by label. False if a label is no class (the caller has checked; this keeps memory safe all the same).
template <class Real>
bool build_slots(LatticeView<Real>& lattice, std::int32_t* slot_of_class, std::int64_t classes) {
    for (std::int64_t c = 0; c < classes; ++c) slot_of_class[c] = -1;
    lattice.slots = 0;
    for (int k = 0; k < lattice.states; ++k) {
        const std::int32_t label = lattice.label[k];
        if (label < 0 || label >= classes) return false;
        if (slot_of_class[label] < 0) {
            slot_of_class[label] = lattice.slots;
            lattice.slot_label[lattice.slots] = label;
            lattice.slot_first[lattice.slots++] = 0;
        }
        lattice.slot_of_state[k] = slot_of_class[label];
        ++lattice.slot_first[lattice.slot_of_state[k]];
    }
    std::int32_t end = 0;
    for (int s = 0; s < lattice.slots; ++s) lattice.slot_first[s] = end += lattice.slot_first[s];
    lattice.slot_first[lattice.slots] = end;
    for (int k = lattice.states - 1; k >= 0; --k)
        lattice.slot_states[--lattice.slot_first[lattice.slot_of_state[k]]] = k;
    for (std::int64_t k = lattice.states; k < row_length(lattice.states); ++k) lattice.slot_of_state[k] = 0;
    return true;
}

// Bounds on the states that lie on some path, per frame; false if there is none.
template <class Real>
bool build_windows(LatticeView<Real>& lattice, int frames) {
    const int last = lattice.states - 1;
    const std::uint8_t* arcs = lattice.arcs;
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

}  // namespace
