#include "reduce.h"

#include <algorithm>
#include <cmath>

namespace ctckit {

void mean_weights(const std::int64_t* lengths, std::int64_t size, double* weights) {
    for (std::int64_t n = 0; n < size; ++n)
        weights[n] = 1 / (double(std::max<std::int64_t>(lengths[n], 1)) * double(size));
}

double weighted_loss(const double* score, const double* weights, std::int64_t size, bool zero_infinity) {
    double loss = 0;  // subtracted from, so that a certain target costs 0, not -0
    for (std::int64_t n = 0; n < size; ++n)
        if (!zero_infinity || score[n] != -INFINITY) loss -= weights[n] * score[n];
    return loss;
}

}  // namespace ctckit
