// Turns occupancies by cell into the outputs: the gradients, occupancies by state, and those along a path.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "lattice/lattice.h"
#include "scores/frames.h"
#include "simd/scaled.h"
#include "simd/tile.h"
#include "sums/emissions.h"
#include "sums/expected_counts.h"
#include "sums/recursion.h"

namespace {

// Occupancies along a path are summed over the paths that stay within the first number of states from it, unless more
// than the second share of them goes along the edge.
constexpr int kNearPath = 1024;
constexpr double kNegligible = 1e-6;

template <class In>
class Outputs {
    using Real = typename Compute<In>::Real;

   public:
    Outputs(const ctckit::SumsCall& call, const ctckit::Sample& sample, const LatticeView<Real>& lattice,
            int num_frames, Emissions<In>& emissions, const Recursion<Real>& recursion, const Gradient<In>& grad)
        : call_(call),
          out_(call.out),
          n_(sample.at),
          num_frames_(num_frames),
          num_classes_(int(call.scores.num_classes)),
          max_frames_(call.scores.num_frames),
          max_states_(call.lattices.max_states),
          weight_(out_.weights ? Real(out_.weights[n_]) : Real(1)),
          grad_(grad),
          lattice_(lattice),
          slots_(lattice.slots),
          emissions_(emissions),
          recursion_(recursion),
          counts_(call.out, n_, lattice, recursion, num_frames, num_classes_, max_states_) {}
    void lay_out(Arena& arena);
    void start();
    // Narrows the windows to the states near the given path; or does not.
    void narrow(Windows& windows);
    void widen();
    // To be called right after the recursion has retreated to frame t.
    void count_arcs(int t) {
        if (counts_.any()) counts_.count_arcs(t);
    }
    // Whether more than a negligible share of the paths goes along the edge of narrowed windows.
    bool too_narrow() const { return near_edge_ > kNegligible; }
    // Prefetches the lines of a gradient row that collect() will write.
    void ask_for_gradient(int t) const;
    void collect(int t0, int count);
    // All outputs have one value; frames past the sample's own are always 0.
    void fill(Real value);
    // Writes what is left after all tiles.
    void finish();

   private:
    void fill_from(int from, Real value);
    void turn_tile(int parity, int t0, int count);
    void thin_out(int t0, int count, const Real* visited);
    void write_gradient(int t0, int count, const Real* occupancy_factor, const Real* visited);
    void take_off(const TileSoftmax<Real>& softmax, const Real* likely, const Pack<Real>& total, const Real* values);
    void write_labels(int t0, int count);
    void write_rows(int t0, int count);
    void write_occupancy(int t, int f, Real factor);
    void write_occupancy_along(int t, int f, Real factor);
    const std::int32_t* along() const { return out_.along + n_ * max_frames_; }

    const ctckit::SumsCall& call_;
    const ctckit_sums_out& out_;
    const std::int64_t n_;
    const int num_frames_, num_classes_;
    const std::int64_t max_frames_, max_states_;
    const Real weight_;
    const Gradient<In> grad_;
    const LatticeView<Real>& lattice_;
    const LabelSlots& slots_;
    Emissions<In>& emissions_;
    const Recursion<Real>& recursion_;
    ExpectedCounts<Real> counts_;

