// One frame's scores as the search reads them: exponentials, relative to the best score, computed where needed.
#pragma once

#include <cmath>
#include <cstdint>

#include "scores/frames.h"
#include "search/array.h"
#include "search/bits.h"
#include "search/graph.h"
#include "simd/lanes.h"
#include "simd/scaled.h"

namespace {

constexpr int kRowBlock = 256;  // classes; the greatest score of each block is kept

// Buffers, used again for each frame.
struct RowMemory {
    Array<double> few;      // exponentials, if there are few classes, and zeros after them
    Array<double> highest;  // the greatest score of each block, if there are many classes
    Array<double> sorted;   // a heap, for leave_best()
};

// x[i] = e^(x[i] - top). By value: the compiler would have to assume that x overlaps members of a class.
inline void exponentiate(double* x, int count, double top) {
#pragma omp simd
    for (int i = 0; i < count; ++i) x[i] = exp_nonpositive(x[i] - top);
}

// If there are few classes (kMaskClasses), all exponentials are computed.
template <class Real>
class Emissions {
   public:
    Emissions(RowMemory& memory, const Real* row, int classes)
        : memory_(memory), row_(row), classes_(classes), few_(classes <= ctckit::kMaskClasses) {}

    // False if the frame holds NaN or +inf.
    bool read(bool from_logits) {
        if (!(few_ ? read_few() : read_many())) return false;
        if (from_logits && !dead()) offset_ = -std::log(few_ ? sum_ : sum_exponentials());
        else if (!from_logits) offset_ = top_;
        return !(from_logits && dead());
    }
    // Nats that were subtracted from all scores.
    double offset() const { return offset_; }
    bool dead() const { return top_ == -kInfinity<double>; }

    // From here on, only the blank and the `count` best other classes are possible; of equal ones, the first.
    void leave_best(int count, int blank);

    // e^score of a class. For logarithms see use_logarithms().
    double operator[](int c) const {
        if (few_) return memory_.few[c];
        const double x = double(row_[c]) - top_;
        if (left_out(c)) return logarithms_ ? -kInfinity<double> : 0.0;
        return logarithms_ ? x : exp_nonpositive(x);
    }
    const double* few() const { return few_ ? memory_.few.data() : nullptr; }

    // From here on, operator[] returns scores, not their exponentials.
    void use_logarithms() {
        logarithms_ = true;
        if (!few_) return;
        for (int c = 0; c < classes_; ++c) memory_.few[c] = left_out(c) ? -kInfinity<double> : double(row_[c]) - top_;
        memory_.few[classes_] = -kInfinity<double>;  // for the empty prefix, which has no last token
    }

    // out[i] = e^score of classes[i]; 0 if that is the number of classes, the empty prefix's.
    void gather(const std::int32_t* classes, int count, double* out) const {
        if (few_) {
            for (int i = 0; i < count; ++i) out[i] = memory_.few[classes[i]];
            return;
        }
        const Real* const row = row_;
        const int size = classes_;
        for (int i = 0; i < count; ++i) out[i] = classes[i] < size ? double(row[classes[i]]) : -kInfinity<double>;
        for (int i = 0; i < count && chosen_; ++i)
            if (classes[i] < size && left_out(classes[i])) out[i] = -kInfinity<double>;
        exponentiate(out, count, top_);
    }

    // Calls visit(c) for each class whose exponential may be at least `least` <= 1. Only if there are many classes.
    template <class Visit>
    void for_each_from(double least, Visit visit) const {
        // The exponent in place of a logarithm: the limit is lower by up to ln 2, so a few more classes pass.
        const double nats = least > 0 ? (std::ilogb(least) - 1e-9) * kLn2 : -kInfinity<double>;
        const double limit = top_ + nats;
        const Real below = Real(limit - std::abs(limit) * 1e-6);
        for (int block = 0, begin = 0; begin < classes_; ++block, begin += kRowBlock) {
            if (memory_.highest[block] < double(below)) continue;
            const int end = lesser(begin + kRowBlock, classes_);
            for (int some = begin; some < end; some += 64)
                for_each_bit(bits_from(row_ + some, lesser(64, end - some), below), [&](int i) {
                    if (!left_out(some + i)) visit(some + i);
                });
        }
    }

   private:
    bool left_out(int c) const {
        return chosen_ && c != blank_ && (double(row_[c]) < least_ || (double(row_[c]) == least_ && c > last_));
    }
    bool read_few();
    bool read_many();
    double sum_exponentials() const;

