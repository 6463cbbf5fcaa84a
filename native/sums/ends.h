// Paths that begin before any frame and end after any: what the recursion adds at each frame for them, and how the
// scores of their ends combine. See enum ctckit_ends.
#pragma once

#include <cmath>
#include <cstdint>

#include "ctckit.h"
#include "lattice/arena.h"
#include "sums/scaled_row.h"

namespace {

// The sample's score has slopes by the scores of ends, which sum up to its gradient. Scaled floats have no sign, so
// there are two sides: the ends with positive slopes, and those with negative ones.
template <class Real>
class Ends {
   public:
    Ends(std::int32_t how, int num_frames) : how_(how), num_frames_(num_frames) {}
    void lay_out(Arena& arena) {
        before_ = arena.take<double>(free() ? num_frames_ + 1 : 0);
        score_ = arena.take<double>(free() ? num_frames_ : 0);
        slope_ = arena.take<double>(free() ? num_frames_ : 0);
    }
    bool free() const { return how_ != CTCKIT_WHOLE; }
    int sides() const { return how_ == CTCKIT_MEAN_OF_ENDS ? 2 : 1; }

    // Forward: emissions are relative to a frame's offset, and a path has the offsets of its own frames only. All cells
    // are relative to the offsets up to their frame.
    void start() {
        within_ = true;
        if (free()) before_[0] = 0;
    }
    void pass(int t, double offset) {
        before_[t + 1] = before_[t] + offset;
        within_ = within_ && std::fabs(before_[t + 1]) < kMost;
    }
    // Whether scaled floats hold e to the offsets; else the sample counts as impossible.
    bool within() const { return within_; }
    Scaled<Real> beginning(int t) const {
        return within_ ? exponential<Real>(-before_[t]) : Scaled<Real>{1, BitsOf<Real>(kZero)};
    }
    void end(int t, double log_sum) { score_[t] = log_sum + before_[t + 1]; }
    double combine();

    // Back: what paths that end with frame t weigh; and whether they do.
    bool ends(int side, int t) const { return sign(side) * slope_[t] > 0; }
    Scaled<Real> ending(int side, int t) const {
        return exponential<Real>(before_[t + 1] - score_[t] + std::log(sign(side) * slope_[t]));
    }
    // The factor for the occupancies of frame t, which add up to `sum`: with the paths that have ended before, and
    // those that begin later, they are the slopes' sum up to rounding. To be called from the last frame to the first.
    Real factor(int side, int t, Real sum) {
        if (ends(side, t)) ended_[side] -= sign(side) * slope_[t];
        const double whole = double(sum) + ended_[side] + later_[side];
        return whole > 0 ? Real(sign(side) * all_[side] / whole) : Real(0);
    }
    void begin_later(int side, Real share) { later_[side] += share; }

   private:
    static constexpr double kMost = -kDead * kLn2 / 2;

    static double sign(int side) { return side == 0 ? 1 : -1; }

    const std::int32_t how_;
    const int num_frames_;
    bool within_;
    double* before_;                       // (num_frames + 1,) the sum of the offsets before each frame
    double* score_;                        // (num_frames,) of the paths that end with it
    double* slope_;                        // (num_frames,) of the sample's score, by that
    double all_[2], ended_[2], later_[2];  // by side: of all slopes, of ends before a frame, of paths begun after it
};

template <class Real>
double Ends<Real>::combine() {
    int best = 0;
    for (int t = 1; t < num_frames_; ++t)
        if (score_[t] > score_[best]) best = t;
    const double top = score_[best];
    if (top == -HUGE_VAL) return top;
    double sum = 0, mean = 0;
    for (int t = 0; t < num_frames_; ++t) {
        slope_[t] = how_ == CTCKIT_BEST_END ? double(t == best) : std::exp(score_[t] - top);
        sum += slope_[t];
        if (slope_[t] > 0) mean += slope_[t] * (score_[t] - top);
    }
    mean /= sum;
    all_[0] = all_[1] = 0;
    for (int t = 0; t < num_frames_; ++t) {
        slope_[t] /= sum;
        if (how_ == CTCKIT_MEAN_OF_ENDS && slope_[t] > 0) slope_[t] *= 1 + score_[t] - top - mean;
        all_[slope_[t] < 0] += std::fabs(slope_[t]);
    }
    for (int side = 0; side < 2; ++side) {
        ended_[side] = all_[side];
        later_[side] = 0;
    }
    return top + (how_ == CTCKIT_SUM_OF_ENDS ? std::log(sum) : mean);
}

}  // namespace
