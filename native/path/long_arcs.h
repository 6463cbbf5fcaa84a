// Long arcs in best paths. If words are optional there are more long arcs than states, but those into one state come
// from consecutive states among all that long arcs leave. So the best of them is the better of two overlapping
// stretches whose lengths are powers of two, and the best of all such stretches is found at once.
#pragma once

#include <cstdint>

#include "lattice/lattice.h"
#include "simd/tile.h"

namespace {

template <class Real>
class LongArcs {
   public:
    // Cells are distinguished in units of `unit`; a chunk has `chunk` of them.
    void lay_out(const LatticeView<Real>& lattice, std::int64_t unit, std::int64_t chunk, Arena& arena);
    void build(const LatticeView<Real>& lattice);
    bool any() const { return count_ > 0; }
    // One past the last cell that long arcs reach from a unit; 0 if none departs there. Only if there are any.
    std::int64_t furthest(std::int64_t unit) const { return furthest_[unit]; }

    // The following take cells first <= i < end, whole units, and a frame of a tile. After begin_tile() they are called
    // for each chunk in order, since long arcs only lead upwards; none departs from a cell before the tile's first.
    void begin_tile(std::int64_t first);
    void depart(int f, const Real* row, std::int64_t first, std::int64_t end);
    void land(int f, Real* row, std::int64_t first, std::int64_t end, const Real* emission, const Real* cost) const;

   private:
    struct Landing {
        std::uint32_t cell, in_chunk;  // the index of the state entered, in a row and in a chunk
        std::int32_t last;             // the last of the consecutive departures that lead there
        std::uint32_t high, low;       // two stretches that together hold just these: indices into stretches()
        Real score;                    // of all these arcs
    };

    void mark_departures(const LatticeView<Real>& lattice);
    void add_landing(const LatticeView<Real>& lattice, int arc, int first, int last);
    // (levels_, stride_) of a frame: the best of 2^level consecutive departures, by the last of them, after `longest_`.
    Real* stretches(int f) const { return best_ + f * levels_ * stride_; }

