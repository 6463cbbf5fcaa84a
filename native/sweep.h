// One sample, start to end: forward in blocks of frames that keep only the row before each block, then backward block
// by block, recomputing alpha inside each. Memory O(K sqrt(T)); the block in hand stays in cache.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cells.h"
#include "frames.h"
#include "kernels.h"
#include "lattice.h"
#include "scaled.h"
#include "tile.h"

namespace {

using ctckit::Batch;

// Rows of a whole sample up to the first size are kept, since reading them back costs less than recomputing them; a
// longer sample is cut into blocks of the second size, which stay in the second-level cache.
constexpr std::int64_t kWholeBytes = 2 << 20, kBlockBytes = 256 << 10;
// Emissions by label are kept for the whole sample up to this size, else tabulated again in each block.
constexpr std::int64_t kTableBytes = 1 << 20;

// Up to so many classes, hardly more than three times the tokens, a table of all classes is quicker than one of the
// labels: it comes out of the softmax, and the gradient out of it, without picking numbers one by one.
constexpr int kFewClasses = 256;

// Occupancies along a path are summed over paths so many states away from it at most, unless more than this share of
// them goes along the edge.
constexpr int kNearPath = 1024;
constexpr double kNegligible = 1e-6;

// Frames between asking for a row and using it.
constexpr int kAhead = 6;

constexpr double kLn2 = 0.6931471805599453;

template <class In>
class Sweep {
    using Real = typename Compute<In>::Real;
    using Bits = BitsOf<Real>;

   public:
    Sweep(const Batch& batch, std::int64_t n, void* memory);
    std::size_t bytes() const { return bytes_; }
    void run();

   private:
    void choose_block();
    void lay_out(Arena& arena);
    void sweep();
    void empty_sample();
    void start();
    double forward();
    void forward_block(int block, bool first_time);
    const Real* rows_of_tile(int t0);
    void normalise_frame(int t, const Real* row);
    void tabulate(int t0, int count, bool first_time);
    void tabulate_wide(Real* table, Bits* exponents, const Real* top);
    void tabulate_classes(int t0, int count, bool first_time);
    void count_in(int t, Real top, Real sum);
    void spread_tile(int t0, int count);
    void advance_frame(int t, const Block<Real>* last);
    template <bool kPlain, bool kWide>
    void advance_cells(int t, const Block<Real>* last);
    double finish();
    void backward();
    void backward_tile(int t0, int count);
    void ask_for_gradient(int t);
    void retreat_frame(int t);
    template <bool kPlain, bool kWide>
    void retreat_cells(int t);
    void collect(int t0, int count);
    void turn_tile(int parity, int t0, int count);
    void virtual_row(Block<Real>* row, int state);
    void write_gradient(int t0, int count, const Real* occupancy_factor);
    void write_labels(int t0, int count);
    void write_rows(int t0, int count);
    void undo_exponents(int t0, int count);
    void write_occupancy(int t, int f, Real factor);
    void write_occupancy_along(int t, int f, Real factor);
    void fill_outputs(int from, Real value);

    int block_end() const { return lesser(frames_, block_start_ + block_); }
    int tile_of(int t) const { return (tables_kept_ ? t : t - block_start_) / kTile; }
    bool& wide(int t) const { return wide_[tile_of(t)]; }
    Real* table_of(int t) const { return tables_ + std::int64_t(tile_of(t)) * lattice_.slots * kTile; }
    Bits* exponents_of(int t) const { return table_exponents_ + std::int64_t(tile_of(t)) * lattice_.slots * kTile; }
    Block<Real>* alpha(int t) const { return alpha_ + std::int64_t(t - block_start_) * row_blocks_; }
    Block<Real>* beta(int t) const { return beta_ + (t & 1) * row_blocks_; }
    Block<Real>* checkpoint(int block) const { return checkpoint_ + std::int64_t(block) * row_blocks_; }
    // Where state k is in a row: its block, and in that the place of its mantissa and exponent.
    struct Place {
        Real* mantissa;
        Bits* exponent;
    };
    Place place_of(Block<Real>* row, int k) const {
        Block<Real>& block = row[k / 2 / kLanes<Real>];
        Cells<Real>& cells = k % 2 == 0 ? block.even : block.odd;
        const int lane = k / 2 % kLanes<Real>;
        return {reinterpret_cast<Real*>(&cells.mantissa) + lane, reinterpret_cast<Bits*>(&cells.exponent) + lane};
    }
    Emissions<Real> emissions(int t) const;
    Real weight() const { return batch_.weights ? Real(batch_.weights[n_]) : Real(1); }
    In* grad_row(int t) const {
        return static_cast<In*>(batch_.grad) + t * batch_.grad_stride_t + n_ * batch_.grad_stride_n;
    }

