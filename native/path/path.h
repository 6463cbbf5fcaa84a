// One sample's best path: the recursion with the maximum in place of sums, on plain logarithms. In a long row, only
// cells that may be on the best path are visited. Forward, a row is kept before each block of frames. Back, block by
// block, rows are computed again and the path is read off them: no moves are stored. In a plain lattice only states
// that the path can have come from are computed again.
//
// Scores are relative to the best label of their frame, and to the best state some frames before: so they stay small
// near the path, and float32 keeps its precision however many frames there are.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels.h"
#include "lattice/lattice.h"
#include "lattice/reachable.h"
#include "path/path_rows.h"
#include "path/path_scores.h"
#include "simd/scaled.h"
#include "simd/tile.h"

namespace {

// Stored rows take up to this much memory; more, if that would need blocks longer than the square root of the number of
// frames.
constexpr std::int64_t kPathRowsBytes = 4 << 20;
constexpr std::int64_t kShortestBlock = 32;

// From this many cells of a parity on, it is worth finding a bound on the score, from paths within this many nats of
// each row's best state: within the second number, if the first leaves more than one cell in kTooMany.
constexpr std::int64_t kWorthPruning = 512;
template <class Real>
constexpr Real kNear[] = {500, 100};
constexpr std::int64_t kTooMany = 8;

template <class In>
class BestPath {
    using Real = typename Compute<In>::Real;
    using Rows = PathRows<Real>;

   public:
    BestPath(const ctckit::PathCall& call, const ctckit::Sample& sample, void* memory);
    BestPath(const BestPath&) = delete;  // its parts refer to each other
    std::size_t bytes() const { return bytes_; }
    void run();

   private:
    // Rows advance in two ways only: that of plain lattices, and that of any lattice.
    static LatticeView<Real> path_lattice(const ctckit_lattices& lattices, std::int64_t n) {
        LatticeView<Real> lattice(lattices, n);
        if (!lattice.plain()) lattice.shape = Shape::kAny;
        return lattice;
    }
    void lay_out(Arena& arena);
    int block_length() const;
    void find();
    void end(ctckit_status status, double score) {
        out_.status[n_] = std::uint8_t(status);
        out_.score[n_] = score;
    }
    void begin_outputs();
    double bound();
    bool forward(double bound, Real near);
    int best_end() const;
    void keep_row(int block, std::int64_t first, std::int64_t end);
    void restore_row(int block, std::int64_t first, std::int64_t end);
    int trace_block(int block, int state);
    int predecessor(int k, const Real* row, std::int64_t first) const;
    void write_visits();
    double arc_score(int t) const;
    void write_scores();

    Real* made(int row) const { return made_ + std::int64_t(row) * 2 * cone_; }
    std::int32_t* states() const { return out_.states + n_ * max_frames_; }
    double* frame_scores() const { return out_.frame_scores + n_ * max_frames_; }
    std::int32_t* visits() const { return out_.visits + n_ * max_states_ * 2; }

    const ctckit_path_out& out_;
    const std::int64_t n_, num_classes_, max_frames_, max_states_;
    const int num_frames_;
    LatticeView<Real> lattice_;
    PathScores<In> scores_;
    Rows rows_;
    int block_, blocks_;  // the frames of a block, and how many blocks there are
    std::int64_t cone_;   // cells of one parity in the rows that are computed again
    std::size_t bytes_;

