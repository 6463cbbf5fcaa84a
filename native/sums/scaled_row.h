// Single scaled floats, read from and written to a row of cells: for what is too rare or too irregular for the row
// steps, such as long arcs.
#pragma once

#include <cstdint>

#include "simd/scaled.h"
#include "sums/cells.h"

namespace {

template <class Real>
struct Scaled {
    Real mantissa;  // in [1, 2)
    BitsOf<Real> exponent;
};

// x * 2^exponent, for x of a few units.
template <class Real>
inline Scaled<Real> normalised(Real x, BitsOf<Real> exponent) {
    Scaled<Real> made;
    normalise<Real>(x, greater<BitsOf<Real>>(exponent, kZero), made.mantissa, made.exponent);
    return made;
}
template <class Real>
inline Scaled<Real> exponential(double x) {
    Scaled<Real> made;
    exp_scaled<Real>(x, made.mantissa, made.exponent);
    return made;
}
template <class Real>
inline Scaled<Real> times(const Scaled<Real>& a, const Scaled<Real>& b) {
    return normalised<Real>(a.mantissa * b.mantissa, a.exponent + b.exponent);
}
template <class Real>
inline Scaled<Real> plus(const Scaled<Real>& a, const Scaled<Real>& b) {
    const BitsOf<Real> e = greater(a.exponent, b.exponent);
    return normalised<Real>(shifted(a.mantissa, a.exponent - e) + shifted(b.mantissa, b.exponent - e), e);
}
// exp(-cost) of state k; `costs` may be null.
template <class Real>
inline Scaled<Real> entry_factor(const double* costs, int k) {
    return costs ? exponential<Real>(-costs[k]) : Scaled<Real>{1, 0};
}
// x / 2^total as a plain number.
template <class Real>
inline Real share(const Scaled<Real>& x, BitsOf<Real> total) {
    return plain<Real>(x.mantissa, x.exponent - total);
}

// The position of one state's number in a row.
template <class Real>
struct Cell {
    Real* mantissa;
    BitsOf<Real>* exponent;

    Scaled<Real> get() const { return {*mantissa, *exponent}; }
    void set(const Scaled<Real>& x) const {
        *mantissa = x.mantissa;
        *exponent = x.exponent;
    }
};
template <class Real>
inline Cell<Real> cell_of(Block<Real>* row, int k) {
    Block<Real>& block = row[k / 2 / kLanes<Real>];
    Cells<Real>& cells = k % 2 == 0 ? block.even : block.odd;
    const int lane = k / 2 % kLanes<Real>;
    return {reinterpret_cast<Real*>(&cells.mantissa) + lane, reinterpret_cast<BitsOf<Real>*>(&cells.exponent) + lane};
}
template <class Real>
inline Scaled<Real> value_of(const Block<Real>* row, int k) {
    const Block<Real>& block = row[k / 2 / kLanes<Real>];
    const Cells<Real>& cells = k % 2 == 0 ? block.even : block.odd;
    const int lane = k / 2 % kLanes<Real>;
    return {reinterpret_cast<const Real*>(&cells.mantissa)[lane],
            reinterpret_cast<const BitsOf<Real>*>(&cells.exponent)[lane]};
}

}  // namespace
