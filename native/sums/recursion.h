// The recursion: alpha forward and beta back over the cells of one sample's lattice, in blocks of frames. Only the row
// before each block is kept; alpha is computed again inside a block on the way back. Memory O(K sqrt(T)), and the
// current block stays in the cache.
#pragma once

#include <cmath>
#include <cstdint>

#include "ctckit.h"
#include "lattice/lattice.h"
#include "simd/scaled.h"
#include "simd/tile.h"
#include "sums/cells.h"
#include "sums/emissions.h"
#include "sums/ends.h"
#include "sums/long_arc_sums.h"
#include "sums/scaled_row.h"
#include "sums/state_factors.h"

namespace {

// The rows of a whole sample up to the first size are kept, since reading them back costs less than computing them
// again; a longer sample is cut into blocks of the second size, which stay in the second-level cache.
constexpr std::int64_t kWholeBytes = 2 << 20, kBlockBytes = 256 << 10;

template <class Real>
class Recursion {
    using Bits = BitsOf<Real>;

   public:
    // Without a backward pass, only the last tile's rows are kept.
    Recursion(const LatticeView<Real>& lattice, Ends<Real>& ends, int num_frames, bool backward);
    void lay_out(Arena& arena);
    int block_length() const { return block_length_; }
    int num_blocks() const { return num_blocks_; }
    void begin_block(int block);
    int block_start() const { return block_start_; }
    int block_end() const { return lesser(num_frames_, block_start_ + block_length_); }

    void start();
    void spread_tile(const Table<Real>& table, int t0, int count);
    void advance_frame(int t, const Table<Real>& table);
    void end_block(int block);
    // The log of the sum over all paths, relative to the emissions; -inf if it is zero.
    double total();

    void start_back();
    void settle_back();
    void retreat_frame(int t, const Table<Real>& table);

    // The results of retreat_frame for the frames of a tile: occupancies by cell, not yet divided by their frame's sum;
    // and the sums over the even cells.
    std::int64_t row_length() const { return row_length_; }
    Real* occupancy(int f, int side = 0) const { return occupancy_ + (side * kTile + f) * row_length_; }
    const Real* even_sums() const { return even_sum_[0]; }
    // Likewise for arcs between frames t and t + 1: the share of paths that enter each cell by bits (masks of any
    // shape), and visit(arc, x) for each long arc. To be called right after retreat_frame(t), for t + 1 < num_frames.
    void write_entries(int t, const ArcMasks<Real>& masks, Real* row) const;
    template <class Visit>
    void for_each_long_arc(int t, Visit visit) const {
        long_arcs_.for_each(alpha(t), beta(t + 1), total_exponent_, visit);
    }

   private:
    template <Shape kShape, bool kWide>
    void advance_cells(int t, const Table<Real>& table);
    template <Shape kShape, bool kWide>
    void retreat_cells(int t, const Table<Real>& table, int side);
    bool is_wide(const Table<Real>& table) const { return table.wide || factors_.wide(); }
    void advance_plain(int t, const Table<Real>& table);
    void retreat_plain(int t, const Table<Real>& table, int side);
    void advance_other(int t, const Table<Real>& table);
    void retreat_other(int t, const Table<Real>& table);
    double log_of_ends(int t);
    void join_sides(int t);
    void begin_paths(const Table<Real>& table);
    void end_paths(const Table<Real>& table);
    void virtual_row(Block<Real>* row, int state);
    RowEmissions<Real> emissions(int t, const Table<Real>& table) const;

    Block<Real>* alpha(int t) const { return alpha_ + std::int64_t(t - block_start_) * row_blocks_; }
    Block<Real>* beta(int t, int side = 0) const { return beta_ + (2 * side + (t & 1)) * row_blocks_; }
    Block<Real>* checkpoint(int block) const { return checkpoint_ + std::int64_t(backward_ ? block : 0) * row_blocks_; }
    // The row before frame t.
    Block<Real>* before_frame(int t) const {
        return t > block_start_ ? alpha(t - 1) : checkpoint(block_start_ / block_length_);
    }