    Real* columns_;             // (row_length, kTile) a tile's occupancies, one column a cell
    Real* sums_;                // (num_slots, kTile) occupancies; 0 for a class that is not a label
    Real* entries_;             // (num_slots, kTile) of the gradient
    Real* class_rows_;          // (kTile, num_classes) of the gradient, gathered from a table
    std::int32_t* each_class_;  // (num_classes,) 0, 1, 2 ...; both rounded up to whole squares
    std::uint8_t* cut_;         // (num_frames,) where windows were narrowed
    double near_edge_;          // the largest share of paths along such a cut
};

template <class In>
void Outputs<In>::lay_out(Arena& arena) {
    const std::int64_t slots = slots_.most, classes = slots_.by_class ? slots : 0;
    columns_ = arena.take<Real>(kTile * recursion_.row_length());
    sums_ = arena.take<Real>(slots * kTile);
    entries_ = arena.take<Real>(slots * kTile);
    class_rows_ = arena.take<Real>(kTile * classes);
    each_class_ = arena.take<std::int32_t>(classes);
    cut_ = arena.take<std::uint8_t>(out_.occupancy_along ? num_frames_ : 0);
    counts_.lay_out(arena);
}

template <class In>
void Outputs<In>::start() {
    near_edge_ = 0;
    counts_.start();
    if (!slots_.by_class) return;
    for (int c = 0; c < slots_.most; ++c) each_class_[c] = lesser(c, num_classes_ - 1);
    for (int i = 0; i < num_classes_ * kTile; ++i) sums_[i] = 0;
}

template <class In>
void Outputs<In>::narrow(Windows& windows) {
    windows.narrow(along(), num_frames_, kNearPath, cut_);
}

template <class In>
void Outputs<In>::widen() {
    for (int t = 0; t < num_frames_; ++t) cut_[t] = 0;
}

template <class In>
void Outputs<In>::ask_for_gradient(int t) const {
    if (!grad_ || t < 0) return;
    constexpr int line = 64 / sizeof(In);
    const In* row = grad_.row(t);
    if (num_classes_ < slots_.num_slots * line)
        for (int c = 0; c < num_classes_; c += line) CTCKIT_PREFETCH(row + c, 1);
    else
        for (int i = 0; i < slots_.num_labels; ++i) CTCKIT_PREFETCH(row + slots_.labels[i], 1);
}

// A tile's occupancies of one parity as columns, one for each cell; 0 where a frame does not visit a cell.
template <class In>
void Outputs<In>::turn_tile(int parity, int t0, int count) {
    const int begin = lattice_.begin(t0) * kLanes<Real> & -kSquare;
    const int end = int(round_up(lattice_.end(t0 + count - 1) * kLanes<Real>, kSquare));
    const int cells = (lattice_.num_states + 1 - parity) / 2;
    Real* rows = recursion_.occupancy(0) + parity * lattice_.length;
    Real* columns = columns_ + parity * lattice_.length * kTile;
    for (int f = 0; f < kTile; ++f) {
        Real* row = rows + f * recursion_.row_length();
        const int from = f < count ? lattice_.begin(t0 + f) * kLanes<Real> : end;
        const int to = f < count ? lattice_.end(t0 + f) * kLanes<Real> : end;
        for (int i = begin; i < from; ++i) row[i] = 0;
        for (int i = to; i < end; ++i) row[i] = 0;
    }
    for (int i = 0; i < begin * kTile; ++i) columns[i] = 0;
    turn(rows, recursion_.row_length(), columns, begin, end);
    for (int i = end * kTile; i < cells * kTile; ++i) columns[i] = 0;
}

// Sums a tile's occupancies over states with the same label, and writes the outputs. Each frame is divided by its own
// sum, which is the total up to rounding: this keeps the total's rounding out of the gradient.
template <class In>
void Outputs<In>::collect(int t0, int count) {
    if (!lattice_.even_label) turn_tile(0, t0, count);
    turn_tile(1, t0, count);

    Pack<Real> sum = {}, sums;
    for (int i = 0; i < slots_.num_labels; ++i) {
        const int slot = slots_.slot_of_label(i);
        const std::int32_t first = slots_.first[slot];
        sum_columns(columns_, slots_.cells + first, slots_.first[slot + 1] - first, sums_ + slot * kTile);
        load_pack(sums_ + slot * kTile, sums);
        sum += sums;
    }
    if (lattice_.even_label) {
        Real* blank = sums_ + slots_.slot_of_label(0) * kTile;
        Pack<Real> even;
        load_pack(recursion_.even_sums(), even);
        load_pack(blank, sums);
        store_pack<Real>(sums + even, blank);
        sum += even;
    }
    const bool free = call_.lattices.ends != CTCKIT_WHOLE;  // then not all paths go through each frame
    Real factor[kTile], visited[kTile];
    for (int f = 0; f < kTile; ++f) {
        factor[f] = f >= count ? 0 : free ? 1 : 1 / sum[f];
        visited[f] = free ? sum[f] : Real(1);
    }
    if (grad_ && free) thin_out(t0, count, visited);
    if (grad_) write_gradient(t0, count, factor, visited);
    if (counts_.any()) counts_.add_tile(t0, count, sums_, factor);
    if (out_.occupancy)
        for (int f = 0; f < count; ++f) write_occupancy(t0 + f, f, factor[f]);
    if (out_.occupancy_along)
        for (int f = 0; f < count; ++f) write_occupancy_along(t0 + f, f, factor[f]);
}

// The softmax that was left in the gradient, by the share of paths that go through each frame.
template <class In>
void Outputs<In>::thin_out(int t0, int count, const Real* visited) {
    if (slots_.by_class || !emissions_.has_softmax()) return;
    for (int f = 0; f < count; ++f) {
        In* row = grad_.row(t0 + f);
        for (int c = 0; c < num_classes_; ++c) store(load(row[c]) * visited[f], row + c);
    }
}

// Writes what is missing of a tile's gradient rows; `visited` is the share of paths that go through each frame.
template <class In>
void Outputs<In>::write_gradient(int t0, int count, const Real* occupancy_factor, const Real* visited) {
    const Real* values = emissions_.plain_values(t0, count);
    const TileSoftmax<Real> softmax = emissions_.softmax(t0, values);
    Real of_softmax[kTile];
    for (int f = 0; f < kTile; ++f) of_softmax[f] = softmax.factor[f] * visited[f];
    Pack<Real> likely, factor;
    load_pack(of_softmax, likely);
    load_pack(occupancy_factor, factor);
    factor = factor * weight_;
    const Real* sums = sums_;
    Real* entries = entries_;
    const int length = slots_.num_slots * kTile;
    Pack<Real> total[2] = {};
    for_each_slot(slots_.num_slots, [&](int i, auto half) {
        Pack<Real> emission, sum;
        load_pack(values + i, emission);
        load_pack(sums + i, sum);
        const Pack<Real> entry = emission * likely - sum * factor;
        total[half] += entry;
        store_pack<Real>(entry, entries + i);
    });
    Real sure = 0;
    for (int f = 0; f < kTile; ++f) sure += softmax.sure[f];
    if (sure > 0) take_off(softmax, of_softmax, total[0] + total[1], values);
    slots_.by_class ? write_rows(t0, count) : write_labels(t0, count);
}

// A row's entries add up to 0. Where the network is sure of a class, that class's entry is the difference of two
// numbers near 1 and has few digits; all others are small and have theirs. So what a row adds up to is that entry's
// error, and taken off in proportion to the softmax, nearly all of it is taken off there.
template <class In>
void Outputs<In>::take_off(const TileSoftmax<Real>& softmax, const Real* likely, const Pack<Real>& total,
                           const Real* values) {
    Real* entries = entries_;
    const int length = slots_.num_slots * kTile;
    Pack<Real> emission, entry, others[2] = {};
    if (!slots_.by_class)
        for_each_slot(slots_.num_slots, [&](int i, auto half) {
            load_pack(values + i, emission);
            add_below_one<Real>(others[half], emission);
        });
    others[0] += others[1];
    Real part[kTile];
    for (int f = 0; f < kTile; ++f) {
        const Real rest = slots_.by_class ? Real(0) : softmax.rest[f] - others[0][f];  // of all but labels
        const Real whole = total[f] + rest * likely[f];
        part[f] = softmax.sure[f] > 0 ? whole * softmax.factor[f] : Real(0);
    }
    Pack<Real> error;
    load_pack(part, error);
    for (int i = 0; i < length; i += kTile) {
        load_pack(values + i, emission);
        load_pack(entries + i, entry);
        store_pack<Real>(entry - emission * error, entries + i);
    }
}

// The labels' entries alone; the others were written when the rows were read.
template <class In>
void Outputs<In>::write_labels(int t0, int count) {
    In* row[kTile];
    for (int f = 0; f < kTile; ++f) row[f] = grad_.row(t0 + lesser(f, count - 1));
    for (int s = 0; s < slots_.num_slots; ++s) {
        const std::int32_t label = slots_.labels[s];
        Pack<Real> entry;
        load_pack(entries_ + s * kTile, entry);
        if (count == kTile) {
            for (int f = 0; f < kTile; ++f) store(entry[f], row[f] + label);
        } else {
            for (int f = 0; f < count; ++f) store(entry[f], row[f] + label);
        }
    }
}

// Whole rows, through a buffer: squares written straight to rows far apart take longer.
template <class In>
void Outputs<In>::write_rows(int t0, int count) {
    const int length = int(round_up(num_classes_, kSquare));
    spread(entries_, each_class_, class_rows_, length, 0, length);
    for (int f = 0; f < count; ++f) scale_into(class_rows_ + f * length, num_classes_, Real(1), grad_.row(t0 + f));
}

template <class In>
void Outputs<In>::write_occupancy(int t, int f, Real factor) {
    Real* out = static_cast<Real*>(out_.occupancy) + (t * call_.scores.num_samples + n_) * max_states_;
    const Real* row = recursion_.occupancy(f);
    for (int k = 0; k < max_states_; ++k)
        out[k] = k >= lattice_.windows.low[t] && k <= lattice_.windows.high[t] ? row[lattice_.cell(k)] * factor : 0;
}

// The occupancies of the caller's path, one state per frame; and the share of paths along the edge of the windows.
template <class In>
void Outputs<In>::write_occupancy_along(int t, int f, Real factor) {
    const int k = along()[t];
    const bool visited = k >= lattice_.windows.low[t] && k <= lattice_.windows.high[t];
    const Real* row = recursion_.occupancy(f);
    out_.occupancy_along[n_ * max_frames_ + t] = visited ? double(row[lattice_.cell(k)] * factor) : 0;
    const auto weigh = [&](int block) {
        Lanes<Real> sum = load_lanes(row + block * kLanes<Real>);
        sum += load_lanes(row + lattice_.length + block * kLanes<Real>);
        near_edge_ = greater(near_edge_, double(sum_of_lanes<Real>(sum) * factor));
    };
    if (cut_[t] & kCutBelow) weigh(lattice_.begin(t));
    if (cut_[t] & kCutAbove) weigh(lattice_.end(t) - 1);
}

template <class In>
void Outputs<In>::fill_from(int from, Real value) {
    for (std::int64_t t = from; t < max_frames_; ++t) {
        const Real row = t < num_frames_ ? value : Real(0);
        if (grad_) ::fill(grad_.row(int(t)), num_classes_, row);
        if (out_.occupancy)
            ::fill(static_cast<Real*>(out_.occupancy) + (t * call_.scores.num_samples + n_) * max_states_,
                   int(max_states_), row);
        if (out_.occupancy_along) out_.occupancy_along[n_ * max_frames_ + t] = row;
    }
}

template <class In>
void Outputs<In>::fill(Real value) {
    fill_from(0, value);
    counts_.fill(value);
}

template <class In>
void Outputs<In>::finish() {
    fill_from(num_frames_, 0);
    counts_.write(weight_);
}

}  // namespace
