// Shared by the files that bind the parts of the extension module.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <stdexcept>

#include "ctckit.h"

namespace ctckit {

void bind_language(nanobind::module_& m);
void bind_search(nanobind::module_& m);
void bind_jax(nanobind::module_& m);

using Scores = nanobind::ndarray<nanobind::ro, nanobind::ndim<3>, nanobind::device::cpu>;
using HeadScores = nanobind::ndarray<nanobind::ro, nanobind::device::cpu>;  // (H, T, N, C) or (T, N, C)

inline void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// bfloat16 has no NumPy type of its own: 16-bit integers stand for its bits.
inline ctckit_dtype dtype_of(nanobind::dlpack::dtype type) {
    if (type == nanobind::dtype<float>()) return CTCKIT_FLOAT32;
    if (type == nanobind::dtype<double>()) return CTCKIT_FLOAT64;
    require(type.bits == 16 && type.lanes == 1, "scores must be a 64, 32 or 16 bit float");
    const auto floating = static_cast<std::uint8_t>(nanobind::dlpack::dtype_code::Float);
    return type.code == floating ? CTCKIT_FLOAT16 : CTCKIT_BFLOAT16;
}

template <class Array>
ctckit_scores scores_of(const Array& scores, bool from_logits) {
    const std::size_t heads = scores.ndim() - 3;  // axes before the frames
    ctckit_scores made{};
    made.data = scores.data();
    made.dtype = dtype_of(scores.dtype());
    made.num_heads = heads ? scores.shape(0) : 1;
    made.num_frames = scores.shape(heads);
    made.num_samples = scores.shape(heads + 1);
    made.num_classes = scores.shape(heads + 2);
    made.stride_h = heads ? scores.stride(0) : 0;
    made.stride_t = scores.stride(heads);
    made.stride_n = scores.stride(heads + 1);
    made.stride_c = scores.stride(heads + 2);
    made.from_logits = from_logits;
    return made;
}

}  // namespace ctckit