    // State k's emission at frame t.
    Scaled<Real> emission_of(int t, int k, const Table<Real>& table) const {
        if (lattice_.shares_even() && k % 2 == 0) {
            const std::int64_t at = std::int64_t(lattice_.slots.slot_of_label(0)) * kTile + t % kTile;
            return normalised<Real>(table.values[at], table.wide ? table.exponents[at] : 0);
        }
        const std::int64_t at = std::int64_t(t - block_start_) * row_length_ + lattice_.cell(k);
        return normalised<Real>(emission_[at], is_wide(table) ? emission_exponent_[at] : 0);
    }
    // Whether a path may begin with frame t and reach an end.
    bool may_begin(int t) const { return t == 0 || lattice_.begin(t - 1) == 0; }

    const LatticeView<Real>& lattice_;
    Ends<Real>& ends_;
    LongArcSums<Real> long_arcs_;
    StateFactors<Real> factors_;
    const int num_frames_;
    const bool backward_;
    const int row_blocks_;           // blocks in a row of cells
    const std::int64_t row_length_;  // of a row of plain numbers by cell: both parities
    int block_length_, num_blocks_;
    int block_start_;  // the first frame of the current block

    Block<Real>* alpha_;       // (block_length_,) rows of the current block
    Block<Real>* checkpoint_;  // (num_blocks_ + 1,) the row before each block
    Block<Real>* beta_;        // (sides, 2) rows, used in turn
    Real* emission_;           // (block_length_, row_length_) values, and exponents where a tile is wide; the even
    Bits* emission_exponent_;  // states have theirs in the table where they share it
    Real* occupancy_;          // (sides, kTile, row_length_)
    Real even_sum_[2][kTile];  // of each frame's even cells
    Bits total_exponent_;
};

template <class Real>
Recursion<Real>::Recursion(const LatticeView<Real>& lattice, Ends<Real>& ends, int num_frames, bool backward)
    : lattice_(lattice),
      ends_(ends),
      long_arcs_(lattice),
      factors_(lattice),
      num_frames_(num_frames),
      backward_(backward),
      row_blocks_(blocks_of<Real>(lattice.num_states)),
      row_length_(2 * lattice.length) {
    block_length_ = kTile;
    if (backward) {
        const std::int64_t row = row_blocks_ * std::int64_t(sizeof(Block<Real>)) +
                                 (lattice.shares_even() ? row_length_ / 2 : row_length_) * std::int64_t(sizeof(Real));
        const std::int64_t root = std::int64_t(std::sqrt(double(num_frames))) + 1;
        const bool whole = num_frames * row <= kWholeBytes;
        block_length_ = int(round_up(whole ? num_frames : greater(root, kBlockBytes / row), kTile));
        block_length_ = greater(block_length_, kTile);
    }
    num_blocks_ = (num_frames + block_length_ - 1) / block_length_;
}

template <class Real>
void Recursion<Real>::lay_out(Arena& arena) {
    alpha_ = arena.take<Block<Real>>(std::int64_t(block_length_) * row_blocks_);
    checkpoint_ = arena.take<Block<Real>>((backward_ ? num_blocks_ + 1 : 1) * std::int64_t(row_blocks_));
    beta_ = arena.take<Block<Real>>(ends_.sides() * 2 * row_blocks_);
    emission_ = arena.take<Real>(block_length_ * row_length_);
    emission_exponent_ = arena.take<Bits>(block_length_ * row_length_);
    occupancy_ = arena.take<Real>(ends_.sides() * kTile * row_length_);
    factors_.lay_out(arena);
    long_arcs_.lay_out(arena);
}

template <class Real>
void Recursion<Real>::start() {
    for (int f = 0; f < kTile; ++f) even_sum_[0][f] = even_sum_[1][f] = 0;
    block_start_ = 0;
    long_arcs_.build();
    factors_.build();
    if (lattice_.plain()) virtual_row(checkpoint(0), 0);
}

template <class Real>
void Recursion<Real>::begin_block(int block) {
    block_start_ = block * block_length_;
}

// The row of a virtual frame -1 (or T) of a plain lattice, where all paths are in one state.
template <class Real>
void Recursion<Real>::virtual_row(Block<Real>* row, int state) {
    for (int b = 0; b < row_blocks_; ++b) row[b] = dead_block<Real>();
    cell_of(row, state).set({1, 0});
}

// Emissions from labels to cells.
template <class Real>
void Recursion<Real>::spread_tile(const Table<Real>& table, int t0, int count) {
    const int begin = lattice_.begin(t0) * kLanes<Real> & -kSquare;
    const int end = int(round_up(lattice_.end(t0 + count - 1) * kLanes<Real>, kSquare));
    const std::int64_t rows = std::int64_t(t0 - block_start_) * row_length_;
    for (int parity = lattice_.shares_even() ? 1 : 0; parity < 2; ++parity) {
        const std::int64_t first = rows + parity * lattice_.length;
        const std::int32_t* slot = lattice_.slots.slot_of_cell + parity * lattice_.length;
        const bool shared = parity == 0 && lattice_.even_label && lattice_.state_scores;
        if (!shared) spread(table.values, slot, emission_ + first, row_length_, begin, end);
        if (table.wide) spread(table.exponents, slot, emission_exponent_ + first, row_length_, begin, end);
        if (!lattice_.state_scores) continue;
        factors_.multiply(parity, begin, end, count, shared ? table.values + std::int64_t(slot[0]) * kTile : nullptr,
                          emission_ + first, row_length_);
        if (factors_.wide())
            factors_.add_exponents(parity, begin, end, count, table.wide, emission_exponent_ + first, row_length_);
    }
}

template <class Real>
auto Recursion<Real>::emissions(int t, const Table<Real>& table) const -> RowEmissions<Real> {
    const std::int64_t row = std::int64_t(t - block_start_) * row_length_, odd = row + lattice_.length;
    const std::int64_t even = std::int64_t(lattice_.slots.slot_of_label(0)) * kTile + t % kTile;
    const CellEmissions<Real> shared = {table.values + even, table.exponents + even};
    const CellEmissions<Real> own = {emission_ + row, emission_exponent_ + row};
    return {lattice_.shares_even() ? shared : own, {emission_ + odd, emission_exponent_ + odd}};
}

template <class Real>
void Recursion<Real>::advance_frame(int t, const Table<Real>& table) {
    lattice_.plain() ? advance_plain(t, table) : advance_other(t, table);
    const int end = lattice_.end(t);
    if (t + 1 < num_frames_ && lattice_.end(t + 1) > end) alpha(t)[end] = dead_block<Real>();
}

// A path that begins later comes from the virtual frame before it, where it is in state 0.
template <class Real>
void Recursion<Real>::advance_plain(int t, const Table<Real>& table) {
    const bool begins = ends_.free() && t > 0 && may_begin(t);
    const Cell<Real> first = cell_of(before_frame(t), 0);
    const Scaled<Real> kept = first.get();
    if (begins) first.set(plus(kept, ends_.beginning(t)));
    table.wide ? advance_cells<Shape::kPlain, true>(t, table) : advance_cells<Shape::kPlain, false>(t, table);
    if (begins) first.set(kept);
    if (ends_.free()) ends_.end(t, log_of_ends(t));
}

// Of a lattice that is not plain.
template <class Real>
void Recursion<Real>::advance_other(int t, const Table<Real>& table) {
    if (t == 0) return begin_paths(table);
    with_shape(lattice_.shape, is_wide(table),
               [&](auto shape, auto wide) { this->template advance_cells<shape(), wide()>(t, table); });
    long_arcs_.advance(before_frame(t), alpha(t), [&](int k) { return emission_of(t, k, table); });
}

template <class Real>
template <Shape kShape, bool kWide>
void Recursion<Real>::advance_cells(int t, const Table<Real>& table) {
    const Block<Real>* last = before_frame(t);
    const int begin = lattice_.begin(t), end = lattice_.end(t);
    const bool moved = t > 0 && begin > lattice_.begin(t - 1);
    advance<Real, kShape, kWide>(last, moved ? last[begin - 1] : dead_block<Real>(), lattice_.masks,
                                 emissions(t, table), alpha(t), begin, end);
}

// The first row of a lattice that is not plain: paths begin in its START states.
template <class Real>
void Recursion<Real>::begin_paths(const Table<Real>& table) {
    for (int b = lattice_.begin(0); b < lattice_.end(0); ++b) alpha(0)[b] = dead_block<Real>();
    for (int k = lattice_.windows.low[0]; k <= lattice_.windows.high[0]; ++k)
        if (lattice_.may_begin_in(k))
            cell_of(alpha(0), k).set(times(emission_of(0, k, table), entry_factor<Real>(lattice_.entry_costs, k)));
}

// Stores the last row of a block for the next one.
template <class Real>
void Recursion<Real>::end_block(int block) {
    const Block<Real>* from = alpha(block_end() - 1);
    Block<Real>* to = checkpoint(block + 1);
    for (int b = 0; b < row_blocks_; ++b) to[b] = settled(from[b]);
}

// Without free ends, occupancies are relative to the sum over all paths.
template <class Real>
double Recursion<Real>::total() {
    if (ends_.free()) return ends_.within() ? ends_.combine() : -HUGE_VAL;
    return log_of_ends(num_frames_ - 1) + num_frames_ * factors_.offset();
}

// Alpha over the END states of a frame, in double.
template <class Real>
double Recursion<Real>::log_of_ends(int t) {
    const Block<Real>* last = alpha(t);
    const int low = lattice_.windows.low[t], end = lattice_.windows.high[t] + 1;
    const int begin = lattice_.plain() ? greater(low, lattice_.num_states - 2) : low;
    Bits top = kZero;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & CTCKIT_END) top = greater(top, value_of(last, k).exponent);
    if (top < kDead) return -HUGE_VAL;
    double sum = 0;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & CTCKIT_END) {
            const Scaled<Real> x = value_of(last, k);
            sum += std::ldexp(double(x.mantissa), int(x.exponent - top));
        }
    total_exponent_ = ends_.free() ? 0 : top;
    return std::log(sum) + double(top) * kLn2;
}