    RowMemory& memory_;
    const Real* row_;
    int classes_;
    bool few_, logarithms_ = false;
    bool chosen_ = false;  // whether leave_best() was called
    int blank_ = 0, last_ = 0;
    double least_ = 0;
    double top_ = 0, offset_ = 0, sum_ = 0;
};

template <class Real>
bool Emissions<Real>::read_few() {
    Array<double>& few = memory_.few;
    const int end = int(round_up(classes_, kPack));
    if (few.size() < std::size_t(end + kPack)) few.resize(end + kPack, 0.0);
    double* const y = few.data();
    Pack<double> top, x;
    for (int i = 0; i < kPack; ++i) y[classes_ + i] = -kInfinity<double>;
    const auto convert = [&](int c) {
        for (int i = 0; i < kPack; ++i) y[c + i] = double(row_[c + i]);
    };
    int c = 0;
    for (; c + kPack <= classes_; c += kPack) convert(c);
    if (c < classes_ && classes_ >= kPack) convert(classes_ - kPack);
    else
        for (; c < classes_; ++c) y[c] = double(row_[c]);
    load_pack(y, top);
    for (c = kPack; c < end; c += kPack) {
        load_pack(y + c, x);
        raise<double>(top, x);
    }
    top_ = y[0];
    for (int i = 0; i < kPack; ++i) top_ = greater(top[i], top_);  // ignores NaN, unless it comes first
    if (!(top_ > -kInfinity<double>)) {
        for (c = 0; c < classes_; ++c)
            if (!(y[c] < kInfinity<double>)) return false;
        top_ = -kInfinity<double>;
        for (c = 0; c < end + kPack; ++c) y[c] = 0;
        return true;
    }
    exponentiate(y, end, top_);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (c = 0; c < end; ++c) sum += y[c];
    for (int i = 0; i < kPack; ++i) y[end + i] = 0;
    sum_ = sum;
    return sum == sum;  // false for NaN, which NaN and +inf lead to
}

template <class Real>
bool Emissions<Real>::read_many() {
    const int blocks = (classes_ + kRowBlock - 1) / kRowBlock;
    if (memory_.highest.size() < std::size_t(blocks)) memory_.highest.resize(blocks, 0.0);
    constexpr int lanes = kLanes<Real>;
    Lanes<Real> bad = {};
    const Lanes<Real> one = Lanes<Real>{} + 1;
    top_ = -kInfinity<double>;
    double rest_bad = 0;
    for (int block = 0; block < blocks; ++block) {
        const Real* const x = row_ + block * kRowBlock;
        const int count = lesser(kRowBlock, classes_ - block * kRowBlock);
        Real highest = -kInfinity<Real>;
        int c = 0;
        if (count >= lanes) {
            Lanes<Real> high = load_lanes(x);
            for (; c + lanes <= count; c += lanes) {
                const Lanes<Real> v = load_lanes(x + c);
                high = greater(v, high);
                bad += v < kInfinity<Real> ? Lanes<Real>{} : one;
            }
            highest = greatest_of_lanes<Real>(high);
        }
        for (; c < count; ++c) {
            highest = greater(x[c], highest);
            rest_bad += x[c] < kInfinity<Real> ? 0 : 1;
        }
        memory_.highest[block] = double(highest);
        top_ = greater(double(highest), top_);
    }
    return double(sum_of_lanes<Real>(bad)) + rest_bad == 0;
}

template <class Real>
double Emissions<Real>::sum_exponentials() const {
    const Real* const row = row_;
    const double top = top_;
    const int classes = classes_;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < classes; ++c) sum += exp_nonpositive(double(row[c]) - top);
    return sum;
}

template <class Real>
void Emissions<Real>::leave_best(int count, int blank) {
    if (count >= classes_ - 1) return;
    Array<double>& sorted = memory_.sorted;  // a heap of the best scores, the least one first
    sorted.clear();
    const auto sift = [&](int i) {
        const double x = sorted[i];
        for (int child; (child = 2 * i + 1) < count; i = child) {
            if (child + 1 < count && sorted[child + 1] < sorted[child]) ++child;
            if (!(sorted[child] < x)) break;
            sorted[i] = sorted[child];
            sorted[child] = x;
        }
    };
    for (int c = 0; c < classes_; ++c) {
        const double x = double(row_[c]);
        if (c == blank) continue;
        if (int(sorted.size()) < count) {
            sorted.push(x);
            if (int(sorted.size()) == count)
                for (int i = count / 2; i >= 0; --i) sift(i);
        } else if (x > sorted[0]) {
            sorted[0] = x;
            sift(0);
        }
    }
    least_ = sorted[0];
    blank_ = blank;
    int room = 0;  // how many scores equal to the least are among the best
    for (double x : sorted) room += x == least_ ? 1 : 0;
    for (int c = 0; c < classes_ && room; ++c)
        if (c != blank && double(row_[c]) == least_) {
            last_ = c;
            --room;
        }
    chosen_ = true;
    if (few_)
        for (int c = 0; c < classes_; ++c)
            if (left_out(c)) memory_.few[c] = 0;
}

}  // namespace
