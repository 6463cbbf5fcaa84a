// Eight frames at a time: a tile holds one value per (state or slot, frame), and these turn tiles into rows and back.
// Without them, spreading emissions over states and summing occupancies over labels cost more than the recursion.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simd/lanes.h"

namespace {

constexpr int kTile = kPack;  // frames in a tile

// Calls each(i, half) for each slot of a tile, whose values begin at i; half alternates between 0 and 1. A sum for each
// half takes less time than one sum, in which each addition waits for the one before.
template <class Do>
inline void for_each_slot(int num_slots, Do each) {
    int s = 0;
    for (; s + 1 < num_slots; s += 2) {
        each(s * kTile, std::integral_constant<int, 0>());
        each((s + 1) * kTile, std::integral_constant<int, 1>());
    }
    if (s < num_slots) each(s * kTile, std::integral_constant<int, 0>());
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
    using Quad = typename VectorOf<T, 4 * sizeof(T)>::type;
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

// Transposes the squares of states begin <= k < end, both multiples of kSquare, and of a tile's frames: from(k, f, i)
// is where row i of the square at (k, f) is, to(k, f, i) where column i goes.
template <class T, class From, class To>
inline void turn_squares(int begin, int end, From from, To to) {
    for (int k = begin; k < end; k += kSquare)
        for (int f = 0; f < kTile; f += kSquare) {
            const T* in[kSquare];
            T* out[kSquare];
#pragma GCC unroll 8
            for (int i = 0; i < kSquare; ++i) {
                in[i] = from(k, f, i);
                out[i] = to(k, f, i);
            }
            transpose<T>(in, out);
        }
}

// rows[f * stride + k] = table[slot[k] * kTile + f].
template <class T>
void spread(const T* table, const std::int32_t* slot, T* rows, std::int64_t stride, int begin, int end) {
    turn_squares<T>(
        begin, end, [=](int k, int f, int i) { return table + std::int64_t(slot[k + i]) * kTile + f; },
        [=](int k, int f, int i) { return rows + (f + i) * stride + k; });
}

// columns[k * kTile + f] = rows[f * stride + k].
template <class T>
void turn(const T* rows, std::int64_t stride, T* columns, int begin, int end) {
    turn_squares<T>(
        begin, end, [=](int k, int f, int i) { return rows + (f + i) * stride + k; },
        [=](int k, int f, int i) { return columns + std::int64_t(k + i) * kTile + f; });
}

// table[c * kTile + f] = rows[f * stride + c]; after `count` frames, the last of them again.
template <class Real>
void turn_rows(const Real* rows, std::int64_t stride, int count, int classes, Real* table) {
    const int squares = count == kTile ? classes / kSquare * kSquare : 0;
    turn(rows, stride, table, 0, squares);
    for (int c = squares; c < classes; ++c)
        for (int f = 0; f < kTile; ++f) table[c * kTile + f] = rows[lesser(f, count - 1) * stride + c];
}

// sums[f] = the sum of columns[k * kTile + f] over the listed states. Four partial sums, since one alone would wait for
// each addition; always in the same order, since results must depend on the sample only.
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
