// The texts of a beam.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "search/search.h"

namespace {

// A prefix, with its last word closed in one way.
struct Ending {
    State state;
    double score, ctc;
    std::int32_t slot, word;
    std::int32_t order;

    bool operator<(const Ending& other) const {
        return score != other.score ? score > other.score : order < other.order;
    }
};

template <bool kPlain>
double Search<kPlain>::log_mass(int slot) const {
    int exponent;
    const double mantissa = std::frexp(beam_.mass[slot], &exponent);
    return std::log(mantissa) + double(exponent - exponent_) * kLn2 + offset_.value();
}

// The state after a token that can be read in one way only.
template <bool kPlain>
State Search<kPlain>::read_on(State state, std::int32_t token) {
    walk_.read(
        state, token, [&](auto visit) { walk_.close(state, visit); }, [](double) -> const Said* { return nullptr; },
        [&](int, const Way& way) { state = way.state; });
    return state;
}

// The tokens, frames and words from the root to a prefix.
template <bool kPlain>
void Search<kPlain>::spell_out(std::uint32_t prefix) {
    out_tokens_.clear();
    out_frames_.clear();
    out_words_.clear();
    for (; prefix != prefixes_.root(); prefix = prefixes_[prefix].parent) {
        const Prefix& node = prefixes_[prefix];
        if (node.word != kNoWord) out_words_.push(node.word);
        if (node.token == kOnlyAWord) continue;
        out_tokens_.push(node.token);
        const bool in_beam = node.slot != kNotInBeam;
        out_frames_.push(in_beam ? std::int32_t(beam_.frame[node.slot]) : node.frame);
    }
    for (Array<std::int32_t>* array : {&out_tokens_, &out_frames_, &out_words_}) array->reverse();
}

template <bool kPlain>
void Search<kPlain>::texts(std::int64_t most, bool finished, ctckit::TextSink& sink) {
    Array<Ending> endings;
    for (int i = 0; i < beam_.size; ++i) {
        double ctc = log_mass(i);
        const auto end = [&](const State& last, std::int32_t word) {
            const double score = ctc + walk_.worth(last);
            if (score > -kInfinity<double>) endings.push({last, score, ctc, i, word, std::int32_t(endings.size())});
        };
        if constexpr (kPlain) {
            end(stem_, kNoWord);  // the text's end adds nothing
            continue;
        }
        const State& state = states_[beam_.prefix[i]];
        ctc -= walk_.worth(state) + walk_.potential(state);
        if (finished) walk_.finish(state, end);
        else end(state, kNoWord);
    }
    std::sort(endings.begin(), endings.end());
    if (std::int64_t(endings.size()) > most) endings.shorten(most);
    for (const Ending& ending : endings) {
        spell_out(beam_.prefix[ending.slot]);
        if (ending.word != kNoWord) out_words_.push(ending.word);
        State state = ending.state;
        if constexpr (kPlain) {
            for (std::int32_t token : out_tokens_) state = read_on(state, token);
            if (finished) walk_.finish(state, [&](const State& last, std::int32_t) { state = last; });
            for (std::int32_t i = stem_.units; i < state.units; ++i) out_words_.push(ctckit::kUnknown);
        }
        sink.take({out_tokens_.data(), out_frames_.data(), std::int64_t(out_tokens_.size()), out_words_.data(),
                   std::int64_t(out_words_.size()), ending.score, ending.ctc, state.language, state.hotwords,
                   state.units});
    }
}

template <bool kPlain>
void Search<kPlain>::take_stem(ctckit::TextSink& sink) {
    out_tokens_.clear();
    out_frames_.clear();
    out_words_.clear();
    while (prefixes_.shorten_stem()) {
        const Prefix& root = prefixes_[prefixes_.root()];
        if (root.word != kNoWord) out_words_.push(root.word);
        if (root.token == kOnlyAWord) continue;
        out_tokens_.push(root.token);
        out_frames_.push(root.slot == kNotInBeam ? root.frame : std::int32_t(beam_.frame[root.slot]));
        if constexpr (kPlain) {
            const std::int32_t before = stem_.units;
            stem_ = read_on(stem_, root.token);
            for (std::int32_t i = before; i < stem_.units; ++i) out_words_.push(ctckit::kUnknown);
        }
    }
    sink.take({out_tokens_.data(), out_frames_.data(), std::int64_t(out_tokens_.size()), out_words_.data(),
               std::int64_t(out_words_.size()), 0, 0, 0, 0, 0});
}

}  // namespace