    const Batch& batch_;
    const std::int64_t n_;
    int frames_, classes_, block_, blocks_;
    int block_start_;  // of the block in hand
    bool backward_wanted_;
    int row_blocks_;       // of a row of cells
    std::int64_t length_;  // of a row of plain numbers by cell: both parities
    std::size_t bytes_;

    Frames<In> input_;
    LatticeView<Real> lattice_;
    std::int32_t* slot_of_class_;
    Bits* caps_;

    Block<Real>* alpha_;        // (block_,) rows of the block in hand
    Block<Real>* checkpoint_;   // (blocks_ + 1,) the row before each block; [0] is the virtual frame -1
    Block<Real>* beta_;         // 2 rows, used in turn
    Real* emission_;            // (block_, length_) values, and exponents where a tile is wide; a plain lattice's even
    Bits* emission_exponent_;   // states have theirs in the table
    bool tables_kept_;          // for the whole sample, else for the block in hand
    Real* tables_;              // (tiles, slots, kTile) emissions of the labels
    Bits* table_exponents_;     // the same, where a tile is wide
    bool* wide_;                // (tiles,)
    Real* label_top_;           // (frames,) the best label's score, which emissions are relative to
    Real* occupancy_;           // (kTile, length_)
    Real even_sum_[kTile];      // of each frame's even cells
    Real* columns_;             // (length_, kTile)
    Real* sums_;                // (slots, kTile) occupancies; 0 for a class that is no label
    Real* entries_;             // (slots, kTile) of the gradient
    Real* exps_;                // (classes,) scratch of a softmax
    Real* class_rows_;          // (kTile, classes) of the gradient, on their way from a table
    std::int32_t* each_class_;  // (classes,) 0, 1, 2 ...; both rounded up to whole squares
    Real *row_top_, *row_inverse_;  // (frames,) of each softmax
    std::uint8_t* cut_;             // (frames,) where windows were narrowed, if they were
    double near_edge_;              // the largest share of paths along such a cut
    double offset_;                 // log-score common to all paths: what normalising each frame took away
    double sums_product_;           // of the softmax sums, folded into offset_ before it overflows
    bool poisoned_;                 // NaN or +inf in a used frame
    Bits total_exponent_;
};

template <class In>
Sweep<In>::Sweep(const Batch& batch, std::int64_t n, void* memory) : batch_(batch), n_(n) {
    frames_ = int(batch.frames[n]);
    classes_ = int(batch.classes);
    backward_wanted_ = batch.grad || batch.occupancy || batch.occupancy_along;
    input_ = frames_of<In>(batch, n);
    lattice_ = lattice_of<Real>(batch, n);
    row_blocks_ = blocks_of<Real>(batch.states[n]);
    length_ = 2 * cells_length<Real>(batch.states[n]);
    lattice_.slot_is_class = batch.from_logits && classes_ <= kFewClasses && classes_ <= 3 * (batch.states[n] + 1) / 2;
    choose_block();
    Arena arena(memory);
    lay_out(arena);
    bytes_ = arena.bytes();
}

template <class In>
void Sweep<In>::choose_block() {
    if (!backward_wanted_) {
        block_ = kTile;
    } else {
        const std::int64_t row =
            row_blocks_ * std::int64_t(sizeof(Block<Real>)) + length_ / 2 * std::int64_t(sizeof(Real));
        const std::int64_t root = std::int64_t(std::sqrt(double(frames_))) + 1;
        const bool whole = frames_ * row <= kWholeBytes;
        block_ = int(round_up(whole ? frames_ : greater(root, kBlockBytes / row), kTile));
        block_ = greater(block_, kTile);
    }
    blocks_ = (frames_ + block_ - 1) / block_;
}

template <class In>
void Sweep<In>::lay_out(Arena& arena) {
    const std::int64_t few = round_up(classes_, kSquare);
    const std::int64_t slots = lattice_.slot_is_class ? few : lesser<std::int64_t>(batch_.states[n_], classes_);
    place(lattice_, arena, frames_, classes_, slot_of_class_, caps_);
    alpha_ = arena.take<Block<Real>>(std::int64_t(block_) * row_blocks_);
    checkpoint_ = arena.take<Block<Real>>((backward_wanted_ ? blocks_ + 1 : 1) * std::int64_t(row_blocks_));
    beta_ = arena.take<Block<Real>>(2 * row_blocks_);
    emission_ = arena.take<Real>(block_ * length_);
    emission_exponent_ = arena.take<Bits>(block_ * length_);
    tables_kept_ = frames_ * slots * std::int64_t(sizeof(Real)) <= kTableBytes;
    const std::int64_t rows = tables_kept_ ? round_up(frames_, kTile) : block_;
    tables_ = arena.take<Real>(rows * slots);
    table_exponents_ = arena.take<Bits>(rows * slots);
    wide_ = arena.take<bool>(rows / kTile);
    label_top_ = arena.take<Real>(frames_);
    occupancy_ = arena.take<Real>(kTile * length_);
    columns_ = arena.take<Real>(kTile * length_);
    sums_ = arena.take<Real>(slots * kTile);
    entries_ = arena.take<Real>(slots * kTile);
    exps_ = arena.take<Real>(lattice_.slot_is_class ? 0 : classes_);
    class_rows_ = arena.take<Real>(lattice_.slot_is_class ? kTile * few : 0);
    each_class_ = arena.take<std::int32_t>(lattice_.slot_is_class ? few : 0);
    row_top_ = arena.take<Real>(frames_);
    row_inverse_ = arena.take<Real>(frames_);
    cut_ = arena.take<std::uint8_t>(batch_.occupancy_along ? frames_ : 0);
    input_.stage = Frames<In>::in_place(batch_.stride_c) ? nullptr : arena.take<Real>(std::int64_t(kTile) * classes_);
}

template <class In>
void Sweep<In>::run() {
    const double infinity = HUGE_VAL;
    batch_.score[n_] = -infinity;
    if (frames_ == 0) return empty_sample();
    if (!build_slots(lattice_, slot_of_class_, classes_)) {
        batch_.score[n_] = NAN;
        return fill_outputs(0, Real(NAN));
    }
    if (!build_windows(lattice_, frames_)) return fill_outputs(0, Real(0));
    build_caps(lattice_, caps_);
    near_edge_ = 0;
    if (batch_.occupancy_along)
        narrow_windows(lattice_, batch_.path + n_ * batch_.frames_max, frames_, kNearPath, cut_);
    sweep();
    if (near_edge_ <= kNegligible) return;
    build_windows(lattice_, frames_);  // paths go where it was cut off: all of them, then
    for (int t = 0; t < frames_; ++t) cut_[t] = 0;
    sweep();
}

template <class In>
void Sweep<In>::sweep() {
    start();
    batch_.score[n_] = forward();
    if (poisoned_) batch_.score[n_] = NAN;
    if (poisoned_) return fill_outputs(0, Real(NAN));
    if (batch_.score[n_] == -HUGE_VAL) return fill_outputs(0, Real(0));
    if (backward_wanted_) backward();
    fill_outputs(frames_, Real(0));
}

template <class In>
void Sweep<In>::empty_sample() {
    if (accepts_nothing(lattice_)) batch_.score[n_] = 0;
    fill_outputs(0, Real(0));
}

template <class In>
void Sweep<In>::start() {
    offset_ = 0;
    sums_product_ = 1;
    poisoned_ = false;
    if (lattice_.slot_is_class) {
        for (int c = 0; c < round_up(classes_, kSquare); ++c) each_class_[c] = lesser(c, classes_ - 1);
        for (int i = 0; i < classes_ * kTile; ++i) sums_[i] = 0;
    }
    for (int f = 0; f < kTile; ++f) even_sum_[f] = 0;
    virtual_row(checkpoint(0), 0);
}

// The row of a virtual frame -1 (or T), from which paths begin (to which they end): all of it, since the START and END
// arcs choose from it; in a plain lattice just the state given.
template <class In>
void Sweep<In>::virtual_row(Block<Real>* row, int state) {
    for (int b = 0; b < row_blocks_; ++b) {
        row[b] = dead_block<Real>();
        if (!lattice_.plain) row[b].even.exponent = row[b].odd.exponent = Lanes<Bits>{};
    }
    *place_of(row, state).exponent = 0;
}

template <class In>
double Sweep<In>::forward() {
    block_start_ = 0;
    if (!lattice_.slot_is_class) {
        const Real* rows = rows_of_tile(0);
        for (int t = 0; t < lesser(kTile, frames_); ++t) normalise_frame(t, rows + t * input_.row_stride());
    }
    for (int block = 0; block < blocks_; ++block) {
        forward_block(block, true);
        const Block<Real>* from = alpha(block_end() - 1);
        Block<Real>* to = checkpoint(backward_wanted_ ? block + 1 : 0);
        for (int b = 0; b < row_blocks_; ++b) to[b] = settled(from[b]);
    }
    return finish();
}

// The first time, frames are normalised a tile ahead of the recursion and between its steps: each step waits for the
// one before, and this is what the processor does meanwhile.
template <class In>
void Sweep<In>::forward_block(int block, bool first_time) {
    block_start_ = block * block_;
    const Block<Real>* last = checkpoint(backward_wanted_ ? block : 0);
    for (int t0 = block_start_; t0 < block_end(); t0 += kTile) {
        const int count = lesser(kTile, block_end() - t0);
        if (first_time || !tables_kept_)
            lattice_.slot_is_class ? tabulate_classes(t0, count, first_time) : tabulate(t0, count, first_time);
        spread_tile(t0, count);
        // Where frames to normalise end.
        const int ahead = first_time && !lattice_.slot_is_class ? lesser(t0 + 2 * kTile, frames_) : 0;
        const Real* rows = t0 + kTile < ahead ? rows_of_tile(t0 + kTile) : nullptr;
        for (int t = t0; t < t0 + count; ++t) {
            advance_frame(t, last);
            last = alpha(t);
            if (t + kTile < ahead) normalise_frame(t + kTile, rows + (t - t0) * input_.row_stride());
        }
    }
}

template <class In>
auto Sweep<In>::rows_of_tile(int t0) -> const Real* {
    return input_.rows(t0, lesser(kTile, frames_ - t0));
}

// Checks a frame; for logits takes its log-softmax and leaves the softmax, the gradient's dense part, in the gradient.
// Asks for the rows that come next.
template <class In>
void Sweep<In>::normalise_frame(int t, const Real* row) {
    const int next = lesser(t + kAhead, frames_ - 1);
    const Ahead<In> ahead = {input_.base + next * input_.stride_t, input_.stride_c,
                             batch_.grad ? grad_row(next) : nullptr};
    if (!batch_.from_logits) {
        ahead.ask_for_row(classes_);
        poisoned_ |= !readable(row, classes_);
        if (batch_.grad) fill(grad_row(t), classes_, Real(0));
        return;
    }
    Real* exps = exps_;
    if (Direct<In, Real>::possible && batch_.grad) exps = reinterpret_cast<Real*>(grad_row(t));
    const Normaliser<Real> z = exponentials(row, classes_, exps, ahead);
    count_in(t, z.top, z.sum);
    offset_ -= z.top;  // emissions will be relative to the best label instead: see tabulate()
    if (batch_.grad) scale_into(exps, classes_, row_inverse_[t] * weight(), grad_row(t));
}

// Keeps a frame's softmax, and takes its sum out of the score that all paths have in common.
template <class In>
void Sweep<In>::count_in(int t, Real top, Real sum) {
    poisoned_ |= !(sum < kInfinity<Real>);
    row_top_[t] = top;
    row_inverse_[t] = 1 / sum;
    sums_product_ *= sum;
    if (!(sums_product_ < 1e280)) {
        offset_ -= std::log(sums_product_);
        sums_product_ = 1;
    }
}

// Gathers the labels' scores of a tile and turns them into emissions, each frame relative to its best label.
template <class In>
void Sweep<In>::tabulate(int t0, int count, bool first_time) {
    const In* frame[kTile];  // a short tile repeats its last frame
    for (int f = 0; f < kTile; ++f) frame[f] = input_.base + (t0 + lesser(f, count - 1)) * input_.stride_t;
    Real* table = table_of(t0);
    for (int s = 0; s < lattice_.slots; ++s) {
        const std::int64_t c = lattice_.slot_label[s] * input_.stride_c;
        for (int f = 0; f < kTile; ++f) table[s * kTile + f] = load(frame[f][c]);
    }
    Pack<Real> best, least, scores;
    load_pack(table, best);
    load_pack(table, least);
    for (int s = 1; s < lattice_.slots; ++s) {
        load_pack(table + s * kTile, scores);
        raise<Real>(best, scores);
        lower<Real>(least, scores);
    }
    Real top[kTile], lowest = 0;
    for (int f = 0; f < kTile; ++f) {
        top[f] = best[f] == -kInfinity<Real> ? 0 : best[f];  // no label is possible
        lowest = lesser(lowest, least[f] - top[f]);
    }
    wide(t0) = lowest < Format<Real>::kNarrow;
    if (wide(t0)) {
        tabulate_wide(table, exponents_of(t0), top);
    } else {
        for (int s = 0; s < lattice_.slots; ++s)
            for (int f = 0; f < kTile; ++f) table[s * kTile + f] = exp_nonpositive(table[s * kTile + f] - top[f]);
    }
    for (int f = 0; f < count; ++f) {
        label_top_[t0 + f] = top[f];
        if (first_time) offset_ += top[f];
    }
}

// The scores of a tile as columns, one a class.
// The softmax of a tile, all frames at once, whose exponentials are the emissions, each frame relative to its best
// class; or in a wide tile to its best label, so that no label is lost that is likelier than the others.
template <class In>
void Sweep<In>::tabulate_classes(int t0, int count, bool first_time) {
    for (int t = lesser(t0 + kTile, frames_); t < lesser(t0 + 2 * kTile, frames_); ++t)
        Ahead<In>{input_.base + t * input_.stride_t, input_.stride_c, nullptr}.ask_for_row(classes_);
    Real* table = table_of(t0);
    turn_rows(input_.rows(t0, count), input_.row_stride(), count, classes_, table);
    Pack<Real> best[2], least, scores, sum[2] = {};
    load_pack(table, best[0]);
    best[1] = best[0];
    for (int c = 1; c < classes_; ++c) {
        load_pack(table + c * kTile, scores);
        raise<Real>(best[c % 2], scores);
    }
    raise<Real>(best[0], best[1]);
    load_pack(table + lattice_.slot_label[0] * kTile, least);
    Pack<Real> best_label = least;
    for (int i = 1; i < lattice_.labels; ++i) {
        load_pack(table + lattice_.slot_label[i] * kTile, scores);
        lower<Real>(least, scores);
        raise<Real>(best_label, scores);
    }
    Real top[kTile], label_top[kTile], lowest = 0;
    for (int f = 0; f < kTile; ++f) {
        top[f] = best[0][f];
        label_top[f] = best_label[f] == -kInfinity<Real> ? top[f] : best_label[f];
        lowest = lesser(lowest, least[f] - top[f]);
    }
    wide(t0) = lowest < Format<Real>::kNarrow;
    Real* exps = wide(t0) ? entries_ : table;
    for (int c = 0; c < classes_; ++c) {
#pragma omp simd
        for (int f = 0; f < kTile; ++f) exps[c * kTile + f] = exp_nonpositive(table[c * kTile + f] - top[f]);
        load_pack(exps + c * kTile, scores);
        sum[c % 2] += scores;
    }
    sum[0] += sum[1];
    if (wide(t0)) tabulate_wide(table, exponents_of(t0), label_top);
    if (!first_time) return;
    for (int f = 0; f < count; ++f) {
        count_in(t0 + f, top[f], sum[0][f]);
        label_top_[t0 + f] = top[f];  // what all entries of the gradient will be relative to
        if (wide(t0)) offset_ += double(label_top[f]) - double(top[f]);
    }
}

// A tile with a label so unlikely that a plain number can't hold it: mantissas and exponents apart.
template <class In>
void Sweep<In>::tabulate_wide(Real* table, Bits* exponents, const Real* top) {
    for (int label = 0; label < lattice_.labels; ++label)
        for (int f = 0; f < kTile; ++f) {
            const int i = lattice_.slot_of_label(label) * kTile + f;
            exp_scaled<Real>(double(table[i]) - double(top[f]), table[i], exponents[i]);
        }
}

// From labels to states.
template <class In>
void Sweep<In>::spread_tile(int t0, int count) {
    const int begin = lattice_.begin(t0) * kLanes<Real> & -kSquare;
    const int end = int(round_up(lattice_.end(t0 + count - 1) * kLanes<Real>, kSquare));
    const std::int64_t rows = std::int64_t(t0 - block_start_) * length_;
    for (int parity = lattice_.plain ? 1 : 0; parity < 2; ++parity) {
        const std::int64_t first = rows + parity * lattice_.length;
        const std::int32_t* slot = lattice_.slot_of_cell + parity * lattice_.length;
        spread(table_of(t0), slot, emission_ + first, length_, begin, end);
        if (wide(t0)) spread(exponents_of(t0), slot, emission_exponent_ + first, length_, begin, end);
    }
}

template <class In>
auto Sweep<In>::emissions(int t) const -> Emissions<Real> {
    const std::int64_t row = std::int64_t(t - block_start_) * length_, odd = row + lattice_.length;
    const std::int64_t even = std::int64_t(lattice_.slot_of_label(0)) * kTile + t % kTile;
    const Emission<Real> shared = {table_of(t) + even, exponents_of(t) + even};
    const Emission<Real> own = {emission_ + row, emission_exponent_ + row};
    return {lattice_.plain ? shared : own, {emission_ + odd, emission_exponent_ + odd}};
}

template <class In>
void Sweep<In>::advance_frame(int t, const Block<Real>* last) {
    if (lattice_.plain) wide(t) ? advance_cells<true, true>(t, last) : advance_cells<true, false>(t, last);
    else wide(t) ? advance_cells<false, true>(t, last) : advance_cells<false, false>(t, last);
}

template <class In>
template <bool kPlain, bool kWide>
void Sweep<In>::advance_cells(int t, const Block<Real>* last) {
    const int begin = lattice_.begin(t), end = lattice_.end(t);
    const bool moved = t > 0 && begin > lattice_.begin(t - 1);
    advance<Real, kPlain, kWide>(last, moved ? last[begin - 1] : dead_block<Real>(),
                                 t == 0 ? lattice_.at_start : lattice_.within, emissions(t), alpha(t), begin, end);
    if (t + 1 < frames_ && lattice_.end(t + 1) > end) alpha(t)[end] = dead_block<Real>();
}

// The total: alpha over the END states of the last frame, in double.
template <class In>
double Sweep<In>::finish() {
    Block<Real>* last = alpha(frames_ - 1);
    const int begin = lattice_.low[frames_ - 1], end = lattice_.high[frames_ - 1] + 1;
    Bits top = kZero;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & kEnd) top = greater(top, *place_of(last, k).exponent);
    if (top < kDead) return -HUGE_VAL;
    double sum = 0;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & kEnd) {
            const Place place = place_of(last, k);
            sum += std::ldexp(double(*place.mantissa), int(*place.exponent - top));
        }
    total_exponent_ = top;
    return std::log(sum) + double(top) * kLn2 + offset_ - std::log(sums_product_);
}

