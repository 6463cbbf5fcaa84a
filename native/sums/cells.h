// The cells of a lattice, a register of them at a time: rows of scaled floats, and the two row steps of the recursion.
// Knows nothing of CTC: masks say which arcs exist.
//
// Even states (0, 2, ...) are kept apart from odd ones, since the two have different neighbours: even cell i is state
// 2i, odd cell i is state 2i+1. A block holds both for as many i as a register has lanes. This is written with the
// compiler's vector types, not as loops for it to vectorise: neighbours are then shuffled from whole blocks, where
// loads across two blocks that were just written would have to wait until both are in the cache.
#pragma once

#include <cstdint>
#include <utility>

#include "lattice/arc_masks.h"
#include "simd/lanes.h"
#include "simd/scaled.h"

namespace {

template <class Real>
struct Cells {
    Lanes<Real> mantissa;
    Lanes<BitsOf<Real>> exponent;
};
template <class Real>
struct Block {
    Cells<Real> even, odd;
};

template <class Real>
inline Block<Real> dead_block() {
    const Cells<Real> dead = {Lanes<Real>{} + 1, Lanes<BitsOf<Real>>{} + kZero};
    return {dead, dead};
}

// Zeros that drifted down, back to where they started.
template <class Real>
inline Block<Real> settled(Block<Real> block) {
    const Lanes<BitsOf<Real>> zero = Lanes<BitsOf<Real>>{} + kZero;
    block.even.exponent = greater(block.even.exponent, zero);
    block.odd.exponent = greater(block.odd.exponent, zero);
    return block;
}

// The cells one index before those of `here`, and one index after; `next_to` is the block on that side.
template <class Real>
inline Cells<Real> before(const Cells<Real>& next_to, const Cells<Real>& here) {
    constexpr int last = kLanes<Real> - 1;
    constexpr std::make_index_sequence<kLanes<Real>> all{};
    return {window<last>(next_to.mantissa, here.mantissa, all), window<last>(next_to.exponent, here.exponent, all)};
}
template <class Real>
inline Cells<Real> after(const Cells<Real>& here, const Cells<Real>& next_to) {
    constexpr std::make_index_sequence<kLanes<Real>> all{};
    return {window<1>(here.mantissa, next_to.mantissa, all), window<1>(here.exponent, next_to.exponent, all)};
}

// What arcs leave of cells.
template <class Real>
inline Cells<Real> masked(const Cells<Real>& cells, const BitsOf<Real>* mask, int block) {
    return {cells.mantissa, lesser(cells.exponent, load_lanes(mask + block * kLanes<Real>))};
}

// `with` where the arc exists, `without` where not.
template <class Real>
inline Cells<Real> chosen(const BitsOf<Real>* masks, int block, const Cells<Real>& with, const Cells<Real>& without) {
    const auto arc = load_lanes(masks + block * kLanes<Real>) > 0;
    return {arc ? with.mantissa : without.mantissa, arc ? with.exponent : without.exponent};
}

// The emissions of one frame, by cell: value * 2^exponent. Exponents are read in wide frames only. In a plain lattice
// all even cells share the first emission.
template <class Real>
struct CellEmissions {
    const Real* value;
    const BitsOf<Real>* exponent;
};
template <class Real>
struct RowEmissions {
    CellEmissions<Real> even, odd;
};

// Sums, whose mantissas are not normalised: of two in [1, 4), of three in [1, 6). They may be added once more.
template <class Real>
inline Cells<Real> sum(const Cells<Real>& a, const Cells<Real>& b) {
    const auto e = greater(a.exponent, b.exponent);
    return {shifted(a.mantissa, a.exponent - e) + shifted(b.mantissa, b.exponent - e), e};
}
template <class Real>
inline Cells<Real> sum(const Cells<Real>& a, const Cells<Real>& b, const Cells<Real>& c) {
    const auto e = greater(greater(a.exponent, b.exponent), c.exponent);
    return {
        shifted(a.mantissa, a.exponent - e) + shifted(b.mantissa, b.exponent - e) + shifted(c.mantissa, c.exponent - e),
        e};
}

// A frame's emissions of one block of cells; kShared: of one cell for all.
template <class Real, bool kShared, bool kWide>
struct Emitter {
    Lanes<Real> value;
    Lanes<BitsOf<Real>> exponent;

