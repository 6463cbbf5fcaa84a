// The kernels of one instruction set. CMake compiles this file once per set, with its flags and CTCKIT_ISA as its name.
#include "kernels.h"

#include "path.h"
#include "sweep.h"

#define CTCKIT_STRING_(x) #x
#define CTCKIT_STRING(x) CTCKIT_STRING_(x)

namespace {

// Calls visit(Sweep) for sample n with the right input type; a Sweep is made of the batch, n and memory.
template <template <class> class Sweep, class Visit>
void with_input(const Batch& batch, std::int64_t n, void* memory, Visit visit) {
    using ctckit::DType;
    switch (batch.dtype) {
        case DType::float32:
            return visit(Sweep<float>(batch, n, memory));
        case DType::float64:
            return visit(Sweep<double>(batch, n, memory));
        case DType::float16:
            return visit(Sweep<Half>(batch, n, memory));
        case DType::bfloat16:
            return visit(Sweep<BFloat>(batch, n, memory));
    }
}

template <template <class> class Sweep>
std::size_t workspace(const Batch& batch, std::int64_t n) {
    std::size_t bytes = 0;
    with_input<Sweep>(batch, n, nullptr, [&](auto&& sweep) { bytes = sweep.bytes(); });
    return bytes;
}

template <template <class> class Sweep>
void run(const Batch& batch, std::int64_t n, void* memory) {
    with_input<Sweep>(batch, n, memory, [](auto&& sweep) { sweep.run(); });
}

}  // namespace

namespace ctckit {
extern const Kernels CTCKIT_TABLE;
const Kernels CTCKIT_TABLE = {
    CTCKIT_STRING(CTCKIT_ISA), {workspace<Sweep>, run<Sweep>}, {workspace<BestPath>, run<BestPath>}};
}  // namespace ctckit
