// The kernels of one instruction set. CMake compiles this file once for each set, with its flags, and with CTCKIT_ISA
// as its name.
#include "kernels.h"

#include "path/path.h"
#include "sums/sums.h"

#define CTCKIT_STRING_(x) #x
#define CTCKIT_STRING(x) CTCKIT_STRING_(x)
#define CTCKIT_JOIN_(a, b) a##b
#define CTCKIT_JOIN(a, b) CTCKIT_JOIN_(a, b)

namespace {

// Calls visit(Work) for a sample with the scores' type; a Work is made from the call, the sample and memory.
template <template <class> class Work, class Call, class Visit>
void with_dtype(const Call& call, const ctckit::Sample& sample, void* memory, Visit visit) {
    switch (call.scores.dtype) {
        case CTCKIT_FLOAT32:
            return visit(Work<float>(call, sample, memory));
        case CTCKIT_FLOAT64:
            return visit(Work<double>(call, sample, memory));
        case CTCKIT_FLOAT16:
            return visit(Work<Half>(call, sample, memory));
        case CTCKIT_BFLOAT16:
            return visit(Work<BFloat>(call, sample, memory));
    }
}

template <template <class> class Work, class Call>
std::size_t workspace(const Call& call, const ctckit::Sample& sample) {
    std::size_t bytes = 0;
    with_dtype<Work>(call, sample, nullptr, [&](auto&& work) { bytes = work.bytes(); });
    return bytes;
}

template <template <class> class Work, class Call>
void run(const Call& call, const ctckit::Sample& sample, void* memory) {
    with_dtype<Work>(call, sample, memory, [](auto&& work) { work.run(); });
}

template <template <class> class Work, class Call>
constexpr ctckit::Task<Call> task() {
    return {workspace<Work, Call>, run<Work, Call>};
}

}  // namespace

namespace ctckit {
Engine* CTCKIT_JOIN(make_search_, CTCKIT_TABLE)(const GraphView& graph, const SearchOptions& options);  // search.cpp
extern const Kernels CTCKIT_TABLE;
const Kernels CTCKIT_TABLE = {CTCKIT_STRING(CTCKIT_ISA), task<Sums, SumsCall>(), task<BestPath, PathCall>(),
                              CTCKIT_JOIN(make_search_, CTCKIT_TABLE)};
}  // namespace ctckit
