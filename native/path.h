// One sample's best path: the recursion with the greatest in the place of sums, on plain logarithms. Of a long row only
// what can still become the best path is visited. Forward, a row is kept before each block of frames. Back, block by
// block, rows are made again, and the path is read off them: no moves are stored, and of a plain lattice only the
// states are made again that the path can have come from.
//
// Scores are relative to the best label of their frame, and to the best state some frames before: so they stay small
// where the path is, and float32 keeps its precision however many frames there are.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "cells.h"
#include "frames.h"
#include "kernels.h"
#include "lattice.h"
#include "scaled.h"
#include "tile.h"

namespace {

using ctckit::Batch;

// Rows kept take up to so much memory; where that would need blocks of more frames than their square root, more.
constexpr std::int64_t kPathRowsBytes = 4 << 20;
constexpr std::int64_t kShortestBlock = 32;

// From so many cells on, a bound on the score is worth finding, by paths so many nats below each row's best.
constexpr std::int64_t kWorthPruning = 512;
template <class Real>
constexpr Real kNear = 500;

// Cells are counted in units that are whole squares to transpose and whole registers.
constexpr int kUnit = 16;
// Cells of a plain lattice's odd states whose emissions are spread at a time, to stay in the first-level cache.
constexpr int kChunk = 256;
// Registers that advance side by side, since each step waits for the one before.
#if defined(__AVX512F__)
constexpr int kGroup = 4;
#else
constexpr int kGroup = 2;
#endif

template <class In>
class BestPath {
    using Real = typename Compute<In>::Real;

   public:
    BestPath(const Batch& batch, std::int64_t n, void* memory);
    std::size_t bytes() const { return bytes_; }
    void run();

   private:
    void lay_out(Arena& arena);
    int block_length() const;
    void begin_outputs();
    bool forward();
    double bound();
    bool forward_plain(double bound, Real near, std::int64_t most, bool keep);
    bool left_out(std::int64_t first, Real least);
    bool forward_any();
    bool is_poisoned();
    bool tabulate(int t0, int count, Real rebase);
    Real advance_tile(int count, std::int64_t first, std::int64_t end, const Real* outside, Real* kept);
    template <int kCount>
    void advance_group(std::int64_t i, int count, const Real* emission, Real* kept);
    Real advance_any(int t0, int count, Real* kept);
    void enter(const Arcs<Real>& arcs, const Real* emission);
    int best_end() const;
    int trace_block(int block, int state);
    int predecessor(int k, const Real* row, std::int64_t length, std::int64_t first) const;
    void write_visits();
    void write_scores();

    Real* checkpoint(int block) const { return checkpoint_ + std::int64_t(block) * 2 * length_; }
    std::int32_t* path() const { return batch_.path + n_ * batch_.frames_max; }
    std::int32_t* visits() const { return batch_.visits + n_ * batch_.states_max * 2; }
    // Cells in whole units, from a state's on, or up to it.
    static std::int64_t cells_from(int k) { return k / 2 / kUnit * kUnit; }
    static std::int64_t cells_to(int k) { return round_up(k / 2 + 1, kUnit); }

    const Batch& batch_;
    const std::int64_t n_;
    int frames_, block_, blocks_;
    std::int64_t length_;  // of the cells of one parity, a whole number of units
    std::int64_t cone_;    // the same, of the rows that are made again
    std::size_t bytes_;

    Frames<In> input_;
    LatticeView<Real> lattice_;
    std::int32_t* slot_of_class_;
    BitsOf<Real>* caps_;