template <class In>
void Sweep<In>::backward() {
    for (int b = 0; b < 2 * row_blocks_; ++b) beta_[b] = dead_block<Real>();
    virtual_row(beta(frames_), lattice_.states - 1);
    for (int block = blocks_ - 1; block >= 0; --block) {
        if (block < blocks_ - 1) forward_block(block, false);
        Block<Real>* upper = beta(block_end());
        for (int b = 0; b < row_blocks_; ++b) upper[b] = settled(upper[b]);
        const int last_tile = (block_end() - 1 - block_start_) / kTile;
        for (int tile = last_tile; tile >= 0; --tile) {
            const int t0 = block_start_ + tile * kTile;
            backward_tile(t0, lesser(kTile, block_end() - t0));
        }
    }
}

template <class In>
void Sweep<In>::backward_tile(int t0, int count) {
    for (int t = t0 + count - 1; t >= t0; --t) {
        if (batch_.grad && t >= kTile) ask_for_gradient(t - kTile);
        retreat_frame(t);
    }
    collect(t0, count);
}

// The lines of a gradient row that the labels' entries lie in; the whole row where that is less to ask for.
template <class In>
void Sweep<In>::ask_for_gradient(int t) {
    constexpr int line = 64 / sizeof(In);
    const In* row = grad_row(t);
    if (classes_ < lattice_.slots * line)
        for (int c = 0; c < classes_; c += line) CTCKIT_PREFETCH(row + c, 1);
    else
        for (int i = 0; i < lattice_.labels; ++i) CTCKIT_PREFETCH(row + lattice_.slot_label[i], 1);
}

