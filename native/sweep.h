// One sample, start to end: forward in blocks of frames that keep only each block's first row, then backward block by
// block, recomputing alpha inside each. Memory O(K sqrt(T)); the block in hand stays in cache.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

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

// Frames between asking for a row and using it.
constexpr int kAhead = 2;

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
    void empty_sample();
    void start();
    double forward();
    void forward_block(int block, bool first_time);
    void normalise_tile(int t0, int count);
    void normalise_frame(int t, const Real* row);
    void tabulate(int t0, int count, bool first_time);
    void tabulate_wide(Real* table, Bits* exponents, const Real* top);
    void spread_tile(int t0, int count);
    template <bool kWide>
    void advance_frame(int t, int block);
    double finish();
    void backward();
    void backward_tile(int t0, int count);
    template <bool kWide>
    void retreat_frame(int t);
    void collect(int t0, int count);
    void write_gradient(int t0, int count, const Real* occupancy_factor);
    void undo_exponents(int t0);
    void write_occupancy(int t, int f, Real factor);
    void fill_outputs(int from, Real value);

    int block_start(int block) const { return block * block_; }
    int block_end(int block) const { return lesser(frames_, (block + 1) * block_); }
    int tile_of(int t) const { return (tables_kept_ ? t : t % block_) / kTile; }
    bool& wide(int t) const { return wide_[tile_of(t)]; }
    Real* table_of(int t) const { return tables_ + std::int64_t(tile_of(t)) * lattice_.slots * kTile; }
    Bits* exponents_of(int t) const { return table_exponents_ + std::int64_t(tile_of(t)) * lattice_.slots * kTile; }
    Real* occupancy_row_of_tile(int t) const { return occupancy_ + (t % block_ % kTile) * length_; }
    Row<Real> at(Row<Real> rows, int i) const { return {rows.mantissa + i * length_, rows.exponent + i * length_}; }
    Row<Real> alpha_before(int t, int block) const;
    Emission<Real> emission(int t) const {
        return {emission_ + (t % block_) * length_, emission_exponent_ + (t % block_) * length_};
    }
    Real weight() const { return batch_.weights ? Real(batch_.weights[n_]) : Real(1); }
    In* grad_row(int t) const {
        return static_cast<In*>(batch_.grad) + t * batch_.grad_stride_t + n_ * batch_.grad_stride_n;
    }
    Row<Real> take_rows(Arena& arena, std::int64_t count) const {
        Real* mantissa = arena.take<Real>(count * length_);
        Bits* exponent = arena.take<Bits>(count * length_);
        return {mantissa + kMargin, exponent + kMargin};
    }

    const Batch& batch_;
    const std::int64_t n_;
    int frames_, classes_, block_, blocks_;
    bool backward_wanted_;
    std::int64_t length_;  // of a row
    std::size_t bytes_;

    Frames<In> input_;
    LatticeView<Real> lattice_;
    std::int32_t* slot_of_class_;
    Bits* caps_[6];

    Row<Real> alpha_;       // (block_,) rows of the block in hand
    Row<Real> checkpoint_;  // (blocks_,) the row before each block; [0] is the virtual frame -1
    Row<Real> beta_;        // 2 rows, used in turn
    Real* emission_;        // (block_, length_) values, and exponents where a tile is wide
    Bits* emission_exponent_;
    bool tables_kept_;              // for the whole sample, else for the block in hand
    Real* tables_;                  // (tiles, slots, kTile) emissions of the labels
    Bits* table_exponents_;         // the same, where a tile is wide
    bool* wide_;                    // (tiles,)
    Real* label_top_;               // (frames,) the best label's score, which emissions are relative to
    Real* occupancy_;               // (kTile, length_)
    Real* columns_;                 // (length_, kTile)
    Real* sums_;                    // (slots, kTile)
    Real* exps_;                    // (classes,) scratch of a softmax
    Real *row_top_, *row_inverse_;  // (frames,) of each softmax
    double offset_;                 // log-score common to all paths: what normalising each frame took away
    double sums_product_;           // of the softmax sums, folded into offset_ before it overflows
    bool poisoned_;                 // NaN or +inf in a used frame
    Bits total_exponent_;
};