    Emitter(const CellEmissions<Real>& y, int block) {
        const std::int64_t i = block * kLanes<Real>;
        value = kShared ? Lanes<Real>{} + y.value[0] : load_lanes(y.value + i);
        if (kWide) exponent = kShared ? Lanes<BitsOf<Real>>{} + y.exponent[0] : load_lanes(y.exponent + i);
    }
    Cells<Real> operator()(const Cells<Real>& x) const {
        auto e = x.exponent;
        if (kWide) e = greater(e + exponent, Lanes<BitsOf<Real>>{} + kZero);
        Cells<Real> cells;
        normalise(x.mantissa * value, e, cells.mantissa, cells.exponent);
        return cells;
    }
};

// alpha_t(k) = (alpha_{t-1}(k) + alpha_{t-1}(k-1) + alpha_{t-1}(k-2)) y_t(k) along the arcs, for the blocks begin <= b
// < end. In a plain lattice every state may be stayed in and stepped into, and no even one skipped into. `outside` is
// the block before `begin` at t-1.
template <class Real, bool kPlain, bool kWide>
void advance(const Block<Real>* last, const Block<Real>& outside, const ArcMasks<Real>& masks,
             const RowEmissions<Real>& y, Block<Real>* out, int begin, int end) {
    const Emitter<Real, true, kWide> shared(y.even, 0);
    Block<Real> lower = outside;
    for (int b = begin; b < end; ++b) {
        const Block<Real> here = last[b];
        const Cells<Real> odd = before(lower.odd, here.odd);
        Block<Real> made;
        if (kPlain) {
            // An odd cell that may be skipped into is entered from just where the even one before it is.
            const Cells<Real> both = sum(here.even, odd), entering = chosen(masks.odd.skip, b, both, here.even);
            made.even = shared(both);
            made.odd = Emitter<Real, false, kWide>(y.odd, b)(sum(here.odd, entering));
        } else {
            const Cells<Real> even = before(lower.even, here.even);
            made.even = Emitter<Real, false, kWide>(
                y.even, b)(sum(masked(here.even, masks.even.stay, b), masked(odd, masks.even.step, b),
                               masked(even, masks.even.skip, b)));
            made.odd = Emitter<Real, false, kWide>(
                y.odd, b)(sum(masked(here.odd, masks.odd.stay, b), masked(here.even, masks.odd.step, b),
                              masked(odd, masks.odd.skip, b)));
        }
        out[b] = made;
        lower = here;
    }
}

// What is entered in one block by arcs from cells one index below: from odd ones by a step to an even cell and a skip
// to an odd one, from even ones by a skip.
template <class Real, bool kPlain>
struct Entered {
    Cells<Real> both;  // in a plain lattice: what an even cell leads to, itself and the odd one
    Cells<Real> from_odd, from_even;

    Entered(const Block<Real>& block, const ArcMasks<Real>& masks, int b) {
        if (kPlain) {
            both = sum(block.even, block.odd);
            from_odd = chosen(masks.odd.skip, b, both, block.even);
        } else {
            from_odd = sum(masked(block.even, masks.even.step, b), masked(block.odd, masks.odd.skip, b));
            from_even = masked(block.even, masks.even.skip, b);
        }
    }
};

// beta_t(k) = v(k) + v(k+1) + v(k+2) along the arcs, where v = beta_{t+1} y_{t+1} is `next`; writes the occupancies
// alpha_t(k) beta_t(k) / 2^total by cell, and beta_t y_t. Returns the sum of the even cells' occupancies. `outside` is
// the block at `end` at t+1.
template <class Real, bool kPlain, bool kWide>
Real retreat(const Block<Real>* next, const Block<Real>& outside, const ArcMasks<Real>& masks,
             const RowEmissions<Real>& y, const Block<Real>* alpha, BitsOf<Real> total, Block<Real>* out,
             Real* even_occupancy, Real* odd_occupancy, int begin, int end) {
    const Emitter<Real, true, kWide> shared(y.even, 0);
    Lanes<Real> even_sum = {};
    Entered<Real, kPlain> upper(outside, masks, end);
    for (int b = end - 1; b >= begin; --b) {
        const Block<Real> here = next[b];
        const Entered<Real, kPlain> lower(here, masks, b);
        Cells<Real> even, odd;
        if (kPlain) {
            even = lower.both;
            odd = sum(here.odd, after(lower.from_odd, upper.from_odd));
        } else {
            even = sum(masked(here.even, masks.even.stay, b), masked(here.odd, masks.odd.step, b),
                       after(lower.from_even, upper.from_even));
            odd = sum(masked(here.odd, masks.odd.stay, b), after(lower.from_odd, upper.from_odd));
        }
        const Block<Real> a = alpha[b];
        const Lanes<Real> gamma = plain(a.even.mantissa * even.mantissa, a.even.exponent + (even.exponent - total));
        even_sum += gamma;
        store_lanes<Real>(gamma, even_occupancy + b * kLanes<Real>);
        store_lanes<Real>(plain(a.odd.mantissa * odd.mantissa, a.odd.exponent + (odd.exponent - total)),
                          odd_occupancy + b * kLanes<Real>);
        out[b].even = kPlain ? shared(even) : Emitter<Real, false, kWide>(y.even, b)(even);
        out[b].odd = Emitter<Real, false, kWide>(y.odd, b)(odd);
        upper = lower;
    }
    return sum_of_lanes<Real>(even_sum);
}

}  // namespace
