// Prefix search over one sample's frames, exact for its beam: only what can't enter the beam is left out.
//
// A prefix's probability, with the factors from the language, is a plain number, relative to the best scores of all
// frames and to a power of two. So a step is a multiplication. Prefixes far below the best are lost, see kFall.
#pragma once

#include <cmath>
#include <cstdint>

#include "ctckit.h"
#include "search/beam.h"
#include "search/candidates.h"
#include "search/emissions.h"
#include "search/engine.h"
#include "search/prefixes.h"
#include "search/walk.h"

namespace {

// The best prefix's probability is kept between 2^kLow and 2^kHigh, and moved to 2^kMiddle.
constexpr int kLow = 300, kMiddle = 500, kHigh = 700;
constexpr double kFall = 0x1p-72;  // a frame that lowers the best by more is searched in logarithms: emissions 700
                                   // nats below the frame's best may matter then, and would be 0 as numbers
constexpr double kLargest = 0x1p1000;

// If the tree has more nodes after the stem than both kMostApart and kLongApart times the beam's width, prefixes that
// differ early from the best one are dropped, see forget(). So this can't happen before a text has kLongApart tokens
// after the stem.
constexpr std::size_t kMostApart = std::size_t(1) << 15, kLongApart = 1024;

// A sum of many numbers, and the rounding error that it must be corrected by (Neumaier, 1974).
struct LongSum {
    double sum = 0, lost = 0;
    void add(double x) {
        const double next = sum + x;
        lost += std::abs(sum) >= std::abs(x) ? (sum - next) + x : (x - next) + sum;
        sum = next;
    }
    double value() const { return sum + lost; }
};

struct SavedHead;
class Bytes;

// A kept answer of a model of tokens.
struct Spoken {
    Said said;
    LanguageState from;
    std::int32_t token;
};

// kPlain: the graph adds nothing to the scores, and no prefixes are recombined.
template <bool kPlain>
class Search final : public ctckit::Engine {
   public:
    Search(const GraphView& graph, const ctckit::SearchOptions& options)
        : graph_(graph),
          options_(options),
          walk_(graph_),
          classes_(graph.spelling.classes),
          few_(classes_ <= ctckit::kMaskClasses),
          threshold_(std::exp(-options.beam_threshold)) {
        for (int c = 0; c < classes_ && few_; ++c) {
            const bool closing = graph_.spelling.kind[c] == Kind::kClosing;
            if (c != graph_.blank) (closing ? closing_tokens_ : other_tokens_) |= graph_.bit[c];
        }
        reset();
    }

    void reset() override;
    void feed(const ctckit::FrameBlock& block) override;
    int status() const override { return status_; }
    std::int64_t num_frames() const override { return num_frames_; }
    void texts(std::int64_t most, bool finished, ctckit::TextSink& sink) override;
    void take_stem(ctckit::TextSink& sink) override;
    void save(ctckit::ByteSink& sink) override;
    bool restore(const void* bytes, std::size_t count) override;

   private:
    enum class Scale { kNumbers, kHighest, kLogarithms };

    template <class In>
    void feed_as(const ctckit::FrameBlock& block);
    template <class Real>
    void frame(const Real* row);
    template <class Real>
    void search_frame(Emissions<Real>& y);
    template <class Real>
    void in_logarithms(Emissions<Real>& y);
    template <class Real>
    void stay_in_logarithms(const Emissions<Real>& y);
    template <class Real>
    void grow(const Emissions<Real>& y);
    void grow_few(const double* y);
    template <class Real>
    void grow_many(const Emissions<Real>& y);
    template <class Real>
    void grow_all(const Emissions<Real>& y);
    std::uint64_t best_token(std::uint64_t tokens, const double* y) const;
    void extend_few(std::uint64_t tokens, const double* y);
    void extend(std::int32_t token, double y, int but);
    void extend_plain(std::int32_t token, double y, int but);
    template <class Visit>
    void for_each_passing(Visit visit);
    double best_of(int slot, std::int32_t token) const;
    void try_token(int slot, std::int32_t token, double y, bool known);
    double total(int slot, std::int32_t token) const {
        return beam_.mass[beam_.last[slot] == token ? beam_.room + slot : slot];
    }
    double weigh(double mass, double y, double gain);
    void add(const Candidate& candidate) {
        Candidate& added = candidates_.next();  // member by member: the compiler would copy all of it through memory
        added.value = candidate.value;
        added.gain = candidate.gain;
        added.parent = candidate.parent;
        added.token = candidate.token;
        added.variant = candidate.variant;
        added.key = candidate.key;
        highest_value_ = greater(candidate.value, highest_value_);
        if (candidates_.size() >= most_candidates_) raise_bar();
    }
    void recombine(Candidate candidate, const Key& key);
    void fill_table();
    void raise_bar();
    Cut cut() const;
    void settle();
    void rebuild(const Cut& last);
    void take_in(const Candidate& candidate, std::uint32_t prefix);
    std::uint32_t prefix_of(const Candidate& candidate);
    std::uint32_t step_to(std::uint32_t parent, std::int32_t token, std::int32_t word);
    std::uint32_t child(std::uint32_t parent, std::int32_t token, const Way& way, bool make);
    void empty(int slot) {
        beam_.empty(slot, classes_);
        next_.empty(slot, beam_.room);
    }
    void leave(int slot);
    void enter(int slot);
    void adopt(int slot, std::uint32_t prefix);
    void adopt_children(int slot, std::uint32_t prefix);
    void number_children();
    void rescale();
    std::size_t least_apart() const { return greater(kMostApart, kLongApart * std::size_t(options_.beam_width)); }
    void forget();
    int best_slot() const;
    void die();
    double log_mass(int slot) const;
    template <class Visit>
    void for_each_closing(int slot, Visit visit);
    const Said* spoken(const LanguageState& state, std::int32_t token);
    State read_on(State state, std::int32_t token);
    void spell_out(std::uint32_t prefix);
    SavedHead head_of() const;
    bool is_state(const State& state) const;
    bool restore_from(Bytes bytes);

