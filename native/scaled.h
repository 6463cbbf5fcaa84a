// Scaled floats: a number is (mantissa in [1, 2), integer exponent), so that no product under- or overflows and the
// time loop needs neither exp nor log. Rows of such numbers, the two row steps of the lattice recursion, and the
// exponentials that feed them. Knows nothing of CTC. Compiled once per instruction set, hence all in an anonymous
// namespace: an inline function shared with another object might be linked in for the wrong CPU.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if defined(_MSC_VER) && !defined(__clang__)
#define CTCKIT_RESTRICT __restrict
#else
#define CTCKIT_RESTRICT __restrict__
#endif

namespace {

template <class Real>
struct Format;
template <>
struct Format<float> {
    using Bits = std::int32_t;
    static constexpr int kFraction = 23, kBias = 127;
    static constexpr int kTaylor = 7;            // e^r to 2^-27 for |r| <= ln(2)/2
    static constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer, held in the low bits
    static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
    static constexpr float kExpMin = -87.f;  // e^x is a normal number from here on
    static constexpr float kNarrow = -80.f;  // and keeps 10 bits of room below 1 for the arithmetic that follows
};
template <>
struct Format<double> {
    using Bits = std::int64_t;
    static constexpr int kFraction = 52, kBias = 1023;
    static constexpr int kTaylor = 13;
    static constexpr double kRound = 6755399441055744.;  // 1.5 * 2^52
    static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
    static constexpr double kExpMin = -708.;
    static constexpr double kNarrow = -690.;
};
template <class Real>
using BitsOf = typename Format<Real>::Bits;

// A true zero is any number whose exponent is below kDead. It drifts by a few units a frame and is reset to kZero from
// below, so it can't come back to life within 2^26 frames. Scores under -2^28 ln 2 = -1.8e8 nats count as zero.
constexpr std::int32_t kZero = -(1 << 29), kDead = -(1 << 28);

template <class Real>
constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

template <class T>
inline T lesser(T a, T b) {
    return a < b ? a : b;
}
template <class T>
inline T greater(T a, T b) {
    return a > b ? a : b;
}

template <class Real>
inline BitsOf<Real> bits_of(Real x) {
    BitsOf<Real> b;
    std::memcpy(&b, &x, sizeof b);
    return b;
}
template <class Real>
inline Real from_bits(BitsOf<Real> b) {
    Real x;
    std::memcpy(&x, &b, sizeof x);
    return x;
}
template <class Real>
inline BitsOf<Real> exponent_field(BitsOf<Real> e) {
    return static_cast<BitsOf<Real>>(static_cast<std::uint64_t>(e) << Format<Real>::kFraction);
}

// x * 2^d for x >= 1 and d <= 0, by adding to x's own exponent; far below 1 it stops at a number that no sum notices.
template <class Real>
inline Real shifted(Real x, BitsOf<Real> d) {
    using F = Format<Real>;
    return from_bits<Real>(bits_of(x) + exponent_field<Real>(greater<BitsOf<Real>>(d, 1 - F::kBias)));
}

// x * 2^d as a plain number, exactly 0 where it is too small for one.
template <class Real>
inline Real plain(Real x, BitsOf<Real> d) {
    const Real value = shifted(x, d);
    return d <= 1 - Format<Real>::kBias ? Real(0) : value;
}

// x > 0 as (mantissa, exponent + e).
template <class Real>
inline void normalise(Real x, BitsOf<Real> e, Real& mantissa, BitsOf<Real>& exponent) {
    using F = Format<Real>;
    constexpr BitsOf<Real> one = BitsOf<Real>(F::kBias) << F::kFraction;
    constexpr BitsOf<Real> fraction = (BitsOf<Real>(1) << F::kFraction) - 1;
    const BitsOf<Real> b = bits_of(x);
    exponent = greater<BitsOf<Real>>(e + (b >> F::kFraction) - F::kBias, kZero);
    mantissa = from_bits<Real>((b & fraction) | one);
}

// e^r for |r| <= ln(2)/2: the Taylor sum, by Horner's rule.
template <class Real>
inline Real exp_small(Real r) {
    constexpr double c[] = {
        1.,        1.,         1. / 2,      1. / 6,       1. / 24,       1. / 120,       1. / 720,
        1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
    Real p = Real(c[Format<Real>::kTaylor]);
#pragma GCC unroll 16
    for (int i = Format<Real>::kTaylor - 1; i >= 0; --i) p = p * r + Real(c[i]);
    return p;
}

// e^x for x <= 0, exactly 0 below kExpMin; NaN stays NaN.
template <class Real>
inline Real exp_nonpositive(Real x) {
    using F = Format<Real>;
    const Real clamped = x < F::kExpMin ? F::kExpMin : x;
    const Real rounded = clamped * Real(1.4426950408889634) + F::kRound;
    const Real n = rounded - F::kRound;
    const Real r = (clamped - n * F::kLn2High) - n * F::kLn2Low;
    const Real scale = from_bits<Real>(exponent_field<Real>(bits_of(rounded) - bits_of(Real(F::kRound)) + F::kBias));
    return x < F::kExpMin ? Real(0) : exp_small(r) * scale;
}

// e^x for any x <= 0 as a scaled float, in double: the rare frames that exp_nonpositive can't hold.
template <class Real>
inline void exp_scaled(double x, Real& mantissa, BitsOf<Real>& exponent) {
    using F = Format<double>;
    const bool alive = x > kDead * 0.6931471805599453;
    const double clamped = alive ? x : 0.;
    const double n = (clamped * 1.4426950408889634 + F::kRound) - F::kRound;
    const double r = (clamped - n * F::kLn2High) - n * F::kLn2Low;
    normalise<Real>(Real(exp_small(r)), BitsOf<Real>(n), mantissa, exponent);
    if (!alive) exponent = kZero;
}

// Rows are indexed by state and may be read two states beyond either end.
template <class Real>
struct Row {
    Real* mantissa;
    BitsOf<Real>* exponent;
};

// Arc bits turned into caps on exponents: min(e, cap) leaves e alone where the arc exists and makes it zero where not.
template <class Real>
struct Caps {
    const BitsOf<Real>* stay;
    const BitsOf<Real>* step;
    const BitsOf<Real>* skip;
};

// The emissions of one frame, by state: value * 2^exponent; exponent is null in the common case that value holds it
// all.
template <class Real>
struct Emission {
    const Real* value;
    const BitsOf<Real>* exponent;
};

// Sum of three scaled floats as x * 2^e with x in [1, 6).
template <class Real>
inline Real sum3(Real a, BitsOf<Real> ea, Real b, BitsOf<Real> eb, Real c, BitsOf<Real> ec, BitsOf<Real>& e) {
    e = greater(greater(ea, eb), ec);
    return shifted(a, ea - e) + shifted(b, eb - e) + shifted(c, ec - e);
}

// alpha_t(k) = (alpha_{t-1}(k) + alpha_{t-1}(k-1) + alpha_{t-1}(k-2)) y_t(k) along the arcs, for begin <= k < end.
template <class Real, bool kWide>
void advance(Row<Real> before, Caps<Real> caps, Emission<Real> y, Row<Real> after, int begin, int end) {
    using Bits = BitsOf<Real>;
    const Real* CTCKIT_RESTRICT m = before.mantissa;
    const Bits* CTCKIT_RESTRICT e = before.exponent;
    const Bits* CTCKIT_RESTRICT stay = caps.stay;
    const Bits* CTCKIT_RESTRICT step = caps.step;
    const Bits* CTCKIT_RESTRICT skip = caps.skip;
    const Real* CTCKIT_RESTRICT value = y.value;
    const Bits* CTCKIT_RESTRICT exponent = y.exponent;
    Real* CTCKIT_RESTRICT out_m = after.mantissa;
    Bits* CTCKIT_RESTRICT out_e = after.exponent;
    for (int k = begin; k < end; ++k) {
        Bits top;
        const Real sum = sum3<Real>(m[k], lesser(e[k], stay[k]), m[k - 1], lesser(e[k - 1], step[k]), m[k - 2],
                                    lesser(e[k - 2], skip[k]), top);
        if (kWide) top += exponent[k];
        normalise<Real>(sum * value[k], top, out_m[k], out_e[k]);
    }
}

// beta_t(k) = v(k) + v(k+1) + v(k+2) along the arcs, where v = beta_{t+1} y_{t+1} is `after`; writes the occupancy
// alpha_t(k) beta_t(k) / 2^total, and beta_t y_t into `before`.
template <class Real, bool kWide>
void retreat(Row<Real> after, Caps<Real> caps, Emission<Real> y, Row<Real> alpha, BitsOf<Real> total, Row<Real> before,
             Real* CTCKIT_RESTRICT occupancy, int begin, int end) {
    using Bits = BitsOf<Real>;
    const Real* CTCKIT_RESTRICT m = after.mantissa;
    const Bits* CTCKIT_RESTRICT e = after.exponent;
    const Bits* CTCKIT_RESTRICT stay = caps.stay;
    const Bits* CTCKIT_RESTRICT step = caps.step;
    const Bits* CTCKIT_RESTRICT skip = caps.skip;
    const Real* CTCKIT_RESTRICT value = y.value;
    const Bits* CTCKIT_RESTRICT exponent = y.exponent;
    const Real* CTCKIT_RESTRICT alpha_m = alpha.mantissa;
    const Bits* CTCKIT_RESTRICT alpha_e = alpha.exponent;
    Real* CTCKIT_RESTRICT out_m = before.mantissa;
    Bits* CTCKIT_RESTRICT out_e = before.exponent;
    for (int k = begin; k < end; ++k) {
        Bits top;
        const Real beta = sum3<Real>(m[k], lesser(e[k], stay[k]), m[k + 1], lesser(e[k + 1], step[k + 1]), m[k + 2],
                                     lesser(e[k + 2], skip[k + 2]), top);
        occupancy[k] = plain<Real>(alpha_m[k] * beta, alpha_e[k] + top - total);
        if (kWide) top += exponent[k];
        normalise<Real>(beta * value[k], top, out_m[k], out_e[k]);
    }
}

// Zeros in the `count` cells from `begin` on.
template <int count, class Real>
inline void clear(Row<Real> row, int begin) {
    for (int k = 0; k < count; ++k) row.mantissa[begin + k] = 1;
    for (int k = 0; k < count; ++k) row.exponent[begin + k] = kZero;
}

}  // namespace
