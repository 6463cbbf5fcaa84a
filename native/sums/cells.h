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

// Resets zeros that drifted down to where they started.
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

// The cells that masks leave: zero where the arc does not exist.
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

// Sums whose mantissas are not normalised: of two numbers in [1, 4), of three in [1, 6). They may be added once more.
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

// Likewise of even cells: where they share their emission, it is read once.
template <class Real, Shape kShape, bool kWide>
class EvenEmitter {
   public:
    explicit EvenEmitter(const CellEmissions<Real>& y) : y_(y), shared_(y, 0) {}
    Cells<Real> operator()(const Cells<Real>& x, int block) const {
        if constexpr (shares_even(kShape)) return shared_(x);
        else return Emitter<Real, false, kWide>(y_, block)(x);
    }

   private:
    const CellEmissions<Real>& y_;
    const Emitter<Real, true, kWide> shared_;
};

// Cells times exp(-cost) of the cells that they enter.
template <class Real>
inline Cells<Real> paid(const Cells<Real>& cells, const Masks<Real>& masks, int block) {
    const std::int64_t i = block * kLanes<Real>;
    const auto e = cells.exponent + load_lanes(masks.factor_exponent + i);
    return {cells.mantissa * load_lanes(masks.factor + i), greater(e, Lanes<BitsOf<Real>>{} + kZero)};
}

// alpha_t(k) = (alpha_{t-1}(k) + (alpha_{t-1}(k-1) + alpha_{t-1}(k-2)) exp(-cost(k))) y_t(k) along the arcs, for the
// blocks begin <= b < end. `outside` is the block before `begin` at t-1.
template <class Real, Shape kShape, bool kWide>
void advance(const Block<Real>* last, const Block<Real>& outside, const ArcMasks<Real>& masks,
             const RowEmissions<Real>& y, Block<Real>* out, int begin, int end) {
    const EvenEmitter<Real, kShape, kWide> of_even(y.even);
    Block<Real> lower = outside;
    Cells<Real> left = outside.odd;  // of mirrored shapes: what enters the even cells one index after `lower`
    if (kShape == Shape::kMirrored && begin > 0)
        left = chosen(masks.even.skip, begin - 1, sum(outside.even, outside.odd), outside.odd);
    for (int b = begin; b < end; ++b) {
        const Block<Real> here = last[b];
        const Cells<Real> odd = before(lower.odd, here.odd);
        Block<Real> made;
        if (moves_alike(kShape) && !has_factors(kShape)) {
            // An odd cell that may be skipped into is entered from the same cells as the even one before it.
            const Cells<Real> both = sum(here.even, odd), entering = chosen(masks.odd.skip, b, both, here.even);
            const Cells<Real> staying = kShape == Shape::kPlain ? here.odd : masked(here.odd, masks.odd.stay, b);
            made.even = of_even(both, b);
            made.odd = Emitter<Real, false, kWide>(y.odd, b)(sum(staying, entering));
        } else if (moves_alike(kShape)) {
            const Cells<Real> entering = chosen(masks.odd.skip, b, sum(here.even, odd), here.even);
            const Cells<Real> staying = masked(here.odd, masks.odd.stay, b);
            made.even = of_even(sum(here.even, paid(odd, masks.even, b)), b);
            made.odd = Emitter<Real, false, kWide>(y.odd, b)(sum(staying, paid(entering, masks.odd, b)));
        } else if (kShape == Shape::kMirrored) {
            // An even cell that may be skipped into is entered from the same cells as the odd one before it.
            const Cells<Real> both = sum(here.even, here.odd), leaving = chosen(masks.even.skip, b, both, here.odd);
            made.even = of_even(sum(masked(here.even, masks.even.stay, b), before(left, leaving)), b);
            made.odd = Emitter<Real, false, kWide>(y.odd, b)(both);
            left = leaving;
        } else {
            Cells<Real> into_even = masked(odd, masks.even.step, b), into_odd = masked(here.even, masks.odd.step, b);
            if (kShape == Shape::kAny) {
                into_even = sum(into_even, masked(before(lower.even, here.even), masks.even.skip, b));
                into_odd = sum(into_odd, masked(odd, masks.odd.skip, b));
            }
            made.even = of_even(sum(masked(here.even, masks.even.stay, b), paid(into_even, masks.even, b)), b);
            made.odd = Emitter<Real, false, kWide>(
                y.odd, b)(sum(masked(here.odd, masks.odd.stay, b), paid(into_odd, masks.odd, b)));
        }
        out[b] = made;
        lower = here;
    }
}

// The parts of one block of v = beta_{t+1} y_{t+1} that reach: an even cell by its own arcs within the block; an odd
// cell one index below (by a step to an even cell, a skip to an odd one); and an even cell one index below (by a skip).
template <class Real, Shape kShape>
struct Entered {
    Cells<Real> from_same;  // but for the stay of shapes that mask it
    Cells<Real> from_odd, from_even;

