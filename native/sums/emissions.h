// From scores to emissions: reads each frame of a sample once, takes its softmax for logits, and tabulates the
// emissions of the lattice's labels, eight frames at a time.
#pragma once

#include <cmath>
#include <cstdint>

#include "ctckit.h"
#include "kernels.h"
#include "lattice/lattice.h"
#include "scores/frames.h"
#include "simd/scaled.h"
#include "simd/tile.h"
#include "sums/state_factors.h"

namespace {

// The tables are kept for the whole sample up to this size; beyond it, each block of frames is tabulated again.
constexpr std::int64_t kTableBytes = 1 << 20;

// With at most this many classes, and hardly more than three per token, a table of all classes is faster than one of
// the labels: it comes from the softmax and becomes the gradient without gathering single numbers.
constexpr int kFewClasses = 256;

// Frames between prefetching a row and using it.
constexpr int kAhead = 6;

// The emissions of one tile: (num_slots, kTile) values, and exponents where the tile is wide.
template <class Real>
struct Table {
    Real* values;
    BitsOf<Real>* exponents;
    bool wide;
};

// The softmax of a tile's frames. `factor` turns plain values into the softmax part of the gradient; 0 if it has none.
// `sure` is 1 where the network is sure of a class and its plain value is 1 if it is a label, else 0. Then `rest` is
// the sum of all other classes' exponentials, with all of its digits, where tables are of labels.
template <class Real>
struct TileSoftmax {
    Real factor[kTile], sure[kTile];
    const Real* rest;
};

template <class In>
class Emissions {
    using Real = typename Compute<In>::Real;
    using Bits = BitsOf<Real>;

   public:
    Emissions(const ctckit_scores& scores, const ctckit_sums_out& out, const ctckit::Sample& sample,
              LatticeView<Real>& lattice, int num_frames, const Gradient<In>& grad, bool by_frame)
        : lattice_(lattice),
          slots_(lattice.slots),
          num_frames_(num_frames),
          num_classes_(int(scores.num_classes)),
          from_logits_(scores.from_logits != 0),
          has_softmax_(from_logits_ || (out.grad && out.adds_softmax)),
          reads_rows_(has_softmax_ || out.grad || !scores.readable),
          class_scores_(scores.class_scores),
          by_frame_(by_frame),
          weight_(out.weights ? Real(out.weights[sample.at]) : Real(1)),
          narrowest_(Format<Real>::kNarrow - StateFactors<Real>::room(lattice)),
          input_(frames_of<In>(scores, sample.scores)),
          grad_(grad) {
        lattice.slots.by_class = from_logits_ && num_classes_ <= kFewClasses &&
                                 num_classes_ <= 3 * (std::int64_t(lattice.num_states) + 1) / 2;
    }
    void lay_out(Arena& arena, int block_length);
    void start();
    void begin_block(int first_frame) { block_start_ = first_frame; }

    // Normalises the frames of the first tile, where tabulate() does not do it itself.
    void normalise_first_tile();
    // Rows to normalise of the tile at t0, row_stride() apart; null if tabulate() does it, or if it isn't needed.
    const Real* rows_to_normalise(int t0);
    std::int64_t row_stride() const { return input_.row_stride(); }
    void normalise_frame(int t, const Real* row);
    // Makes the table of a tile, unless it has been kept.
    void tabulate(int t0, int count, bool first_time);

    Table<Real> table(int t) const {
        Table<Real> made = unmade_table(t);
        made.wide = wide_[tile_of(t)];
        return made;
    }
    // A tile's table without exponents: 0 for emissions that need one.
    const Real* plain_values(int t0, int count);
    // The softmax of a tile's frames, of which `values`, the plain ones, are a part.
    TileSoftmax<Real> softmax(int t0, const Real* values) const;

    bool has_softmax() const { return has_softmax_; }  // in the gradient
    bool poisoned() const { return poisoned_; }
    // The log-score common to all paths, which making emissions relative has removed.
    double offset() const { return offset_ - std::log(sums_product_); }
    // A frame's part of it, where that is kept.
    double offset_of(int t) const { return frame_offset_[t]; }

