// The recursion: alpha forward and beta back over the cells of one sample's lattice, in blocks of frames. Only the row
// before each block is kept; alpha is computed again inside a block on the way back. Memory O(K sqrt(T)), and the block
// in hand stays in the cache.
#pragma once

#include <cmath>
#include <cstdint>

#include "ctckit.h"
#include "lattice/lattice.h"
#include "simd/scaled.h"
#include "simd/tile.h"
#include "sums/cells.h"
#include "sums/emissions.h"

namespace {

// The rows of a whole sample up to the first size are kept, since reading them back costs less than computing them
// again; a longer sample is cut into blocks of the second size, which stay in the second-level cache.
constexpr std::int64_t kWholeBytes = 2 << 20, kBlockBytes = 256 << 10;

constexpr double kLn2 = 0.6931471805599453;

template <class Real>
class Recursion {
    using Bits = BitsOf<Real>;

   public:
    // Without a way back, only the last tile's rows are held.
    Recursion(const LatticeView<Real>& lattice, int num_frames, bool backward);
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

    // What retreat_frame leaves for the frames of a tile: occupancies by cell, still to be divided by their frame's
    // sum; and of a plain lattice the sums over the even cells.
    std::int64_t row_length() const { return row_length_; }
    Real* occupancy(int f) const { return occupancy_ + f * row_length_; }
    const Real* even_sums() const { return even_sum_; }

   private:
    template <bool kPlain, bool kWide>
    void advance_cells(int t, const Table<Real>& table);
    template <bool kPlain, bool kWide>
    void retreat_cells(int t, const Table<Real>& table);
    void begin_paths(const Table<Real>& table);
    void end_paths(const Table<Real>& table);
    void virtual_row(Block<Real>* row, int state);
    RowEmissions<Real> emissions(int t, const Table<Real>& table) const;

    Block<Real>* alpha(int t) const { return alpha_ + std::int64_t(t - block_start_) * row_blocks_; }
    Block<Real>* beta(int t) const { return beta_ + (t & 1) * row_blocks_; }
    Block<Real>* checkpoint(int block) const { return checkpoint_ + std::int64_t(backward_ ? block : 0) * row_blocks_; }
    // The row before frame t.
    const Block<Real>* before_frame(int t) const {
        return t > block_start_ ? alpha(t - 1) : checkpoint(block_start_ / block_length_);
    }

    // One number, and where that of state k is in a row.
    struct Scaled {
        Real mantissa;
        Bits exponent;
    };
    struct Cell {
        Real* mantissa;
        Bits* exponent;
        void set(const Scaled& x) const {
            *mantissa = x.mantissa;
            *exponent = x.exponent;
        }
    };
    Cell cell_of(Block<Real>* row, int k) const {
        Block<Real>& block = row[k / 2 / kLanes<Real>];
        Cells<Real>& cells = k % 2 == 0 ? block.even : block.odd;
        const int lane = k / 2 % kLanes<Real>;
        return {reinterpret_cast<Real*>(&cells.mantissa) + lane, reinterpret_cast<Bits*>(&cells.exponent) + lane};
    }
    // State k's emission at frame t; not of a plain lattice's even states.
    Scaled emission_of(int t, int k, bool wide) const {
        const std::int64_t at = std::int64_t(t - block_start_) * row_length_ + lattice_.cell(k);
        Scaled y;
        normalise<Real>(emission_[at], wide ? emission_exponent_[at] : 0, y.mantissa, y.exponent);
        return y;
    }

    const LatticeView<Real>& lattice_;
    const int num_frames_;
    const bool backward_;
    const int row_blocks_;           // blocks in a row of cells
    const std::int64_t row_length_;  // of a row of plain numbers by cell: both parities
    int block_length_, num_blocks_;
    int block_start_;  // the first frame of the block in hand