template <class In>
void Sweep<In>::retreat_frame(int t) {
    if (lattice_.plain) wide(t) ? retreat_cells<true, true>(t) : retreat_cells<true, false>(t);
    else wide(t) ? retreat_cells<false, true>(t) : retreat_cells<false, false>(t);
}

template <class In>
template <bool kPlain, bool kWide>
void Sweep<In>::retreat_cells(int t) {
    const int end = lattice_.end(t);
    const bool moved = (t + 1 < frames_ ? lattice_.end(t + 1) : row_blocks_) > end;
    Real* occupancy = occupancy_ + t % kTile * length_;
    even_sum_[t % kTile] = retreat<Real, kPlain, kWide>(beta(t + 1), moved ? beta(t + 1)[end] : dead_block<Real>(),
                                                        t == frames_ - 1 ? lattice_.at_end : lattice_.within,
                                                        emissions(t), alpha(t), total_exponent_, beta(t), occupancy,
                                                        occupancy + lattice_.length, lattice_.begin(t), end);
    // What the next frame may read before this one: the row may be left from the virtual one, which is all alive.
    if (t > 0 && lattice_.begin(t - 1) < lattice_.begin(t)) beta(t)[lattice_.begin(t) - 1] = dead_block<Real>();
}

// A tile's occupancies of one parity as columns, one a cell; 0 where a frame does not visit a cell.
template <class In>
void Sweep<In>::turn_tile(int parity, int t0, int count) {
    const int begin = lattice_.begin(t0) * kLanes<Real> & -kSquare;
    const int end = int(round_up(lattice_.end(t0 + count - 1) * kLanes<Real>, kSquare));
    const int cells = (lattice_.states + 1 - parity) / 2;
    Real* rows = occupancy_ + parity * lattice_.length;
    Real* columns = columns_ + parity * lattice_.length * kTile;
    for (int f = 0; f < kTile; ++f) {
        Real* row = rows + f * length_;
        const int from = f < count ? lattice_.begin(t0 + f) * kLanes<Real> : end;
        const int to = f < count ? lattice_.end(t0 + f) * kLanes<Real> : end;
        for (int i = begin; i < from; ++i) row[i] = 0;
        for (int i = to; i < end; ++i) row[i] = 0;
    }
    for (int i = 0; i < begin * kTile; ++i) columns[i] = 0;
    turn(rows, length_, columns, begin, end);
    for (int i = end * kTile; i < cells * kTile; ++i) columns[i] = 0;
}