    Real* row_;                 // (2, length_) the row in hand, by cell
    Real* next_;                // the same, of the frame after it; of lattices that are not plain
    Real* checkpoint_;          // (blocks_, 2, length_) the row before each block
    std::int32_t* jump_cells_;  // (jump_count, 2) from, to
    Real* made_;                // (block_, 2, cone_) the rows of one block, made again
    Real* table_;               // (slots, kTile) emissions of the labels
    Real* emission_;            // (kTile, kChunk) or, of any lattice, (kTile, 2 * length_), by cell
    Real* exps_;                // (classes,) scratch of a softmax
    Lanes<Real> carry_[kTile];  // the register of odd cells below the one in hand, before each frame
    Lanes<Real> best_;          // of the row, lane by lane
    double taken_;              // off the scores of the row in hand, since the first frame
    bool poisoned_;             // NaN or +inf in a used frame
};

template <class In>
BestPath<In>::BestPath(const Batch& batch, std::int64_t n, void* memory) : batch_(batch), n_(n) {
    frames_ = int(batch.frames[n]);
    input_ = frames_of<In>(batch, n);
    lattice_ = lattice_of<Real>(batch, n);
    lattice_.slot_is_class = batch.classes <= 2 * (batch.states[n] + 1);
    length_ = round_up(cells_length<Real>(lattice_.states), kUnit);
    Arena arena(memory);
    place(lattice_, arena, frames_, batch.classes, slot_of_class_, caps_);
    lay_out(arena);
    bytes_ = arena.bytes();
}

template <class In>
int BestPath<In>::block_length() const {
    const std::int64_t root = std::int64_t(std::sqrt(double(frames_))) + 1;
    if (!lattice_.plain) return int(round_up(root, kTile));
    const std::int64_t row = 2 * length_ * std::int64_t(sizeof(Real));
    const std::int64_t bounded = frames_ / (kPathRowsBytes / row + 1) + 1;
    return int(round_up(greater(kShortestBlock, lesser(bounded, 2 * root)), kTile));
}

template <class In>
void BestPath<In>::lay_out(Arena& arena) {
    const std::int64_t slots =
        lattice_.slot_is_class ? batch_.classes : lesser<std::int64_t>(lattice_.states, batch_.classes);
    block_ = block_length();
    blocks_ = (frames_ + block_ - 1) / block_;
    // A frame moves a path down by one cell at most, so this many hold all that a block's last state can come from.
    cone_ = lattice_.plain ? lesser(length_, round_up(block_ + 1, kUnit) + kUnit) : length_;
    row_ = arena.take<Real>(2 * length_);
    next_ = arena.take<Real>(lattice_.plain ? 0 : 2 * length_);
    checkpoint_ = arena.take<Real>(blocks_ * 2 * length_);
    jump_cells_ = arena.take<std::int32_t>(2 * lattice_.jump_count);
    made_ = arena.take<Real>(block_ * 2 * cone_);
    table_ = arena.take<Real>(round_up(slots, kSquare) * kTile);
    emission_ = arena.take<Real>(kTile * (lattice_.plain ? kChunk : 2 * length_));
    exps_ = arena.take<Real>(batch_.from_logits ? batch_.classes : 0);
    input_.stage = Frames<In>::in_place(batch_.stride_c) ? nullptr : arena.take<Real>(kTile * batch_.classes);
}

template <class In>
void BestPath<In>::run() {
    begin_outputs();
    if (frames_ == 0) {
        if (accepts_nothing(lattice_)) batch_.score[n_] = 0;
        return;
    }
    if (!build_slots(lattice_, slot_of_class_, batch_.classes)) {
        batch_.score[n_] = NAN;
        return;
    }
    if (!build_windows(lattice_, frames_)) return;
    build_caps(lattice_, caps_);
    const bool alive = forward();
    if (!alive && !poisoned_) poisoned_ = is_poisoned();
    if (poisoned_) batch_.score[n_] = NAN;
    int state = alive && !poisoned_ ? best_end() : -1;
    if (state < 0) return;
    for (int block = blocks_ - 1; block >= 0; --block) state = trace_block(block, state);
    if (batch_.visits) write_visits();
    write_scores();
}

template <class In>
void BestPath<In>::begin_outputs() {
    batch_.score[n_] = -HUGE_VAL;
    poisoned_ = false;
    for (std::int64_t t = 0; t < batch_.frames_max; ++t) path()[t] = -1;
    if (batch_.path_scores)
        for (std::int64_t t = 0; t < batch_.frames_max; ++t) batch_.path_scores[n_ * batch_.frames_max + t] = 0;
    if (batch_.visits)
        for (std::int64_t i = 0; i < 2 * batch_.states_max; ++i) visits()[i] = -1;
}

// Forward over all frames. False if no path has a probability above 0.
template <class In>
bool BestPath<In>::forward() {
    for (int j = 0; j < lattice_.jump_count; ++j) {
        jump_cells_[2 * j] = std::int32_t(lattice_.cell(lattice_.jump_from(j)));
        jump_cells_[2 * j + 1] = std::int32_t(lattice_.cell(lattice_.jump_to(j)));
    }
    if (!lattice_.plain) return forward_any();
    return forward_plain(length_ < kWorthPruning ? -HUGE_VAL : bound(), kInfinity<Real>, INT64_MAX, true);
}

// A score that the best path reaches at least: that of the best one near each row's best state. Minus infinity if that
// finds none, or is no less work than all of it.
template <class In>
double BestPath<In>::bound() {
    if (!forward_plain(-HUGE_VAL, kNear<Real>, length_ * frames_ / kTile / 8, false)) return -HUGE_VAL;
    const int end = best_end();
    if (end < 0) return -HUGE_VAL;
    const double score = double(row_[lattice_.cell(end)]) + taken_;
    // What rounding does to that path and to another, each a sum of `frames_` numbers no larger than the score.
    return score - 1 - 4.0 * frames_ * (1 - score) * std::numeric_limits<Real>::epsilon();
}

// A plain lattice's rows. Scores only fall: each frame's are relative to its best label. So what is below `bound`,
// which the best path reaches, is on no best path, and is left out at both ends of a row; and so is what is more than
// `near` below the row's best. False if no state is left, or if more than `most` cells have been visited in tiles.
template <class In>
bool BestPath<In>::forward_plain(double bound, Real near, std::int64_t most, bool keep) {
    for (std::int64_t i = 0; i < 2 * length_; ++i) row_[i] = -kInfinity<Real>;
    row_[0] = 0;  // before the first frame: a path may as well begin in state 0 there
    taken_ = 0;
    Real best = 0;
    std::int64_t alive = 0, alive_end = kUnit;  // the cells that are not left out
    for (int t0 = 0; t0 < frames_; t0 += kTile) {
        const int count = lesser(kTile, frames_ - t0);
        if (keep && t0 % block_ == 0) std::memcpy(checkpoint(t0 / block_), row_, 2 * length_ * sizeof(Real));
        poisoned_ |= !tabulate(t0, count, best);
        taken_ += best;
        // All that lies on some path in any of these frames; in a tile, a path comes up by less than a unit.
        alive = greater(alive, cells_from(lattice_.low[t0]));
        alive_end = lesser(alive_end + kUnit, cells_to(lattice_.high[t0 + count - 1]));
        const Real* outside = alive > 0 ? row_ + length_ + alive - kLanes<Real> : nullptr;
        best = advance_tile(count, alive, alive_end, outside, nullptr);
        if (!(best > -kInfinity<Real>)) return false;
        const Real least = greater(Real(bound - taken_), best - near);
        for (; alive + kUnit < alive_end && left_out(alive, least); alive += kUnit) {
        }
        for (; alive + kUnit < alive_end && left_out(alive_end - kUnit, least); alive_end -= kUnit) {
        }
        most -= alive_end - alive;
        if (most < 0) return false;
    }
    return true;
}

// Whether a unit of cells has nothing as good as `least`; then it has nothing at all any more.
template <class In>
bool BestPath<In>::left_out(std::int64_t first, Real least) {
    Real best = -kInfinity<Real>;
    for (std::int64_t i = first; i < first + kUnit; ++i) best = greater(best, greater(row_[i], row_[length_ + i]));
    if (!(best < least)) return false;
    for (std::int64_t i = first; i < first + kUnit; ++i) row_[i] = row_[length_ + i] = -kInfinity<Real>;
    return true;
}

template <class In>
bool BestPath<In>::forward_any() {
    for (std::int64_t i = 0; i < 2 * length_; ++i) row_[i] = 0;  // START arcs choose from all of it
    Real best = 0;
    for (int t0 = 0; t0 < frames_; t0 += kTile) {
        const int count = lesser(kTile, frames_ - t0);
        if (t0 % block_ == 0) std::memcpy(checkpoint(t0 / block_), row_, 2 * length_ * sizeof(Real));
        poisoned_ |= !tabulate(t0, count, best);
        best = advance_any(t0, count, nullptr);
        if (!(best > -kInfinity<Real>)) return false;
    }
    return true;
}

// Whether a frame holds NaN or +inf, when a sweep has ended before it came there.
template <class In>
bool BestPath<In>::is_poisoned() {
    for (int t0 = 0; t0 < frames_; t0 += kTile) {
        const int count = lesser(kTile, frames_ - t0);
        const Real* rows = input_.rows(t0, count);
        for (int f = 0; f < count; ++f)
            if (!readable(rows + f * input_.row_stride(), int(batch_.classes))) return true;
    }
    return false;
}

// Fills the table for a tile, relative to each frame's best label, and the first frame's to the rows before. False if a
// frame holds NaN or +inf.
template <class In>
bool BestPath<In>::tabulate(int t0, int count, Real rebase) {
    const Real* rows = input_.rows(t0, count);
    const std::int64_t stride = input_.row_stride();
    const int classes = int(batch_.classes);
    bool fine = true;
    for (int f = 0; f < count; ++f) fine &= readable(rows + f * stride, classes);
    if (lattice_.slot_is_class) {
        turn_rows(rows, stride, count, classes, table_);
    } else {
        for (int i = 0; i < lattice_.labels; ++i)
            for (int f = 0; f < kTile; ++f)
                table_[i * kTile + f] = rows[lesser(f, count - 1) * stride + lattice_.slot_label[i]];
    }
    Pack<Real> top, scores;
    load_pack(table_ + lattice_.slot_of_label(0) * kTile, top);
    for (int i = 1; i < lattice_.labels; ++i) {
        load_pack(table_ + lattice_.slot_of_label(i) * kTile, scores);
        raise<Real>(top, scores);
    }
    for (int f = 0; f < kTile; ++f)
        if (!(top[f] > -kInfinity<Real>)) top[f] = 0;
    for (int i = 0; i < lattice_.labels; ++i) {
        Real* place = table_ + lattice_.slot_of_label(i) * kTile;
        load_pack(place, scores);
        store_pack<Real>(scores - top, place);
        place[0] -= rebase;
    }
    return fine;
}

// Advances a plain lattice's cells first <= i < end, whole units, by `count` frames: each block of registers goes
// through all of them before the next, and what that one needs from below is carried. `outside` is the register below
// the first cell, before the first frame; later ones hold nothing that leads to a path. Rows go into `kept`, from
// `first` on. Returns the best score of the last frame.
template <class In>
auto BestPath<In>::advance_tile(int count, std::int64_t first, std::int64_t end, const Real* outside, Real* kept)
    -> Real {
    constexpr int lanes = kLanes<Real>;
    for (int f = 0; f < kTile; ++f) carry_[f] = Lanes<Real>{} - kInfinity<Real>;
    if (outside) carry_[0] = load_lanes(outside);
    best_ = Lanes<Real>{} - kInfinity<Real>;
    const std::int32_t* slots = lattice_.slot_of_cell + lattice_.length;
    for (std::int64_t chunk = first; chunk < end; chunk += kChunk) {
        const std::int64_t stop = lesser(chunk + kChunk, end);
        spread(table_, slots + chunk, emission_, kChunk, 0, int(stop - chunk));
        std::int64_t i = chunk;
        const auto keep = [&] { return kept ? kept + (i - first) : nullptr; };
        for (; i + kGroup * lanes <= stop; i += kGroup * lanes)
            advance_group<kGroup>(i, count, emission_ + (i - chunk), keep());
        for (; i < stop; i += lanes) advance_group<1>(i, count, emission_ + (i - chunk), keep());
    }
    return greatest_of_lanes<Real>(best_);
}

// Some registers of both parities at once, from cell i on.
template <class In>
template <int kCount>
void BestPath<In>::advance_group(std::int64_t i, int count, const Real* emission, Real* kept) {
    constexpr int lanes = kLanes<Real>, last = lanes - 1;
    constexpr std::make_index_sequence<kLanes<Real>> all{};
    const Real* blank = table_ + lattice_.slot_of_cell[0] * kTile;
    Lanes<Real> even[kCount], odd[kCount];
    decltype(Lanes<BitsOf<Real>>{} > 0) skip[kCount];
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
        even[j] = load_lanes(row_ + i + j * lanes);
        odd[j] = load_lanes(row_ + length_ + i + j * lanes);
        skip[j] = load_lanes(lattice_.within.odd.skip + i + j * lanes) > 0;
    }
    for (int f = 0; f < count; ++f) {
        const Lanes<Real> carried = carry_[f], stay_blank = Lanes<Real>{} + blank[f];
        carry_[f] = odd[kCount - 1];
#pragma GCC unroll 4
        for (int j = kCount - 1; j >= 0; --j) {
            const Lanes<Real> below = window<last>(j > 0 ? odd[j > 0 ? j - 1 : 0] : carried, odd[j], all);
            // An odd cell that may be skipped into is entered from just where the even one before it is.
            const Lanes<Real> both = greater(even[j], below), entering = skip[j] ? both : even[j];
            even[j] = both + stay_blank;
            odd[j] = greater(odd[j], entering) + load_lanes(emission + f * kChunk + j * lanes);
        }
        if (!kept) continue;
#pragma GCC unroll 4
        for (int j = 0; j < kCount; ++j) {
            store_lanes<Real>(even[j], kept + f * 2 * cone_ + j * lanes);
            store_lanes<Real>(odd[j], kept + f * 2 * cone_ + cone_ + j * lanes);
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
        store_lanes<Real>(even[j], row_ + i + j * lanes);
        store_lanes<Real>(odd[j], row_ + length_ + i + j * lanes);
        best_ = greater(best_, greater(even[j], odd[j]));
    }
}

// Advances the row of any lattice by `count` frames, one by one; rows go into `kept`. Returns the best score of the
// last frame.
template <class In>
auto BestPath<In>::advance_any(int t0, int count, Real* kept) -> Real {
    spread(table_, lattice_.slot_of_cell, emission_, 2 * length_, 0, int(2 * length_));
    Real best = -kInfinity<Real>;
    for (int f = 0; f < count; ++f) {
        const Real* emission = emission_ + f * 2 * length_;
        enter(t0 + f == 0 ? lattice_.at_start : lattice_.within, emission);
        for (int j = 0; j < lattice_.jump_count && t0 + f > 0; ++j) {
            const std::int32_t from = jump_cells_[2 * j], to = jump_cells_[2 * j + 1];
            next_[to] = greater(next_[to], row_[from] + emission[to]);
        }
        Real* made = next_;
        next_ = row_;
        row_ = made;
        if (kept) std::memcpy(kept + f * 2 * cone_, row_, 2 * length_ * sizeof(Real));
    }
    for (std::int64_t i = 0; i < 2 * length_; ++i) best = greater(best, row_[i]);
    return best;
}

// The next row from the row in hand, along arcs as far as bits reach.
template <class In>
void BestPath<In>::enter(const Arcs<Real>& arcs, const Real* emission) {
    const Real* CTCKIT_RESTRICT even = row_;
    const Real* CTCKIT_RESTRICT odd = row_ + length_;
    Real* CTCKIT_RESTRICT into_even = next_;
    Real* CTCKIT_RESTRICT into_odd = next_ + length_;
    const Caps<Real> e = arcs.even, o = arcs.odd;
    const std::int64_t length = length_;
    const auto along = [](BitsOf<Real> cap, Real score) { return cap > 0 ? score : -kInfinity<Real>; };
    into_even[0] = along(e.stay[0], even[0]) + emission[0];
    into_odd[0] = greater(along(o.stay[0], odd[0]), along(o.step[0], even[0])) + emission[length];
#pragma omp simd
    for (std::int64_t i = 1; i < length; ++i) {
        const Real below = greater(along(e.step[i], odd[i - 1]), along(e.skip[i], even[i - 1]));
        into_even[i] = greater(along(e.stay[i], even[i]), below) + emission[i];
    }
#pragma omp simd
    for (std::int64_t i = 1; i < length; ++i) {
        const Real below = greater(along(o.step[i], even[i]), along(o.skip[i], odd[i - 1]));
        into_odd[i] = greater(along(o.stay[i], odd[i]), below) + emission[length + i];
    }
}

// The END state with the best score, -1 if there is none that can be reached.
template <class In>
int BestPath<In>::best_end() const {
    int end = -1;
    Real best = -kInfinity<Real>;
    for (int k = 0; k < lattice_.states; ++k) {
        const Real score = row_[lattice_.cell(k)];
        if ((lattice_.arcs[k] & kEnd) && score > best) {
            best = score;
            end = k;
        }
    }
    return end;
}

// Writes the path within a block of frames, given its last state there; returns the state before the block.
template <class In>
int BestPath<In>::trace_block(int block, int state) {
    const int start = block * block_, stop = lesser(frames_, start + block_);
    const Real* before = checkpoint(block);
    std::int64_t first = 0, end = length_;
    if (lattice_.plain) {
        first = cells_from(greater(lattice_.low[start], state - 2 * (stop - start)));
        end = cells_to(state);
    }
    std::memcpy(row_ + first, before + first, (end - first) * sizeof(Real));
    std::memcpy(row_ + length_ + first, before + length_ + first, (end - first) * sizeof(Real));
    const Real* outside = first > 0 ? before + length_ + first - kLanes<Real> : nullptr;
    Real best = 0;
    for (int t0 = start; t0 < stop; t0 += kTile) {
        const int count = lesser(kTile, stop - t0);
        Real* kept = made_ + (t0 - start) * 2 * cone_;
        tabulate(t0, count, best);
        best = lattice_.plain ? advance_tile(count, first, end, outside, kept) : advance_any(t0, count, kept);
        outside = nullptr;  // so far below that nothing comes from there any more
    }
    for (int t = stop - 1; t >= start; --t) {
        path()[t] = state;
        const Real* row = t > start ? made_ + std::int64_t(t - 1 - start) * 2 * cone_ : before;
        if (t > 0) state = t > start ? predecessor(state, row, cone_, first) : predecessor(state, row, length_, 0);
    }
    return state;
}

// Where state k's score came from: of equals the lowest state. A row holds cells from `first` on, `length` of a parity.
template <class In>
int BestPath<In>::predecessor(int k, const Real* row, std::int64_t length, std::int64_t first) const {
    int from = k;
    Real best = -kInfinity<Real>;
    const auto consider = [&](int source) {
        const Real score = row[(source % 2) * length + source / 2 - first];
        if (score > best || (score == best && source < from)) {
            best = score;
            from = source;
        }
    };
    const std::uint8_t arcs = lattice_.arcs[k];
    if (arcs & kStay) consider(k);
    if ((arcs & kStep) && k >= 1) consider(k - 1);
    if ((arcs & kSkip) && k >= 2) consider(k - 2);
    for (int j = lattice_.first_jump_to(k); j < lattice_.jump_count && lattice_.jump_to(j) == k; ++j)
        consider(lattice_.jump_from(j));
    return from;
}

// When the path is in each state.
template <class In>
void BestPath<In>::write_visits() {
    for (int t = 0; t < frames_; ++t) {
        std::int32_t* visit = visits() + std::int64_t(path()[t]) * 2;
        if (t == 0 || path()[t] != path()[t - 1]) visit[0] = t;
        visit[1] = t + 1;
    }
}

// The log-probability of each frame's label, in float64, and their sum.
template <class In>
void BestPath<In>::write_scores() {
    double sum = 0;
    for (int t0 = 0; t0 < frames_; t0 += kTile) {
        const int count = lesser(kTile, frames_ - t0);
        const Real* rows = input_.rows(t0, count);
        for (int f = 0; f < count; ++f) {
            const Real* row = rows + f * input_.row_stride();
            double score = row[lattice_.label[path()[t0 + f]]];
            if (batch_.from_logits) {
                const Ahead<In> here = {input_.base + (t0 + f) * input_.stride_t, input_.stride_c, nullptr};
                const Normaliser<Real> z = exponentials(row, int(batch_.classes), exps_, here);
                score -= double(z.top) + std::log(double(z.sum));
            }
            if (batch_.path_scores) batch_.path_scores[n_ * batch_.frames_max + t0 + f] = score;
            sum += score;
        }
    }
    batch_.score[n_] = sum;
}

}  // namespace
