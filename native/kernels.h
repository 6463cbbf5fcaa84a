// The kernels as the rest of the extension sees them: one table of entry points for each instruction set. Includes only
// ctckit.h and the standard library; every other native file may include it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ctckit.h"

namespace ctckit {

class Engine;
struct GraphView;
struct SearchOptions;

// Where one sample's inputs and results are.
struct Sample {
    std::int64_t at;            // in the arrays of results
    std::int64_t lattice;       // in the arrays of lattices
    std::int64_t scores, grad;  // its first frame, and that of its gradient, in elements
    bool adds_grad;             // to what is there already, of another target of the same utterance
};

// One call: its inputs and where its results go.
struct SumsCall {
    const ctckit_scores& scores;
    const ctckit_lattices& lattices;
    const ctckit_sums_out& out;
};
struct PathCall {
    const ctckit_scores& scores;
    const ctckit_lattices& lattices;
    const ctckit_path_out& out;
};

// The work of one sample.
template <class Call>
struct Task {
    // The bytes of workspace that a sample needs.
    std::size_t (*workspace)(const Call&, const Sample&);
    // Writes every output of a sample. Never throws, never allocates.
    void (*run)(const Call&, const Sample&, void* workspace);
};

// The kernels compiled for one instruction set.
struct Kernels {
    const char* name;
    Task<SumsCall> sums;
    Task<PathCall> best_path;
    // A new search for texts; the graph's memory must outlive it. Throws std::bad_alloc.
    Engine* (*make_search)(const GraphView& graph, const SearchOptions& options);
};

// The tables that this CPU can run, the best last; ends with a null pointer.
const Kernels* const* available_kernels();

// The kernels of that name, or the best ones if it is null; null if there are none.
const Kernels* find_kernels(const char* name);

}  // namespace ctckit