template <class Real>
void Recursion<Real>::start_back() {
    for (int b = 0; b < ends_.sides() * 2 * row_blocks_; ++b) beta_[b] = dead_block<Real>();
    if (lattice_.plain() && !ends_.free()) virtual_row(beta(num_frames_), lattice_.num_states - 1);
}

// Once for each block on the way back: resets zeros that drifted down.
template <class Real>
void Recursion<Real>::settle_back() {
    for (int side = 0; side < ends_.sides(); ++side) {
        Block<Real>* upper = beta(block_end(), side);
        for (int b = 0; b < row_blocks_; ++b) upper[b] = settled(upper[b]);
    }
}

template <class Real>
void Recursion<Real>::retreat_frame(int t, const Table<Real>& table) {
    const int begin = lattice_.begin(t);
    for (int side = 0; side < ends_.sides(); ++side) {
        lattice_.plain() ? retreat_plain(t, table, side) : retreat_other(t, table);
        // What the next frame may read below this one's cells.
        if (t > 0 && lattice_.begin(t - 1) < begin) beta(t, side)[begin - 1] = dead_block<Real>();
    }
    if (ends_.free()) join_sides(t);
}

// A path that ends before the last frame is in the last state in a virtual frame after it.
template <class Real>
void Recursion<Real>::retreat_plain(int t, const Table<Real>& table, int side) {
    if (ends_.free() && ends_.ends(side, t)) {
        const Cell<Real> last = cell_of(beta(t + 1, side), lattice_.num_states - 1);
        last.set(plus(last.get(), ends_.ending(side, t)));
    }
    table.wide ? retreat_cells<Shape::kPlain, true>(t, table, side)
               : retreat_cells<Shape::kPlain, false>(t, table, side);
}