template <class In>
Sweep<In>::Sweep(const Batch& batch, std::int64_t n, void* memory) : batch_(batch), n_(n) {
    frames_ = int(batch.frames[n]);
    classes_ = int(batch.classes);
    backward_wanted_ = batch.grad || batch.occupancy;
    input_.base = static_cast<const In*>(batch.scores) + n * batch.stride_n;
    input_.stride_t = batch.stride_t;
    input_.stride_c = batch.stride_c;
    input_.classes = classes_;
    lattice_.label = batch.labels + n * batch.states_max;
    lattice_.arcs = batch.arcs + n * batch.states_max;
    length_ = row_length(batch.states[n]);
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
        const std::int64_t row = length_ * std::int64_t(2 * sizeof(Real) + sizeof(Bits));
        const std::int64_t root = std::int64_t(std::sqrt(double(frames_))) + 1;
        const bool whole = frames_ * row <= kWholeBytes;
        block_ = int(round_up(whole ? frames_ : greater(root, kBlockBytes / row), kTile));
        block_ = greater(block_, kTile);
    }
    blocks_ = (frames_ + block_ - 1) / block_;
}

template <class In>
void Sweep<In>::lay_out(Arena& arena) {
    const std::int64_t slots = lesser<std::int64_t>(batch_.states[n_], classes_);
    place(lattice_, arena, int(batch_.states[n_]), frames_, classes_, slot_of_class_, caps_);
    alpha_ = take_rows(arena, block_);
    checkpoint_ = take_rows(arena, backward_wanted_ ? blocks_ + 1 : 2);
    beta_ = take_rows(arena, 2);
    emission_ = arena.take<Real>(block_ * length_) + kMargin;
    emission_exponent_ = arena.take<Bits>(block_ * length_) + kMargin;
    tables_kept_ = frames_ * slots * std::int64_t(sizeof(Real)) <= kTableBytes;
    const std::int64_t rows = tables_kept_ ? round_up(frames_, kTile) : block_;
    tables_ = arena.take<Real>(rows * slots);
    table_exponents_ = arena.take<Bits>(rows * slots);
    wide_ = arena.take<bool>(rows / kTile);
    label_top_ = arena.take<Real>(frames_);
    occupancy_ = arena.take<Real>(kTile * length_) + kMargin;
    columns_ = arena.take<Real>(kTile * length_);
    sums_ = arena.take<Real>(slots * kTile);
    exps_ = arena.take<Real>(classes_);
    row_top_ = arena.take<Real>(frames_);
    row_inverse_ = arena.take<Real>(frames_);
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
    start();
    batch_.score[n_] = forward();
    if (poisoned_) batch_.score[n_] = NAN;
    if (poisoned_) return fill_outputs(0, Real(NAN));
    if (batch_.score[n_] == -infinity) return fill_outputs(0, Real(0));
    if (backward_wanted_) backward();
    fill_outputs(frames_, Real(0));
}

// No frames: the only path is the empty one, and only the empty target (one state, both first and last) accepts it.
template <class In>
void Sweep<In>::empty_sample() {
    const std::uint8_t both = kStart | kEnd;
    if (lattice_.states == 1 && (lattice_.arcs[0] & both) == both) batch_.score[n_] = 0;
    fill_outputs(0, Real(0));
}

template <class In>
void Sweep<In>::start() {
    offset_ = 0;
    sums_product_ = 1;
    poisoned_ = false;
    for (std::int64_t k = -kMargin; k < length_ - kMargin; ++k) {
        checkpoint_.mantissa[k] = 1;  // the virtual frame -1, from which the START arcs lead
        checkpoint_.exponent[k] = 0;
    }
}

