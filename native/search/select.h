// Which of many scores are among the best.
#pragma once

#include <cstdint>

#include "search/array.h"
#include "simd/scaled.h"

namespace {

// Scores from `value` on are kept; of those equal to it only the first `ties`.
struct Cut {
    double value;
    std::int64_t ties;
};

inline std::int64_t count_from(const std::int64_t* bits, std::int64_t count, std::int64_t least) {
    std::int64_t found = 0;
#pragma omp simd reduction(+ : found)
    for (std::int64_t i = 0; i < count; ++i) found += bits[i] >= least ? 1 : 0;
    return found;
}

// The cut that keeps the `keep` best scores. More than `keep` scores must be in lowest..highest, none may be negative,
// and `lowest` must be above 0. Scores are given as their bits, which have the same order.
inline Cut find_cut(const std::int64_t* bits, std::int64_t count, std::int64_t keep, double lowest, double highest) {
    std::int64_t low = bits_of(lowest), high = bits_of(highest) + 1, above = 0;
    while (high - low > 1) {
        const std::int64_t middle = low + (high - low) / 2;
        const std::int64_t found = count_from(bits, count, middle);
        if (found == keep) return {from_bits<double>(middle), count};
        if (found > keep) {
            low = middle;
        } else {
            high = middle;
            above = found;
        }
    }
    return {from_bits<double>(low), keep - above};
}

}  // namespace
