// Scaled floats: a number is (mantissa in [1, 2), integer exponent), so that no product under- or overflows and the
// time loop needs neither exp nor log. Their arithmetic, for single numbers and for lanes of them (cells.h), and the
// exponentials that feed it. Compiled once per instruction set, hence all in an anonymous namespace: an inline function
// shared with another object might be linked in for the wrong CPU.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

// Vector types and shuffles of two vectors, as GCC and clang have them. Without them, everything is done number by
// number.
#if defined(__clang__)
#define CTCKIT_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#elif defined(__GNUC__)
#define CTCKIT_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, decltype((a) < (b)){__VA_ARGS__})
#endif
#if defined(CTCKIT_SHUFFLE)
#define CTCKIT_PREFETCH(address, for_writing) __builtin_prefetch(address, for_writing)
#else
#define CTCKIT_PREFETCH(address, for_writing) (void)(address)
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define CTCKIT_RESTRICT __restrict
#define CTCKIT_NOINLINE __declspec(noinline)
#else
#define CTCKIT_RESTRICT __restrict__
#define CTCKIT_NOINLINE __attribute__((noinline))
#endif

namespace {

template <class Real>
struct Format;
template <>
struct Format<float> {
    using Bits = std::int32_t;
    using Unsigned = std::uint32_t;
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
    using Unsigned = std::uint64_t;
    static constexpr int kFraction = 52, kBias = 1023;
    static constexpr int kTaylor = 13;
    static constexpr double kRound = 6755399441055744.;  // 1.5 * 2^52
    static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
    static constexpr double kExpMin = -708.;
    static constexpr double kNarrow = -690.;
};
template <class Real>
using BitsOf = typename Format<Real>::Bits;

// A true zero is any number whose exponent is below kDead. It drifts up by at most two units per frame, so it stays a
// zero for 2^26 frames; down by at most 128, so it is reset to kZero once per block, and at each frame with exponents
// of its own. Scores under -2^28 ln 2 = -1.8e8 nats count as -inf.
constexpr std::int32_t kZero = -(1 << 29), kDead = -(1 << 28);

constexpr double kLn2 = 0.6931471805599453, kLog2E = 1.4426950408889634;

// Whether a score, in nats, is not so low that it counts as -inf.
inline bool is_alive(double score) {
    return score > kDead * kLn2;
}

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
    return (BitsOf<Real>)((typename Format<Real>::Unsigned)e << Format<Real>::kFraction);
}

// x * 2^d for x >= 1 and d <= 0, by adding to x's own exponent; clamped where the result is too small to matter in a
// sum.
template <class Real>
inline Real shifted(Real x, BitsOf<Real> d) {
    const BitsOf<Real> least = BitsOf<Real>{} + (1 - Format<Real>::kBias);
    return from_bits<Real>(bits_of(x) + exponent_field<Real>(greater(d, least)));
}

// x * 2^d as a plain number, exactly 0 where it is too small for one.
template <class Real>
inline Real plain(Real x, BitsOf<Real> d) {
    const Real value = shifted(x, d);
    return d <= 1 - Format<Real>::kBias ? Real{} : value;
}

// x > 0 as (mantissa, exponent + e).
template <class Real>
inline void normalise(Real x, BitsOf<Real> e, Real& mantissa, BitsOf<Real>& exponent) {
    using F = Format<Real>;
    const BitsOf<Real> one = exponent_field<Real>(BitsOf<Real>{} + F::kBias);
    const BitsOf<Real> fraction = exponent_field<Real>(BitsOf<Real>{} + 1) - 1;
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
    const Real rounded = x * Real(kLog2E) + F::kRound;  // meaningless below kExpMin, and then not used
    const Real n = rounded - F::kRound;
    const Real r = (x - n * F::kLn2High) - n * F::kLn2Low;
    using Unsigned = typename F::Unsigned;
    const Unsigned scale = (Unsigned(bits_of(rounded)) << F::kFraction) + Unsigned(bits_of(Real(1)));
    return x < F::kExpMin ? Real(0) : exp_small(r) * from_bits<Real>(BitsOf<Real>(scale));
}

// e^x as a scaled float, computed in double, where a plain number cannot hold it; 0 below the limit of scores.
template <class Real>
inline void exp_scaled(double x, Real& mantissa, BitsOf<Real>& exponent) {
    using F = Format<double>;
    const bool alive = is_alive(x);
    const double clamped = alive ? x : 0.;
    const double n = (clamped * kLog2E + F::kRound) - F::kRound;
    const double r = (clamped - n * F::kLn2High) - n * F::kLn2Low;
    normalise<Real>(Real(exp_small(r)), BitsOf<Real>(n), mantissa, exponent);
    if (!alive) exponent = kZero;
}

}  // namespace