template <class In>
double Sweep<In>::forward() {
    for (int block = 0; block < blocks_; ++block) {
        forward_block(block, true);
        const int next = backward_wanted_ ? block + 1 : 1;
        const Row<Real> from = at(alpha_, block_end(block) - 1 - block_start(block)), to = at(checkpoint_, next);
        std::memcpy(to.mantissa - kMargin, from.mantissa - kMargin, length_ * sizeof(Real));
        std::memcpy(to.exponent - kMargin, from.exponent - kMargin, length_ * sizeof(Bits));
    }
    return finish();
}

template <class In>
void Sweep<In>::forward_block(int block, bool first_time) {
    for (int t0 = block_start(block); t0 < block_end(block); t0 += kTile) {
        const int count = lesser(kTile, block_end(block) - t0);
        if (first_time) normalise_tile(t0, count);
        if (first_time || !tables_kept_) tabulate(t0, count, first_time);
        spread_tile(t0, count);
        for (int t = t0; t < t0 + count; ++t) wide(t) ? advance_frame<true>(t, block) : advance_frame<false>(t, block);
    }
}

// Each frame's softmax, or its check, while asking for the rows that come next.
template <class In>
void Sweep<In>::normalise_tile(int t0, int count) {
    const Real* rows = input_.rows(t0, count);
    for (int f = 0; f < count; ++f) {
        const int ahead = t0 + f + kAhead;
        if (ahead < frames_ && batch_.stride_c == 1) prefetch_row(input_.base + ahead * input_.stride_t, classes_);
        if (ahead < frames_ && batch_.grad) prefetch_row(grad_row(ahead), classes_);
        normalise_frame(t0 + f, rows + f * input_.row_stride());
    }
}

// Checks a frame; for logits takes its log-softmax and leaves the softmax, the gradient's dense part, in the gradient.
template <class In>
void Sweep<In>::normalise_frame(int t, const Real* row) {
    if (!batch_.from_logits) {
        poisoned_ |= !readable(row, classes_);
        if (batch_.grad) fill(grad_row(t), classes_, Real(0));
        return;
    }
    Real* exps = exps_;
    if (Direct<In, Real>::possible && batch_.grad) exps = reinterpret_cast<Real*>(grad_row(t));
    const Normaliser<Real> z = exponentials(row, classes_, exps);
    poisoned_ |= !(z.sum < kInfinity<Real>);
    row_top_[t] = z.top;
    row_inverse_[t] = 1 / z.sum;
    offset_ -= z.top;
    sums_product_ *= z.sum;
    if (!(sums_product_ < 1e280)) {
        offset_ -= std::log(sums_product_);
        sums_product_ = 1;
    }
    if (batch_.grad) scale_into(exps, classes_, row_inverse_[t] * weight(), grad_row(t));
}