// From the occupancies of both sides, those that the gradient is made of, which may be negative.
template <class Real>
void Recursion<Real>::join_sides(int t) {
    const int f = t % kTile, begin = lattice_.begin(t), end = lattice_.end(t);
    Real factor[2];
    for (int side = 0; side < ends_.sides(); ++side) {
        Lanes<Real> odd = {};
        const Real* row = occupancy(f, side) + lattice_.length;
        for (int b = begin; b < end; ++b) odd += load_lanes(row + b * kLanes<Real>);
        factor[side] = ends_.factor(side, t, even_sum_[side][f] + sum_of_lanes<Real>(odd));
        if (!may_begin(t) || begin > 0) continue;
        const Block<Real>* next = beta(t, side);
        const Scaled<Real> first = value_of(next, 0);
        const Scaled<Real> both = lattice_.num_states > 1 ? plus(first, value_of(next, 1)) : first;
        ends_.begin_later(side, share(times(both, ends_.beginning(t)), total_exponent_));
    }
    Real* row = occupancy(f) + lattice_.length;
    const int first = begin * kLanes<Real>, last = end * kLanes<Real>;
    even_sum_[0][f] *= factor[0];
    for (int i = first; i < last; ++i) row[i] *= factor[0];
    if (ends_.sides() == 1) return;
    const Real* other = occupancy(f, 1) + lattice_.length;
    even_sum_[0][f] += even_sum_[1][f] * factor[1];
    for (int i = first; i < last; ++i) row[i] += other[i] * factor[1];
}