// Sums a tile's occupancies over states with the same label, and writes what was asked for. Each frame is normalised
// by its own sum, which is the total up to rounding: that takes the rounding of the total out of the gradient.
template <class In>
void Sweep<In>::collect(int t0, int count) {
    if (!lattice_.plain) turn_tile(0, t0, count);
    turn_tile(1, t0, count);

    Pack<Real> sum = {}, sums;
    for (int i = 0; i < lattice_.labels; ++i) {
        const int slot = lattice_.slot_of_label(i);
        const std::int32_t first = lattice_.slot_first[slot];
        sum_columns(columns_, lattice_.slot_cells + first, lattice_.slot_first[slot + 1] - first, sums_ + slot * kTile);
        load_pack(sums_ + slot * kTile, sums);
        sum += sums;
    }
    if (lattice_.plain) {
        Pack<Real> even;
        load_pack(even_sum_, even);
        load_pack(sums_ + lattice_.slot_of_label(0) * kTile, sums);
        store_pack<Real>(sums + even, sums_ + lattice_.slot_of_label(0) * kTile);
        sum += even;
    }
    Real factor[kTile];
    for (int f = 0; f < kTile; ++f) factor[f] = f < count ? 1 / sum[f] : 0;
    if (batch_.grad) write_gradient(t0, count, factor);
    if (batch_.occupancy)
        for (int f = 0; f < count; ++f) write_occupancy(t0 + f, f, factor[f]);
    if (batch_.occupancy_along)
        for (int f = 0; f < count; ++f) write_occupancy_along(t0 + f, f, factor[f]);
}