    Block<Real>* alpha_;       // (block_length_,) rows of the block in hand
    Block<Real>* checkpoint_;  // (num_blocks_ + 1,) the row before each block
    Block<Real>* beta_;        // 2 rows, used in turn
    Real* emission_;           // (block_length_, row_length_) values, and exponents where a tile is wide; the even
    Bits* emission_exponent_;  // states of a plain lattice have theirs in the table
    Real* occupancy_;          // (kTile, row_length_)
    Real even_sum_[kTile];     // of each frame's even cells
    Bits total_exponent_;
};

template <class Real>
Recursion<Real>::Recursion(const LatticeView<Real>& lattice, int num_frames, bool backward)
    : lattice_(lattice),
      num_frames_(num_frames),
      backward_(backward),
      row_blocks_(blocks_of<Real>(lattice.num_states)),
      row_length_(2 * lattice.length) {
    block_length_ = kTile;
    if (backward) {
        const std::int64_t row =
            row_blocks_ * std::int64_t(sizeof(Block<Real>)) + row_length_ / 2 * std::int64_t(sizeof(Real));
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
    beta_ = arena.take<Block<Real>>(2 * row_blocks_);
    emission_ = arena.take<Real>(block_length_ * row_length_);
    emission_exponent_ = arena.take<Bits>(block_length_ * row_length_);
    occupancy_ = arena.take<Real>(kTile * row_length_);
}

template <class Real>
void Recursion<Real>::start() {
    for (int f = 0; f < kTile; ++f) even_sum_[f] = 0;
    block_start_ = 0;
    if (lattice_.plain) virtual_row(checkpoint(0), 0);
}

template <class Real>
void Recursion<Real>::begin_block(int block) {
    block_start_ = block * block_length_;
}

// The row of a virtual frame -1 (or T) of a plain lattice, where all paths are in one state.
template <class Real>
void Recursion<Real>::virtual_row(Block<Real>* row, int state) {
    for (int b = 0; b < row_blocks_; ++b) row[b] = dead_block<Real>();
    *cell_of(row, state).exponent = 0;
}

// Emissions from labels to cells.
template <class Real>
void Recursion<Real>::spread_tile(const Table<Real>& table, int t0, int count) {
    const int begin = lattice_.begin(t0) * kLanes<Real> & -kSquare;
    const int end = int(round_up(lattice_.end(t0 + count - 1) * kLanes<Real>, kSquare));
    const std::int64_t rows = std::int64_t(t0 - block_start_) * row_length_;
    for (int parity = lattice_.plain ? 1 : 0; parity < 2; ++parity) {
        const std::int64_t first = rows + parity * lattice_.length;
        const std::int32_t* slot = lattice_.slots.slot_of_cell + parity * lattice_.length;
        spread(table.values, slot, emission_ + first, row_length_, begin, end);
        if (table.wide) spread(table.exponents, slot, emission_exponent_ + first, row_length_, begin, end);
    }
}

template <class Real>
auto Recursion<Real>::emissions(int t, const Table<Real>& table) const -> RowEmissions<Real> {
    const std::int64_t row = std::int64_t(t - block_start_) * row_length_, odd = row + lattice_.length;
    const std::int64_t even = std::int64_t(lattice_.slots.slot_of_label(0)) * kTile + t % kTile;
    const CellEmissions<Real> shared = {table.values + even, table.exponents + even};
    const CellEmissions<Real> own = {emission_ + row, emission_exponent_ + row};
    return {lattice_.plain ? shared : own, {emission_ + odd, emission_exponent_ + odd}};
}

template <class Real>
void Recursion<Real>::advance_frame(int t, const Table<Real>& table) {
    if (lattice_.plain) table.wide ? advance_cells<true, true>(t, table) : advance_cells<true, false>(t, table);
    else if (t == 0) begin_paths(table);
    else table.wide ? advance_cells<false, true>(t, table) : advance_cells<false, false>(t, table);
    const int end = lattice_.end(t);
    if (t + 1 < num_frames_ && lattice_.end(t + 1) > end) alpha(t)[end] = dead_block<Real>();
}

template <class Real>
template <bool kPlain, bool kWide>
void Recursion<Real>::advance_cells(int t, const Table<Real>& table) {
    const Block<Real>* last = before_frame(t);
    const int begin = lattice_.begin(t), end = lattice_.end(t);
    const bool moved = t > 0 && begin > lattice_.begin(t - 1);
    advance<Real, kPlain, kWide>(last, moved ? last[begin - 1] : dead_block<Real>(), lattice_.masks,
                                 emissions(t, table), alpha(t), begin, end);
}

// The first row of a lattice that is not plain: paths begin in its START states.
template <class Real>
void Recursion<Real>::begin_paths(const Table<Real>& table) {
    for (int b = lattice_.begin(0); b < lattice_.end(0); ++b) alpha(0)[b] = dead_block<Real>();
    for (int k = lattice_.windows.low[0]; k <= lattice_.windows.high[0]; ++k)
        if (lattice_.arcs[k] & CTCKIT_START) cell_of(alpha(0), k).set(emission_of(0, k, table.wide));
}

// Keeps the last row of a block for the next one.
template <class Real>
void Recursion<Real>::end_block(int block) {
    const Block<Real>* from = alpha(block_end() - 1);
    Block<Real>* to = checkpoint(block + 1);
    for (int b = 0; b < row_blocks_; ++b) to[b] = settled(from[b]);
}

// Alpha over the END states of the last frame, in double.
template <class Real>
double Recursion<Real>::total() {
    Block<Real>* last = alpha(num_frames_ - 1);
    const int begin = lattice_.windows.low[num_frames_ - 1], end = lattice_.windows.high[num_frames_ - 1] + 1;
    Bits top = kZero;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & CTCKIT_END) top = greater(top, *cell_of(last, k).exponent);
    if (top < kDead) return -HUGE_VAL;
    double sum = 0;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & CTCKIT_END) {
            const Cell cell = cell_of(last, k);
            sum += std::ldexp(double(*cell.mantissa), int(*cell.exponent - top));
        }
    total_exponent_ = top;
    return std::log(sum) + double(top) * kLn2;
}

