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
#include "jumps.h"
#include "kernels.h"
#include "lattice.h"
#include "scaled.h"
#include "tile.h"

namespace {

using ctckit::Batch;

// Rows kept take up to so much memory; where that would need blocks of more frames than their square root, more.
constexpr std::int64_t kPathRowsBytes = 4 << 20;
constexpr std::int64_t kShortestBlock = 32;

// From so many cells of a parity on, a bound on the score is worth finding, by paths so many nats below each row's
// best, the second where the first are too many: more than this share of all.
constexpr std::int64_t kWorthPruning = 512;
template <class Real>
constexpr Real kNear[] = {500, 100};
constexpr std::int64_t kTooMany = 8;

// Cells are counted in units that are whole squares to transpose and whole registers.
constexpr int kUnit = 16;
// Cells of a parity whose emissions are spread at a time, to stay in the first-level cache.
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
    void build_tolls();
    void begin_outputs();
    double bound();
    bool forward(double bound, Real near);
    std::int64_t begin_row();
    std::int64_t reached(std::int64_t end, int count) const;
    bool left_out(std::int64_t first, Real least);
    bool is_poisoned();
    bool tabulate(int t0, int count, Real rebase);
    Real advance(int t0, int count, std::int64_t first, std::int64_t end, Real* kept);
    Real advance_plain(int count, std::int64_t first, std::int64_t end, Real* kept);
    template <int kCount>
    void advance_group(std::int64_t i, int count, const Real* emission, Real* kept);
    Real advance_any(int t0, int count, std::int64_t first, std::int64_t end, Real* kept);
    void enter(const Arcs<Real>& arcs, int f, std::int64_t first, std::int64_t end);
    int best_end() const;
    void keep_row(int block, std::int64_t first, std::int64_t end);
    void restore_row(int block, std::int64_t first, std::int64_t end);
    int trace_block(int block, int state);
    int predecessor(int k, const Real* row, std::int64_t first) const;
    void write_visits();
    void write_scores();

    Real toll(int k) const { return lattice_.tolls ? Real(lattice_.tolls[k]) : 0; }
    Real* made(int row) const { return made_ + std::int64_t(row) * 2 * cone_; }
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
    Jumps<Real> jumps_;
    std::int32_t* slot_of_class_;
    BitsOf<Real>* caps_;

    Real* toll_;                     // (2, length_) by cell; of lattices that are not plain
    Real* row_;                      // (2, length_) the row in hand, by cell
    Real* kept_;                     // (blocks_, 2, length_) the row before each block, where it is not left out
    std::int64_t* kept_cells_;       // (blocks_, 2) the first cell of it that is not, and the end
    Real* made_;                     // (block_ + 1, 2, cone_) the row before one block, and its own made again
    Real* table_;                    // (slots, kTile) emissions of the labels
    Real* emission_;                 // (kTile, kChunk), of a plain lattice's odd cells; of any other (kTile, 2, kChunk)
    Real* exps_;                     // (classes,) scratch of a softmax
    Lanes<Real> carry_[kTile];       // the register of odd cells below the one in hand, before each frame
    Lanes<Real> carry_even_[kTile];  // the same of even cells; of lattices that are not plain
    Lanes<Real> best_;               // of the row, lane by lane
    double taken_;                   // off the scores of the row in hand, since the first frame
    bool poisoned_;                  // NaN or +inf in a used frame
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
    jumps_.lay_out(lattice_, kUnit, kChunk, arena);
    toll_ = arena.take<Real>(lattice_.plain ? 0 : 2 * length_);
    row_ = arena.take<Real>(2 * length_);
    kept_ = arena.take<Real>(blocks_ * 2 * length_);
    kept_cells_ = arena.take<std::int64_t>(2 * blocks_);
    made_ = arena.take<Real>((block_ + 1) * 2 * cone_);
    table_ = arena.take<Real>(round_up(slots, kSquare) * kTile);
    emission_ = arena.take<Real>(kTile * 2 * kChunk);
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
    jumps_.build(lattice_);
    build_tolls();
    const bool alive = forward(length_ < kWorthPruning ? -HUGE_VAL : bound(), kInfinity<Real>);
    if (!alive && !poisoned_) poisoned_ = is_poisoned();
    if (poisoned_) batch_.score[n_] = NAN;
    int state = alive && !poisoned_ ? best_end() : -1;
    if (state < 0) return;
    for (int block = blocks_ - 1; block >= 0; --block) state = trace_block(block, state);
    if (batch_.visits) write_visits();
    write_scores();
}