// What is still to be written of a tile's gradient rows.
template <class In>
void Sweep<In>::write_gradient(int t0, int count, const Real* occupancy_factor) {
    Real gap[kTile], part[kTile];
    for (int f = 0; f < kTile; ++f) {
        const int t = t0 + lesser(f, count - 1);
        gap[f] = batch_.from_logits ? label_top_[t] - row_top_[t] : 0;
        part[f] = batch_.from_logits ? row_inverse_[t] * weight() : 0;
    }
    // What turns an emission into a softmax probability; for log-probabilities there is no such part.
    for (int f = 0; f < kTile; ++f) part[f] *= exp_nonpositive(gap[f]);
    Pack<Real> softmax, factor;
    load_pack(part, softmax);
    load_pack(occupancy_factor, factor);
    factor = factor * weight();
    if (wide(t0)) undo_exponents(t0, count);
    const Real* table = table_of(t0);
    for (int s = 0; s < lattice_.slots; ++s) {
        Pack<Real> emission, sum;
        load_pack(table + s * kTile, emission);
        load_pack(sums_ + s * kTile, sum);
        store_pack<Real>(emission * softmax - sum * factor, entries_ + s * kTile);
    }
    lattice_.slot_is_class ? write_rows(t0, count) : write_labels(t0, count);
}