template <class Real>
void Recursion<Real>::start_back() {
    for (int b = 0; b < 2 * row_blocks_; ++b) beta_[b] = dead_block<Real>();
    if (lattice_.plain) virtual_row(beta(num_frames_), lattice_.num_states - 1);
}

// Once for each block on the way back: zeros that drifted down are set back.
template <class Real>
void Recursion<Real>::settle_back() {
    Block<Real>* upper = beta(block_end());
    for (int b = 0; b < row_blocks_; ++b) upper[b] = settled(upper[b]);
}

template <class Real>
void Recursion<Real>::retreat_frame(int t, const Table<Real>& table) {
    if (lattice_.plain) table.wide ? retreat_cells<true, true>(t, table) : retreat_cells<true, false>(t, table);
    else if (t == num_frames_ - 1) end_paths(table);
    else table.wide ? retreat_cells<false, true>(t, table) : retreat_cells<false, false>(t, table);
    // What the next frame may read below this one's cells.
    const int begin = lattice_.begin(t);
    if (t > 0 && lattice_.begin(t - 1) < begin) beta(t)[begin - 1] = dead_block<Real>();
}

template <class Real>
template <bool kPlain, bool kWide>
void Recursion<Real>::retreat_cells(int t, const Table<Real>& table) {
    const int end = lattice_.end(t);
    const bool moved = (t + 1 < num_frames_ ? lattice_.end(t + 1) : row_blocks_) > end;
    Real* row = occupancy(t % kTile);
    even_sum_[t % kTile] = retreat<Real, kPlain, kWide>(beta(t + 1), moved ? beta(t + 1)[end] : dead_block<Real>(),
                                                        lattice_.masks, emissions(t, table), alpha(t), total_exponent_,
                                                        beta(t), row, row + lattice_.length, lattice_.begin(t), end);
}

// The last row of a lattice that is not plain: paths end in its END states.
template <class Real>
void Recursion<Real>::end_paths(const Table<Real>& table) {
    const int t = num_frames_ - 1, begin = lattice_.begin(t), end = lattice_.end(t);
    Real* row = occupancy(t % kTile);
    for (int b = begin; b < end; ++b) beta(t)[b] = dead_block<Real>();
    for (int i = begin * kLanes<Real>; i < end * kLanes<Real>; ++i) row[i] = row[lattice_.length + i] = 0;
    for (int k = lattice_.windows.low[t]; k <= lattice_.windows.high[t]; ++k) {
        if (!(lattice_.arcs[k] & CTCKIT_END)) continue;
        const Cell a = cell_of(alpha(t), k);
        row[lattice_.cell(k)] = plain<Real>(*a.mantissa, *a.exponent - total_exponent_);
        cell_of(beta(t), k).set(emission_of(t, k, table.wide));
    }
}

}  // namespace
