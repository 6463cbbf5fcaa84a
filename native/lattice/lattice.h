// One sample's lattice as the kernels read it: its arcs as masks, its labels as slots, and the window of states worth
// visiting. Reads arc bits and labels; the rule that made them is in lattice/rule.py.
#pragma once

#include <cmath>
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

// See Shape::kPlain. Asked of every sample, so a loop without branches.
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

// The shape of a lattice by its bits and labels alone.
inline Shape shape_of(const std::int32_t* labels, const std::uint8_t* arcs, int num_states) {
    if (is_plain(labels, arcs, num_states)) return Shape::kPlain;
    bool alike = true, mirrored = true, same_label = true;
    int seen = 0;
    for (int k = 0; k < num_states; ++k) {
        const bool even = k % 2 == 0;
        const int needed = k == 0 ? CTCKIT_STAY : even ? CTCKIT_STAY | CTCKIT_STEP : CTCKIT_STEP;
        alike &= (arcs[k] & needed) == needed && !(even && (arcs[k] & CTCKIT_SKIP));
        mirrored &=
            k == 0 || (even ? (arcs[k] & CTCKIT_STEP) != 0
                            : (arcs[k] & (CTCKIT_STAY | CTCKIT_STEP | CTCKIT_SKIP)) == (CTCKIT_STAY | CTCKIT_STEP));
        same_label &= !even || labels[k] == labels[0];
        seen |= arcs[k];
    }
    if (alike) return same_label ? Shape::kShared : Shape::kOwn;
    if (!(seen & CTCKIT_SKIP)) return Shape::kNoSkips;
    return mirrored ? Shape::kMirrored : Shape::kAny;
}

template <class Real>
struct LatticeView {
    int num_states;
    const std::int32_t* labels;     // (num_states,)
    const std::uint8_t* arcs;       // (num_states,)
    const std::int32_t* long_arcs;  // (num_long_arcs, 3) sample, from, to; sorted by to
    int num_long_arcs;
    const std::int32_t* tokens;  // (num_states,) -1 for none; null: CTC's layout
    const double* entry_costs;   // (num_states,) or null
    const double* state_scores;  // (num_states,) or null
    const double* long_arc_scores;
    std::int64_t first_long_arc;  // index of the first of them in the batch
    std::int64_t length;          // of the cells of one parity
    Shape shape;
    bool even_label;                        // all even states have the label of state 0
    double top_score = 0, least_score = 0;  // of the states: the highest score, and how far the lowest is below it

    ArcMasks<Real> masks;
    LabelSlots slots;
    Windows windows;

    LatticeView(const ctckit_lattices& lattices, std::int64_t n)
        : num_states(lattices.num_states[n]),
          labels(lattices.labels + n * lattices.max_states),
          arcs(lattices.arcs + n * lattices.max_states),
          tokens(lattices.tokens ? lattices.tokens + n * lattices.max_states : nullptr),
          entry_costs(lattices.entry_costs ? lattices.entry_costs + n * lattices.max_states : nullptr),
          state_scores(lattices.state_scores ? lattices.state_scores + n * lattices.max_states : nullptr),
          first_long_arc(first_long_arc_of(lattices, n)),
          length(cells_length<Real>(num_states)) {
        long_arcs = lattices.long_arcs + 3 * first_long_arc;
        long_arc_scores = lattices.long_arc_scores + first_long_arc;
        num_long_arcs = int(first_long_arc_of(lattices, n + 1) - first_long_arc);
        shape = shape_of(labels, arcs, num_states);
        even_label = shares_even();
        if (shape == Shape::kPlain && (num_long_arcs > 0 || entry_costs)) shape = Shape::kShared;
        if (shares_even() && state_scores) shape = Shape::kOwn;
        if (shape == Shape::kShared && entry_costs) shape = Shape::kSharedCosts;
        if (shape == Shape::kOwn && entry_costs) shape = Shape::kOwnCosts;
        if (moves_alike(shape) && entry_costs && !all_payable()) shape = Shape::kAny;
        if (shape == Shape::kMirrored && entry_costs) shape = Shape::kAny;
        if (state_scores) find_state_scores();
    }

    // slots.by_class must be set.
    void lay_out(Arena& arena, std::int64_t num_frames, std::int64_t num_classes) {
        masks.lay_out(arena, length, shape);
        slots.lay_out(arena, num_states, length, num_classes);
        windows.lay_out(arena, num_frames);
    }
    bool build_slots(std::int64_t num_classes) {
        return slots.build(labels, num_states, length, even_label, num_classes);
    }
    bool build_windows(int num_frames) {
        if (num_long_arcs == 0) return windows.build(arcs, num_states, num_frames);
        windows.open(num_states, num_frames);
        return true;
    }
    void build_masks() { masks.build(arcs, entry_costs, num_states, length, shape); }

    bool plain() const { return shape == Shape::kPlain; }
    bool shares_even() const { return ::shares_even(shape); }
    bool may_begin_in(int k) const { return (arcs[k] & CTCKIT_START) && (!entry_costs || payable(entry_costs[k])); }
    // Whether a path's score may rise other than by emissions.
    bool can_gain() const {
        bool gain = false;
        for (int k = 0; k < num_states; ++k)
            gain |= (entry_costs && entry_costs[k] < 0) || (state_scores && state_scores[k] > 0);
        for (int j = 0; j < num_long_arcs; ++j) gain |= long_arc_scores[j] > 0;
        return gain;
    }

    // The blocks visited at t. Neither bound ever falls from one frame to the next, nor rises by more than one.
    int begin(int t) const { return windows.low[t] / 2 / kLanes<Real>; }
    int end(int t) const { return windows.high[t] / 2 / kLanes<Real> + 1; }
    // Where state k is in arrays by cell, even ones first.
    std::int64_t cell(int k) const { return (k % 2) * length + k / 2; }
    // Whether it has a path of no frames: where a state that is not a token may be first and last. In CTC's layout,
    // which has no `tokens`, even states are blanks.
    bool accepts_nothing() const {
        const std::uint8_t both = CTCKIT_START | CTCKIT_END;
        for (int k = 0; k < num_states; ++k)
            if ((arcs[k] & both) == both && (tokens ? tokens[k] < 0 : k % 2 == 0)) return true;
        return false;
    }

    int long_arc_from(int j) const { return long_arcs[3 * j + 1]; }
    int long_arc_to(int j) const { return long_arcs[3 * j + 2]; }
    int first_long_arc_to(int k) const {
        return int(first_with(num_long_arcs, [&](std::int64_t j) { return long_arc_to(int(j)) >= k; }));
    }

   private:
    bool all_payable() const {
        for (int k = 0; k < num_states; ++k)
            if (!payable(entry_costs[k])) return false;
        return true;
    }
    void find_state_scores() {
        top_score = -HUGE_VAL;
        double lowest = HUGE_VAL;
        for (int k = 0; k < num_states; ++k) {
            top_score = greater(top_score, state_scores[k]);
            lowest = lesser(lowest, state_scores[k]);
        }
        least_score = lowest > -HUGE_VAL ? lowest - top_score : -HUGE_VAL;
    }
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