    Entered(const Block<Real>& block, const ArcMasks<Real>& masks, int b) {
        if (moves_alike(kShape) && !has_factors(kShape)) {
            from_same = sum(block.even, block.odd);
            from_odd = chosen(masks.odd.skip, b, from_same, block.even);
            return;
        }
        if (kShape == Shape::kMirrored) {
            from_odd = block.even;
            return;
        }
        const Cells<Real> even = paid(block.even, masks.even, b), odd = paid(block.odd, masks.odd, b);
        if (moves_alike(kShape)) {
            from_same = sum(block.even, odd);
            from_odd = chosen(masks.odd.skip, b, sum(even, odd), even);
        } else {
            from_same = masked(odd, masks.odd.step, b);
            from_odd = masked(even, masks.even.step, b);
            if (kShape != Shape::kAny) return;
            from_odd = sum(from_odd, masked(odd, masks.odd.skip, b));
            from_even = masked(even, masks.even.skip, b);
        }
    }
};

// beta_t(k) = v(k) + v(k+1) exp(-cost(k+1)) + v(k+2) exp(-cost(k+2)) along the arcs, where v = beta_{t+1} y_{t+1} is
// `next`; writes the occupancies alpha_t(k) beta_t(k) / 2^total by cell, and beta_t y_t. Returns the sum of the even
// cells' occupancies. `outside` is the block at `end` at t+1.
template <class Real, Shape kShape, bool kWide>
Real retreat(const Block<Real>* next, const Block<Real>& outside, const ArcMasks<Real>& masks,
             const RowEmissions<Real>& y, const Block<Real>* alpha, BitsOf<Real> total, Block<Real>* out,
             Real* even_occupancy, Real* odd_occupancy, int begin, int end) {
    constexpr bool stays = kShape == Shape::kPlain || kShape == Shape::kMirrored;  // in odd states, always
    const EvenEmitter<Real, kShape, kWide> of_even(y.even);
    Lanes<Real> even_sum = {};
    Entered<Real, kShape> upper(outside, masks, end);
    for (int b = end - 1; b >= begin; --b) {
        const Block<Real> here = next[b];
        const Entered<Real, kShape> lower(here, masks, b);
        const Cells<Real> staying = stays ? here.odd : masked(here.odd, masks.odd.stay, b);
        const Cells<Real> odd = sum(staying, after(lower.from_odd, upper.from_odd));
        Cells<Real> even = lower.from_same;
        if (kShape == Shape::kNoSkips) even = sum(masked(here.even, masks.even.stay, b), even);
        if (kShape == Shape::kMirrored)
            even = sum(masked(here.even, masks.even.stay, b), chosen(masks.even.skip, b, odd, here.odd));
        if (kShape == Shape::kAny)
            even = sum(masked(here.even, masks.even.stay, b), even, after(lower.from_even, upper.from_even));
        const Block<Real> a = alpha[b];
        const Lanes<Real> gamma = plain(a.even.mantissa * even.mantissa, a.even.exponent + (even.exponent - total));
        even_sum += gamma;
        store_lanes<Real>(gamma, even_occupancy + b * kLanes<Real>);
        store_lanes<Real>(plain(a.odd.mantissa * odd.mantissa, a.odd.exponent + (odd.exponent - total)),
                          odd_occupancy + b * kLanes<Real>);
        out[b].even = of_even(even, b);
        out[b].odd = Emitter<Real, false, kWide>(y.odd, b)(odd);
        upper = lower;
    }
    return sum_of_lanes<Real>(even_sum);
}

// The share of paths that enter each cell between frames t and t+1 by arc bits: what enters from `alpha`, times `next`,
// v of frame t+1. `masks` are those of any shape; `outside` is the block before `begin` at t.
template <class Real>
void count_entries(const Block<Real>* alpha, const Block<Real>& outside, const ArcMasks<Real>& masks,
                   const Block<Real>* next, BitsOf<Real> total, Real* into_even, Real* into_odd, int begin, int end) {
    Block<Real> lower = outside;
    for (int b = begin; b < end; ++b) {
        const Block<Real> here = alpha[b], v = next[b];
        const Cells<Real> odd = before(lower.odd, here.odd), even = before(lower.even, here.even);
        const auto count = [&](const Masks<Real>& mask, const Cells<Real>& step, const Cells<Real>& skip,
                               const Cells<Real>& ahead, Real* out) {
            const Cells<Real> entering = paid(sum(masked(step, mask.step, b), masked(skip, mask.skip, b)), mask, b);
            store_lanes<Real>(plain(entering.mantissa * ahead.mantissa, entering.exponent + (ahead.exponent - total)),
                              out + b * kLanes<Real>);
        };
        count(masks.even, odd, even, v.even, into_even);
        count(masks.odd, here.even, odd, v.odd, into_odd);
        lower = here;
    }
}

}  // namespace