// Gathers the labels' scores of a tile and turns them into emissions, each frame relative to its best label.
template <class In>
void Sweep<In>::tabulate(int t0, int count, bool first_time) {
    const In* frame[kTile];  // a short tile repeats its last frame
    for (int f = 0; f < kTile; ++f) frame[f] = input_.base + (t0 + lesser(f, count - 1)) * input_.stride_t;
    Real* table = table_of(t0);
    Pack<Real> best, least = {}, scores;
    for (int f = 0; f < kTile; ++f) best[f] = -kInfinity<Real>;
    for (int s = 0; s < lattice_.slots; ++s) {
        const std::int64_t c = lattice_.slot_label[s] * input_.stride_c;
        for (int f = 0; f < kTile; ++f) table[s * kTile + f] = load(frame[f][c]);
        load_pack(table + s * kTile, scores);
        raise<Real>(best, scores);
    }
    Real top[kTile], lowest = 0;
    for (int f = 0; f < kTile; ++f)
        best[f] = top[f] = best[f] == -kInfinity<Real> ? 0 : best[f];  // no label is possible
    for (int s = 0; s < lattice_.slots; ++s) {
        load_pack(table + s * kTile, scores);
        lower<Real>(least, scores - best);
    }
    for (int f = 0; f < kTile; ++f) lowest = lesser(lowest, least[f]);

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

// A tile with a label so unlikely that a plain number can't hold it: mantissas and exponents apart.
template <class In>
void Sweep<In>::tabulate_wide(Real* table, Bits* exponents, const Real* top) {
    for (int s = 0; s < lattice_.slots; ++s)
        for (int f = 0; f < kTile; ++f) {
            const int i = s * kTile + f;
            exp_scaled<Real>(double(table[i]) - double(top[f]), table[i], exponents[i]);
        }
}

// From labels to states.
template <class In>
void Sweep<In>::spread_tile(int t0, int count) {
    const int begin = lattice_.low[t0] & -kSquare;
    const int end = int(round_up(lattice_.high[t0 + count - 1] + kLanes, kSquare));
    const std::int64_t rows = std::int64_t(t0 % block_) * length_;
    spread(table_of(t0), lattice_.slot_of_state, emission_ + rows, length_, begin, end);
    if (wide(t0)) spread(exponents_of(t0), lattice_.slot_of_state, emission_exponent_ + rows, length_, begin, end);
}

template <class In>
auto Sweep<In>::alpha_before(int t, int block) const -> Row<Real> {
    return t == block_start(block) ? at(checkpoint_, backward_wanted_ ? block : t > 0) : at(alpha_, t % block_ - 1);
}

template <class In>
template <bool kWide>
void Sweep<In>::advance_frame(int t, int block) {
    const int begin = lattice_.low[t], end = lattice_.end_of_row(t);
    const Row<Real> after = at(alpha_, t % block_);
    advance<Real, kWide>(alpha_before(t, block), t == 0 ? lattice_.at_start : lattice_.within, emission(t), after,
                         begin, end);
    // What the next row may read around this one: two states below, and up to one lane block beyond.
    clear<2>(after, begin - 2);
    clear<kLanes + 2>(after, end);
}

// The total: alpha over the END states of the last frame, in double.
template <class In>
double Sweep<In>::finish() {
    const Row<Real> alpha = at(alpha_, (frames_ - 1) % block_);
    const int begin = lattice_.low[frames_ - 1], end = lattice_.high[frames_ - 1] + 1;
    Bits top = kZero;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & kEnd) top = greater(top, alpha.exponent[k]);
    if (top < kDead) return -HUGE_VAL;
    double sum = 0;
    for (int k = begin; k < end; ++k)
        if (lattice_.arcs[k] & kEnd) sum += std::ldexp(double(alpha.mantissa[k]), int(alpha.exponent[k] - top));
    total_exponent_ = top;
    return std::log(sum) + double(top) * kLn2 + offset_ - std::log(sums_product_);
}

template <class In>
void Sweep<In>::backward() {
    for (int i = -kMargin; i < 2 * length_ - kMargin; ++i) clear<1>(beta_, i);
    const Row<Real> beyond = at(beta_, frames_ & 1);  // the virtual frame T, to which the END arcs lead
    for (std::int64_t k = -kMargin; k < length_ - kMargin; ++k) beyond.exponent[k] = 0;
    for (int block = blocks_ - 1; block >= 0; --block) {
        if (block < blocks_ - 1) forward_block(block, false);
        const int last_tile = (block_end(block) - 1 - block_start(block)) / kTile;
        for (int tile = last_tile; tile >= 0; --tile) {
            const int t0 = block_start(block) + tile * kTile;
            backward_tile(t0, lesser(kTile, block_end(block) - t0));
        }
    }
}

template <class In>
void Sweep<In>::backward_tile(int t0, int count) {
    if (batch_.grad)
        for (int f = 0; f < count; ++f) prefetch_row(grad_row(t0 + f), classes_);
    for (int t = t0 + count - 1; t >= t0; --t) wide(t) ? retreat_frame<true>(t) : retreat_frame<false>(t);
    collect(t0, count);
}

template <class In>
template <bool kWide>
void Sweep<In>::retreat_frame(int t) {
    const int begin = lattice_.low[t], end = lattice_.end_of_row(t);
    const Row<Real> before = at(beta_, t & 1);
    retreat<Real, kWide>(at(beta_, (t + 1) & 1), t == frames_ - 1 ? lattice_.at_end : lattice_.within, emission(t),
                         at(alpha_, t % block_), total_exponent_, before, occupancy_row_of_tile(t), begin, end);
    clear<2>(before, begin - 2);
}