// The labels' entries alone; the others were written when the rows were read.
template <class In>
void Sweep<In>::write_labels(int t0, int count) {
    In* row[kTile];
    for (int f = 0; f < kTile; ++f) row[f] = grad_row(t0 + lesser(f, count - 1));
    for (int s = 0; s < lattice_.slots; ++s) {
        const std::int32_t label = lattice_.slot_label[s];
        Pack<Real> entry;
        load_pack(entries_ + s * kTile, entry);
        if (count == kTile) {
            for (int f = 0; f < kTile; ++f) store(entry[f], row[f] + label);
        } else {
            for (int f = 0; f < count; ++f) store(entry[f], row[f] + label);
        }
    }
}

// Whole rows. By way of rows of our own: squares written straight to rows far apart take longer.
template <class In>
void Sweep<In>::write_rows(int t0, int count) {
    const int length = int(round_up(classes_, kSquare));
    spread(entries_, each_class_, class_rows_, length, 0, length);
    for (int f = 0; f < count; ++f) scale_into(class_rows_ + f * length, classes_, Real(1), grad_row(t0 + f));
}

// A wide tile's emissions as plain numbers again: 0 where only the exponent could tell them from it. A table of classes
// is made anew.
template <class In>
void Sweep<In>::undo_exponents(int t0, int count) {
    Real* table = table_of(t0);
    if (lattice_.slot_is_class) {
        turn_rows(input_.rows(t0, count), input_.row_stride(), count, classes_, table);
        for (int i = 0; i < classes_ * kTile; ++i)
            table[i] = exp_nonpositive(table[i] - row_top_[t0 + lesser(i % kTile, count - 1)]);
        return;
    }
    const Bits* exponents = exponents_of(t0);
    for (int i = 0; i < lattice_.slots * kTile; ++i) table[i] = plain(table[i], exponents[i]);
}

