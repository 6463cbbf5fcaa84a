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

// A true zero is any number whose exponent is below kDead. It drifts up by at most two units a frame, so it can't come
// back to life within 2^26 frames; down by at most 128, so it is settled at kZero again every so many frames, and at
// each frame with exponents of its own. Scores under -2^28 ln 2 = -1.8e8 nats count as zero.
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
    exponent = e + (b >> F::kFraction) - F::kBias;
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

// The states of one frame, those at even places of the lattice (0, 2, ...) apart from those at odd ones, since the two
// have different neighbours: state 2i is even cell i, state 2i+1 odd cell i. Cells -1 and one beyond may be read.
template <class Real>
struct Cells {
    Real* mantissa;
    BitsOf<Real>* exponent;
};
template <class Real>
struct Row {
    Cells<Real> even, odd;
};

// Arc bits turned into caps on exponents: min(e, cap) leaves e alone where the arc exists and makes it zero where not.
template <class Real>
struct Caps {
    const BitsOf<Real>* stay;
    const BitsOf<Real>* step;
    const BitsOf<Real>* skip;
};
template <class Real>
struct Arcs {
    Caps<Real> even, odd;
};

// The emissions of one frame: value * 2^exponent; exponents are read in wide frames only, and of a plain lattice's even
// states only the first, which serves all.
template <class Real>
struct Emission {
    const Real* value;
    const BitsOf<Real>* exponent;
};
template <class Real>
struct Emissions {
    Emission<Real> even, odd;
};

// Sums of scaled floats as x * 2^e with x in [1, 6).
template <class Real>
inline Real sum2(Real a, BitsOf<Real> ea, Real b, BitsOf<Real> eb, BitsOf<Real>& e) {
    e = greater(ea, eb);
    return shifted(a, ea - e) + shifted(b, eb - e);
}
template <class Real>
inline Real sum3(Real a, BitsOf<Real> ea, Real b, BitsOf<Real> eb, Real c, BitsOf<Real> ec, BitsOf<Real>& e) {
    e = greater(greater(ea, eb), ec);
    return shifted(a, ea - e) + shifted(b, eb - e) + shifted(c, ec - e);
}

// x * 2^e times an emission, as cell i.
template <class Real, bool kWide>
inline void emit(Real x, BitsOf<Real> e, Real value, BitsOf<Real> exponent, Cells<Real> out, int i) {
    if (kWide) e = greater<BitsOf<Real>>(e + exponent, kZero);
    normalise<Real>(x * value, e, out.mantissa[i], out.exponent[i]);
}

// alpha_t(k) = (alpha_{t-1}(k) + alpha_{t-1}(k-1) + alpha_{t-1}(k-2)) y_t(k) along the arcs, for the cells begin <= i <
// end. In a plain lattice every state may be stayed in and stepped into, and no even one skipped into.
template <class Real, bool kPlain, bool kWide>
void advance(const Row<Real> before, const Arcs<Real> arcs, const Emissions<Real> y, const Row<Real> after, int begin,
             int end) {
    using Bits = BitsOf<Real>;
    const Cells<Real> even = before.even, odd = before.odd;
    const Real even_value = y.even.value[0];
    const Bits even_exponent = kWide ? y.even.exponent[0] : 0;
#pragma omp simd
    for (int i = begin; i < end; ++i) {
        Bits top_even, top_odd;
        Real sum_even, sum_odd;
        const Bits skipped = lesser(odd.exponent[i - 1], arcs.odd.skip[i]);
        if (kPlain) {
            sum_even =
                sum2<Real>(even.mantissa[i], even.exponent[i], odd.mantissa[i - 1], odd.exponent[i - 1], top_even);
            sum_odd = sum3<Real>(odd.mantissa[i], odd.exponent[i], even.mantissa[i], even.exponent[i],
                                 odd.mantissa[i - 1], skipped, top_odd);
        } else {
            sum_even = sum3<Real>(even.mantissa[i], lesser(even.exponent[i], arcs.even.stay[i]), odd.mantissa[i - 1],
                                  lesser(odd.exponent[i - 1], arcs.even.step[i]), even.mantissa[i - 1],
                                  lesser(even.exponent[i - 1], arcs.even.skip[i]), top_even);
            sum_odd = sum3<Real>(odd.mantissa[i], lesser(odd.exponent[i], arcs.odd.stay[i]), even.mantissa[i],
                                 lesser(even.exponent[i], arcs.odd.step[i]), odd.mantissa[i - 1], skipped, top_odd);
        }
        emit<Real, kWide>(sum_even, top_even, kPlain ? even_value : y.even.value[i],
                          !kWide   ? 0
                          : kPlain ? even_exponent
                                   : y.even.exponent[i],
                          after.even, i);
        emit<Real, kWide>(sum_odd, top_odd, y.odd.value[i], kWide ? y.odd.exponent[i] : 0, after.odd, i);
    }
}

