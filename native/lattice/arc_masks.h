// Arc bits as masks on exponents, by cell: min(exponent, mask) leaves the exponent alone where the arc exists, and
// makes the number zero where it does not. And entry costs as factors, by cell. How cells hold states is said in
// sums/cells.h.
#pragma once

#include <cstdint>
#include <type_traits>

#include "ctckit.h"
#include "lattice/arena.h"
#include "simd/scaled.h"

namespace {

// What a row step may rely on, so that it reads only the masks that a lattice needs. The first that holds is used.
enum class Shape {
    // CTC's own lattices: all even states have one label; every state may be stayed in and stepped into, and no even
    // one skipped into; paths begin in the first two states and end in the last two. So a path may also be taken to
    // begin in state 0 before the first frame and to end in the last state after the last frame, by ordinary arcs.
    kPlain,
    // All even states have one label, may be stayed in and stepped into, and not skipped into; odd states may be
    // stepped into. For example: tokens of one frame each.
    kShared,
    kSharedCosts,  // the same with entry costs
    // Like the two before, but even states emit each its own: they have different labels, or states have scores. For
    // example: gaps between tokens, or lattices without blanks.
    kOwn,
    kOwnCosts,
    // Like kOwn, with even and odd states exchanged. For example: a wildcard before the first blank.
    kMirrored,
    kNoSkips,  // no state may be skipped into
    kAny,
};

// Whether all even states have the same emissions, which are then read from the label's slot.
constexpr bool shares_even(Shape shape) {
    return shape <= Shape::kSharedCosts;
}
// Whether only masks for staying in odd states and skipping into them are read.
constexpr bool moves_alike(Shape shape) {
    return shape <= Shape::kOwnCosts;
}
constexpr bool has_factors(Shape shape) {
    return shape == Shape::kSharedCosts || shape == Shape::kOwnCosts || shape >= Shape::kNoSkips;
}

// Calls visit(shape, wide) with both as types, for shapes other than plain ones.
template <class Visit>
inline void with_shape(Shape shape, bool wide, Visit visit) {
    const auto with_width = [&](auto known) {
        wide ? visit(known, std::true_type{}) : visit(known, std::false_type{});
    };
    switch (shape) {
        case Shape::kPlain:
            return;
        case Shape::kShared:
            return with_width(std::integral_constant<Shape, Shape::kShared>{});
        case Shape::kSharedCosts:
            return with_width(std::integral_constant<Shape, Shape::kSharedCosts>{});
        case Shape::kOwn:
            return with_width(std::integral_constant<Shape, Shape::kOwn>{});
        case Shape::kOwnCosts:
            return with_width(std::integral_constant<Shape, Shape::kOwnCosts>{});
        case Shape::kMirrored:
            return with_width(std::integral_constant<Shape, Shape::kMirrored>{});
        case Shape::kNoSkips:
            return with_width(std::integral_constant<Shape, Shape::kNoSkips>{});
        case Shape::kAny:
            return with_width(std::integral_constant<Shape, Shape::kAny>{});
    }
}

// Whether a path can pay this cost.
inline bool payable(double cost) {
    return is_alive(-cost);
}

template <class Real>
struct Masks {
    const BitsOf<Real>* stay;
    const BitsOf<Real>* step;
    const BitsOf<Real>* skip;
    // exp(-cost) as a scaled float; 1 for states without a cost, or that nothing may enter.
    const Real* factor;
    const BitsOf<Real>* factor_exponent;
};

// The masks of the cells of both parities: those that the shape's row step reads.
template <class Real>
struct ArcMasks {
    Masks<Real> even, odd;

    void lay_out(Arena& arena, std::int64_t length, Shape shape) {
        masks_ = arena.take<BitsOf<Real>>(length * num_masks(shape));
        factors_ = arena.take<Real>(has_factors(shape) ? 2 * length : 0);
        exponents_ = arena.take<BitsOf<Real>>(has_factors(shape) ? 2 * length : 0);
    }

    void build(const std::uint8_t* arcs, const double* costs, int num_states, std::int64_t length, Shape shape) {
        BitsOf<Real>* next = masks_;
        const auto mask_of = [&](int parity, std::uint8_t arc) {
            constexpr BitsOf<Real> open = 1 << 30;
            BitsOf<Real>* mask = next;
            next += length;
            for (std::int64_t i = 0; i < length; ++i) mask[i] = kZero;
            for (int k = parity; k < num_states; k += 2) {
                const bool there = (arcs[k] & arc) && (arc == CTCKIT_STAY || !costs || payable(costs[k]));
                mask[k / 2] = there ? open : kZero;
            }
            return mask;
        };
        if (shape == Shape::kMirrored) {
            even.skip = mask_of(0, CTCKIT_SKIP) + 1;  // for each cell, whether one may skip into the next one
            even.stay = mask_of(0, CTCKIT_STAY);
            return;
        }
        odd.skip = mask_of(1, CTCKIT_SKIP);
        if (shape == Shape::kPlain) return;
        odd.stay = mask_of(1, CTCKIT_STAY);
        if (has_factors(shape)) build_factors(costs, num_states, length);
        if (moves_alike(shape)) return;
        odd.step = mask_of(1, CTCKIT_STEP);
        even.stay = mask_of(0, CTCKIT_STAY);
        even.step = mask_of(0, CTCKIT_STEP);
        even.skip = mask_of(0, CTCKIT_SKIP);
    }

   private:
    static int num_masks(Shape shape) { return shape == Shape::kPlain ? 1 : shape <= Shape::kMirrored ? 2 : 6; }

    void build_factors(const double* costs, int num_states, std::int64_t length) {
        for (std::int64_t i = 0; i < 2 * length; ++i) {
            factors_[i] = 1;
            exponents_[i] = 0;
        }
        for (int k = 0; costs && k < num_states; ++k) {
            const std::int64_t cell = k % 2 * length + k / 2;
            if (payable(costs[k])) exp_scaled<Real>(-costs[k], factors_[cell], exponents_[cell]);
        }
        even.factor = factors_;
        even.factor_exponent = exponents_;
        odd.factor = factors_ + length;
        odd.factor_exponent = exponents_ + length;
    }

    BitsOf<Real>* masks_;
    Real* factors_;
    BitsOf<Real>* exponents_;
};

}  // namespace
