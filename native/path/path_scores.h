// The scores of one sample's labels for the best path, eight frames at a time, each frame relative to its best label.
#pragma once

#include <cmath>
#include <cstdint>

#include "ctckit.h"
#include "lattice/lattice.h"
#include "scores/frames.h"
#include "simd/scaled.h"
#include "simd/tile.h"

namespace {

template <class In>
class PathScores {
    using Real = typename Compute<In>::Real;

   public:
    PathScores(const ctckit_scores& scores, std::int64_t first, LatticeView<Real>& lattice, int num_frames)
        : slots_(lattice.slots),
          num_frames_(num_frames),
          num_classes_(int(scores.num_classes)),
          from_logits_(scores.from_logits != 0),
          class_scores_(scores.class_scores),
          input_(frames_of<In>(scores, first)) {
        lattice.slots.by_class = num_classes_ <= 2 * (std::int64_t(lattice.num_states) + 1);
    }
    void lay_out(Arena& arena) {
        table_ = arena.take<Real>(slots_.most * kTile);
        exps_ = arena.take<Real>(from_logits_ ? num_classes_ : 0);
        input_.lay_out(arena);
    }

    // (num_slots, kTile), as tabulate() left it.
    const Real* table() const { return table_; }
    // With `check`, false if a frame holds NaN or +inf.
    bool tabulate(int t0, int count, Real rebase, bool check);
    bool any_poisoned();
    // Calls visit(t, score of class class_at(t)) for each frame, with log-probabilities in float64.
    template <class ClassAt, class Visit>
    void for_each_score(ClassAt class_at, Visit visit);

   private:
    bool readable_rows(const Real* rows, int count) const;

    const LabelSlots& slots_;
    const int num_frames_, num_classes_;
    const bool from_logits_;
    const double* class_scores_;  // (num_classes,) or null
    Frames<In> input_;
    Real* table_;
    Real* exps_;  // (num_classes,) scratch of a softmax
};

// Fills the table for a tile, relative to each frame's best label, and the first frame's also relative to `rebase`,
// which has been taken off the row before. Whole rows are read only where they are checked or few classes long.
template <class In>
bool PathScores<In>::tabulate(int t0, int count, Real rebase, bool check) {
    const LabelSlots slots = slots_;  // copies: the compiler must assume that a store to the table changes members
    Real* const table = table_;
    const Real* rows = check || slots.by_class ? input_.rows(t0, count) : nullptr;
    const bool fine = !check || readable_rows(rows, count);
    if (slots.by_class) turn_rows(rows, input_.row_stride(), count, num_classes_, table);
    else input_.gather(slots.labels, slots.num_labels, t0, count, table);
    for (int i = 0; class_scores_ && i < slots.num_labels; ++i) {
        Real* row = table + slots.slot_of_label(i) * kTile;
        for (int f = 0; f < kTile; ++f) row[f] = Real(double(row[f]) + class_scores_[slots.labels[i]]);
    }
    Pack<Real> top, scores;
    load_pack(table + slots.slot_of_label(0) * kTile, top);
    for (int i = 1; i < slots.num_labels; ++i) {
        load_pack(table + slots.slot_of_label(i) * kTile, scores);
        raise<Real>(top, scores);
    }
    for (int f = 0; f < kTile; ++f)
        if (!(top[f] > -kInfinity<Real>)) top[f] = 0;
    for (int i = 0; i < slots.num_labels; ++i) {
        Real* row = table + slots.slot_of_label(i) * kTile;
        load_pack(row, scores);
        store_pack<Real>(scores - top, row);
        row[0] -= rebase;
    }
    return fine;
}

// Whether no frame of a tile holds NaN or +inf.
template <class In>
bool PathScores<In>::readable_rows(const Real* rows, int count) const {
    bool fine = true;
    for (int f = 0; f < count; ++f) fine &= readable(rows + f * input_.row_stride(), num_classes_);
    return fine;
}

// Whether a frame holds NaN or +inf: for frames that a forward pass has not reached.
template <class In>
bool PathScores<In>::any_poisoned() {
    for (int t0 = 0; t0 < num_frames_; t0 += kTile) {
        const int count = lesser(kTile, num_frames_ - t0);
        if (!readable_rows(input_.rows(t0, count), count)) return true;
    }
    return false;
}

template <class In>
template <class ClassAt, class Visit>
void PathScores<In>::for_each_score(ClassAt class_at, Visit visit) {
    for (int t0 = 0; t0 < num_frames_; t0 += kTile) {
        const int count = lesser(kTile, num_frames_ - t0);
        const Real* rows = from_logits_ ? input_.rows(t0, count) : nullptr;
        for (int f = 0; f < count; ++f) {
            const std::int32_t label = class_at(t0 + f);
            double score = input_.at(t0 + f, label);
            if (class_scores_) score += class_scores_[label];
            if (from_logits_) {
                const Ahead<In> here = {input_.base + (t0 + f) * input_.stride_t, input_.stride_c, nullptr};
                const Normaliser<Real> z = exponentials(rows + f * input_.row_stride(), num_classes_, exps_, here);
                score -= double(z.top) + std::log(double(z.sum));
            }
            visit(t0 + f, score);
        }
    }
}

}  // namespace