   private:
    void tabulate_labels(int t0, int count, bool first_time);
    void tabulate_classes(int t0, int count, bool first_time);
    void tabulate_wide(const Table<Real>& table, const Real* top);
    void weigh_classes();
    void keep_softmax(int t, Real top, Real sum, Real rest);
    // The memory of a tile's table.
    Table<Real> unmade_table(int t) const {
        const std::int64_t at = std::int64_t(tile_of(t)) * slots_.num_slots * kTile;
        return {values_ + at, exponents_ + at, false};
    }
    Real* unweighted(int t) const { return unweighted_ + std::int64_t(tile_of(t)) * slots_.num_slots * kTile; }
    int tile_of(int t) const { return (tables_kept_ ? t : t - block_start_) / kTile; }

    const LatticeView<Real>& lattice_;
    const LabelSlots& slots_;
    const int num_frames_, num_classes_;
    const bool from_logits_, has_softmax_;  // the latter: the gradient holds the softmax
    const bool reads_rows_;                 // rows are read in full, not only the labels
    const double* class_scores_;            // (num_classes,) or null
    const bool by_frame_;                   // each frame's offset is kept
    const Real weight_;
    const Real narrowest_;  // a label's least score in a tile that is not wide
    Frames<In> input_;
    const Gradient<In> grad_;

