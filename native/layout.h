// Checks and copies a call's integers, and turns targets into lattices. In NumPy these small loops would cost more than
// the sums over a small batch.
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

// The first fault: a length out of range, lengths that do not add up to the number of tokens, a token that is the blank
// or not a class. Nothing beyond a sample's length is read.
Fault find_fault(const Integers& given, std::int64_t frames_max, std::int64_t classes, std::int64_t blank);

// The arcs of a state by its role in the lattice; what they mean is said in lattice/rule.py.
struct ArcsByRole {
    std::uint8_t blank;
    std::uint8_t token;
    std::uint8_t repeat;       // a token equal to the one before it
    std::uint8_t first, last;  // in addition: of the first two states and the last two
};

// The lattices of a batch and the number of frames of each sample: everything that the kernels need except scores.
struct LatticeBatch {
    std::vector<std::int64_t> frames, num_tokens;  // (N,)
    std::int64_t max_states;                       // K
    std::vector<std::int32_t> labels;              // (N, K)
    std::vector<std::uint8_t> arcs;                // (N, K)
    std::vector<std::int32_t> num_states;          // (N,)
    std::vector<std::int32_t> long_arcs;           // (J, 3) sample, from, to; sorted by sample, then by to
    std::vector<double> entry_costs;               // (N, K) nats; or empty
    std::vector<double> long_arc_scores;           // (J,) nats
    std::vector<std::int32_t> tokens;              // (N, K) the token that each state is, -1 for none; empty: CTC's
                                                   // layout, and not asked for yet
};

// Lattices with a blank around each token and arcs by role, padded to the longest: states beyond a sample's own have
// the blank's label and no arcs. find_fault() must have found nothing.
LatticeBatch lay_out(const Integers& given, std::int64_t blank, const ArcsByRole& roles);

// Fills in the tokens of CTC's layout.
void number_tokens(LatticeBatch& batch);

}  // namespace ctckit