template <class In>
void BestPath<In>::build_tolls() {
    if (lattice_.plain) return;
    for (std::int64_t i = 0; i < 2 * length_; ++i) toll_[i] = 0;
    for (int k = 0; k < lattice_.states; ++k) toll_[lattice_.cell(k)] = toll(k);
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

// A score that the best path reaches at least: that of the best one near each row's best state. Minus infinity if that
// is not found, or is not found with little work.
template <class In>
double BestPath<In>::bound() {
    for (const Real near : kNear<Real>) {
        if (!forward(-HUGE_VAL, near)) continue;
        const int end = best_end();
        if (end < 0) continue;
        const double score = double(row_[lattice_.cell(end)]) + taken_;
        // What rounding does to that path and to another, each a sum of `frames_` numbers no larger than the score.
        return score - 1 - 4.0 * frames_ * (1 - score) * std::numeric_limits<Real>::epsilon();
    }
    return -HUGE_VAL;
}

// The rows of all frames. Scores only fall: each frame's are relative to its best label. So what is below `bound`,
// which the best path reaches, is on no best path, and is left out at both ends of a row; and so is what is more than
// `near` below the row's best. False if no state is left; where something is `near`, rows are not kept, and it is also
// false if that is too many cells.
template <class In>
bool BestPath<In>::forward(double bound, Real near) {
    const bool scouting = near < kInfinity<Real>;
    std::int64_t spare = length_ * frames_ / kTile / kTooMany / kTooMany;  // cells that it may visit beyond that share
    std::int64_t alive = 0, alive_end = begin_row();                       // the cells that are not left out
    taken_ = 0;
    Real best = 0;
    for (int t0 = 0; t0 < frames_; t0 += kTile) {
        const int count = lesser(kTile, frames_ - t0);
        // What lies on some path before the first of these frames, up to what does so in the last.
        alive = greater(alive, cells_from(lattice_.low[greater(t0 - 1, 0)]));
        if (!scouting && t0 % block_ == 0) keep_row(t0 / block_, alive, alive_end);
        alive_end = lesser(reached(alive_end, count), cells_to(lattice_.high[t0 + count - 1]));
        poisoned_ |= !tabulate(t0, count, best);
        taken_ += best;
        best = advance(t0, count, alive, alive_end, nullptr);
        if (!(best > -kInfinity<Real>)) return false;
        const Real least = greater(Real(bound - taken_), best - near);
        for (; alive + kUnit < alive_end && left_out(alive, least); alive += kUnit) {
        }
        for (; alive + kUnit < alive_end && left_out(alive_end - kUnit, least); alive_end -= kUnit) {
        }
        spare += length_ / kTooMany - (alive_end - alive);
        if (scouting && spare < 0) return false;
    }
    return true;
}

// The row before the first frame; returns the end of the cells that are not left out. A plain lattice's path may as
// well begin in state 0 there; of others, START arcs choose from all cells.
template <class In>
std::int64_t BestPath<In>::begin_row() {
    const std::int64_t end = lattice_.plain ? kUnit : cells_to(lattice_.high[0]);
    for (std::int64_t i = 0; i < 2 * length_; ++i) row_[i] = -kInfinity<Real>;
    if (lattice_.plain) row_[0] = 0;
    for (std::int64_t i = 0; i < end && !lattice_.plain; ++i) {
        row_[i] = -toll_[i];
        row_[length_ + i] = -toll_[length_ + i];
    }
    return end;
}

// One past the cells that paths come to in some frames, in whole units, from those before `end`.
template <class In>
std::int64_t BestPath<In>::reached(std::int64_t end, int count) const {
    for (int f = 0; f < count; ++f) end = lesser(greater(end + 1, jumps_.furthest(end)), length_);
    return round_up(end, kUnit);
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

// Advances the cells first <= i < end, whole units, by `count` frames. Nothing below them leads to a path. Rows go into
// `kept`, from `first` on. Returns the best score of the last frame.
template <class In>
auto BestPath<In>::advance(int t0, int count, std::int64_t first, std::int64_t end, Real* kept) -> Real {
    return lattice_.plain ? advance_plain(count, first, end, kept) : advance_any(t0, count, first, end, kept);
}

// Of a plain lattice, each block of registers goes through all frames before the next, and what that one needs from
// below is carried.
template <class In>
auto BestPath<In>::advance_plain(int count, std::int64_t first, std::int64_t end, Real* kept) -> Real {
    constexpr int lanes = kLanes<Real>;
    for (int f = 0; f < kTile; ++f) carry_[f] = Lanes<Real>{} - kInfinity<Real>;
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

// Of any lattice, all frames go through some cells before the next, which need of them what is carried and what jumps.
template <class In>
auto BestPath<In>::advance_any(int t0, int count, std::int64_t first, std::int64_t end, Real* kept) -> Real {
    for (int f = 0; f < kTile; ++f) carry_[f] = carry_even_[f] = Lanes<Real>{} - kInfinity<Real>;
    jumps_.begin_tile(first);
    Real best = -kInfinity<Real>;
    std::int64_t stop = 0;
    for (std::int64_t chunk = first; chunk < end; chunk = stop) {
        const int place = int(chunk % kChunk);
        stop = lesser(chunk - place + kChunk, end);
        const std::int64_t size = stop - chunk;
        for (std::int64_t parity = 0; parity < 2; ++parity)
            spread(table_, lattice_.slot_of_cell + parity * length_ + chunk - place, emission_ + parity * kChunk,
                   2 * kChunk, place, int(place + size));
        for (int f = 0; f < count; ++f) {
            const bool start = t0 + f == 0;
            jumps_.depart(f, row_, chunk, stop);
            enter(start ? lattice_.at_start : lattice_.within, f, chunk, stop);
            if (!start) jumps_.land(f, row_, chunk, stop, emission_ + f * 2 * kChunk, toll_);
            for (std::int64_t parity = 0; kept && parity < 2; ++parity)
                std::memcpy(kept + (f * 2 + parity) * cone_ + chunk - first, row_ + parity * length_ + chunk,
                            size * sizeof(Real));
        }
        for (std::int64_t i = chunk; i < stop; ++i) best = greater(best, greater(row_[i], row_[length_ + i]));
    }
    return best;
}

// Advances the cells of a chunk by one frame of a tile, along arcs as far as bits reach.
template <class In>
void BestPath<In>::enter(const Arcs<Real>& arcs, int f, std::int64_t first, std::int64_t end) {
    constexpr int lanes = kLanes<Real>, last = lanes - 1;
    constexpr std::make_index_sequence<kLanes<Real>> all{};
    const Real* emission = emission_ + f * 2 * kChunk + first % kChunk;
    const auto along = [](const BitsOf<Real>* caps, const Lanes<Real>& scores) {
        return load_lanes(caps) > 0 ? scores : Lanes<Real>{} - kInfinity<Real>;
    };
    Lanes<Real> lower_even = carry_even_[f], lower_odd = carry_[f];
    for (std::int64_t i = first; i < end; i += lanes, emission += lanes) {
        const Lanes<Real> even = load_lanes(row_ + i), odd = load_lanes(row_ + length_ + i);
        const Lanes<Real> below_even = window<last>(lower_even, even, all),
                          below_odd = window<last>(lower_odd, odd, all);
        const auto into = [&](const Caps<Real>& caps, const Real* toll, const Lanes<Real>& stay,
                              const Lanes<Real>& step, const Lanes<Real>& skip) {
            const Lanes<Real> entering = greater(along(caps.step + i, step), along(caps.skip + i, skip));
            return greater(along(caps.stay + i, stay), entering - load_lanes(toll + i));
        };
        store_lanes<Real>(into(arcs.even, toll_, even, below_odd, below_even) + load_lanes(emission), row_ + i);
        store_lanes<Real>(into(arcs.odd, toll_ + length_, odd, even, below_odd) + load_lanes(emission + kChunk),
                          row_ + length_ + i);
        lower_even = even;
        lower_odd = odd;
    }
    carry_even_[f] = lower_even;
    carry_[f] = lower_odd;
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

template <class In>
void BestPath<In>::keep_row(int block, std::int64_t first, std::int64_t end) {
    kept_cells_[2 * block] = first;
    kept_cells_[2 * block + 1] = end;
    for (std::int64_t parity = 0; parity < 2; ++parity)
        std::memcpy(kept_ + (block * 2 + parity) * length_ + first, row_ + parity * length_ + first,
                    (end - first) * sizeof(Real));
}

// The cells first <= i < end of the row before a block. `first` is none that was left out.
template <class In>
void BestPath<In>::restore_row(int block, std::int64_t first, std::int64_t end) {
    const std::int64_t stop = greater(first, lesser(end, kept_cells_[2 * block + 1]));
    for (std::int64_t parity = 0; parity < 2; ++parity) {
        Real* row = row_ + parity * length_;
        std::memcpy(row + first, kept_ + (block * 2 + parity) * length_ + first, (stop - first) * sizeof(Real));
        for (std::int64_t i = stop; i < end; ++i) row[i] = -kInfinity<Real>;
        std::memcpy(made(0) + parity * cone_, row + first, (end - first) * sizeof(Real));
    }
}

// Writes the path within a block of frames, given its last state there; returns the state before the block.
template <class In>
int BestPath<In>::trace_block(int block, int state) {
    const int start = block * block_, stop = lesser(frames_, start + block_);
    const std::int64_t end = cells_to(state);
    std::int64_t first = kept_cells_[2 * block];
    if (lattice_.plain) first = greater(first, cells_from(greater(state - 2 * (stop - start), 0)));
    restore_row(block, first, end);
    Real best = 0;
    for (int t0 = start; t0 < stop; t0 += kTile) {
        const int count = lesser(kTile, stop - t0);
        tabulate(t0, count, best);
        best = advance(t0, count, first, end, made(1 + t0 - start));
    }
    for (int t = stop - 1; t >= start; --t) {
        path()[t] = state;
        if (t > 0) state = predecessor(state, made(t - start), first);
    }
    return state;
}

// Where state k's score came from: of equals the lowest state. A row holds cells from `first` on; those before it have
// been left out.
template <class In>
int BestPath<In>::predecessor(int k, const Real* row, std::int64_t first) const {
    int from = k;
    Real best = -kInfinity<Real>;
    const auto consider = [&](int source) {
        if (source / 2 < first) return;
        const Real score = row[(source % 2) * cone_ + source / 2 - first] - (source == k ? 0 : toll(k));
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

// The log-probability of each frame's label, less what is paid to enter its state, in float64; and their sum.
template <class In>
void BestPath<In>::write_scores() {
    double sum = 0;
    for (int t0 = 0; t0 < frames_; t0 += kTile) {
        const int count = lesser(kTile, frames_ - t0);
        const Real* rows = input_.rows(t0, count);
        for (int f = 0; f < count; ++f) {
            const Real* row = rows + f * input_.row_stride();
            const int t = t0 + f, state = path()[t];
            double score = row[lattice_.label[state]];
            if (lattice_.tolls && (t == 0 || state != path()[t - 1])) score -= lattice_.tolls[state];
            if (batch_.from_logits) {
                const Ahead<In> here = {input_.base + (t0 + f) * input_.stride_t, input_.stride_c, nullptr};
                const Normaliser<Real> z = exponentials(row, int(batch_.classes), exps_, here);
                score -= double(z.top) + std::log(double(z.sum));
            }
            if (batch_.path_scores) batch_.path_scores[n_ * batch_.frames_max + t] = score;
            sum += score;
        }
    }
    batch_.score[n_] = sum;
}

}  // namespace
