// One sample's lattice as the kernels read it: its arcs as masks, its labels as slots, and the window of states worth
// visiting. Reads arc bits and labels; the rule that made them is in lattice.py.
#pragma once

#include <cstdint>

#include "ctckit.h"
#include "lattice/arc_masks.h"
#include "lattice/arena.h"
#include "lattice/label_slots.h"
#include "lattice/windows.h"
#include "simd/lanes.h"
#include "simd/scaled.h"

namespace {

// Blocks in a row of cells.
template <class Real>
int blocks_of(std::int64_t num_states) {
    return int(((num_states + 1) / 2 + kLanes<Real> - 1) / kLanes<Real>);
}

// The length of an array by cell of one parity: a block to spare, and a whole number of cache lines.
template <class Real>
std::int64_t cells_length(std::int64_t num_states) {
    return round_up((blocks_of<Real>(num_states) + 1) * kLanes<Real>, 16);
}

// Whether a lattice is shaped as CTC's are: all even states have one label; every state may be stayed in and stepped
// into, and no even one skipped into; paths begin in the first two states and end in the last two. Then a path may as
// well begin in state 0 before the first frame and end in the last state after the last frame, by the same arcs as
// within, and only the odd states' SKIP bits have to be read.
inline bool is_plain(const std::int32_t* labels, const std::uint8_t* arcs, int num_states) {
    const std::int32_t shared = labels[0];
    bool plain = num_states % 2 == 1;
    for (int k = 0; k < num_states; ++k) {
        const bool even = k % 2 == 0;
        const int needed = (k > 0 ? CTCKIT_STAY | CTCKIT_STEP : CTCKIT_STAY) | (k < 2 ? CTCKIT_START : 0) |
                           (k + 2 >= num_states ? CTCKIT_END : 0);
        const int optional = (even ? 0 : CTCKIT_SKIP) | (k == 0 ? CTCKIT_STEP : 0);
        plain &= (arcs[k] & ~optional) == needed && (!even || labels[k] == shared);
    }
    return plain;
}

template <class Real>
struct LatticeView {
    int num_states;
    const std::int32_t* labels;     // (num_states,)
    const std::uint8_t* arcs;       // (num_states,)
    const std::int32_t* long_arcs;  // (num_long_arcs, 3) sample, from, to; sorted by to
    int num_long_arcs;
    const double* entry_costs;  // (num_states,) or null
    std::int64_t length;        // of the cells of one parity
    bool plain;                 // see is_plain; it also has neither long arcs nor entry costs

    ArcMasks<Real> masks;
    LabelSlots slots;
    Windows windows;

    LatticeView(const ctckit_lattices& lattices, std::int64_t n)
        : num_states(lattices.num_states[n]),
          labels(lattices.labels + n * lattices.max_states),
          arcs(lattices.arcs + n * lattices.max_states),
          entry_costs(lattices.entry_costs ? lattices.entry_costs + n * lattices.max_states : nullptr),
          length(cells_length<Real>(num_states)) {
        const std::int64_t first = first_long_arc_of(lattices, n);
        long_arcs = lattices.long_arcs + 3 * first;
        num_long_arcs = int(first_long_arc_of(lattices, n + 1) - first);
        plain = num_long_arcs == 0 && !entry_costs && is_plain(labels, arcs, num_states);
    }

    // slots.by_class must be set.
    void lay_out(Arena& arena, std::int64_t num_frames, std::int64_t num_classes) {
        masks.lay_out(arena, length, plain);
        slots.lay_out(arena, num_states, length, num_classes);
        windows.lay_out(arena, num_frames);
    }
    bool build_slots(std::int64_t num_classes) { return slots.build(labels, num_states, length, plain, num_classes); }
    bool build_windows(int num_frames) {
        if (num_long_arcs == 0) return windows.build(arcs, num_states, num_frames);
        windows.open(num_states, num_frames);
        return true;
    }
    void build_masks() { masks.build(arcs, num_states, length, plain); }

    // The blocks visited at t. Neither bound ever falls from one frame to the next, nor rises by more than one.
    int begin(int t) const { return windows.low[t] / 2 / kLanes<Real>; }
    int end(int t) const { return windows.high[t] / 2 / kLanes<Real> + 1; }
    // Where state k is in arrays by cell, even ones first.
    std::int64_t cell(int k) const { return (k % 2) * length + k / 2; }
    // Whether it has a path of no frames: the empty target has one, whose only state is first and last.
    bool accepts_nothing() const {
        const std::uint8_t both = CTCKIT_START | CTCKIT_END;
        return num_states == 1 && (arcs[0] & both) == both;
    }

    int long_arc_from(int j) const { return long_arcs[3 * j + 1]; }
    int long_arc_to(int j) const { return long_arcs[3 * j + 2]; }
    int first_long_arc_to(int k) const {
        return int(first_with(num_long_arcs, [&](std::int64_t j) { return long_arc_to(int(j)) >= k; }));
    }

   private:
    static std::int64_t first_long_arc_of(const ctckit_lattices& lattices, std::int64_t n) {
        return first_with(lattices.num_long_arcs, [&](std::int64_t j) { return lattices.long_arcs[3 * j] >= n; });
    }
    // The first j < count for which `holds`, which is false up to some j and true from there on; else count.
    template <class Holds>
    static std::int64_t first_with(std::int64_t count, Holds holds) {
        std::int64_t below = 0, above = count;
        while (below < above) {
            const std::int64_t middle = (below + above) / 2;
            if (holds(middle)) above = middle;
            else below = middle + 1;
        }
        return below;
    }
};

}  // namespace
