// The C interface: runs a batch over threads, one sample per thread at a time, the costliest first. Threads are started
// in each call and joined before it returns, so that a forked child inherits nothing. Workspaces belong to the calling
// thread, so that calls from several threads share nothing.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "kernels.h"
#include "threads.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ctckit {
namespace {

constexpr std::size_t kAlign = 64, kKeep = std::size_t(16) << 20;
constexpr std::size_t kHugePage = std::size_t(2) << 20;
constexpr double kWorthAThread = 2e-4;  // seconds: starting a thread takes some 20 microseconds

class Workspace {
   public:
    void reserve(std::size_t bytes) {
        if (bytes <= size_) return;
        memory_.reset();  // before allocating more, so that never both are held
        size_ = 0;
        memory_.reset(new char[bytes + kAlign]);
        size_ = bytes;
    }
    void* get() const {
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
        return reinterpret_cast<void*>((address + kAlign - 1) / kAlign * kAlign);
    }
    void trim() {
        if (size_ > kKeep) {
            memory_.reset();
            size_ = 0;
        }
    }

   private:
    std::unique_ptr<char[]> memory_;
    std::size_t size_ = 0;
};

// Gives large workspaces back at the end of a call, also of one that fails.
struct Trimming {
    std::vector<Workspace>& workspaces;
    ~Trimming() {
        for (Workspace& workspace : workspaces) workspace.trim();
    }
};

// Cells, roughly: the states and classes of each frame.
template <class Call>
double cost(const Call& call, std::int64_t n) {
    const ctckit_lattices& lattices = call.lattices;
    return double(lattices.num_frames[n]) * double(2 * lattices.num_states[n] + call.scores.num_classes);
}

// A new gradient of many megabytes costs more in page faults than in arithmetic; with huge pages there are few.
void advise_huge_pages(const SumsCall& call) {
#ifdef __linux__
    const ctckit_scores& scores = call.scores;
    if (!call.out.grad || scores.num_frames == 0) return;
    const std::int64_t item = scores.dtype == CTCKIT_FLOAT64 ? 8 : scores.dtype == CTCKIT_FLOAT32 ? 4 : 2;
    const std::int64_t last_row =
        (scores.num_frames - 1) * call.out.grad_stride_t + (scores.num_samples - 1) * call.out.grad_stride_n;
    const std::size_t begin = reinterpret_cast<std::uintptr_t>(call.out.grad),
                      end = begin + (last_row + scores.num_classes) * item;
    const std::size_t first = (begin + kHugePage - 1) / kHugePage * kHugePage, last = end / kHugePage * kHugePage;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)call;
#endif
}
void advise_huge_pages(const PathCall&) {}

// `cell_seconds`, roughly the time for one state or class of a frame, says how many threads are worth starting.
template <class Call>
void run_batch(const Call& call, const Task<Call>& task, double cell_seconds, int threads) {
    const std::int64_t size = call.scores.num_samples;
    if (size == 0) return;
    std::vector<std::int64_t> order(size);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return cost(call, a) > cost(call, b); });
    double total = 0;
    std::size_t bytes = 0;
    for (std::int64_t n : order) {
        total += cost(call, n);
        bytes = std::max(bytes, task.workspace(call, n));
    }
    const std::int64_t useful = std::min<std::int64_t>(size, std::int64_t(total * cell_seconds / kWorthAThread) + 1);
    const int workers = int(std::max<std::int64_t>(1, std::min<std::int64_t>(threads, useful)));

    thread_local std::vector<Workspace> workspaces;
    const Trimming trimming{workspaces};
    if (workspaces.size() < std::size_t(workers)) workspaces.resize(workers);
    std::vector<void*> memory;
    for (int i = 0; i < workers; ++i) {
        workspaces[i].reserve(bytes);
        memory.push_back(workspaces[i].get());
    }
    advise_huge_pages(call);

    each_on_threads(size, workers, [&](int worker, std::int64_t i) { task.run(call, order[i], memory[worker]); });
}

template <class Call>
int run(const Call& call, Task<Call> Kernels::* task, double cell_seconds, const char* instruction_set, int threads) {
    const Kernels* kernels = find_kernels(instruction_set);
    if (!kernels) return CTCKIT_UNKNOWN_INSTRUCTION_SET;
    try {
        run_batch(call, kernels->*task, cell_seconds, threads);
    } catch (const std::bad_alloc&) {
        return CTCKIT_OUT_OF_MEMORY;
    }
    return CTCKIT_OK;
}

}  // namespace

const Kernels* find_kernels(const char* name) {
    const Kernels* best = nullptr;
    for (const Kernels* const* kernels = available_kernels(); *kernels; ++kernels) {
        if (name && std::strcmp(name, (*kernels)->name) == 0) return *kernels;
        best = *kernels;
    }
    return name ? nullptr : best;
}

}  // namespace ctckit

using namespace ctckit;

const char* ctckit_instruction_set(int index) {
    const Kernels* const* kernels = available_kernels();
    for (; *kernels && index > 0; --index) ++kernels;
    return *kernels ? (*kernels)->name : nullptr;
}

int ctckit_sums(const ctckit_scores* scores, const ctckit_lattices* lattices, const ctckit_sums_out* out,
                const char* instruction_set, int num_threads) {
    return run(SumsCall{*scores, *lattices, *out}, &Kernels::sums, 1e-9, instruction_set, num_threads);
}

int ctckit_best_path(const ctckit_scores* scores, const ctckit_lattices* lattices, const ctckit_path_out* out,
                     const char* instruction_set, int num_threads) {
    return run(PathCall{*scores, *lattices, *out}, &Kernels::best_path, 1e-10, instruction_set, num_threads);
}
