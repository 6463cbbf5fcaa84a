// The C interface of the kernels: plain pointers and counts, no Python and no C++. bind.cpp fills these structs from
// NumPy arrays, jax.cpp from XLA's buffers; any other caller can do the same. Of values only labels are checked,
// whether they are classes: the caller checks the rest. Includes only the C standard library.
//
// Letters: T frames, N batch, C classes, K lattice states (padded to the longest lattice), J long arcs. All arrays are
// contiguous in the order of their shape unless a stride is given; strides count elements.
//
// Usually each sample has scores and a lattice of its own. Sums take two more forms. Several heads H of a network have
// scores (H, T, N, C) and the same lattices. And M targets with a lattice each may read N utterances' scores by an
// index, several of them the same ones. Then the results of H * M sums come head by head, and the N in their shapes
// below is H * M; an utterance's gradient is the sum over its targets, added in their order.
#ifndef CTCKIT_H
#define CTCKIT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ctckit_dtype { CTCKIT_FLOAT32 = 0, CTCKIT_FLOAT64 = 1, CTCKIT_FLOAT16 = 2, CTCKIT_BFLOAT16 = 3 };

// Bits of a state in `arcs`: how it may be entered (from itself, from the state before it, from the one before that),
// and whether a path may begin or end in it.
enum ctckit_arc { CTCKIT_STAY = 1, CTCKIT_STEP = 2, CTCKIT_SKIP = 4, CTCKIT_START = 8, CTCKIT_END = 16 };

// What became of a sample: it has a path of probability above 0; no path has its number of frames, whatever the scores
// are; all of its paths have probability 0; a used frame holds NaN or +inf; a label is not a class.
enum ctckit_status {
    CTCKIT_FINE = 0,
    CTCKIT_INFEASIBLE = 1,
    CTCKIT_IMPOSSIBLE = 2,
    CTCKIT_NOT_FINITE = 3,
    CTCKIT_INVALID = 4
};

// What a call returns. Nothing has been written unless it is CTCKIT_OK.
enum ctckit_result { CTCKIT_OK = 0, CTCKIT_UNKNOWN_INSTRUCTION_SET = 1, CTCKIT_OUT_OF_MEMORY = 2 };

// A batch of scores, never written to.
typedef struct {
    const void* data;  // (T, N, C) with the strides below; log-probabilities or logits
    int32_t dtype;     // of enum ctckit_dtype
    int64_t num_frames, num_samples, num_classes;
    int64_t stride_t, stride_n, stride_c;
    int64_t num_heads, stride_h;  // H, at least 1; the stride is not read if it is 1
    int32_t from_logits;          // 1: the scores are normalised first
    int32_t readable;  // 1: the caller knows that no used frame holds NaN or +inf, so sums don't look for them
    const double* class_scores;  // (C,) nats added to each class's log-probability, -inf allowed; or null
} ctckit_scores;

// One lattice for each sample. No sum of gains along a path, from negative costs and positive scores of states and long
// arcs, may exceed 1e8 nats.
typedef struct {
    int64_t num_lattices;           // M
    const int64_t* index;           // (M,) the utterance whose scores each reads; null: M is N, and each its own
    const int64_t* num_frames;      // (N,) frames used, here and below M for N where there is an index
    const int32_t* num_states;      // (N,) at least 1
    int64_t max_states;             // K
    const int32_t* labels;          // (N, K) the class that each state emits
    const uint8_t* arcs;            // (N, K) bits of enum ctckit_arc
    const int32_t* tokens;          // (N, K) the target's token that each state is, -1 for none; null: CTC's layout
    const double* entry_costs;      // (N, K) nats to enter a state from another or to begin in it; or null
    const double* state_scores;     // (N, K) nats added to what a state emits at every frame; or null
    const int32_t* long_arcs;       // (J, 3) sample, from, to with from < to; sorted by sample, then by to
    const double* long_arc_scores;  // (J,) nats added when an arc is taken, -inf allowed
    int64_t num_long_arcs;          // J
} ctckit_lattices;

// What sums over all paths write. Every pointer but `score` and `status` may be null: then that output is not computed.
// Gradients are those of sum(weights * -score).
typedef struct {
    double* score;    // (N,) log of the sum over all paths; -inf without a path, NaN if a used frame is not finite
    uint8_t* status;  // (N,) of enum ctckit_status
    void* grad;       // (T, N, C) gradient to the scores, in their dtype; its class stride is 1
    int64_t grad_stride_t, grad_stride_n, grad_stride_h;
    int32_t adds_softmax;   // 1: of log-probabilities, write softmax - occupancy, as of logits; not -occupancy. Below a
                            // log_softmax both come to the same, but -occupancy loses digits if the network is sure
    const double* weights;  // (N,) in: factors of the samples' gradients, 1 if null
    double* class_scores_grad;     // (N, C) by sample: -weight * the expected number of frames in each class
    double* state_scores_grad;     // (N, K) -weight * the expected number of frames in each state
    double* entry_costs_grad;      // (N, K) weight * the expected number of times that each state is entered
    double* long_arc_scores_grad;  // (J,) -weight * the expected number of times that each arc is taken
    void* occupancy;               // (T, N, K) float64 for float64 scores, else float32
    const int32_t* along;          // (N, T) in: a path's states; goes with occupancy_along, without any other output
    double* occupancy_along;       // (N, T) the occupancies of those states, summed over the paths near them
} ctckit_sums_out;

// What the search for best paths writes. frame_scores and visits may be null.
typedef struct {
    double* score;         // (N,) of the best path; -inf without a path, NaN if a used frame is not finite
    uint8_t* status;       // (N,) of enum ctckit_status
    int32_t* states;       // (N, T) its state at each frame, -1 where there is none
    double* frame_scores;  // (N, T) what each frame adds to its score: label, class, state, entry cost, long arc
    int32_t* visits;       // (N, K, 2) its first frame in each state and one past its last; -1 if never there
} ctckit_path_out;

// Names of the instruction sets that were compiled in and that this CPU can run, the best last; null beyond the last.
const char* ctckit_instruction_set(int index);

// Runs a batch on up to num_threads threads; each sample is computed by one. instruction_set null means the best one.
// Returns a ctckit_result.
int ctckit_sums(const ctckit_scores* scores, const ctckit_lattices* lattices, const ctckit_sums_out* out,
                const char* instruction_set, int num_threads);
int ctckit_best_path(const ctckit_scores* scores, const ctckit_lattices* lattices, const ctckit_path_out* out,
                     const char* instruction_set, int num_threads);

#ifdef __cplusplus
}
#endif

#endif
