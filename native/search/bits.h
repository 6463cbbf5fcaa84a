// Sets as the bits of a number: the set of the numbers that are large enough, and loops over a set.
#pragma once

#include <cstdint>

#include "simd/scaled.h"

namespace {

inline int count_bits(std::uint64_t bits) {
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_popcountll(bits);
#else
    int count = 0;
    for (; bits; bits &= bits - 1) ++count;
    return count;
#endif
}

inline int lowest_bit(std::uint64_t bits) {
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(bits);
#else
    int found = 0;
    while (!(bits >> found & 1)) ++found;
    return found;
#endif
}

// Calls visit(i) for each bit i of a set, the lowest first.
template <class Visit>
inline void for_each_bit(std::uint64_t bits, Visit visit) {
    for (; bits; bits &= bits - 1) visit(lowest_bit(bits));
}

// 2^i. A table, because GCC doesn't vectorise a loop that shifts by its counter.
template <class Unsigned>
struct PowersOfTwo {
    Unsigned of[8 * sizeof(Unsigned)];
    constexpr PowersOfTwo() : of{} {
        for (std::size_t i = 0; i < 8 * sizeof(Unsigned); ++i) of[i] = Unsigned(1) << i;
    }
};
constexpr PowersOfTwo<std::uint64_t> kBit64;
constexpr PowersOfTwo<std::uint32_t> kBit32;

// The set of those of up to 64 numbers that are at least `least`.
inline std::uint64_t bits_from(const double* x, int count, double least) {
    std::uint64_t found = 0;
#pragma omp simd reduction(| : found)
    for (int i = 0; i < count; ++i) found |= x[i] >= least ? kBit64.of[i] : 0;
    return found;
}
inline std::uint64_t bits_from(const float* x, int count, float least) {
    const auto half = [&](const float* from, int size) {
        std::uint32_t found = 0;
#pragma omp simd reduction(| : found)
        for (int i = 0; i < size; ++i) found |= from[i] >= least ? kBit32.of[i] : 0;
        return std::uint64_t(found);
    };
    if (count <= 32) return half(x, count);
    return half(x, 32) | half(x + 32, count - 32) << 32;
}

// The same for products.
inline std::uint64_t bits_from(const double* x, const double* factor, int count, double least) {
    std::uint64_t found = 0;
#pragma omp simd reduction(| : found)
    for (int i = 0; i < count; ++i) found |= x[i] * factor[i] >= least ? kBit64.of[i] : 0;
    return found;
}

}  // namespace
