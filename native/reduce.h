// Reductions of the samples' scores to one loss. They are in C++ for the reason given in layout.h.
#pragma once

#include <cstdint>

namespace ctckit {

// The weights that make a sum over samples their mean, each sample's loss first divided by its target's length:
// 1 / (N · length), with a length of 0 counting as 1.
void mean_weights(const std::int64_t* lengths, std::int64_t size, double* weights);

// Σ weights · (-score), in order; with zero_infinity a score of -inf counts as 0.
double weighted_loss(const double* score, const double* weights, std::int64_t size, bool zero_infinity);

}  // namespace ctckit
