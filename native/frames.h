// The frames of one sample: reading scores of any dtype and stride, the softmax of a frame, and writing gradients.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.h"
#include "lanes.h"
#include "scaled.h"

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

// What a batch says of sample n's frames; the stage is still to be placed.
template <class In>
Frames<In> frames_of(const ctckit::Batch& batch, std::int64_t n) {
    return {static_cast<const In*>(batch.scores) + n * batch.stride_n, batch.stride_t, batch.stride_c,
            int(batch.classes), nullptr};
}

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

// Plain loops run over whole registers, and no less than a pack, so that the compiler needs no scalar tail.
template <class Real>
constexpr int kRun = kLanes<Real> > kPack ? kLanes<Real> : kPack;

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
        for (int c = 0; c < count; c += 64 / int(sizeof(In))) ask(c);
        ask(count - 1);  // on a line of its own, if the row does not begin with one
    }
};

template <class Real>
struct Normaliser {
    Real top, sum;  // log-softmax of x is x - top - log(sum)
};

template <class Real>
Real highest(const Real* x, int count) {
    constexpr int lanes = kLanes<Real>;
    int c = 0;
    if (count >= lanes) {
        Lanes<Real> even = load_lanes(x), odd = load_lanes(x + count - lanes);
        for (c = lanes; c + 2 * lanes <= count; c += 2 * lanes) {
            even = greater(even, load_lanes(x + c));
            odd = greater(odd, load_lanes(x + c + lanes));
        }
        if (c + lanes <= count) even = greater(even, load_lanes(x + c));
        return greatest_of_lanes<Real>(greater(even, odd));
    }
    Real top = x[0];
    for (; c < count; ++c) top = greater(top, x[c]);
    return top;
}

// exps[c] = e^(x[c] - top); returns top and the sum. NaN and +inf make the sum NaN. Runs by hand: left to the compiler,
// the ends of a short row take longer than all the rest.
template <class Real, class In>
Normaliser<Real> exponentials(const Real* CTCKIT_RESTRICT x, int count, Real* CTCKIT_RESTRICT exps, Ahead<In> ahead) {
    constexpr int run = kRun<Real>;
    const Real top = highest(x, count);
    ahead.ask(count - 1);  // see ask_for_row
    const auto fill_run = [&](int from) {
        ahead.ask(from);
#pragma omp simd
        for (int i = 0; i < run; ++i) exps[from + i] = exp_nonpositive(x[from + i] - top);
    };
    Lanes<Real> parts = {};
    const auto add_run = [&](const Real* y) {
        for (int i = 0; i < run; i += kLanes<Real>) parts += load_lanes(y + i);
    };
    int c = 0;
    for (; c + run <= count; c += run) {
        fill_run(c);
        add_run(exps + c);
    }
    if (c < count && count >= run) {  // the last run, without what others have added
        const int from = count - run;
        fill_run(from);
        Real rest[run];
        for (int i = 0; i < run; ++i) rest[i] = from + i < c ? 0 : exps[from + i];
        add_run(rest);
        c = count;
    }
    Real sum = sum_of_lanes<Real>(parts);
    for (; c < count; ++c) sum += exps[c] = exp_nonpositive(x[c] - top);
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
