// Whether a lattice has a path of a number of frames at all, whatever the scores are. Exact but slow: it is asked only
// when a sample has no score, to say why.
#pragma once

#include <cstdint>

#include "ctckit.h"
#include "lattice/lattice.h"

namespace {

// `scratch` is (2, num_states). Costs and scores do not matter, not even infinite ones.
template <class Real>
bool has_path(const LatticeView<Real>& lattice, int num_frames, std::uint8_t* scratch) {
    const std::uint8_t* arcs = lattice.arcs;
    std::uint8_t* last = scratch;
    std::uint8_t* row = scratch + lattice.num_states;
    for (int k = 0; k < lattice.num_states; ++k) last[k] = (arcs[k] & CTCKIT_START) != 0;
    for (int t = 1; t < num_frames; ++t) {
        for (int k = 0; k < lattice.num_states; ++k)
            row[k] = ((arcs[k] & CTCKIT_STAY) && last[k]) || ((arcs[k] & CTCKIT_STEP) && k >= 1 && last[k - 1]) ||
                     ((arcs[k] & CTCKIT_SKIP) && k >= 2 && last[k - 2]);
        for (int j = 0; j < lattice.num_long_arcs; ++j) row[lattice.long_arc_to(j)] |= last[lattice.long_arc_from(j)];
        std::uint8_t* const other = last;
        last = row;
        row = other;
    }
    for (int k = 0; k < lattice.num_states; ++k)
        if ((arcs[k] & CTCKIT_END) && last[k]) return true;
    return false;
}

}  // namespace
