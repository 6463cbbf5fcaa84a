// What happens to a call's integers before a sweep: they are checked, copied, and targets become lattices. In NumPy
// these small loops would cost more than the sweep of a small batch.
#pragma once

#include <cstdint>
#include <vector>

namespace ctckit {

// A call's integers as the caller passed them.
struct Integers {
    const std::int64_t* frames;   // (N,) frames of each sample
    const std::int64_t* lengths;  // (N,) tokens of each sample
    const std::int64_t* targets;  // (N, S) padded, or all samples' end to end
    std::int64_t size;            // N
    std::int64_t longest;         // S, or the number of all tokens: what no length may exceed
    bool padded;
};

struct Fault {
    const char* what;    // "input_lengths", "target_lengths", "sum" or "token"; null if nothing is wrong
    std::int64_t index;  // of the sample; the sum itself; of the token in memory
};

// The first thing wrong: a length out of range, lengths that don't add up to the tokens there are, a token that is no
// class or the blank. Nothing beyond a sample's length is read.
Fault find_fault(const Integers& given, std::int64_t frames_max, std::int64_t classes, std::int64_t blank);

// The arcs of a state by its part in the lattice; what they mean stands in lattice.py.
struct ArcsByRole {
    std::uint8_t blank;
    std::uint8_t token;
    std::uint8_t repeat;       // a token equal to the one before it
    std::uint8_t first, last;  // of the first two states and the last two, besides
};

// All that a sweep needs besides scores.
struct Prepared {
    std::vector<std::int64_t> frames, lengths;  // (N,)
    std::int64_t states_max;                    // K
    std::vector<std::int32_t> labels;           // (N, K)
    std::vector<std::uint8_t> arcs;             // (N, K)
    std::vector<std::int32_t> states;           // (N,) of each sample
    std::vector<std::int32_t> jumps;  // (J, 3) sample, from, to: arcs that reach further than bits do, by sample
    std::vector<double> tolls;        // (N, K) nats to enter a state from another or at the start; or none at all
    std::vector<std::int32_t> tokens;
    std::vector<double> long_arc_scores;
};

// Lattices with a blank around each token and arcs by role, padded to the longest: states beyond a sample's own have
// the blank's label and no arcs. The integers must be without fault.
Prepared prepare(const Integers& given, std::int64_t blank, const ArcsByRole& roles);

}  // namespace ctckit
