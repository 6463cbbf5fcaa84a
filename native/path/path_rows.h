// One row of best scores, by cell, and how it advances by up to eight frames. A register of cells goes through all of
// these frames before the next one, so that a row is loaded and stored once in eight frames; what the next register
// needs from below is carried over.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "ctckit.h"
#include "lattice/lattice.h"
#include "path/long_arcs.h"
#include "simd/lanes.h"
#include "simd/tile.h"

namespace {

// Cells are counted in units that are whole squares to transpose and whole registers.
constexpr int kUnit = 16;
// Cells of a parity whose emissions are spread at a time, so that these stay in the first-level cache.
constexpr int kChunk = 256;
// Registers that advance side by side, since each step waits for the one before.
#if defined(__AVX512F__)
constexpr int kGroup = 4;
#else
constexpr int kGroup = 2;
#endif

template <class Real>
class PathRows {
   public:
    explicit PathRows(const LatticeView<Real>& lattice)
        : lattice_(lattice), length_(round_up(cells_length<Real>(lattice.num_states), kUnit)) {}
    void lay_out(Arena& arena);
    void build();

    // Cells of one parity, a whole number of units.
    std::int64_t length() const { return length_; }
    Real* cells(int parity) const { return row_ + parity * length_; }
    Real score(int k) const { return cells(k % 2)[k / 2]; }
    // Entry costs that are too high to pay are infinite.
    Real cost(int k) const {
        if (!lattice_.entry_costs) return 0;
        return payable(lattice_.entry_costs[k]) ? Real(lattice_.entry_costs[k]) : kInfinity<Real>;
    }

    std::int64_t begin();
    std::int64_t reached(std::int64_t first, std::int64_t end, int count) const;
    bool left_out(std::int64_t first, Real least);
    // Advances the cells first <= i < end, whole units, by the `count` frames of the table, of which t0 is the first.
    // No cell below these is on a path. Writes the rows to `kept` (count, 2, kept_length) from `first` on, unless it is
    // null. Returns the best score of the last frame.
    Real advance(const Real* table, int t0, int count, std::int64_t first, std::int64_t end, Real* kept,
                 std::int64_t kept_length) {
        return lattice_.plain() ? advance_plain(table, count, first, end, kept, kept_length)
                                : advance_any(table, t0, count, first, end, kept, kept_length);
    }

    // Cells in whole units, from a state's on, or up to it.
    static std::int64_t cells_from(int k) { return k / 2 / kUnit * kUnit; }
    static std::int64_t cells_to(int k) { return round_up(k / 2 + 1, kUnit); }

   private:
    Real advance_plain(const Real* table, int count, std::int64_t first, std::int64_t end, Real* kept,
                       std::int64_t kept_length);
    template <int kCount>
    void advance_group(std::int64_t i, int count, const Real* blank, const Real* emission, Real* kept,
                       std::int64_t kept_length);
    Real advance_any(const Real* table, int t0, int count, std::int64_t first, std::int64_t end, Real* kept,
                     std::int64_t kept_length);
    void add_state_scores(int count, std::int64_t first, std::int64_t end);
    void start(std::int64_t first, std::int64_t end);
    void enter(int f, std::int64_t first, std::int64_t end);

    const LatticeView<Real>& lattice_;
    const std::int64_t length_;
    LongArcs<Real> long_arcs_;

