// The search for one instruction set; compiled for each of them, like kernels.cpp.
#include "search/search.h"

#include "kernels.h"
#include "search/grow.h"
#include "search/save.h"
#include "search/settle.h"
#include "search/texts.h"

#define CTCKIT_JOIN_(a, b) a##b
#define CTCKIT_JOIN(a, b) CTCKIT_JOIN_(a, b)

namespace {

// Whether a graph adds nothing to scores and forbids no text.
bool is_plain(const GraphView& graph) {
    return !graph.lexicon && !graph.hotwords && !graph.model && graph.beta == 0;
}

}  // namespace

namespace ctckit {

Engine* CTCKIT_JOIN(make_search_, CTCKIT_TABLE)(const GraphView& graph, const SearchOptions& options);
Engine* CTCKIT_JOIN(make_search_, CTCKIT_TABLE)(const GraphView& graph, const SearchOptions& options) {
    if (is_plain(graph) && !options.recombine) return new Search<true>(graph, options);
    return new Search<false>(graph, options);
}

}  // namespace ctckit
