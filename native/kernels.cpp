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

// Calls visit(Work) for sample n with the scores' type; a Work is made from the call, n and memory.
template <template <class> class Work, class Call, class Visit>
void with_dtype(const Call& call, std::int64_t n, void* memory, Visit visit) {
    switch (call.scores.dtype) {
        case CTCKIT_FLOAT32:
            return visit(Work<float>(call, n, memory));
        case CTCKIT_FLOAT64:
            return visit(Work<double>(call, n, memory));
        case CTCKIT_FLOAT16:
            return visit(Work<Half>(call, n, memory));
        case CTCKIT_BFLOAT16:
            return visit(Work<BFloat>(call, n, memory));
    }
}

template <template <class> class Work, class Call>
std::size_t workspace(const Call& call, std::int64_t n) {
    std::size_t bytes = 0;
    with_dtype<Work>(call, n, nullptr, [&](auto&& work) { bytes = work.bytes(); });
    return bytes;
}

template <template <class> class Work, class Call>
void run(const Call& call, std::int64_t n, void* memory) {
    with_dtype<Work>(call, n, memory, [](auto&& work) { work.run(); });
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