    Real* row_;                      // (2, length_) by cell
    Real* cost_;                     // (2, length_) entry costs by cell; of lattices that are not plain
    Real* state_score_;              // (2, length_) by cell, where there are any
    Real* emission_;                 // (kTile, kChunk), of a plain lattice's odd cells; of any other (kTile, 2, kChunk)
    Lanes<Real> carry_[kTile];       // the register of odd cells below the current one, before each frame
    Lanes<Real> carry_even_[kTile];  // the same of even cells; of lattices that are not plain
    Lanes<Real> best_;               // of the row, lane by lane
};

template <class Real>
void PathRows<Real>::lay_out(Arena& arena) {
    long_arcs_.lay_out(lattice_, kUnit, kChunk, arena);
    cost_ = arena.take<Real>(lattice_.plain() ? 0 : 2 * length_);
    state_score_ = arena.take<Real>(lattice_.state_scores ? 2 * length_ : 0);
    row_ = arena.take<Real>(2 * length_);
    emission_ = arena.take<Real>(kTile * 2 * kChunk);
}

template <class Real>
void PathRows<Real>::build() {
    long_arcs_.build(lattice_);
    if (lattice_.plain()) return;
    for (std::int64_t i = 0; i < 2 * length_; ++i) cost_[i] = 0;
    for (int k = 0; k < lattice_.num_states; ++k) cost_[k % 2 * length_ + k / 2] = cost(k);
    if (!lattice_.state_scores) return;
    for (std::int64_t i = 0; i < 2 * length_; ++i) state_score_[i] = 0;
    for (int k = 0; k < lattice_.num_states; ++k)
        state_score_[k % 2 * length_ + k / 2] = Real(lattice_.state_scores[k]);
}

// The row before the first frame; returns the end of the cells that can be alive after it. A plain lattice's path may
// as well begin in state 0 there; for others, the START bits are read at the first frame.
template <class Real>
std::int64_t PathRows<Real>::begin() {
    for (std::int64_t i = 0; i < 2 * length_; ++i) row_[i] = -kInfinity<Real>;
    if (lattice_.plain()) row_[0] = 0;
    return lattice_.plain() ? kUnit : cells_to(lattice_.windows.high[0]);
}

// One past the cells that paths reach in `count` frames, in whole units, from first <= i < end.
template <class Real>
std::int64_t PathRows<Real>::reached(std::int64_t first, std::int64_t end, int count) const {
    if (!long_arcs_.any()) return round_up(lesser(end + count, length_), kUnit);
    std::int64_t unit = first / kUnit, furthest = 0;
    for (int f = 0; f < count; ++f) {
        for (; unit * kUnit < end; ++unit) furthest = greater(furthest, long_arcs_.furthest(unit));
        end = lesser(greater(end + 1, furthest), length_);
    }
    return round_up(end, kUnit);
}

// Whether no cell of a unit is as good as `least`; then its cells are set to -inf.
template <class Real>
bool PathRows<Real>::left_out(std::int64_t first, Real least) {
    Real best = -kInfinity<Real>;
    for (std::int64_t i = first; i < first + kUnit; ++i) best = greater(best, greater(row_[i], row_[length_ + i]));
    if (!(best < least)) return false;
    for (std::int64_t i = first; i < first + kUnit; ++i) row_[i] = row_[length_ + i] = -kInfinity<Real>;
    return true;
}

template <class Real>
Real PathRows<Real>::advance_plain(const Real* table, int count, std::int64_t first, std::int64_t end, Real* kept,
                                   std::int64_t kept_length) {
    constexpr int lanes = kLanes<Real>;
    for (int f = 0; f < kTile; ++f) carry_[f] = Lanes<Real>{} - kInfinity<Real>;
    best_ = Lanes<Real>{} - kInfinity<Real>;
    const std::int32_t* slots = lattice_.slots.slot_of_cell + lattice_.length;
    const Real* blank = table + lattice_.slots.slot_of_cell[0] * kTile;
    for (std::int64_t chunk = first; chunk < end; chunk += kChunk) {
        const std::int64_t stop = lesser(chunk + kChunk, end);
        spread(table, slots + chunk, emission_, kChunk, 0, int(stop - chunk));
        std::int64_t i = chunk;
        const auto keep = [&] { return kept ? kept + (i - first) : nullptr; };
        for (; i + kGroup * lanes <= stop; i += kGroup * lanes)
            advance_group<kGroup>(i, count, blank, emission_ + (i - chunk), keep(), kept_length);
        for (; i < stop; i += lanes) advance_group<1>(i, count, blank, emission_ + (i - chunk), keep(), kept_length);
    }
    return greatest_of_lanes<Real>(best_);
}

// Some registers of both parities at once, from cell i on.
template <class Real>
template <int kCount>
void PathRows<Real>::advance_group(std::int64_t i, int count, const Real* blank, const Real* emission, Real* kept,
                                   std::int64_t kept_length) {
    constexpr int lanes = kLanes<Real>, last = lanes - 1;
    constexpr std::make_index_sequence<kLanes<Real>> all{};
    // Pointers of its own: the compiler must assume that a store of a register changes those of the class.
    Real* const evens = row_ + i;
    Real* const odds = evens + length_;
    const BitsOf<Real>* const skips = lattice_.masks.odd.skip + i;
    Lanes<Real> even[kCount], odd[kCount];
    decltype(Lanes<BitsOf<Real>>{} > 0) skip[kCount];
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
        even[j] = load_lanes(evens + j * lanes);
        odd[j] = load_lanes(odds + j * lanes);
        skip[j] = load_lanes(skips + j * lanes) > 0;
    }
    for (int f = 0; f < count; ++f) {
        const Lanes<Real> carried = carry_[f], stay_blank = Lanes<Real>{} + blank[f];
        carry_[f] = odd[kCount - 1];
#pragma GCC unroll 4
        for (int j = kCount - 1; j >= 0; --j) {
            const Lanes<Real> below = window<last>(j > 0 ? odd[j > 0 ? j - 1 : 0] : carried, odd[j], all);
            // An odd cell that may be skipped into is entered from the same cells as the even one before it.
            const Lanes<Real> both = greater(even[j], below), entering = skip[j] ? both : even[j];
            even[j] = both + stay_blank;
            odd[j] = greater(odd[j], entering) + load_lanes(emission + f * kChunk + j * lanes);
        }
        if (!kept) continue;
#pragma GCC unroll 4
        for (int j = 0; j < kCount; ++j) {
            store_lanes<Real>(even[j], kept + f * 2 * kept_length + j * lanes);
            store_lanes<Real>(odd[j], kept + f * 2 * kept_length + kept_length + j * lanes);
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
        store_lanes<Real>(even[j], evens + j * lanes);
        store_lanes<Real>(odd[j], odds + j * lanes);
        best_ = greater(best_, greater(even[j], odd[j]));
    }
}

// For any lattice: all frames go through a chunk of cells before the next chunk, which needs only the carried registers
// and the long arcs from below.
template <class Real>
Real PathRows<Real>::advance_any(const Real* table, int t0, int count, std::int64_t first, std::int64_t end, Real* kept,
                                 std::int64_t kept_length) {
    for (int f = 0; f < kTile; ++f) carry_[f] = carry_even_[f] = Lanes<Real>{} - kInfinity<Real>;
    long_arcs_.begin_tile(first);
    Real best = -kInfinity<Real>;
    std::int64_t stop = 0;
    for (std::int64_t chunk = first; chunk < end; chunk = stop) {
        const int offset = int(chunk % kChunk);
        stop = lesser(chunk - offset + kChunk, end);
        const std::int64_t size = stop - chunk;
        for (std::int64_t parity = 0; parity < 2; ++parity)
            spread(table, lattice_.slots.slot_of_cell + parity * lattice_.length + chunk - offset,
                   emission_ + parity * kChunk, 2 * kChunk, offset, int(offset + size));
        if (lattice_.state_scores) add_state_scores(count, chunk, stop);
        for (int f = 0; f < count; ++f) {
            if (t0 + f == 0) {
                start(chunk, stop);
            } else {
                long_arcs_.depart(f, row_, chunk, stop);
                enter(f, chunk, stop);
                long_arcs_.land(f, row_, chunk, stop, emission_ + f * 2 * kChunk, cost_);
            }
            for (std::int64_t parity = 0; kept && parity < 2; ++parity)
                std::memcpy(kept + (f * 2 + parity) * kept_length + chunk - first, row_ + parity * length_ + chunk,
                            size * sizeof(Real));
        }
        for (std::int64_t i = chunk; i < stop; ++i) best = greater(best, greater(row_[i], row_[length_ + i]));
    }
    return best;
}

template <class Real>
void PathRows<Real>::add_state_scores(int count, std::int64_t first, std::int64_t end) {
    for (int f = 0; f < count; ++f)
        for (std::int64_t parity = 0; parity < 2; ++parity) {
            Real* emission = emission_ + (f * 2 + parity) * kChunk + first % kChunk;
            const Real* score = state_score_ + parity * length_ + first;
            for (std::int64_t i = 0; i < end - first; ++i) emission[i] += score[i];
        }
}

// The first frame of a chunk: paths begin in START states.
template <class Real>
void PathRows<Real>::start(std::int64_t first, std::int64_t end) {
    for (std::int64_t parity = 0; parity < 2; ++parity)
        for (std::int64_t i = first; i < end; ++i) {
            const std::int64_t k = 2 * i + parity, cell = parity * length_ + i;
            const bool starts = k < lattice_.num_states && (lattice_.arcs[k] & CTCKIT_START);
            row_[cell] = starts ? emission_[parity * kChunk + i % kChunk] - cost_[cell] : -kInfinity<Real>;
        }
}

// Advances the cells of a chunk by one frame of a tile, along the arcs of bits.
template <class Real>
void PathRows<Real>::enter(int f, std::int64_t first, std::int64_t end) {
    constexpr int lanes = kLanes<Real>, last = lanes - 1;
    constexpr std::make_index_sequence<kLanes<Real>> all{};
    const ArcMasks<Real>& masks = lattice_.masks;
    const Real* emission = emission_ + f * 2 * kChunk + first % kChunk;
    const auto along = [](const BitsOf<Real>* mask, const Lanes<Real>& scores) {
        return load_lanes(mask) > 0 ? scores : Lanes<Real>{} - kInfinity<Real>;
    };
    Lanes<Real> lower_even = carry_even_[f], lower_odd = carry_[f];
    for (std::int64_t i = first; i < end; i += lanes, emission += lanes) {
        const Lanes<Real> even = load_lanes(row_ + i), odd = load_lanes(row_ + length_ + i);
        const Lanes<Real> below_even = window<last>(lower_even, even, all),
                          below_odd = window<last>(lower_odd, odd, all);
        const auto into = [&](const Masks<Real>& mask, const Real* cost, const Lanes<Real>& stay,
                              const Lanes<Real>& step, const Lanes<Real>& skip) {
            const Lanes<Real> entering = greater(along(mask.step + i, step), along(mask.skip + i, skip));
            return greater(along(mask.stay + i, stay), entering - load_lanes(cost + i));
        };
        store_lanes<Real>(into(masks.even, cost_, even, below_odd, below_even) + load_lanes(emission), row_ + i);
        store_lanes<Real>(into(masks.odd, cost_ + length_, odd, even, below_odd) + load_lanes(emission + kChunk),
                          row_ + length_ + i);
        lower_even = even;
        lower_odd = odd;
    }
    carry_even_[f] = lower_even;
    carry_[f] = lower_odd;
}

}  // namespace
