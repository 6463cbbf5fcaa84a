// Eight frames at a time: a tile holds one value per (state or slot, frame), and these turn tiles into rows and back.
// Without them, spreading emissions over states and summing occupancies over labels cost more than the recursion.
#pragma once

#include <cstdint>
#include <cstring>

#include "scaled.h"

namespace {

constexpr int kTile = 8;  // frames in a tile

// Eight numbers in registers. Compilers keep such a variable there, which they don't reliably do for an array.
#if defined(CTCKIT_SHUFFLE)
template <class T>
struct PackOf {
    typedef T type __attribute__((vector_size(kTile * sizeof(T))));
};
template <class T>
using Pack = typename PackOf<T>::type;
#else
template <class T>
struct Pack {
    T lane[kTile];
    T& operator[](int i) { return lane[i]; }
    T operator[](int i) const { return lane[i]; }
    friend Pack operator+(Pack a, const Pack& b) { return a += b; }
    friend Pack operator-(Pack a, const Pack& b) {
        for (int i = 0; i < kTile; ++i) a.lane[i] -= b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, const Pack& b) {
        for (int i = 0; i < kTile; ++i) a.lane[i] *= b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, T b) {
        for (int i = 0; i < kTile; ++i) a.lane[i] *= b;
        return a;
    }
    Pack& operator+=(const Pack& b) {
        for (int i = 0; i < kTile; ++i) lane[i] += b.lane[i];
        return *this;
    }
};
#endif

template <class T>
inline void load_pack(const T* from, Pack<T>& to) {
    std::memcpy(&to, from, sizeof to);
}
template <class T>
inline void store_pack(const Pack<T>& from, T* to) {
    std::memcpy(to, &from, sizeof from);
}

// bound = the greater (lesser) of x and bound, lane by lane.
template <class T>
inline void raise(Pack<T>& bound, const Pack<T>& x) {
#if defined(CTCKIT_SHUFFLE) && defined(__AVX__)
    bound = x > bound ? x : bound;
#else
    for (int i = 0; i < kTile; ++i) bound[i] = greater(x[i], bound[i]);  // what compilers without AVX make of the above
#endif
}
template <class T>
inline void lower(Pack<T>& bound, const Pack<T>& x) {
#if defined(CTCKIT_SHUFFLE) && defined(__AVX__)
    bound = x < bound ? x : bound;
#else
    for (int i = 0; i < kTile; ++i) bound[i] = lesser(x[i], bound[i]);
#endif
}

// The sum over the lanes, as a tree.
template <class T>
inline T total_of(const Pack<T>& pack) {
    return ((pack[0] + pack[4]) + (pack[2] + pack[6])) + ((pack[1] + pack[5]) + (pack[3] + pack[7]));
}

// The greatest lane, likewise; NaN where NaN is in the first lanes compared.
template <class T>
inline T greatest_of(const Pack<T>& pack) {
    const auto of = [](T a, T b) { return b > a ? b : a; };
    return of(of(of(pack[0], pack[4]), of(pack[2], pack[6])), of(of(pack[1], pack[5]), of(pack[3], pack[7])));
}

// Squares of kSquare x kSquare values are transposed in registers, as large as a register is wide.
#if defined(__AVX__)
constexpr int kSquare = 8;
#else
constexpr int kSquare = 4;
#endif

// out[i][j] = in[j][i] for one square.
template <class T>
inline void transpose(const T* const* in, T* const* out) {
    for (int i = 0; i < kSquare; ++i)
        for (int j = 0; j < kSquare; ++j) out[i][j] = in[j][i];
}

#if defined(CTCKIT_SHUFFLE)
#if defined(__AVX__)
// Pairs, then quads within each half of a register, then the halves.
template <class T>
inline void transpose_words(const T* const* in, T* const* out) {
    Pack<T> a[8], b[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) load_pack(in[i], a[i]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        b[i] = CTCKIT_SHUFFLE(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        b[i + 1] = CTCKIT_SHUFFLE(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 8
        for (int j = 0; j < 2; ++j) {
            a[i + 2 * j] = CTCKIT_SHUFFLE(b[i + j], b[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            a[i + 2 * j + 1] = CTCKIT_SHUFFLE(b[i + j], b[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) {
        store_pack<T>(CTCKIT_SHUFFLE(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11), out[i]);
        store_pack<T>(CTCKIT_SHUFFLE(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15), out[i + 4]);
    }
}
#else
template <class T>
inline void transpose_words(const T* const* in, T* const* out) {
    typedef T Quad __attribute__((vector_size(16)));
    Quad a[4], b[4];
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) std::memcpy(&a[i], in[i], sizeof a[i]);
#pragma GCC unroll 8
    for (int i = 0; i < 4; i += 2) {
        b[i] = CTCKIT_SHUFFLE(a[i], a[i + 1], 0, 4, 1, 5);
        b[i + 1] = CTCKIT_SHUFFLE(a[i], a[i + 1], 2, 6, 3, 7);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 2; ++j) {
        a[2 * j] = CTCKIT_SHUFFLE(b[j], b[j + 2], 0, 1, 4, 5);
        a[2 * j + 1] = CTCKIT_SHUFFLE(b[j], b[j + 2], 2, 3, 6, 7);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) std::memcpy(out[i], &a[i], sizeof a[i]);
}
#endif
template <>
inline void transpose(const float* const* in, float* const* out) {
    transpose_words(in, out);
}
template <>
inline void transpose(const std::int32_t* const* in, std::int32_t* const* out) {
    transpose_words(in, out);
}
#endif

// rows[f * stride + k] = table[slot[k] * kTile + f] for the states begin <= k < end, both multiples of kSquare.
template <class T>
void spread(const T* table, const std::int32_t* slot, T* rows, std::int64_t stride, int begin, int end) {
    for (int k = begin; k < end; k += kSquare)
        for (int f = 0; f < kTile; f += kSquare) {
            const T* in[kSquare];
            T* out[kSquare];
#pragma GCC unroll 8
            for (int i = 0; i < kSquare; ++i) {
                in[i] = table + std::int64_t(slot[k + i]) * kTile + f;
                out[i] = rows + (f + i) * stride + k;
            }
            transpose<T>(in, out);
        }
}

// columns[k * kTile + f] = rows[f * stride + k], the same range.
template <class T>
void turn(const T* rows, std::int64_t stride, T* columns, int begin, int end) {
    for (int k = begin; k < end; k += kSquare)
        for (int f = 0; f < kTile; f += kSquare) {
            const T* in[kSquare];
            T* out[kSquare];
#pragma GCC unroll 8
            for (int i = 0; i < kSquare; ++i) {
                in[i] = rows + (f + i) * stride + k;
                out[i] = columns + std::int64_t(k + i) * kTile + f;
            }
            transpose<T>(in, out);
        }
}

// sums[f] = the sum of columns[k * kTile + f] over the listed states. Four partial sums, since one alone would wait for
// each addition; always in the same order, since results must not depend on anything but the sample.
template <class Real>
void sum_columns(const Real* columns, const std::int32_t* states, int count, Real* sums) {
    Pack<Real> part[4] = {}, column;
    int i = 0;
    for (; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            load_pack(columns + std::int64_t(states[i + j]) * kTile, column);
            part[j] += column;
        }
    }
    for (; i < count; ++i) {
        load_pack(columns + std::int64_t(states[i]) * kTile, column);
        part[0] += column;
    }
    store_pack<Real>((part[0] + part[1]) + (part[2] + part[3]), sums);
}

}  // namespace
