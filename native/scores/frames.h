// The frames of one sample: reading scores of any dtype and stride, the softmax of a frame, and writing gradients.
#pragma once

#include <cstdint>
#include <type_traits>

#include "ctckit.h"
#include "lattice/arena.h"
#include "scores/half.h"
#include "simd/lanes.h"
#include "simd/scaled.h"

namespace {

template <class In>
struct Frames {
    using Real = typename Compute<In>::Real;
    static constexpr bool kAsTheyAre = std::is_same_v<In, Real>;  // scores are read and written without conversion
    const In* base;
    std::int64_t stride_t, stride_c;
    int classes;
    Real* stage;  // (kPack, classes), unused where rows can be read in place

    void lay_out(Arena& arena) { stage = arena.take<Real>(in_place() ? 0 : std::int64_t(kPack) * classes); }
    bool in_place() const { return kAsTheyAre && stride_c == 1; }
    const Real* rows(int t, int count);
    std::int64_t row_stride() const { return in_place() ? stride_t : classes; }
    Real at(int t, int c) const { return load(base[t * stride_t + c * stride_c]); }
    void gather(const std::int32_t* labels, int num_labels, int t0, int count, Real* table) const;
};

// A sample's frames, the first of them at `first`; the stage is still null.
template <class In>
Frames<In> frames_of(const ctckit_scores& scores, std::int64_t first) {
    return {static_cast<const In*>(scores.data) + first, scores.stride_t, scores.stride_c, int(scores.num_classes),
            nullptr};
}

// The rows of one sample's gradient, where one is wanted.
template <class In>
struct Gradient {
    In* base;
    std::int64_t stride;

    explicit operator bool() const { return base != nullptr; }
    In* row(int t) const { return base + t * stride; }
};
template <class In>
Gradient<In> gradient_of(const ctckit_sums_out& out, std::int64_t first) {
    In* base = static_cast<In*>(out.grad);
    return {base ? base + first : nullptr, out.grad_stride_t};
}

// `count` frames from t on, row_stride() apart. If classes are not contiguous in memory, the frame loop is the inner
// one: then frames are, as in a transposed convolution output.
template <class In>
auto Frames<In>::rows(int t, int count) -> const Real* {
    const In* first = base + t * stride_t;
    if (in_place()) return reinterpret_cast<const Real*>(first);
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

// table[i * kPack + f] = the score of labels[i] at frame t0 + f; after `count` frames, the last of them again.
template <class In>
void Frames<In>::gather(const std::int32_t* labels, int num_labels, int t0, int count, Real* table) const {
    const In* frame[kPack];
    for (int f = 0; f < kPack; ++f) frame[f] = base + (t0 + lesser(f, count - 1)) * stride_t;
    for (int i = 0; i < num_labels; ++i) {
        const std::int64_t c = labels[i] * stride_c;
        for (int f = 0; f < kPack; ++f) table[i * kPack + f] = load(frame[f][c]);
    }
}

// Plain loops run over whole registers, and at least a pack, so that the compiler needs no scalar tail.
template <class Real>
constexpr int kRun = kLanes<Real> > kPack ? kLanes<Real> : kPack;

// Rows that will be needed soon: of the scores, and of the gradient if there is one. A sample's rows lie N * C apart,
// too far for the processor to guess.
template <class In>
struct Ahead {
    const In* scores;
    std::int64_t stride_c;
    const In* grad;

    // Prefetches class c of both.
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

// exps[c] = e^(x[c] - top); returns top and the sum. NaN and +inf make the sum NaN. The runs are written by hand: as
// the compiler makes them, the end of a short row takes longer than the rest.
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
    if (c < count && count >= run) {  // the last run, without the part that others have added
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

// A class is sure if its softmax is above 0.8: then the sum of the exponentials, of which its own is 1, is below this.
template <class Real>
constexpr Real kSure = Real(1.25);

// The sum of a sure softmax's exponentials but for the best class's: with the digits that the sum with it has lost.
// (Inlined, it would take registers from the loop over classes.)
template <class Real>
CTCKIT_NOINLINE Real rest_of(const Real* exps, int count) {
    constexpr int lanes = kLanes<Real>;
    Lanes<Real> part[4] = {};
    const auto add = [&](int from, int i) {
        const Lanes<Real> y = load_lanes(exps + from);
        part[i] += y < 1 ? y : Lanes<Real>{};
    };
    int c = 0;
    for (; c + 4 * lanes <= count; c += 4 * lanes)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) add(c + i * lanes, i);
    for (; c + lanes <= count; c += lanes) add(c, 0);
    Real sum = sum_of_lanes<Real>((part[0] + part[1]) + (part[2] + part[3]));
    for (; c < count; ++c) sum += exps[c] < 1 ? exps[c] : Real(0);
    return sum;
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

template <class In>
void add_row(const In* row, int count, In* out) {
    for (int c = 0; c < count; ++c) store(load(out[c]) + load(row[c]), out + c);
}

template <class Real, class In>
void fill(In* out, int count, Real value) {
    In stored;
    store(value, &stored);
    for (int c = 0; c < count; ++c) out[c] = stored;
}

}  // namespace