// beta_t(k) = v(k) + v(k+1) + v(k+2) along the arcs, where v = beta_{t+1} y_{t+1} is `after`; writes the occupancy
// alpha_t(k) beta_t(k) / 2^total, and beta_t y_t into `before`. Returns the sum of the even cells' occupancies.
template <class Real, bool kPlain, bool kWide>
Real retreat(const Row<Real> after, const Arcs<Real> arcs, const Emissions<Real> y, const Row<Real> alpha,
             BitsOf<Real> total, const Row<Real> before, Real* even_occupancy, Real* odd_occupancy, int begin,
             int end) {
    using Bits = BitsOf<Real>;
    const Cells<Real> even = after.even, odd = after.odd;
    Real sum = 0;
    const Real even_value = y.even.value[0];
    const Bits even_exponent = kWide ? y.even.exponent[0] : 0;
#pragma omp simd reduction(+ : sum)
    for (int i = begin; i < end; ++i) {
        Bits top_even, top_odd;
        Real sum_even, sum_odd;
        const Bits skipped = lesser(odd.exponent[i + 1], arcs.odd.skip[i + 1]);
        if (kPlain) {
            sum_even = sum2<Real>(even.mantissa[i], even.exponent[i], odd.mantissa[i], odd.exponent[i], top_even);
            sum_odd = sum3<Real>(odd.mantissa[i], odd.exponent[i], even.mantissa[i + 1], even.exponent[i + 1],
                                 odd.mantissa[i + 1], skipped, top_odd);
        } else {
            sum_even = sum3<Real>(even.mantissa[i], lesser(even.exponent[i], arcs.even.stay[i]), odd.mantissa[i],
                                  lesser(odd.exponent[i], arcs.odd.step[i]), even.mantissa[i + 1],
                                  lesser(even.exponent[i + 1], arcs.even.skip[i + 1]), top_even);
            sum_odd =
                sum3<Real>(odd.mantissa[i], lesser(odd.exponent[i], arcs.odd.stay[i]), even.mantissa[i + 1],
                           lesser(even.exponent[i + 1], arcs.even.step[i + 1]), odd.mantissa[i + 1], skipped, top_odd);
        }
        const Real gamma = plain<Real>(alpha.even.mantissa[i] * sum_even, alpha.even.exponent[i] + top_even - total);
        sum += gamma;
        even_occupancy[i] = gamma;
        odd_occupancy[i] = plain<Real>(alpha.odd.mantissa[i] * sum_odd, alpha.odd.exponent[i] + top_odd - total);
        emit<Real, kWide>(sum_even, top_even, kPlain ? even_value : y.even.value[i],
                          !kWide   ? 0
                          : kPlain ? even_exponent
                                   : y.even.exponent[i],
                          before.even, i);
        emit<Real, kWide>(sum_odd, top_odd, y.odd.value[i], kWide ? y.odd.exponent[i] : 0, before.odd, i);
    }
    return sum;
}

// Zeros in the `count` cells from `begin` on.
template <int count, class Real>
inline void clear(Cells<Real> cells, int begin) {
    for (int i = 0; i < count; ++i) cells.mantissa[begin + i] = 1;
    for (int i = 0; i < count; ++i) cells.exponent[begin + i] = kZero;
}

}  // namespace