template <class In>
void Sweep<In>::write_occupancy(int t, int f, Real factor) {
    Real* out = static_cast<Real*>(batch_.occupancy) + (t * batch_.size + n_) * batch_.states_max;
    const Real* row = occupancy_ + f * length_;
    for (int k = 0; k < batch_.states_max; ++k)
        out[k] = k >= lattice_.low[t] && k <= lattice_.high[t] ? row[lattice_.cell(k)] * factor : 0;
}

// The occupancy of one state a frame, those that the caller named; and how much goes along the edge of what was summed.
template <class In>
void Sweep<In>::write_occupancy_along(int t, int f, Real factor) {
    const int k = batch_.path[n_ * batch_.frames_max + t];
    const bool visited = k >= lattice_.low[t] && k <= lattice_.high[t];
    const Real* row = occupancy_ + f * length_;
    batch_.occupancy_along[n_ * batch_.frames_max + t] = visited ? double(row[lattice_.cell(k)] * factor) : 0;
    const auto weigh = [&](int block) {
        Lanes<Real> sum = load_lanes(row + block * kLanes<Real>);
        sum += load_lanes(row + lattice_.length + block * kLanes<Real>);
        near_edge_ = greater(near_edge_, double(sum_of_lanes<Real>(sum) * factor));
    };
    if (cut_[t] & kCutBelow) weigh(lattice_.begin(t));
    if (cut_[t] & kCutAbove) weigh(lattice_.end(t) - 1);
}

// Every output row from frame `from` on is one value; rows past the sample's own frames are always 0.
template <class In>
void Sweep<In>::fill_outputs(int from, Real value) {
    for (std::int64_t t = from; t < batch_.frames_max; ++t) {
        const Real row = t < frames_ ? value : Real(0);
        if (batch_.grad) fill(grad_row(int(t)), classes_, row);
        if (batch_.occupancy)
            fill(static_cast<Real*>(batch_.occupancy) + (t * batch_.size + n_) * batch_.states_max,
                 int(batch_.states_max), row);
        if (batch_.occupancy_along) batch_.occupancy_along[n_ * batch_.frames_max + t] = row;
    }
}

}  // namespace
