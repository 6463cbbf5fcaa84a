// What happens to a call's integers before a sweep: they are checked, and targets become lattices. In NumPy these small
// loops would cost more than the sweep of a small batch.
#pragma once

#include <cstdint>

namespace ctckit {

// Targets as callers pass them.
struct Targets {
    const std::int64_t* tokens;   // (N, S) padded, or all samples' end to end
    const std::int64_t* lengths;  // (N,) tokens of each sample
    std::int64_t size;            // N
    std::int64_t longest;         // S, or all tokens there are: what no length may exceed
    bool padded;
};

struct Fault {
    const char* what;    // "input_lengths", "target_lengths", "sum" or "token"; null if nothing is wrong
    std::int64_t index;  // of the sample; of the token in memory; or the sum itself
};

// The first thing wrong with a call's integers: a length out of range, lengths that don't add up to the tokens there
// are, a token that is no class or the blank. Nothing beyond a sample's length is read.
Fault find_fault(const Targets& targets, const std::int64_t* frames, std::int64_t frames_max, std::int64_t classes,
                 std::int64_t blank);

// The same for the lengths of the targets alone: with these right, no token is looked for where there is none.
Fault find_length_fault(const Targets& targets);

// The arcs of a state by its part in the lattice; what they mean stands in lattice.py.
struct ArcsByRole {
    std::uint8_t blank;
    std::uint8_t token;
    std::uint8_t repeat;       // a token equal to the one before it
    std::uint8_t first, last;  // added to the first two states and to the last two
};

// Writes labels and arcs (N, states_max) and states (N,): a blank around each token, arcs by role. States beyond a
// sample's own have the blank's label and no arcs. states_max is at least 2 * length + 1 for every length.
void expand(const Targets& targets, std::int64_t blank, const ArcsByRole& roles, std::int64_t states_max,
            std::int32_t* labels, std::uint8_t* arcs, std::int32_t* states);

}  // namespace ctckit