    const GraphView graph_;
    const ctckit::SearchOptions options_;
    const Walk walk_;
    const int classes_;
    const bool few_;
    const double threshold_;
    std::uint64_t closing_tokens_ = 0, other_tokens_ = 0;

    int status_ = CTCKIT_FINE;
    std::int64_t num_frames_ = 0;
    LongSum offset_;             // nats, to be added to the logarithms of masses
    std::int64_t exponent_ = 0;  // the masses are 2^exponent too large
    double best_ = 0;            // of the beam's masses
    Prefixes prefixes_;
    Array<State> states_;  // of the prefixes
    State stem_;           // of the root, if kPlain
    SaidLists said_;
    Beam beam_;
    Masses next_;  // after the frame

    Scale scale_ = Scale::kNumbers;
    double highest_ = 0;        // nats: the best value of a frame that is searched in logarithms
    double bar_ = 0;            // lower values can't enter the beam
    Stayed stayed_{};           // the beam's prefixes after the frame
    double highest_value_ = 0;  // of the candidates
    std::size_t most_candidates_ = 0;
    std::size_t most_apart_ = 0;  // see forget()
    Array<Candidate> candidates_;
    Sorter sorter_;
    Array<std::int32_t> passing_;  // tokens, and their emissions
    Array<double> passing_y_;
    Array<Spoken> spoken_;
    KeyTable table_;
    Array<Key> keys_;  // of the candidates
    bool table_filled_ = false;
    mutable Array<std::int64_t> bits_;
    Array<double> emitted_, values_;
    Array<std::int32_t> moved_, stays_, goes_;
    Array<std::uint32_t> fresh_;
    RowMemory rows_;
    Array<double> stage_;
    Array<std::int32_t> out_tokens_, out_frames_, out_words_;
};

template <bool kPlain>
void Search<kPlain>::reset() {
    status_ = CTCKIT_FINE;
    num_frames_ = 0;
    offset_ = {};
    exponent_ = kMiddle;
    prefixes_.reset();
    said_.reset();
    const int width = options_.beam_width;
    beam_.size = 0;
    beam_.make_room(width, classes_);
    next_.make_room(beam_.room);
    emitted_.resize(beam_.room, 0.0);
    values_.resize(beam_.room, 0.0);
    moved_.resize(beam_.room, 0);
    stays_.resize(beam_.room, 0);
    goes_.resize(beam_.room, 0);
    most_candidates_ = 2 * std::size_t(width) + 64;
    most_apart_ = least_apart();
    for (int i = 0; i < beam_.room; ++i) empty(i);
    beam_.size = 1;
    stem_ = walk_.begin();
    states_.resize(prefixes_.capacity(), State{});
    states_[prefixes_.root()] = stem_;
    const double mass = std::ldexp(kPlain ? 1.0 : std::exp(walk_.potential(stem_)), kMiddle);
    beam_.mass[0] = beam_.mass[beam_.room] = best_ = mass;
    adopt(0, prefixes_.root());
    beam_.gain[0] = 0;
    enter(0);
    number_children();
}

template <bool kPlain>
void Search<kPlain>::feed(const ctckit::FrameBlock& block) {
    switch (block.dtype) {
        case CTCKIT_FLOAT32:
            return feed_as<float>(block);
        case CTCKIT_FLOAT64:
            return feed_as<double>(block);
        case CTCKIT_FLOAT16:
            return feed_as<Half>(block);
        case CTCKIT_BFLOAT16:
            return feed_as<BFloat>(block);
    }
}

template <bool kPlain>
template <class In>
void Search<kPlain>::feed_as(const ctckit::FrameBlock& block) {
    using Real = typename Compute<In>::Real;
    Frames<In> frames{static_cast<const In*>(block.data), block.stride_t, block.stride_c, classes_, nullptr};
    if (!frames.in_place()) {
        stage_.resize(std::size_t(kPack) * classes_, 0.0);
        frames.stage = reinterpret_cast<Real*>(stage_.data());
    }
    for (std::int64_t t = 0; t < block.frames; t += kPack) {
        const int count = int(lesser<std::int64_t>(kPack, block.frames - t));
        const Real* const rows = frames.rows(t, count);
        for (int f = 0; f < count; ++f, ++num_frames_) frame(rows + f * frames.row_stride());
    }
}

template <bool kPlain>
template <class Real>
void Search<kPlain>::frame(const Real* row) {
    if (status_ == CTCKIT_NOT_FINITE) return;
    Emissions<Real> y(rows_, row, classes_);
    if (!y.read(options_.from_logits)) {
        die();
        status_ = CTCKIT_NOT_FINITE;
        return;
    }
    if (status_ != CTCKIT_FINE) return;  // later frames are still checked for NaN
    if (options_.tokens_per_frame) y.leave_best(options_.tokens_per_frame, graph_.blank);
    if (y.dead()) die();
    else search_frame(y);
}

template <bool kPlain>
template <class Real>
void Search<kPlain>::search_frame(Emissions<Real>& y) {
    offset_.add(y.offset());
    candidates_.clear();
    keys_.clear();
    table_filled_ = false;
    highest_value_ = 0;
    y.gather(beam_.last.data(), beam_.packed(), emitted_.data());
    stayed_ = stay(beam_, emitted_.data(), y[graph_.blank], double(num_frames_), next_.mass.data(), next_.token.data());
    bar_ = stayed_.alive >= options_.beam_width ? stayed_.least : 0.0;
    bar_ = greater(bar_, stayed_.most * threshold_);
    grow(y);
    const double most = greater(stayed_.most, highest_value_);
    if (!(most > best_ * kFall && most < kLargest)) return in_logarithms(y);
    best_ = most;
    settle();
}

// Searches the frame again, with values relative to the best one.
template <bool kPlain>
template <class Real>
void Search<kPlain>::in_logarithms(Emissions<Real>& y) {
    y.use_logarithms();
    highest_ = -kInfinity<double>;
    for (Scale scale : {Scale::kHighest, Scale::kLogarithms}) {
        scale_ = scale;
        candidates_.clear();
        keys_.clear();
        table_filled_ = false;
        bar_ = 0;
        stay_in_logarithms(y);
        grow_all(y);
        if (highest_ == -kInfinity<double>) break;
    }
    scale_ = Scale::kNumbers;
    if (highest_ == -kInfinity<double>) return die();
    offset_.add(highest_);
    exponent_ += kMiddle;
    best_ = greater(stayed_.most, highest_value_);
    settle();
}

template <bool kPlain>
template <class Real>
void Search<kPlain>::stay_in_logarithms(const Emissions<Real>& y) {
    stayed_ = {kInfinity<double>, 0, 0};
    highest_value_ = 0;
    for (int i = 0; i < beam_.size; ++i) {
        const double emitted = beam_.last[i] < classes_ ? y[beam_.last[i]] : -kInfinity<double>;
        const double entered = weigh(beam_.mass[beam_.source[i]], emitted, beam_.gain[i]);
        next_.token[i] = weigh(beam_.token[i], emitted, 1.0) + entered;
        next_.mass[beam_.room + i] = weigh(beam_.mass[i], y[graph_.blank], 1.0);
        next_.mass[i] = next_.token[i] + next_.mass[beam_.room + i];
        if (next_.mass[i] > 0)
            stayed_ = {lesser(next_.mass[i], stayed_.least), greater(next_.mass[i], stayed_.most), stayed_.alive + 1};
        if (2 * entered > next_.mass[i]) beam_.frame[i] = double(num_frames_);
    }
}

// A probability after a frame.
template <bool kPlain>
double Search<kPlain>::weigh(double mass, double y, double gain) {
    if (scale_ == Scale::kNumbers) return mass * y * gain;
    if (!(mass > 0 && gain > 0)) return 0.0;
    const double nats = std::log(mass) + y + std::log(gain);
    if (scale_ == Scale::kLogarithms) return std::ldexp(std::exp(nats - highest_), kMiddle);
    highest_ = greater(nats, highest_);
    return 0.0;
}

}  // namespace
