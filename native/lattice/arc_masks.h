// Arc bits as masks on exponents, by cell: min(exponent, mask) leaves the exponent alone where the arc exists, and
// makes the number zero where it does not. How cells hold states is said in sums/cells.h.
#pragma once

#include <cstdint>

#include "ctckit.h"
#include "lattice/arena.h"
#include "simd/scaled.h"

namespace {

template <class Real>
struct Masks {
    const BitsOf<Real>* stay;
    const BitsOf<Real>* step;
    const BitsOf<Real>* skip;
};

// The masks of the cells of both parities. A plain lattice has only odd.skip; its other arcs are known.
template <class Real>
struct ArcMasks {
    Masks<Real> even, odd;
    BitsOf<Real>* memory;

    void lay_out(Arena& arena, std::int64_t length, bool plain) {
        memory = arena.take<BitsOf<Real>>(length * (plain ? 1 : 6));
    }

    void build(const std::uint8_t* arcs, int num_states, std::int64_t length, bool plain) {
        BitsOf<Real>* next = memory;
        const auto mask_of = [&](int parity, std::uint8_t arc) {
            constexpr BitsOf<Real> open = 1 << 30;
            BitsOf<Real>* mask = next;
            next += length;
            for (std::int64_t i = 0; i < length; ++i) mask[i] = kZero;
            for (int k = parity; k < num_states; k += 2) mask[k / 2] = arcs[k] & arc ? open : kZero;
            return mask;
        };
        odd.skip = mask_of(1, CTCKIT_SKIP);
        if (plain) return;
        odd.stay = mask_of(1, CTCKIT_STAY);
        odd.step = mask_of(1, CTCKIT_STEP);
        even = {mask_of(0, CTCKIT_STAY), mask_of(0, CTCKIT_STEP), mask_of(0, CTCKIT_SKIP)};
    }
};

}  // namespace
