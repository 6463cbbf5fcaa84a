// The expected number of frames in each class and state, of entries into each state, and of uses of each long arc: the
// gradients by scores and costs that do not depend on the frame. Summed in double over all frames.
#pragma once

#include <cstdint>

#include "ctckit.h"
#include "lattice/lattice.h"
#include "simd/tile.h"
#include "sums/recursion.h"

namespace {

template <class Real>
class ExpectedCounts {
   public:
    ExpectedCounts(const ctckit_sums_out& out, std::int64_t n, const LatticeView<Real>& lattice,
                   const Recursion<Real>& recursion, int num_frames, std::int64_t num_classes, std::int64_t max_states)
        : lattice_(lattice),
          recursion_(recursion),
          num_frames_(num_frames),
          num_classes_(num_classes),
          max_states_(max_states),
          classes_(out.class_scores_grad ? out.class_scores_grad + n * num_classes : nullptr),
          states_(out.state_scores_grad ? out.state_scores_grad + n * max_states : nullptr),
          entries_(out.entry_costs_grad ? out.entry_costs_grad + n * max_states : nullptr),
          long_arcs_(out.long_arc_scores_grad ? out.long_arc_scores_grad + lattice.first_long_arc : nullptr) {}

    void lay_out(Arena& arena) {
        entered_ = arena.take<Real>(entries_ ? kTile * recursion_.row_length() : 0);
        states_by_cell_ = arena.take<double>(states_ ? recursion_.row_length() : 0);
        entries_by_cell_ = arena.take<double>(entries_ ? recursion_.row_length() : 0);
        if (entries_) masks_.lay_out(arena, lattice_.length, Shape::kAny);
        taken_ = arena.take<Real>(long_arcs_ ? std::int64_t(kTile) * lattice_.num_long_arcs : 0);
    }

    static bool wanted(const ctckit_sums_out& out) {
        return out.class_scores_grad || out.state_scores_grad || out.entry_costs_grad || out.long_arc_scores_grad;
    }

    bool any() const { return classes_ || states_ || entries_ || long_arcs_; }

    void start() {
        fill(0);
        for (std::int64_t i = 0; i < recursion_.row_length(); ++i) {
            if (states_) states_by_cell_[i] = 0;
            if (entries_) entries_by_cell_[i] = 0;
        }
        if (entries_)
            masks_.build(lattice_.arcs, lattice_.entry_costs, lattice_.num_states, lattice_.length, Shape::kAny);
    }

    void fill(double value) {
        if (!any()) return;
        for (std::int64_t c = 0; classes_ && c < num_classes_; ++c) classes_[c] = value;
        for (std::int64_t k = 0; k < max_states_; ++k) {
            const double own = k < lattice_.num_states ? value : 0;
            if (states_) states_[k] = own;
            if (entries_) entries_[k] = own;
        }
        for (int j = 0; long_arcs_ && j < lattice_.num_long_arcs; ++j) long_arcs_[j] = value;
    }

    // The arcs between frames t and t + 1, still to be divided by the sum of frame t.
    void count_arcs(int t) {
        const bool within = t + 1 < num_frames_;
        if (entries_) {
            Real* entered = entered_ + t % kTile * recursion_.row_length();
            if (within) {
                recursion_.write_entries(t, masks_, entered);
                recursion_.for_each_long_arc(
                    t, [&](int j, Real x) { entered[lattice_.cell(lattice_.long_arc_to(j))] += x; });
            } else {
                for (std::int64_t i = 0; i < recursion_.row_length(); ++i) entered[i] = 0;
            }
        }
        if (long_arcs_) {
            Real* taken = taken_ + std::int64_t(t % kTile) * lattice_.num_long_arcs;
            for (int j = 0; j < lattice_.num_long_arcs; ++j) taken[j] = 0;
            if (within) recursion_.for_each_long_arc(t, [&](int j, Real x) { taken[j] = x; });
        }
    }

    // A tile's frames, given its occupancies by label slot and one over each frame's sum.
    void add_tile(int t0, int count, const Real* by_slot, const Real* factor) {
        for (int f = 0; f < count; ++f) {
            const Real* row = recursion_.occupancy(f);
            if (states_) add_row(row, t0 + f, factor[f], states_by_cell_);
            if (entries_) {  // all that is there at first has been entered; frame t's entries are those into t + 1
                if (t0 + f == 0) add_row(row, 0, factor[f], entries_by_cell_);
                if (t0 + f + 1 < num_frames_)
                    add_row(entered_ + f * recursion_.row_length(), t0 + f + 1, factor[f], entries_by_cell_);
            }
            for (int j = 0; long_arcs_ && j < lattice_.num_long_arcs; ++j)
                long_arcs_[j] += double(taken_[std::int64_t(f) * lattice_.num_long_arcs + j] * factor[f]);
        }
        for (int i = 0; classes_ && i < lattice_.slots.num_labels; ++i) {
            const Real* sums = by_slot + lattice_.slots.slot_of_label(i) * kTile;
            for (int f = 0; f < count; ++f) classes_[lattice_.slots.labels[i]] += double(sums[f] * factor[f]);
        }
    }

    // Turns counts into gradients of weight * -score.
    void write(double weight) {
        for (std::int64_t c = 0; classes_ && c < num_classes_; ++c) classes_[c] *= -weight;
        for (int k = 0; states_ && k < lattice_.num_states; ++k)
            states_[k] = -weight * states_by_cell_[lattice_.cell(k)];
        for (int k = 0; entries_ && k < lattice_.num_states; ++k)
            entries_[k] = weight * entries_by_cell_[lattice_.cell(k)];
        for (int j = 0; long_arcs_ && j < lattice_.num_long_arcs; ++j) long_arcs_[j] *= -weight;
    }

   private:
    // Adds a row of the cells that frame t visits.
    void add_row(const Real* row, int t, Real factor, double* sums) const {
        for (int parity = 0; parity < 2; ++parity) {
            const std::int64_t first = parity * lattice_.length;
            const std::int64_t from = first + lattice_.begin(t) * kLanes<Real>,
                               to = first + lattice_.end(t) * kLanes<Real>;
            for (std::int64_t i = from; i < to; ++i) sums[i] += double(row[i] * factor);
        }
    }

    const LatticeView<Real>& lattice_;
    const Recursion<Real>& recursion_;
    const int num_frames_;
    const std::int64_t num_classes_, max_states_;
    double *classes_, *states_, *entries_, *long_arcs_;  // of this sample: counts, then gradients; or null
    Real* entered_;                                      // (kTile, row_length) of a tile's frames, by cell
    Real* taken_;                                        // (kTile, num_long_arcs) the same, by arc
    double *states_by_cell_, *entries_by_cell_;          // (row_length,) counts, before they are put in order
    ArcMasks<Real> masks_;                               // of any shape, for entries
};

}  // namespace