template <class Real>
void Recursion<Real>::retreat_other(int t, const Table<Real>& table) {
    if (t == num_frames_ - 1) return end_paths(table);
    with_shape(lattice_.shape, is_wide(table),
               [&](auto shape, auto wide) { this->template retreat_cells<shape(), wide()>(t, table, 0); });
    long_arcs_.retreat(alpha(t), beta(t + 1), beta(t), total_exponent_, occupancy(t % kTile), even_sum_[0][t % kTile],
                       [&](int k) { return emission_of(t, k, table); });
}

template <class Real>
template <Shape kShape, bool kWide>
void Recursion<Real>::retreat_cells(int t, const Table<Real>& table, int side) {
    const int end = lattice_.end(t);
    const bool moved = (t + 1 < num_frames_ ? lattice_.end(t + 1) : row_blocks_) > end;
    Real* row = occupancy(t % kTile, side);
    const Block<Real>* next = beta(t + 1, side);
    even_sum_[side][t % kTile] = retreat<Real, kShape, kWide>(
        next, moved ? next[end] : dead_block<Real>(), lattice_.masks, emissions(t, table), alpha(t), total_exponent_,
        beta(t, side), row, row + lattice_.length, lattice_.begin(t), end);
}

// The last row of a lattice that is not plain: paths end in its END states.
template <class Real>
void Recursion<Real>::end_paths(const Table<Real>& table) {
    const int t = num_frames_ - 1, begin = lattice_.begin(t), end = lattice_.end(t);
    Real* row = occupancy(t % kTile);
    for (int b = begin; b < end; ++b) beta(t)[b] = dead_block<Real>();
    for (int i = begin * kLanes<Real>; i < end * kLanes<Real>; ++i) row[i] = row[lattice_.length + i] = 0;
    even_sum_[0][t % kTile] = 0;
    for (int k = lattice_.windows.low[t]; k <= lattice_.windows.high[t]; ++k) {
        if (!(lattice_.arcs[k] & CTCKIT_END)) continue;
        const Real gamma = share(value_of(alpha(t), k), total_exponent_);
        row[lattice_.cell(k)] = gamma;
        if (k % 2 == 0) even_sum_[0][t % kTile] += gamma;
        cell_of(beta(t), k).set(emission_of(t, k, table));
    }
}

template <class Real>
void Recursion<Real>::write_entries(int t, const ArcMasks<Real>& masks, Real* row) const {
    for (std::int64_t i = 0; i < row_length_; ++i) row[i] = 0;
    const int begin = lattice_.begin(t + 1), end = lattice_.end(t + 1);
    const Block<Real>* from = alpha(t);
    count_entries<Real>(from, begin > lattice_.begin(t) ? from[begin - 1] : dead_block<Real>(), masks, beta(t + 1),
                        total_exponent_, row, row + lattice_.length, begin, end);
}

}  // namespace
