// The frames of one sample: reading scores of any dtype and stride, the softmax of a frame, and writing gradients.
#pragma once

#include <cstdint>
#include <cstring>

#include "scaled.h"
#include "tile.h"

namespace {

struct Half {
    std::uint16_t bits;
};
struct BFloat {
    std::uint16_t bits;
};

inline float load(float x) {
    return x;
}
inline double load(double x) {
    return x;
}
inline float load(BFloat x) {
    return from_bits<float>(std::int32_t(std::uint32_t(x.bits) << 16));
}
inline float load(Half x) {
    // Moving the 15 magnitude bits under float's fields and multiplying by 2^112 is right for subnormals too.
    const std::uint32_t magnitude = std::uint32_t(x.bits & 0x7fff) << 13;
    const float scaled = from_bits<float>(std::int32_t(magnitude)) * from_bits<float>(0x77800000);
    const std::uint32_t special = (x.bits & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
    const std::uint32_t sign = std::uint32_t(x.bits & 0x8000) << 16;
    return from_bits<float>(std::int32_t(std::uint32_t(bits_of(scaled)) | special | sign));
}

inline void store(float x, float* out) {
    *out = x;
}
inline void store(double x, double* out) {
    *out = x;
}
inline void store(float x, BFloat* out) {  // to nearest, ties to even
    const std::uint32_t b = std::uint32_t(bits_of(x));
    const std::uint32_t rounded = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
    out->bits = std::uint16_t(x != x ? 0x7fc0 : rounded);
}
inline void store(float x, Half* out) {
    const std::uint32_t b = std::uint32_t(bits_of(x)), sign = (b >> 16) & 0x8000, magnitude = b & 0x7fffffff;
    const std::uint32_t normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
    // Below 2^-14 the sum with 0.5 has half's subnormal step as its last bit, and rounds there.
    const float tiny = from_bits<float>(std::int32_t(magnitude)) + 0.5f;
    const std::uint32_t subnormal = std::uint32_t(bits_of(tiny)) - 0x3f000000u;
    const std::uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
    const std::uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    out->bits = std::uint16_t(sign | (magnitude >= 0x477ff000u ? large : finite));
}

template <class In>
struct Compute {
    using Real = float;
};
template <>
struct Compute<double> {
    using Real = double;
};

template <class In>
struct Frames {
    using Real = typename Compute<In>::Real;
    const In* base;
    std::int64_t stride_t, stride_c;
    int classes;
    Real* stage;  // (kTile, classes), unused where rows can be read in place

    static bool in_place(std::int64_t stride_c);
    const Real* rows(int t, int count);
    std::int64_t row_stride() const { return in_place(stride_c) ? stride_t : classes; }
};

template <class In, class Real>
struct Direct {
    static const Real* view(const In*) { return nullptr; }
    static constexpr bool possible = false;
};
template <class Real>
struct Direct<Real, Real> {
    static const Real* view(const Real* p) { return p; }
    static constexpr bool possible = true;
};

template <class In>
bool Frames<In>::in_place(std::int64_t stride_c) {
    return Direct<In, Real>::possible && stride_c == 1;
}

// `count` frames from t on, row_stride() apart. Where classes are not neighbours, the frame loop is the inner one: then
// the frames are, as in a transposed convolution output.
template <class In>
auto Frames<In>::rows(int t, int count) -> const Real* {
    const In* first = base + t * stride_t;
    if (in_place(stride_c)) return Direct<In, Real>::view(first);
    if (stride_c == 1) {
        for (int f = 0; f < count; ++f)
            for (int c = 0; c < classes; ++c) stage[std::int64_t(f) * classes + c] = load(first[f * stride_t + c]);
    } else {
        for (int c = 0; c < classes; ++c)
            for (int f = 0; f < count; ++f)
                stage[std::int64_t(f) * classes + c] = load(first[f * stride_t + c * stride_c]);
    }
    return stage;
}

// Plain loops run over whole runs of so many numbers, so that the compiler needs no scalar tail: a register of 256
// bits, which for a softmax is no slower than one of 512.
constexpr int kRun = 8;

// Rows that will be needed soon: of the scores, and of the gradient if there is one. A sample's rows lie N * C apart,
// too far for the processor to guess.
template <class In>
struct Ahead {
    const In* scores;
    std::int64_t stride_c;
    const In* grad;

    // Asks for class c of both.
    void ask(int c) const {
        CTCKIT_PREFETCH(scores + c * stride_c, 0);
        if (grad) CTCKIT_PREFETCH(grad + c, 1);
    }
    void ask_for_row(int count) const {
        for (int c = 0; c < count; c += kRun) ask(c);
    }
};

template <class Real>
struct Normaliser {
    Real top, sum;  // log-softmax of x is x - top - log(sum)
};

template <class Real>
Real highest(const Real* x, int count) {
    Real top = x[0];
    int c = 0;
    if (count >= kTile) {
        Pack<Real> even, odd, next;
        load_pack(x, even);
        load_pack(x + count - kTile, odd);
        for (c = kTile; c + 2 * kTile <= count; c += 2 * kTile) {
            load_pack(x + c, next);
            raise<Real>(even, next);
            load_pack(x + c + kTile, next);
            raise<Real>(odd, next);
        }
        if (c + kTile <= count) {
            load_pack(x + c, next);
            raise<Real>(even, next);
        }
        raise<Real>(even, odd);
        return greatest_of<Real>(even);
    }
    for (; c < count; ++c) top = x[c] > top ? x[c] : top;
    return top;
}

// exps[c] = e^(x[c] - top); returns top and the sum. NaN and +inf make the sum NaN. Lanes by hand: left to the
// compiler, the ends of a short row take longer than all the rest.
template <class Real, class In>
Normaliser<Real> exponentials(const Real* CTCKIT_RESTRICT x, int count, Real* CTCKIT_RESTRICT exps, Ahead<In> ahead) {
    const Real top = highest(x, count);
    const auto block = [&](int from) {
#pragma omp simd
        for (int i = 0; i < kRun; ++i) exps[from + i] = exp_nonpositive(x[from + i] - top);
    };
    Pack<Real> part[2] = {}, next;
    int c = 0;
    for (; c + kRun <= count; c += kRun) {
        ahead.ask(c);
        block(c);
        for (int i = 0; i < kRun; i += kTile) {
            load_pack(exps + c + i, next);
            part[i / kTile % 2] += next;
        }
    }
    if (c < count) {
        ahead.ask(c);
        if (count >= kRun) block(count - kRun);  // some of it once more
        else
            for (int i = 0; i < count; ++i) exps[i] = exp_nonpositive(x[i] - top);
        if (c + kTile <= count) {
            load_pack(exps + c, next);
            part[0] += next;
            c += kTile;
        }
    }
    Real sum = total_of<Real>(part[0] + part[1]);
    for (; c < count; ++c) sum += exps[c];
    return {top, sum};
}

// True where no entry is NaN or +inf.
template <class Real>
bool readable(const Real* CTCKIT_RESTRICT x, int count) {
    int bad = 0;
#pragma omp simd reduction(+ : bad)
    for (int c = 0; c < count; ++c) bad += x[c] < kInfinity<Real> ? 0 : 1;
    return bad == 0;
}

template <class Real, class In>
void scale_into(const Real* x, int count, Real factor, In* out) {  // x may be out
    for (int c = 0; c < count; ++c) store(x[c] * factor, out + c);
}

template <class Real, class In>
void fill(In* out, int count, Real value) {
    In stored;
    store(value, &stored);
    for (int c = 0; c < count; ++c) out[c] = stored;
}

}  // namespace
