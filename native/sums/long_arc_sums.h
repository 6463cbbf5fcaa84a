// Long arcs in sums over paths: added to the rows of alpha and beta one by one, after the row steps along bits.
// Everything is a sum, so the order does not matter.
#pragma once

#include <cstdint>

#include "lattice/lattice.h"
#include "sums/scaled_row.h"

namespace {

template <class Real>
class LongArcSums {
   public:
    explicit LongArcSums(const LatticeView<Real>& lattice) : lattice_(lattice) {}
    void lay_out(Arena& arena) { factor_ = arena.take<Scaled<Real>>(lattice_.num_long_arcs); }
    void build() {
        for (int j = 0; j < lattice_.num_long_arcs; ++j)
            factor_[j] = times(exponential<Real>(lattice_.long_arc_scores[j]),
                               entry_factor<Real>(lattice_.entry_costs, lattice_.long_arc_to(j)));
    }

    // Adds what arrives from the row before; emission_of(k) is that of this row's frame.
    template <class EmissionOf>
    void advance(const Block<Real>* last, Block<Real>* row, EmissionOf emission_of) const {
        for (int j = 0; j < lattice_.num_long_arcs;) {
            const int to = lattice_.long_arc_to(j);
            Scaled<Real> arriving = {1, kZero};
            for (; j < lattice_.num_long_arcs && lattice_.long_arc_to(j) == to; ++j)
                arriving = plus(arriving, times(value_of(last, lattice_.long_arc_from(j)), factor_[j]));
            const Cell<Real> cell = cell_of(row, to);
            cell.set(plus(cell.get(), times(arriving, emission_of(to))));
        }
    }

    // Adds to `row`, v of a frame, what leads from it to `next`, v of the next frame; and to its occupancies.
    template <class EmissionOf>
    void retreat(const Block<Real>* alpha, const Block<Real>* next, Block<Real>* row, BitsOf<Real> total,
                 Real* occupancy, Real& even_sum, EmissionOf emission_of) const {
        for (int j = 0; j < lattice_.num_long_arcs; ++j) {
            const int from = lattice_.long_arc_from(j);
            const Scaled<Real> ahead = times(value_of(next, lattice_.long_arc_to(j)), factor_[j]);
            const Real gamma = share(times(value_of(alpha, from), ahead), total);
            occupancy[lattice_.cell(from)] += gamma;
            if (from % 2 == 0) even_sum += gamma;
            const Cell<Real> cell = cell_of(row, from);
            cell.set(plus(cell.get(), times(ahead, emission_of(from))));
        }
    }

    // Calls visit(arc, the share of paths that take it between these frames).
    template <class Visit>
    void for_each(const Block<Real>* alpha, const Block<Real>* next, BitsOf<Real> total, Visit visit) const {
        for (int j = 0; j < lattice_.num_long_arcs; ++j) {
            const Scaled<Real> ahead = times(value_of(next, lattice_.long_arc_to(j)), factor_[j]);
            visit(j, share(times(value_of(alpha, lattice_.long_arc_from(j)), ahead), total));
        }
    }

   private:
    const LatticeView<Real>& lattice_;
    Scaled<Real>* factor_;  // (num_long_arcs,) exp(score - entry cost)
};

}  // namespace
