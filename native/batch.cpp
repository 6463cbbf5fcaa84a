// A batch over threads: one sample a thread at a time, the costliest first. Threads are started per call and joined
// before it returns, so that nothing survives into a forked child; workspaces belong to the calling thread, so that
// calls from several threads share nothing.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels.h"

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
        memory_.reset();  // before asking for more, so that both are never held
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

// Cells, roughly: states and classes of each frame.
double cost(const Batch& batch, std::int64_t n) {
    return double(batch.frames[n]) * double(2 * batch.states[n] + batch.classes);
}

// A fresh gradient of many megabytes costs more in page faults than in arithmetic; huge pages make them few.
void advise_huge_pages(const Batch& batch) {
#ifdef __linux__
    const std::int64_t item = batch.dtype == DType::float64 ? 8 : batch.dtype == DType::float32 ? 4 : 2;
    const std::int64_t count = (batch.frames_max - 1) * batch.grad_stride_t + (batch.size - 1) * batch.grad_stride_n;
    const std::size_t begin = reinterpret_cast<std::uintptr_t>(batch.grad),
                      end = begin + (count + batch.classes) * item;
    const std::size_t first = (begin + kHugePage - 1) / kHugePage * kHugePage, last = end / kHugePage * kHugePage;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)batch;
#endif
}

}  // namespace

void run_batch(const Batch& batch, const Task& task, double cell_seconds, int threads) {
    if (batch.size == 0) return;
    std::vector<std::int64_t> order(batch.size);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return cost(batch, a) > cost(batch, b); });
    double total = 0;
    std::size_t bytes = 0;
    for (std::int64_t n : order) {
        total += cost(batch, n);
        bytes = std::max(bytes, task.workspace(batch, n));
    }
    const std::int64_t useful =
        std::min<std::int64_t>(batch.size, std::int64_t(total * cell_seconds / kWorthAThread) + 1);
    const int workers = int(std::max<std::int64_t>(1, std::min<std::int64_t>(threads, useful)));

    thread_local std::vector<Workspace> workspaces;
    if (workspaces.size() < std::size_t(workers)) workspaces.resize(workers);
    std::vector<void*> memory;
    for (int i = 0; i < workers; ++i) {
        workspaces[i].reserve(bytes);
        memory.push_back(workspaces[i].get());
    }
    if (batch.grad && batch.frames_max > 0) advise_huge_pages(batch);

    std::atomic<std::int64_t> next{0};
    const auto work = [&](void* workspace) {
        for (std::int64_t i; (i = next.fetch_add(1)) < batch.size;) task.run(batch, order[i], workspace);
    };
    std::vector<std::thread> others;
    others.reserve(workers);
    try {
        for (int i = 1; i < workers; ++i) others.emplace_back(work, memory[i]);
    } catch (const std::exception&) {
        // No more threads, or memory for one, to be had: those that run, and this one, do all the work.
    }
    work(memory[0]);
    for (std::thread& other : others) other.join();
    for (Workspace& workspace : workspaces) workspace.trim();
}

}  // namespace ctckit