    Real* kept_;                // (blocks_, 2, length) the row before each block, as far as it is not left out
    std::int64_t* kept_cells_;  // (blocks_, 2) the first cell of it that is not left out, and the end
    Real* made_;                // (block_ + 1, 2, cone_) the row before one block, and its own, computed again
    std::uint8_t* reached_;     // (2, num_states) scratch
    double taken_;              // subtracted from the current row's scores since the first frame
    bool poisoned_;             // NaN or +inf in a used frame
};

template <class In>
BestPath<In>::BestPath(const ctckit::PathCall& call, const ctckit::Sample& sample, void* memory)
    : out_(call.out),
      n_(sample.at),
      num_classes_(call.scores.num_classes),
      max_frames_(call.scores.num_frames),
      max_states_(call.lattices.max_states),
      num_frames_(int(call.lattices.num_frames[sample.lattice])),
      lattice_(path_lattice(call.lattices, sample.lattice)),
      scores_(call.scores, sample.scores, lattice_, num_frames_),
      rows_(lattice_) {
    Arena arena(memory);
    lattice_.lay_out(arena, num_frames_, num_classes_);
    lay_out(arena);
    bytes_ = arena.bytes();
}

template <class In>
int BestPath<In>::block_length() const {
    const std::int64_t root = std::int64_t(std::sqrt(double(num_frames_))) + 1;
    if (!lattice_.plain()) return int(round_up(root, kTile));
    const std::int64_t row = 2 * rows_.length() * std::int64_t(sizeof(Real));
    const std::int64_t bounded = num_frames_ / (kPathRowsBytes / row + 1) + 1;
    return int(round_up(greater(kShortestBlock, lesser(bounded, 2 * root)), kTile));
}

template <class In>
void BestPath<In>::lay_out(Arena& arena) {
    block_ = block_length();
    blocks_ = (num_frames_ + block_ - 1) / block_;
    // A frame moves a path down by one cell at most, so this many hold all that a block's last state can come from.
    cone_ = lattice_.plain() ? lesser(rows_.length(), round_up(block_ + 1, kUnit) + kUnit) : rows_.length();
    rows_.lay_out(arena);
    kept_ = arena.take<Real>(blocks_ * 2 * rows_.length());
    kept_cells_ = arena.take<std::int64_t>(2 * blocks_);
    made_ = arena.take<Real>((block_ + 1) * 2 * cone_);
    scores_.lay_out(arena);
    reached_ = arena.take<std::uint8_t>(2 * lattice_.num_states);
}

template <class In>
void BestPath<In>::run() {
    begin_outputs();
    if (num_frames_ == 0) return lattice_.accepts_nothing() ? end(CTCKIT_FINE, 0) : end(CTCKIT_INFEASIBLE, -HUGE_VAL);
    if (!lattice_.build_slots(num_classes_)) return end(CTCKIT_INVALID, NAN);
    if (!lattice_.build_windows(num_frames_)) return end(CTCKIT_INFEASIBLE, -HUGE_VAL);
    lattice_.build_masks();
    rows_.build();
    find();
}

template <class In>
void BestPath<In>::find() {
    // With gains, a score below the bound may still rise above it.
    const bool prune = rows_.length() >= kWorthPruning && !lattice_.can_gain();
    const bool alive = forward(prune ? bound() : -HUGE_VAL, kInfinity<Real>);
    if (!alive && !poisoned_) poisoned_ = scores_.any_poisoned();
    int state = alive && !poisoned_ ? best_end() : -1;
    if (state < 0) {
        // The windows of a plain lattice are exact: if it had no path, this would not be reached.
        const bool path = lattice_.plain() || has_path(lattice_, num_frames_, reached_);
        if (!path) return end(CTCKIT_INFEASIBLE, -HUGE_VAL);
        return poisoned_ ? end(CTCKIT_NOT_FINITE, NAN) : end(CTCKIT_IMPOSSIBLE, -HUGE_VAL);
    }
    for (int block = blocks_ - 1; block >= 0; --block) state = trace_block(block, state);
    if (out_.visits) write_visits();
    write_scores();
}

template <class In>
void BestPath<In>::begin_outputs() {
    poisoned_ = false;
    for (std::int64_t t = 0; t < max_frames_; ++t) states()[t] = -1;
    for (std::int64_t t = 0; out_.frame_scores && t < max_frames_; ++t) frame_scores()[t] = 0;
    for (std::int64_t i = 0; out_.visits && i < 2 * max_states_; ++i) visits()[i] = -1;
}

// A lower bound on the best path's score: that of the best path near each row's best state. -inf if no such path is
// found with little work.
template <class In>
double BestPath<In>::bound() {
    for (const Real near : kNear<Real>) {
        if (!forward(-HUGE_VAL, near)) continue;
        const int end = best_end();
        if (end < 0) continue;
        const double score = double(rows_.score(end)) + taken_;
        // Room for rounding in that path and another: each is a sum of one number per frame, none larger than the
        // score.
        return score - 1 - 4.0 * num_frames_ * (1 - score) * std::numeric_limits<Real>::epsilon();
    }
    return -HUGE_VAL;
}

// The rows of all frames. Scores only fall, since each frame's are relative to its best label. So a cell below `bound`
// is not on the best path. It is left out at either end of a row, and so are cells more than `near` below the row's
// best. False if no state is left. With a finite `near`, rows are not kept, and it is also false if too many cells are
// visited.
template <class In>
bool BestPath<In>::forward(double bound, Real near) {
    const bool scouting = near < kInfinity<Real>;
    std::int64_t alive = 0, alive_end = rows_.begin();  // the cells that are not left out
    // Cells that it may visit beyond one in kTooMany.
    std::int64_t spare = rows_.length() * num_frames_ / kTile / kTooMany / kTooMany;
    taken_ = 0;
    Real best = 0;
    for (int t0 = 0; t0 < num_frames_; t0 += kTile) {
        const int count = lesser(kTile, num_frames_ - t0);
        // From cells on some path before the first of these frames, to such cells in the last.
        alive = greater(alive, Rows::cells_from(lattice_.windows.low[greater(t0 - 1, 0)]));
        if (!scouting && t0 % block_ == 0) keep_row(t0 / block_, alive, alive_end);
        alive_end =
            lesser(rows_.reached(alive, alive_end, count), Rows::cells_to(lattice_.windows.high[t0 + count - 1]));
        poisoned_ |= !scores_.tabulate(t0, count, best, !scouting);
        taken_ += best;
        best = rows_.advance(scores_.table(), t0, count, alive, alive_end, nullptr, 0);
        if (!(best > -kInfinity<Real>)) return false;
        const Real least = greater(Real(bound - taken_), best - near);
        for (; alive + kUnit < alive_end && rows_.left_out(alive, least); alive += kUnit) {
        }
        for (; alive + kUnit < alive_end && rows_.left_out(alive_end - kUnit, least); alive_end -= kUnit) {
        }
        spare += rows_.length() / kTooMany - (alive_end - alive);
        if (scouting && spare < 0) return false;
    }
    return true;
}

// The END state with the best score; -1 if none can be reached.
template <class In>
int BestPath<In>::best_end() const {
    int end = -1;
    Real best = -kInfinity<Real>;
    for (int k = 0; k < lattice_.num_states; ++k)
        if ((lattice_.arcs[k] & CTCKIT_END) && rows_.score(k) > best) {
            best = rows_.score(k);
            end = k;
        }
    return end;
}

template <class In>
void BestPath<In>::keep_row(int block, std::int64_t first, std::int64_t end) {
    kept_cells_[2 * block] = first;
    kept_cells_[2 * block + 1] = end;
    for (int parity = 0; parity < 2; ++parity)
        std::memcpy(kept_ + (block * std::int64_t(2) + parity) * rows_.length() + first, rows_.cells(parity) + first,
                    (end - first) * sizeof(Real));
}

// The cells first <= i < end of the row before a block. `first` has not been left out.
template <class In>
void BestPath<In>::restore_row(int block, std::int64_t first, std::int64_t end) {
    const std::int64_t stop = greater(first, lesser(end, kept_cells_[2 * block + 1]));
    for (int parity = 0; parity < 2; ++parity) {
        Real* row = rows_.cells(parity);
        const Real* kept = kept_ + (block * std::int64_t(2) + parity) * rows_.length();
        std::memcpy(row + first, kept + first, (stop - first) * sizeof(Real));
        for (std::int64_t i = stop; i < end; ++i) row[i] = -kInfinity<Real>;
        std::memcpy(made(0) + parity * cone_, row + first, (end - first) * sizeof(Real));
    }
}

// Writes the path within a block of frames, given its last state there; returns the state before the block.
template <class In>
int BestPath<In>::trace_block(int block, int state) {
    const int start = block * block_, stop = lesser(num_frames_, start + block_);
    const std::int64_t end = Rows::cells_to(state);
    std::int64_t first = kept_cells_[2 * block];
    if (lattice_.plain()) first = greater(first, Rows::cells_from(greater(state - 2 * (stop - start), 0)));
    restore_row(block, first, end);
    Real best = 0;
    for (int t0 = start; t0 < stop; t0 += kTile) {
        const int count = lesser(kTile, stop - t0);
        scores_.tabulate(t0, count, best, false);
        best = rows_.advance(scores_.table(), t0, count, first, end, made(1 + t0 - start), cone_);
    }
    for (int t = stop - 1; t >= start; --t) {
        states()[t] = state;
        if (t > 0) state = predecessor(state, made(t - start), first);
    }
    return state;
}

// The state that state k's score came from; of equals, the lowest. A row holds cells from `first` on; those before it
// have been left out.
template <class In>
int BestPath<In>::predecessor(int k, const Real* row, std::int64_t first) const {
    int from = k;
    Real best = -kInfinity<Real>;
    const auto consider = [&](int source, Real arc = 0) {
        if (source / 2 < first) return;
        const Real score = row[(source % 2) * cone_ + source / 2 - first] - (source == k ? 0 : rows_.cost(k)) + arc;
        if (score > best || (score == best && source < from)) {
            best = score;
            from = source;
        }
    };
    const std::uint8_t arcs = lattice_.arcs[k];
    if (arcs & CTCKIT_STAY) consider(k);
    if ((arcs & CTCKIT_STEP) && k >= 1) consider(k - 1);
    if ((arcs & CTCKIT_SKIP) && k >= 2) consider(k - 2);
    for (int j = lattice_.first_long_arc_to(k); j < lattice_.num_long_arcs && lattice_.long_arc_to(j) == k; ++j)
        consider(lattice_.long_arc_from(j), Real(lattice_.long_arc_scores[j]));
    return from;
}

// When the path is in each state.
template <class In>
void BestPath<In>::write_visits() {
    for (int t = 0; t < num_frames_; ++t) {
        std::int32_t* visit = visits() + std::int64_t(states()[t]) * 2;
        if (t == 0 || states()[t] != states()[t - 1]) visit[0] = t;
        visit[1] = t + 1;
    }
}

// What the arc that the path takes into frame t adds to its score.
template <class In>
double BestPath<In>::arc_score(int t) const {
    const int k = states()[t], from = t > 0 ? states()[t - 1] : -1;
    if (k == from) return 0;
    const int bit = t == 0 ? CTCKIT_START : k - from == 1 ? CTCKIT_STEP : k - from == 2 ? CTCKIT_SKIP : 0;
    double best = lattice_.arcs[k] & bit ? 0 : -HUGE_VAL;
    for (int j = lattice_.first_long_arc_to(k); j < lattice_.num_long_arcs && lattice_.long_arc_to(j) == k; ++j)
        if (lattice_.long_arc_from(j) == from) best = greater(best, lattice_.long_arc_scores[j]);
    return lattice_.entry_costs ? best - lattice_.entry_costs[k] : best;
}

// What each frame adds to the path's score, in float64; and their sum.
template <class In>
void BestPath<In>::write_scores() {
    double sum = 0;
    const bool arcs_are_free = lattice_.plain();
    const auto class_at = [&](int t) { return lattice_.labels[states()[t]]; };
    scores_.for_each_score(class_at, [&](int t, double score) {
        if (!arcs_are_free) score += arc_score(t);
        if (lattice_.state_scores) score += lattice_.state_scores[states()[t]];
        if (out_.frame_scores) frame_scores()[t] = score;
        sum += score;
    });
    end(CTCKIT_FINE, sum);
}

}  // namespace
