// Several numbers at once: as many as a register of the CPU holds (Lanes), or eight (Pack). These are the compiler's
// vector types, if it has them.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "simd/scaled.h"

namespace {

#if defined(CTCKIT_SHUFFLE)
#if defined(__AVX512F__)
constexpr int kRegister = 64;
#elif defined(__AVX__)
constexpr int kRegister = 32;
#else
constexpr int kRegister = 16;
#endif
template <class T, std::size_t bytes>
struct VectorOf {
    typedef T type __attribute__((vector_size(bytes)));
    // The same in memory that numbers share.
    typedef T in_memory __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Lanes = typename VectorOf<T, kRegister>::type;
template <class T>
using LanesInMemory = typename VectorOf<T, kRegister>::in_memory;

template <>
struct Format<Lanes<float>> : Format<float> {
    using Bits = Lanes<std::int32_t>;
    using Unsigned = Lanes<std::uint32_t>;
};
template <>
struct Format<Lanes<double>> : Format<double> {
    using Bits = Lanes<std::int64_t>;
    using Unsigned = Lanes<std::uint64_t>;
};

// (low, high) as one row of lanes, from lane `first` on.
template <int first, class V, std::size_t... lane>
inline V window(const V& low, const V& high, std::index_sequence<lane...>) {
    return CTCKIT_SHUFFLE(low, high, first + int(lane)...);
}
#else
// Without vector types, lanes of one: the same code, number by number.
template <class T>
using Lanes = T;
template <class T>
using LanesInMemory = T;

template <int first, class V, std::size_t... lane>
inline V window(const V& low, const V& high, std::index_sequence<lane...>) {
    return first == 0 ? low : high;
}
#endif

template <class Real>
constexpr int kLanes = sizeof(Lanes<Real>) / sizeof(Real);

// memcpy is sometimes compiled to two halves, which stall the load.
template <class T>
inline Lanes<T> load_lanes(const T* from) {
    return *reinterpret_cast<const LanesInMemory<T>*>(from);
}
template <class T>
inline void store_lanes(const Lanes<T>& lanes, T* to) {
    *reinterpret_cast<LanesInMemory<T>*>(to) = lanes;
}
// One number out of all lanes, by halves.
template <class T, class Of>
inline T folded(const Lanes<T>& lanes, Of of) {
    T part[kLanes<T>];
    store_lanes<T>(lanes, part);
    for (int width = kLanes<T> / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) part[i] = of(part[i], part[i + width]);
    return part[0];
}
template <class T>
inline T sum_of_lanes(const Lanes<T>& lanes) {
    return folded<T>(lanes, [](T a, T b) { return a + b; });
}
template <class T>
inline T greatest_of_lanes(const Lanes<T>& lanes) {
    return folded<T>(lanes, [](T a, T b) { return greater(a, b); });
}

constexpr int kPack = 8;

// Compilers keep such a variable in registers, which they don't reliably do for an array.
#if defined(CTCKIT_SHUFFLE)
template <class T>
using Pack = typename VectorOf<T, kPack * sizeof(T)>::type;
#else
template <class T>
struct Pack {
    T lane[kPack];
    T& operator[](int i) { return lane[i]; }
    T operator[](int i) const { return lane[i]; }
    friend Pack operator+(Pack a, const Pack& b) { return a += b; }
    friend Pack operator-(Pack a, const Pack& b) {
        for (int i = 0; i < kPack; ++i) a.lane[i] -= b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, const Pack& b) {
        for (int i = 0; i < kPack; ++i) a.lane[i] *= b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, T b) {
        for (int i = 0; i < kPack; ++i) a.lane[i] *= b;
        return a;
    }
    Pack& operator+=(const Pack& b) {
        for (int i = 0; i < kPack; ++i) lane[i] += b.lane[i];
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
    for (int i = 0; i < kPack; ++i) bound[i] = greater(x[i], bound[i]);  // what compilers without AVX make of the above
#endif
}
template <class T>
inline void lower(Pack<T>& bound, const Pack<T>& x) {
#if defined(CTCKIT_SHUFFLE) && defined(__AVX__)
    bound = x < bound ? x : bound;
#else
    for (int i = 0; i < kPack; ++i) bound[i] = lesser(x[i], bound[i]);
#endif
}

// sum += x where x is below 1, lane by lane.
template <class T>
inline void add_below_one(Pack<T>& sum, const Pack<T>& x) {
#if defined(CTCKIT_SHUFFLE)
    sum += x < 1 ? x : Pack<T>{};
#else
    for (int i = 0; i < kPack; ++i) sum[i] += x[i] < 1 ? x[i] : T(0);
#endif
}

}  // namespace
