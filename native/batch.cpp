// The C interface: runs a batch over threads, one sample per thread at a time, the costliest first; the samples that
// add to one gradient are one piece of work. Threads are started in each call and joined before it returns, so that a
// forked child inherits nothing. Workspaces belong to the calling thread, so that calls from several threads share
// nothing.
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

const ctckit_sums_out* gradient_out(const SumsCall& call) {
    return call.out.grad ? &call.out : nullptr;
}
const ctckit_sums_out* gradient_out(const PathCall&) {
    return nullptr;
}

// The samples of a call, and those that belong together: piece i has samples first[i] <= s < first[i + 1], in the order
// in which their gradients are added. Where an index gives an utterance no targets, its piece is empty.
struct Work {
    std::vector<Sample> samples;
    std::vector<std::int64_t> first;

    template <class Call>
    explicit Work(const Call& call) {
        const ctckit_scores& scores = call.scores;
        const ctckit_lattices& lattices = call.lattices;
        const ctckit_sums_out* out = gradient_out(call);
        const bool shared = out && lattices.index;
        const std::int64_t targets = lattices.num_lattices, heads = scores.num_heads;
        const std::int64_t pieces = heads * (shared ? scores.num_samples : targets);
        first.assign(pieces + 1, 0);
        const auto utterance = [&](std::int64_t m) { return lattices.index ? lattices.index[m] : m; };
        const auto piece = [&](std::int64_t h, std::int64_t m) {
            return shared ? h * scores.num_samples + utterance(m) : h * targets + m;
        };
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t m = 0; m < targets; ++m) ++first[piece(h, m) + 1];
        std::partial_sum(first.begin(), first.end(), first.begin());
        std::vector<std::int64_t> next(first.begin(), first.end() - 1);
        samples.resize(heads * targets);
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t m = 0; m < targets; ++m) {
                const std::int64_t p = piece(h, m), n = utterance(m), at = next[p]++;
                const std::int64_t begin = h * (heads > 1 ? scores.stride_h : 0) + n * scores.stride_n;
                const std::int64_t grad = out ? h * (heads > 1 ? out->grad_stride_h : 0) + n * out->grad_stride_n : 0;
                samples[at] = {h * targets + m, m, begin, grad, shared && at > first[p]};
            }
    }
};

// Cells, roughly: the states and classes of each frame.
template <class Call>
double cost(const Call& call, const Sample& sample) {
    const ctckit_lattices& lattices = call.lattices;
    return double(lattices.num_frames[sample.lattice]) *
           double(2 * lattices.num_states[sample.lattice] + call.scores.num_classes);
}

std::int64_t item_size(const ctckit_scores& scores) {
    return scores.dtype == CTCKIT_FLOAT64 ? 8 : scores.dtype == CTCKIT_FLOAT32 ? 4 : 2;
}

// Utterances without a target have a gradient of 0.
void clear_unread(const SumsCall& call, const Work& work) {
    const ctckit_scores& scores = call.scores;
    const ctckit_sums_out& out = call.out;
    for (std::size_t p = 0; out.grad && p + 1 < work.first.size(); ++p) {
        if (work.first[p] < work.first[p + 1]) continue;
        const std::int64_t h = p / scores.num_samples, n = p % scores.num_samples;
        const std::int64_t begin = h * (scores.num_heads > 1 ? out.grad_stride_h : 0) + n * out.grad_stride_n;
        for (std::int64_t t = 0; t < scores.num_frames; ++t)
            std::memset(static_cast<char*>(out.grad) + (begin + t * out.grad_stride_t) * item_size(scores), 0,
                        scores.num_classes * item_size(scores));
    }
}
void clear_unread(const PathCall&, const Work&) {}

// A new gradient of many megabytes costs more in page faults than in arithmetic; with huge pages there are few.
void advise_huge_pages(const SumsCall& call) {
#ifdef __linux__
    const ctckit_scores& scores = call.scores;
    if (!call.out.grad || scores.num_frames == 0) return;
    const std::int64_t item = item_size(scores);
    const std::int64_t last_row = (scores.num_frames - 1) * call.out.grad_stride_t +
                                  (scores.num_samples - 1) * call.out.grad_stride_n +
                                  (scores.num_heads > 1 ? (scores.num_heads - 1) * call.out.grad_stride_h : 0);
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
    const Work work(call);
    if (work.samples.empty()) return clear_unread(call, work);
    const std::int64_t pieces = work.first.size() - 1;
    std::vector<double> costs(pieces);
    double total = 0;
    std::size_t bytes = 0;
    for (std::int64_t p = 0; p < pieces; ++p) {
        for (std::int64_t s = work.first[p]; s < work.first[p + 1]; ++s) {
            costs[p] += cost(call, work.samples[s]);
            bytes = std::max(bytes, task.workspace(call, work.samples[s]));
        }
        total += costs[p];
    }
    std::vector<std::int64_t> order(pieces);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return costs[a] > costs[b]; });
    const std::int64_t useful = std::min<std::int64_t>(pieces, std::int64_t(total * cell_seconds / kWorthAThread) + 1);
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

    clear_unread(call, work);
    each_on_threads(pieces, workers, [&](int worker, std::int64_t i) {
        for (std::int64_t s = work.first[order[i]]; s < work.first[order[i] + 1]; ++s)
            task.run(call, work.samples[s], memory[worker]);
    });
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
