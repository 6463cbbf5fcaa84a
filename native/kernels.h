// What the outside of the kernels sees: one batch described by plain pointers, and one table of entry points per
// instruction set. Includes only the C++ standard library; every other native file may include it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ctckit {

enum class DType : int { float32 = 0, float64 = 1, float16 = 2, bfloat16 = 3 };

// One call: sums over paths, or best paths. Strides count elements. Letters as everywhere: T frames, N batch, C
// classes, K lattice states (padded).
struct Batch {
    const void* scores;  // (T, N, C), log-probabilities or logits, never written
    DType dtype;
    std::int64_t frames_max, size, classes;  // T, N, C
    std::int64_t stride_t, stride_n, stride_c;
    bool from_logits;

    const std::int64_t* frames;  // (N,) frames of each sample
    const std::int32_t* labels;  // (N, K) class that each state emits
    const std::uint8_t* arcs;    // (N, K) bits of Arc
    const std::int32_t* states;  // (N,) states of each sample
    std::int64_t states_max;     // K
    const std::int32_t* jumps;   // (J, 3) sample, from, to, in order of sample and to; best paths only
    std::int64_t jump_count;     // J
    const double* tolls;         // (N, K) or null; best paths only

    double* score;  // (N,) out: total log-score; -inf infeasible, NaN poisoned
    void* grad;     // (T, N, C) out in the input's dtype, class stride 1; may be null
    std::int64_t grad_stride_t, grad_stride_n;
    const double* weights;  // (N,) factor of each sample's gradient; 1 if null
    void* occupancy;        // (T, N, K) out, contiguous, float64 for float64 input, else float32; may be null

    std::int32_t* path;       // (N, T) the best path's states, out, -1 where there is none; or, for the next, states in
    double* occupancy_along;  // (N, T) out, the occupancies of those states, by paths near them; may be null
    double* path_scores;      // (N, T) out, each frame's label's log-probability less its state's toll; may be null
    std::int32_t* visits;  // (N, K, 2) out, the path's first frame in each state and one past its last, -1 if none; may
                           // be null
};

enum Arc : std::uint8_t { kStay = 1, kStep = 2, kSkip = 4, kStart = 8, kEnd = 16 };

// What is done to one sample after the other.
struct Task {
    // Bytes of workspace that sample n needs.
    std::size_t (*workspace)(const Batch&, std::int64_t n);
    // Does it: writes score[n] and all else that the batch asks for. Never throws, never allocates.
    void (*run)(const Batch&, std::int64_t n, void* workspace);
};

// The kernels compiled for one instruction set.
struct Kernels {
    const char* name;
    Task sums;       // over all paths: score, gradient, occupancy
    Task best_path;  // score, path, path_scores, visits
};

// Every kernel table that was compiled in and that this CPU can run, best last. Null-terminated.
const Kernels* const* available_kernels();

// Does a task to the whole batch on up to `threads` threads, one sample at a time each; `cell_seconds`, roughly the
// time that a state or class of a frame takes, says how many are worth it.
void run_batch(const Batch& batch, const Task& task, double cell_seconds, int threads);

}  // namespace ctckit