    int count_, levels_, longest_;
    std::int64_t unit_, units_, chunk_, stride_;
    int landings_, departures_, begin_;
    std::int32_t* departure_of_state_;  // (states,)
    std::int32_t* departure_;           // (departures_,) cells, in order of states
    Landing* landing_;                  // (landings_,) in order of states
    std::int32_t* departure_from_;      // (units_ + 1,) the first departure in a unit or after it
    std::int32_t* landing_from_;        // the same
    std::int32_t* furthest_;            // by unit: one past the last cell that long arcs reach from it
    Real* best_;                        // (kTile, levels_, stride_)
};

template <class Real>
void LongArcs<Real>::lay_out(const LatticeView<Real>& lattice, std::int64_t unit, std::int64_t chunk, Arena& arena) {
    count_ = lattice.num_long_arcs;
    unit_ = unit;
    chunk_ = chunk;
    units_ =
        count_ > 0 ? lattice.length / unit : -1;  // arrays by unit have one more, for the end: without long arcs none
    int most = 0;                                 // long arcs into one state
    for (int j = 0, first = 0; j < count_; ++j) {
        if (lattice.long_arc_to(j) != lattice.long_arc_to(first)) first = j;
        most = greater(most, j - first + 1);
    }
    for (levels_ = 0; most >> levels_ > 0;) ++levels_;
    longest_ = (1 << levels_) / 2;
    stride_ = longest_ + lesser(count_, lattice.num_states);
    departure_of_state_ = arena.take<std::int32_t>(count_ > 0 ? lattice.num_states : 0);
    departure_ = arena.take<std::int32_t>(lesser(count_, lattice.num_states));
    landing_ = arena.take<Landing>(count_);
    departure_from_ = arena.take<std::int32_t>(units_ + 1);
    landing_from_ = arena.take<std::int32_t>(units_ + 1);
    furthest_ = arena.take<std::int32_t>(units_ + 1);
    best_ = arena.take<Real>(kTile * levels_ * stride_);
}

template <class Real>
void LongArcs<Real>::mark_departures(const LatticeView<Real>& lattice) {
    for (int k = 0; k < lattice.num_states; ++k) departure_of_state_[k] = -1;
    for (std::int64_t u = 0; u <= units_; ++u) furthest_[u] = 0;
    for (int j = 0; j < count_; ++j) {
        const int from = lattice.long_arc_from(j);
        departure_of_state_[from] = 0;
        std::int32_t& furthest = furthest_[from / 2 / unit_];
        furthest = greater(furthest, std::int32_t(lattice.long_arc_to(j) / 2 + 1));
    }
    departures_ = 0;
    std::int64_t unit = 0;
    for (int k = 0; k < lattice.num_states; ++k) {
        for (; unit <= k / 2 / unit_; ++unit) departure_from_[unit] = departures_;
        if (departure_of_state_[k] < 0) continue;
        departure_of_state_[k] = departures_;
        departure_[departures_++] = std::int32_t(lattice.cell(k));
    }
    for (; unit <= units_; ++unit) departure_from_[unit] = departures_;
}

template <class Real>
void LongArcs<Real>::build(const LatticeView<Real>& lattice) {
    if (count_ == 0) return;
    mark_departures(lattice);
    landings_ = 0;
    std::int64_t unit = 0;
    int first = 0;  // of the consecutive departures
    for (int j = 0; j < count_; ++j) {
        const int to = lattice.long_arc_to(j), here = departure_of_state_[lattice.long_arc_from(j)];
        for (; unit <= to / 2 / unit_; ++unit) landing_from_[unit] = landings_;
        const bool goes_on = j > 0 && lattice.long_arc_to(j - 1) == to && landing_[landings_ - 1].last == here - 1 &&
                             lattice.long_arc_scores[j - 1] == lattice.long_arc_scores[j];
        if (goes_on) --landings_;
        else first = here;
        add_landing(lattice, j, first, here);
    }
    for (; unit <= units_; ++unit) landing_from_[unit] = landings_;
}

template <class Real>
void LongArcs<Real>::add_landing(const LatticeView<Real>& lattice, int arc, int first, int last) {
    const int state = lattice.long_arc_to(arc);
    int level = 0;
    while (2 << level <= last - first + 1) ++level;
    const std::int64_t best = longest_ + level * stride_, in_chunk = state % 2 * chunk_ + state / 2 % chunk_;
    landing_[landings_++] = {std::uint32_t(lattice.cell(state)),
                             std::uint32_t(in_chunk),
                             last,
                             std::uint32_t(best + last),
                             std::uint32_t(best + first + (1 << level) - 1),
                             Real(lattice.long_arc_scores[arc])};
}

template <class Real>
void LongArcs<Real>::begin_tile(std::int64_t first) {
    if (count_ == 0) return;
    begin_ = departure_from_[first / unit_];
    for (int f = 0; f < kTile; ++f)
        for (int l = 0; l < levels_; ++l)
            for (int d = 0; d < longest_; ++d) stretches(f)[l * stride_ + begin_ + d] = -kInfinity<Real>;
}

template <class Real>
void LongArcs<Real>::depart(int f, const Real* row, std::int64_t first, std::int64_t end) {
    if (count_ == 0) return;
    const int begin = departure_from_[first / unit_], stop = departure_from_[end / unit_];
    Real* level = stretches(f) + longest_;
    for (int d = begin; d < stop; ++d) level[d] = row[departure_[d]];
    for (int half = 1; half < longest_; half *= 2) {
        const Real* CTCKIT_RESTRICT halves = level;
        Real* CTCKIT_RESTRICT wholes = level += stride_;
#pragma omp simd
        for (int d = begin; d < stop; ++d) wholes[d] = greater(halves[d], halves[d - half]);
    }
}

// After a row's own arcs. `emission` has a chunk's cells, even ones first; `cost` has a row's.
template <class Real>
void LongArcs<Real>::land(int f, Real* CTCKIT_RESTRICT row, std::int64_t first, std::int64_t end,
                          const Real* CTCKIT_RESTRICT emission, const Real* CTCKIT_RESTRICT cost) const {
    if (count_ == 0) return;
    const Real* CTCKIT_RESTRICT best = stretches(f);
    const Landing* stop = landing_ + landing_from_[end / unit_];
    for (const Landing* to = landing_ + landing_from_[first / unit_]; to < stop; ++to) {
        if (to->last < begin_) continue;
        const Real arriving = greater(best[to->high], best[to->low]) - cost[to->cell] + to->score;
        row[to->cell] = greater(row[to->cell], arriving + emission[to->in_chunk]);
    }
}

}  // namespace
