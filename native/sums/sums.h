// Sums over all paths of one sample: the emissions of a tile of frames, the recursion over them, forward and back, and
// the outputs.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels.h"
#include "lattice/lattice.h"
#include "lattice/reachable.h"
#include "sums/emissions.h"
#include "sums/outputs.h"
#include "sums/recursion.h"

namespace {

template <class In>
class Sums {
    using Real = typename Compute<In>::Real;

   public:
    Sums(const ctckit::SumsCall& call, const ctckit::Sample& sample, void* memory)
        : arena_(memory),
          num_frames_(int(call.lattices.num_frames[sample.lattice])),
          num_classes_(call.scores.num_classes),
          from_logits_(call.scores.from_logits != 0),
          has_class_scores_(call.scores.class_scores != nullptr),
          along_(call.out.occupancy_along != nullptr),
          backward_wanted_(call.out.grad || call.out.occupancy || along_ || ExpectedCounts<Real>::wanted(call.out)),
          score_(call.out.score[sample.at]),
          status_(call.out.status[sample.at]),
          sum_(sample.adds_grad ? gradient_of<In>(call.out, sample.grad) : Gradient<In>{}),
          grad_(sum_ ? Gradient<In>{arena_.take<In>(call.scores.num_frames * num_classes_), num_classes_}
                     : gradient_of<In>(call.out, sample.grad)),
          lattice_(call.lattices, sample.lattice),
          ends_(call.lattices.ends, num_frames_),
          emissions_(call.scores, call.out, sample, lattice_, num_frames_, grad_, ends_.free()),
          recursion_(lattice_, ends_, num_frames_, backward_wanted_),
          outputs_(call, sample, lattice_, num_frames_, emissions_, recursion_, grad_) {
        lattice_.lay_out(arena_, num_frames_, num_classes_);
        ends_.lay_out(arena_);
        recursion_.lay_out(arena_);
        emissions_.lay_out(arena_, recursion_.block_length());
        outputs_.lay_out(arena_);
        reached_ = arena_.take<std::uint8_t>(2 * lattice_.num_states);
    }
    Sums(const Sums&) = delete;  // its parts refer to each other

    std::size_t bytes() const { return arena_.bytes(); }

    void run() {
        sweep();
        for (int t = 0; sum_ && t < num_frames_; ++t) add_row(grad_.row(t), int(num_classes_), sum_.row(t));
    }

   private:
    void sweep() {
        if (ends_.free() && !lattice_.plain()) return end(CTCKIT_INVALID, NAN);
        if (num_frames_ == 0)
            return lattice_.accepts_nothing() ? end(CTCKIT_FINE, 0) : end(CTCKIT_INFEASIBLE, -HUGE_VAL);
        if (!lattice_.build_slots(num_classes_)) return end(CTCKIT_INVALID, NAN);
        if (!lattice_.build_windows(num_frames_)) return end(CTCKIT_INFEASIBLE, -HUGE_VAL);
        lattice_.build_masks();
        const bool narrow = along_ && lattice_.num_long_arcs == 0;
        if (narrow) outputs_.narrow(lattice_.windows);
        else if (along_) outputs_.widen();
        sum_up();
        if (!narrow || !outputs_.too_narrow()) return;
        lattice_.build_windows(num_frames_);  // too many paths go along the cut: sum over all of them
        outputs_.widen();
        sum_up();
    }

    void sum_up() {
        emissions_.start();
        ends_.start();
        recursion_.start();
        outputs_.start();
        score_ = forward();
        const bool poisoned = emissions_.poisoned();
        if (poisoned || score_ == -HUGE_VAL) {
            // The windows of a plain lattice are exact: if it had no path, this would not be reached.
            const bool path = lattice_.plain() || has_path(lattice_, num_frames_, reached_);
            if (!path) return end(CTCKIT_INFEASIBLE, -HUGE_VAL);
            return poisoned ? end(CTCKIT_NOT_FINITE, NAN) : end(CTCKIT_IMPOSSIBLE, -HUGE_VAL);
        }
        status_ = CTCKIT_FINE;
        if (is_probability()) score_ = lesser(score_, 0.0);
        if (backward_wanted_) backward();
        outputs_.finish();
    }

    // Ends without sums over paths: all outputs are NaN, or 0.
    void end(ctckit_status status, double score) {
        status_ = std::uint8_t(status);
        score_ = score;
        outputs_.fill(score != score ? Real(NAN) : Real(0));
    }

    // Whether the sum cannot exceed 1, but for rounding: different paths of CTC's lattice are different events.
    bool is_probability() const {
        return from_logits_ && lattice_.plain() && !ends_.free() && !lattice_.state_scores && !has_class_scores_;
    }

    double forward() {
        emissions_.normalise_first_tile();
        for (int block = 0; block < recursion_.num_blocks(); ++block) {
            forward_block(block, true);
            recursion_.end_block(block);
        }
        return ends_.free() ? recursion_.total() : recursion_.total() + emissions_.offset();
    }

    // The first time, frames are normalised one tile ahead of the recursion and between its steps: each step waits for
    // the one before, and the processor does this meanwhile.
    void forward_block(int block, bool first_time) {
        recursion_.begin_block(block);
        emissions_.begin_block(recursion_.block_start());
        const int end = recursion_.block_end();
        for (int t0 = recursion_.block_start(); t0 < end; t0 += kTile) {
            const int count = lesser(kTile, end - t0);
            emissions_.tabulate(t0, count, first_time);
            const Table<Real> table = emissions_.table(t0);
            for (int t = t0; first_time && ends_.free() && t < t0 + count; ++t) ends_.pass(t, emissions_.offset_of(t));
            recursion_.spread_tile(table, t0, count);
            const Real* rows = first_time ? emissions_.rows_to_normalise(t0 + kTile) : nullptr;
            for (int t = t0; t < t0 + count; ++t) {
                recursion_.advance_frame(t, table);
                if (rows && t + kTile < num_frames_)
                    emissions_.normalise_frame(t + kTile, rows + (t - t0) * emissions_.row_stride());
            }
        }
    }

    void backward() {
        recursion_.start_back();
        for (int block = recursion_.num_blocks() - 1; block >= 0; --block) {
            if (block < recursion_.num_blocks() - 1) forward_block(block, false);
            recursion_.settle_back();
            const int start = recursion_.block_start(), end = recursion_.block_end();
            for (int t0 = start + (end - 1 - start) / kTile * kTile; t0 >= start; t0 -= kTile)
                backward_tile(t0, lesser(kTile, end - t0));
        }
    }

    void backward_tile(int t0, int count) {
        const Table<Real> table = emissions_.table(t0);
        for (int t = t0 + count - 1; t >= t0; --t) {
            outputs_.ask_for_gradient(t - kTile);
            recursion_.retreat_frame(t, table);
            outputs_.count_arcs(t);
        }
        outputs_.collect(t0, count);
    }

    Arena arena_;
    const int num_frames_;
    const std::int64_t num_classes_;
    const bool from_logits_, has_class_scores_;
    const bool along_, backward_wanted_;
    double& score_;
    std::uint8_t& status_;
    const Gradient<In> sum_;   // of an utterance's targets, to which this one's gradient is added; or none
    const Gradient<In> grad_;  // of this one
    LatticeView<Real> lattice_;
    Ends<Real> ends_;
    Emissions<In> emissions_;
    Recursion<Real> recursion_;
    Outputs<In> outputs_;
    std::uint8_t* reached_;  // (2, num_states) scratch
};

}  // namespace
