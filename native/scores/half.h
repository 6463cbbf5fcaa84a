// 16-bit floats as numbers to compute with: float16 and bfloat16 are read as float32 and rounded when written. float32
// and float64 have the same functions, so that a kernel can be a template over its input's type.
#pragma once

#include <cstdint>

#include "simd/scaled.h"

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

}  // namespace