    int block_start_;     // the first frame of the current block
    bool tables_kept_;    // for the whole sample, else for the current block
    Real* values_;        // (tiles, num_slots, kTile)
    Bits* exponents_;     // the same, used where a tile is wide
    bool* wide_;          // (tiles,) a label is too unlikely for a plain number
    Real* scratch_;       // (num_slots, kTile)
    Real* unweighted_;    // like values_, of all classes without class scores, where there are such scores
    Real* class_factor_;  // (num_classes,) of a label, exp(class score), relative to the highest of the labels
    Real least_class_;    // the lowest of the labels' class scores, relative to the highest
    double top_class_;    // the highest
    Real* exps_;          // (num_classes,) scratch of a softmax
    Real* label_top_;     // (whole tiles) the best label's score, which emissions are relative to
    Real *row_top_, *row_inverse_;  // (whole tiles) of each softmax: the best score, and one over the sum
    Real* row_rest_;                // (whole tiles) the sum without the best class, where that is sure
    double offset_;                 // log-score common to all paths
    double* frame_offset_;          // (num_frames,) of each frame
    double sums_product_;           // of the softmax sums, taken into offset_ before it overflows
    bool poisoned_;                 // NaN or +inf in a used frame
};

template <class In>
void Emissions<In>::lay_out(Arena& arena, int block_length) {
    const std::int64_t slots = slots_.most;
    tables_kept_ = num_frames_ * slots * std::int64_t(sizeof(Real)) <= kTableBytes;
    const std::int64_t rows = tables_kept_ ? round_up(num_frames_, kTile) : block_length;
    values_ = arena.take<Real>(rows * slots);
    exponents_ = arena.take<Bits>(rows * slots);
    wide_ = arena.take<bool>(rows / kTile);
    scratch_ = arena.take<Real>(slots * kTile);
    const bool weighted = slots_.by_class && class_scores_;
    unweighted_ = arena.take<Real>(weighted ? rows * slots : 0);
    class_factor_ = arena.take<Real>(weighted ? num_classes_ : 0);
    exps_ = arena.take<Real>(slots_.by_class ? 0 : num_classes_);
    const std::int64_t tiles = round_up(num_frames_, kTile);
    label_top_ = arena.take<Real>(tiles);
    row_top_ = arena.take<Real>(tiles);
    row_inverse_ = arena.take<Real>(tiles);
    row_rest_ = arena.take<Real>(tiles);
    frame_offset_ = arena.take<double>(by_frame_ ? num_frames_ : 0);
    input_.lay_out(arena);
}

template <class In>
void Emissions<In>::start() {
    offset_ = 0;
    sums_product_ = 1;
    poisoned_ = false;
    block_start_ = 0;
    least_class_ = 0;
    top_class_ = 0;
    for (int t = 0; by_frame_ && t < num_frames_; ++t) frame_offset_[t] = 0;
    if (slots_.by_class && class_scores_) weigh_classes();
    for (std::int64_t t = num_frames_; t < round_up(num_frames_, kTile); ++t)
        label_top_[t] = row_top_[t] = row_inverse_[t] = row_rest_[t] = 0;
}

// Class scores multiply the emissions of labels; the gradient's softmax is without them.
template <class In>
void Emissions<In>::weigh_classes() {
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (int i = 0; i < slots_.num_labels; ++i) {
        low = lesser(low, class_scores_[slots_.labels[i]]);
        high = greater(high, class_scores_[slots_.labels[i]]);
    }
    top_class_ = high == -HUGE_VAL ? 0 : high;  // no label is possible
    least_class_ = Real(low - top_class_);
    for (int i = 0; i < slots_.num_labels; ++i) {
        const int c = slots_.labels[i];
        class_factor_[c] = Real(std::exp(class_scores_[c] - top_class_));
    }
}

template <class In>
void Emissions<In>::normalise_first_tile() {
    const Real* rows = rows_to_normalise(0);
    if (!rows) return;
    for (int t = 0; t < lesser(kTile, num_frames_); ++t) normalise_frame(t, rows + t * row_stride());
}

template <class In>
auto Emissions<In>::rows_to_normalise(int t0) -> const Real* {
    if (slots_.by_class || t0 >= num_frames_ || !reads_rows_) return nullptr;
    return input_.rows(t0, lesser(kTile, num_frames_ - t0));
}

// Checks a frame; of logits takes its log-softmax. Leaves the softmax, the gradient's dense part, in the gradient.
// Prefetches the next rows.
template <class In>
void Emissions<In>::normalise_frame(int t, const Real* row) {
    const int next = lesser(t + kAhead, num_frames_ - 1);
    const Ahead<In> ahead = {input_.base + next * input_.stride_t, input_.stride_c, grad_ ? grad_.row(next) : nullptr};
    if (!has_softmax_) {
        ahead.ask_for_row(num_classes_);
        poisoned_ |= !readable(row, num_classes_);
        if (grad_) fill(grad_.row(t), num_classes_, Real(0));
        return;
    }
    Real* exps = exps_;
    if (Frames<In>::kAsTheyAre && grad_) exps = reinterpret_cast<Real*>(grad_.row(t));
    const Normaliser<Real> z = exponentials(row, num_classes_, exps, ahead);
    if (!from_logits_ && z.top == -kInfinity<Real>) {  // log-probabilities without a possible class: not NaN
        row_top_[t] = row_inverse_[t] = row_rest_[t] = 0;
        return fill(grad_.row(t), num_classes_, Real(0));
    }
    keep_softmax(t, z.top, z.sum, z.sum < kSure<Real> ? rest_of(exps, num_classes_) : Real(0));
    if (from_logits_) offset_ -= z.top;  // emissions will be relative to the best label: see tabulate_labels()
    if (grad_) scale_into(exps, num_classes_, row_inverse_[t] * weight_, grad_.row(t));
}

// Stores a frame's softmax. Of logits, takes its sum out of the score that all paths share. Where a class is sure, the
// sum is 1, its own part, and `rest`, which may have digits that the sum has lost.
template <class In>
void Emissions<In>::keep_softmax(int t, Real top, Real sum, Real rest) {
    const double whole = sum < kSure<Real> ? 1 + double(rest) : double(sum);
    poisoned_ |= !(whole < kInfinity<double>);
    row_top_[t] = top;
    row_inverse_[t] = Real(1 / whole);
    row_rest_[t] = rest;
    if (!from_logits_) return;
    if (by_frame_) frame_offset_[t] = -double(top) - std::log(whole);
    sums_product_ *= whole;
    if (!(sums_product_ < 1e280)) {
        offset_ -= std::log(sums_product_);
        sums_product_ = 1;
    }
}

template <class In>
void Emissions<In>::tabulate(int t0, int count, bool first_time) {
    if (!first_time && tables_kept_) return;
    slots_.by_class ? tabulate_classes(t0, count, first_time) : tabulate_labels(t0, count, first_time);
}

// Turns the labels' scores of a tile into emissions, each frame relative to its best label.
template <class In>
void Emissions<In>::tabulate_labels(int t0, int count, bool first_time) {
    Table<Real> made = unmade_table(t0);
    Real* values = made.values;
    input_.gather(slots_.labels, slots_.num_slots, t0, count, values);
    for (int s = 0; class_scores_ && s < slots_.num_slots; ++s)
        for (int f = 0; f < kTile; ++f)
            values[s * kTile + f] = Real(double(values[s * kTile + f]) + class_scores_[slots_.labels[s]]);
    Pack<Real> best, least, scores;
    load_pack(values, best);
    load_pack(values, least);
    for (int s = 1; s < slots_.num_slots; ++s) {
        load_pack(values + s * kTile, scores);
        raise<Real>(best, scores);
        lower<Real>(least, scores);
    }
    Real top[kTile], lowest = 0;
    for (int f = 0; f < kTile; ++f) {
        top[f] = best[f] == -kInfinity<Real> ? 0 : best[f];  // no label is possible
        lowest = lesser(lowest, least[f] - top[f]);
    }
    made.wide = wide_[tile_of(t0)] = lowest < narrowest_;
    if (made.wide) {
        tabulate_wide(made, top);
    } else {
        for (int s = 0; s < slots_.num_slots; ++s)
            for (int f = 0; f < kTile; ++f) values[s * kTile + f] = exp_nonpositive(values[s * kTile + f] - top[f]);
    }
    for (int f = 0; f < count; ++f) {
        label_top_[t0 + f] = top[f];
        if (!first_time) continue;
        offset_ += top[f];
        if (by_frame_) frame_offset_[t0 + f] += top[f];
    }
}

// The softmax of a tile, all frames at once. Its exponentials are the emissions, each frame relative to its best class;
// in a wide tile, relative to its best label, so that labels are not lost if another class is far more likely.
template <class In>
void Emissions<In>::tabulate_classes(int t0, int count, bool first_time) {
    for (int t = lesser(t0 + kTile, num_frames_); t < lesser(t0 + 2 * kTile, num_frames_); ++t)
        Ahead<In>{input_.base + t * input_.stride_t, input_.stride_c, nullptr}.ask_for_row(num_classes_);
    Table<Real> made = unmade_table(t0);
    Real* values = made.values;
    turn_rows(input_.rows(t0, count), input_.row_stride(), count, num_classes_, values);
    Pack<Real> best[2], least, scores, sum[2] = {};
    load_pack(values, best[0]);
    best[1] = best[0];
    for (int c = 1; c < num_classes_; ++c) {
        load_pack(values + c * kTile, scores);
        raise<Real>(best[c % 2], scores);
    }
    raise<Real>(best[0], best[1]);
    load_pack(values + slots_.labels[0] * kTile, least);
    Pack<Real> best_label = least;
    for (int i = 1; i < slots_.num_labels; ++i) {
        load_pack(values + slots_.labels[i] * kTile, scores);
        lower<Real>(least, scores);
        raise<Real>(best_label, scores);
    }
    Real top[kTile], label_top[kTile], lowest = 0;
    for (int f = 0; f < kTile; ++f) {
        top[f] = best[0][f];
        label_top[f] = best_label[f] == -kInfinity<Real> ? top[f] : best_label[f];
        lowest = lesser(lowest, least[f] - top[f] + least_class_);
    }
    made.wide = wide_[tile_of(t0)] = lowest < narrowest_;
    Real* exps = class_scores_ ? unweighted(t0) : made.wide ? scratch_ : values;
    for (int c = 0; c < num_classes_; ++c) {
#pragma omp simd
        for (int f = 0; f < kTile; ++f) exps[c * kTile + f] = exp_nonpositive(values[c * kTile + f] - top[f]);
        load_pack(exps + c * kTile, scores);
        sum[c % 2] += scores;
    }
    sum[0] += sum[1];
    if (made.wide) {
        tabulate_wide(made, label_top);
    } else if (class_scores_) {
        for (int i = 0; i < slots_.num_labels; ++i) {
            const int c = slots_.labels[i];
#pragma omp simd
            for (int f = 0; f < kTile; ++f) values[c * kTile + f] = exps[c * kTile + f] * class_factor_[c];
        }
    }
    if (!first_time) return;
    for (int f = 0; f < count; ++f) {
        keep_softmax(t0 + f, top[f], sum[0][f], sum[0][f] - 1);
        label_top_[t0 + f] = top[f];  // all entries of the gradient will be relative to it
        offset_ += top_class_;
        if (made.wide) offset_ += double(label_top[f]) - double(top[f]);
        if (by_frame_) frame_offset_[t0 + f] += top_class_ + double(made.wide ? label_top[f] : top[f]);
    }
}

// A wide tile's emissions, relative to `top`: mantissas and exponents apart.
template <class In>
void Emissions<In>::tabulate_wide(const Table<Real>& table, const Real* top) {
    for (int label = 0; label < slots_.num_labels; ++label) {
        // In a table of labels, the class scores have been added already.
        const bool adds = slots_.by_class && class_scores_;
        const double own = adds ? class_scores_[slots_.labels[label]] - top_class_ : 0;
        for (int f = 0; f < kTile; ++f) {
            const int i = slots_.slot_of_label(label) * kTile + f;
            exp_scaled<Real>(double(table.values[i]) - double(top[f]) + own, table.values[i], table.exponents[i]);
        }
    }
}

// A wide table of classes is computed again, and so is one of labels whose emissions hold class scores, since the
// softmax does not hold them.
template <class In>
auto Emissions<In>::plain_values(int t0, int count) -> const Real* {
    const Table<Real> made = table(t0);
    if (slots_.by_class && class_scores_) return unweighted(t0);
    if (class_scores_ && has_softmax_) {
        input_.gather(slots_.labels, slots_.num_slots, t0, count, made.values);
        for (int i = 0; i < slots_.num_slots * kTile; ++i)
            made.values[i] = exp_nonpositive(made.values[i] - row_top_[t0 + lesser(i % kTile, count - 1)]);
        return made.values;
    }
    if (!made.wide) return made.values;
    if (slots_.by_class) {
        turn_rows(input_.rows(t0, count), input_.row_stride(), count, num_classes_, made.values);
        for (int i = 0; i < num_classes_ * kTile; ++i)
            made.values[i] = exp_nonpositive(made.values[i] - row_top_[t0 + lesser(i % kTile, count - 1)]);
    } else {
        for (int i = 0; i < slots_.num_slots * kTile; ++i) made.values[i] = plain(made.values[i], made.exponents[i]);
    }
    return made.values;
}

template <class In>
auto Emissions<In>::softmax(int t0, const Real* values) const -> TileSoftmax<Real> {
    TileSoftmax<Real> made = {};
    made.rest = row_rest_ + t0;
    if (!has_softmax_) return made;
    const Real* inverse = row_inverse_ + t0;
    for (int f = 0; f < kTile; ++f) {
        made.factor[f] = inverse[f] * weight_;
        made.sure[f] = inverse[f] > 1 / kSure<Real> ? Real(1) : Real(0);
    }
    if (slots_.by_class) return made;
    if (class_scores_) {
        Pack<Real> best = {}, value;
        for (int s = 0; s < slots_.num_slots; ++s) {
            load_pack(values + s * kTile, value);
            raise<Real>(best, value);
        }
        for (int f = 0; f < kTile; ++f) made.sure[f] = best[f] == 1 ? made.sure[f] : Real(0);
        return made;
    }
#pragma omp simd
    for (int f = 0; f < kTile; ++f) {
        const Real gap = label_top_[t0 + f] - row_top_[t0 + f];
        made.factor[f] *= exp_nonpositive(gap);
        made.sure[f] = gap == 0 ? made.sure[f] : Real(0);
    }
    return made;
}

}  // namespace