// Sums a tile's occupancies over states with the same label, and writes what was asked for. Each frame is normalised
// by its own sum, which is the total up to rounding: that takes the rounding of the total out of the gradient.
template <class In>
void Sweep<In>::collect(int t0, int count) {
    const int begin = lattice_.low[t0] & -kSquare;
    const int end = int(round_up(lattice_.high[t0 + count - 1] + kLanes, kSquare));
    for (int f = 0; f < kTile; ++f) {
        Real* row = occupancy_ + f * length_;
        const int from = f < count ? lattice_.low[t0 + f] : end, to = f < count ? lattice_.end_of_row(t0 + f) : end;
        for (int k = begin; k < from; ++k) row[k] = 0;
        for (int k = to; k < end; ++k) row[k] = 0;
    }
    for (int k = 0; k < begin * kTile; ++k) columns_[k] = 0;
    turn(occupancy_, length_, columns_, begin, end);
    for (std::int64_t i = std::int64_t(end) * kTile; i < std::int64_t(lattice_.states) * kTile; ++i) columns_[i] = 0;

    Pack<Real> sum = {}, sums;
    for (int s = 0; s < lattice_.slots; ++s) {
        const std::int32_t first = lattice_.slot_first[s];
        sum_columns(columns_, lattice_.slot_states + first, lattice_.slot_first[s + 1] - first, sums_ + s * kTile);
        load_pack(sums_ + s * kTile, sums);
        sum += sums;
    }
    Real factor[kTile];
    for (int f = 0; f < kTile; ++f) factor[f] = f < count ? 1 / sum[f] : 0;
    if (batch_.grad) write_gradient(t0, count, factor);
    if (batch_.occupancy)
        for (int f = 0; f < count; ++f) write_occupancy(t0 + f, f, factor[f]);
}

// The labels' entries of a tile's gradient rows; the others were written when the rows were read.
template <class In>
void Sweep<In>::write_gradient(int t0, int count, const Real* occupancy_factor) {
    const Real* table = table_of(t0);
    Pack<Real> softmax, factor;
    In* row[kTile];
    for (int f = 0; f < kTile; ++f) {
        const int t = t0 + lesser(f, count - 1);
        row[f] = grad_row(t);
        factor[f] = occupancy_factor[f] * weight();
        // What turns an emission into a softmax probability; for log-probabilities there is no such part.
        softmax[f] =
            batch_.from_logits ? exp_nonpositive(label_top_[t] - row_top_[t]) * row_inverse_[t] * weight() : Real(0);
    }
    if (wide(t0)) undo_exponents(t0);
    for (int s = 0; s < lattice_.slots; ++s) {
        Pack<Real> emission, sum;
        load_pack(table + s * kTile, emission);
        load_pack(sums_ + s * kTile, sum);
        const Pack<Real> entry = emission * softmax - sum * factor;
        const std::int32_t label = lattice_.slot_label[s];
        if (count == kTile) {
            for (int f = 0; f < kTile; ++f) store(entry[f], row[f] + label);
        } else {
            for (int f = 0; f < count; ++f) store(entry[f], row[f] + label);
        }
    }
}

// A wide tile's emissions as plain numbers again: 0 where only the exponent could tell them from it.
template <class In>
void Sweep<In>::undo_exponents(int t0) {
    Real* table = table_of(t0);
    const Bits* exponents = exponents_of(t0);
    for (int i = 0; i < lattice_.slots * kTile; ++i) table[i] = plain(table[i], exponents[i]);
}

template <class In>
void Sweep<In>::write_occupancy(int t, int f, Real factor) {
    Real* out = static_cast<Real*>(batch_.occupancy) + (t * batch_.size + n_) * batch_.states_max;
    const Real* row = occupancy_ + f * length_;
    for (std::int64_t k = 0; k < batch_.states_max; ++k)
        out[k] = k >= lattice_.low[t] && k <= lattice_.high[t] ? row[k] * factor : 0;
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
    }
}

}  // namespace
