// The part of a frame that finds new prefixes.
#pragma once

#include <cstdint>
#include <cstring>

#include "search/search.h"

namespace {

template <bool kPlain>
template <class Real>
void Search<kPlain>::grow(const Emissions<Real>& y) {
    if (few_) grow_few(y.few());
    else grow_many(y);
}

template <bool kPlain>
template <class Real>
void Search<kPlain>::grow_all(const Emissions<Real>& y) {
    for (std::int32_t token = 0; token < classes_; ++token) {
        if (token == graph_.blank || y[token] == -kInfinity<double>) continue;
        for (int i = 0; i < beam_.size; ++i) try_token(i, token, y[token], true);
    }
}

// The bit of the token with the greatest emission in a set; of equal ones, the first.
template <bool kPlain>
std::uint64_t Search<kPlain>::best_token(std::uint64_t tokens, const double* y) const {
    const int end = int(round_up(classes_, kPack));
    double most = 0;
#pragma omp simd reduction(max : most)
    for (int c = 0; c < end; ++c) most = greater(tokens & kBit64.of[c] ? y[c] : 0.0, most);
    std::uint64_t found = 0;
#pragma omp simd reduction(| : found)
    for (int c = 0; c < end; ++c) found |= y[c] == most ? kBit64.of[c] : 0;
    found &= tokens;
    return found & (~found + 1);
}

// The best token comes first. This raises the bar, so that fewer of the others have to be tried.
template <bool kPlain>
void Search<kPlain>::grow_few(const double* y) {
    const auto passing = [&] {
        double most = kPlain ? best_ : 0, most_closing = most;
        if constexpr (!kPlain) {
#pragma omp simd reduction(max : most, most_closing)
            for (int i = 0; i < beam_.packed(); ++i) {
                most = greater(beam_.mass[i] * beam_.reach[i], most);
                most_closing = greater(beam_.mass[i] * beam_.closing[i], most_closing);
            }
        }
        const int end = int(round_up(classes_, kPack));
        const std::uint64_t found = bits_from(y, end, bar_ / (most * kSlack));
        if constexpr (kPlain) return found & (other_tokens_ | closing_tokens_);
        if (!closing_tokens_) return found & other_tokens_;
        const std::uint64_t closing = bits_from(y, graph_.after, end, bar_ / (most_closing * kSlack));
        return (found & other_tokens_) | (closing & closing_tokens_);
    };
    std::uint64_t tokens = passing();
    if (tokens & (tokens - 1)) {
        const std::uint64_t bit = best_token(tokens, y);
        extend_few(bit, y);
        tokens &= ~bit;
        if (candidates_.size()) {
            raise_bar();
            tokens &= passing();
        }
    }
    extend_few(tokens, y);
}

template <bool kPlain>
void Search<kPlain>::extend_few(std::uint64_t tokens, const double* y) {
    for_each_bit(tokens, [&](int token) { extend(token, y[token], beam_.none()); });
}

// If many tokens may enter the beam, they are first tried after the best prefix alone, which raises the bar.
template <bool kPlain>
template <class Real>
void Search<kPlain>::grow_many(const Emissions<Real>& y) {
    constexpr int many = 16;
    double most = best_;
    std::uint64_t allowed = ~std::uint64_t(0);
    if constexpr (!kPlain) {
        most = 0;
        allowed = 0;
#pragma omp simd reduction(max : most) reduction(| : allowed)
        for (int i = 0; i < beam_.packed(); ++i) {
            most = greater(beam_.mass[i] * greater(beam_.reach[i], beam_.closing[i]), most);
            allowed |= beam_.mass[i] > 0 ? beam_.allowed[i] : 0;
        }
    }
    most *= kSlack;
    if (!(most > 0)) return;
    passing_.clear();
    y.for_each_from(bar_ / (most * graph_.most_after), [&](int c) {
        if (c != graph_.blank && allowed & graph_.bit[c]) passing_.push(c);
    });
    if (passing_.size() == 0) return;
    passing_y_.resize(passing_.size(), 0.0);
    y.gather(passing_.data(), int(passing_.size()), passing_y_.data());
    int alone = beam_.none();
    if (passing_.size() > many) {
        const int best = best_slot();
        for (std::size_t j = 0; j < passing_.size(); ++j) {
            const std::int32_t token = passing_[j];
            if (best_of(best, token) * passing_y_[j] >= bar_) try_token(best, token, passing_y_[j], true);
        }
        raise_bar();
        alone = best;
    }
    std::size_t first = 0;
    for (std::size_t j = 1; j < passing_.size(); ++j)
        if (passing_y_[j] > passing_y_[first]) first = j;
    const auto extend_all = [&](std::size_t j) {
        if (passing_y_[j] * graph_.after[passing_[j]] * most >= bar_) extend(passing_[j], passing_y_[j], alone);
    };
    extend_all(first);
    if (candidates_.size() && passing_.size() > 1) raise_bar();
    for (std::size_t j = 0; j < passing_.size(); ++j)
        if (j != first) extend_all(j);
}

// An upper bound of the value of a prefix and a token, without the emission.
template <bool kPlain>
double Search<kPlain>::best_of(int slot, std::int32_t token) const {
    if constexpr (kPlain) return total(slot, token);
    if (!(beam_.allowed[slot] & graph_.bit[token])) return -1.0;
    const bool closes = graph_.spelling.kind[token] == Kind::kClosing;
    return total(slot, token) * (closes ? beam_.closing[slot] * graph_.after[token] : beam_.reach[slot]);
}

// Tries a token after all prefixes but one.
template <bool kPlain>
void Search<kPlain>::extend(std::int32_t token, double y, int but) {
    if constexpr (kPlain) return extend_plain(token, y, but);
    const std::uint64_t bit = graph_.bit[token];
    const bool closes = graph_.spelling.kind[token] == Kind::kClosing;
    const double emitted = closes ? y * graph_.after[token] : y;
    const double* const bound = (closes ? beam_.closing : beam_.reach).data();
    const std::uint64_t* const allowed = beam_.allowed.data();
    const std::uint64_t* const children = beam_.children.data();
    const double* const mass = beam_.mass.data();
    double* const value = values_.data();
    const std::uint64_t in_beam =
        few_ && !closes ? bit : 0;  // a letter can be read in one way only: then nothing is new
    const int end = beam_.packed();
#pragma omp simd
    for (int i = 0; i < end; ++i) {
        const bool may = (allowed[i] & bit & ~(children[i] & in_beam)) != 0;
        value[i] = may ? mass[i] * bound[i] * emitted : -1.0;
    }
    value[but] = -1.0;
    for_each_passing([&](int i) { try_token(i, token, y, !few_ || beam_.children[i] >> token & 1); });
}

// Calls visit(slot) for the slots whose value may enter the beam. Values after the beam are 0.
template <bool kPlain>
template <class Visit>
void Search<kPlain>::for_each_passing(Visit visit) {
    const double least = greater(bar_, 0x1p-1074);
    for (int begin = 0; begin < beam_.packed(); begin += 64) {
        const int count = lesser(64, beam_.packed() - begin);
        for_each_bit(bits_from(values_.data() + begin, count, least), [&](int i) { visit(begin + i); });
    }
}

template <bool kPlain>
void Search<kPlain>::extend_plain(std::int32_t token, double y, int but) {
    const int end = beam_.packed();
    const double* const mass = beam_.mass.data();
    const double* const ends_blank = mass + beam_.room;
    const std::int32_t* const last = beam_.last.data();
    double* const value = values_.data();
#pragma omp simd
    for (int i = 0; i < end; ++i) value[i] = (last[i] == token ? ends_blank[i] : mass[i]) * y;
    for (int i = 0; i < beam_.size; ++i)
        if (last[i] == token) value[beam_.parent[i]] = 0;  // that prefix is in the beam already
    value[but] = 0;
    for_each_passing([&](int i) { add({value[i], 1.0, i, token, 0, 0}); });
}

template <bool kPlain>
template <class Visit>
void Search<kPlain>::for_each_closing(int slot, Visit visit) {
    if (beam_.said[slot] == kNotAsked) {
        const State state = states_[beam_.prefix[slot]];
        std::int32_t before = kEndOfList;
        double most = 0;
        walk_.close(state, [&](const Said& said) {
            const std::int32_t i = said_.add(said);
            said_.set_next(i, kEndOfList);
            if (before < 0) beam_.said[slot] = i;
            else said_.set_next(before, i);
            before = i;
            most = greater(said.gain, most);
        });
        if (before < 0) beam_.said[slot] = kEndOfList;
        beam_.closing[slot] = walk_.closing_reach(state, most);
    }
    for (std::int32_t i = beam_.said[slot]; i >= 0; i = said_[i].next) {
        const Said said = said_[i];
        visit(said);
    }
}

// What a model of tokens says about a token. The same is needed in many frames, so recent answers are kept.
template <bool kPlain>
const Said* Search<kPlain>::spoken(const LanguageState& state, std::int32_t token) {
    constexpr std::size_t answers = 1 << 13;
    if (spoken_.size() == 0) spoken_.resize(answers, Spoken{{}, {}, kNoToken});
    Spoken& kept = spoken_[Key{state, token, 0, 0}.hash() % answers];
    if (kept.token != token || !same(kept.from, state))
        kept = {walk_.say(state, graph_.model_tokens[token]), state, token};
    return &kept.said;
}

// Adds those ways to read a token after a prefix that may enter the beam. `known`: whether some may be in it already.
template <bool kPlain>
void Search<kPlain>::try_token(int slot, std::int32_t token, double y, bool known) {
    const double mass = total(slot, token);
    const std::uint32_t prefix = beam_.prefix[slot];
    if constexpr (kPlain) {
        const double value = weigh(mass, y, 1.0);
        const std::uint32_t found = prefixes_.find(prefix, token, kNoWord);
        if (value > 0 && (found == kNoPrefix || prefixes_[found].slot == kNotInBeam))
            add({value, 1.0, slot, token, 0, 0});
        return;
    }
    const std::int32_t letter = graph_.by_token ? -1 : graph_.spelling.letter[token];
    if (letter >= 0) {
        const State& state = states_[prefix];
        Place place{state.hotwords, state.node, state.hot};
        const double gain = walk_.read_letter(place, letter), value = weigh(mass, y, gain);
        if (!(value > 0 && value >= bar_)) return;
        if (known) {
            const std::uint32_t found = prefixes_.find(prefix, token, kNoWord);
            if (found != kNoPrefix && prefixes_[found].slot != kNotInBeam) return;
        }
        const Candidate candidate{value, gain, slot, token, 0, 0};
        if (options_.recombine) recombine(candidate, {state.model, token, place.node, place.hot});
        else add(candidate);
        return;
    }
    walk_.read(
        states_[prefix], token, [&](auto visit) { for_each_closing(slot, visit); },
        [&](double gain) -> const Said* {
            if (scale_ == Scale::kNumbers && mass * y * gain * graph_.most_spoken * kSlack < bar_) return nullptr;
            return spoken(states_[prefix].model, token);
        },
        [&](int variant, const Way& way) {
            const double value = weigh(mass, y, way.gain);
            if (!(value > 0 && value >= bar_)) return;
            if (known) {
                const std::uint32_t found = child(prefix, token, way, false);
                if (found != kNoPrefix && prefixes_[found].slot != kNotInBeam) return;
            }
            const Candidate candidate{value, way.gain, slot, token, variant, 0};
            if (options_.recombine) recombine(candidate, key_of(way.state, token));
            else add(candidate);
        });
}

// In the table, prefixes of the beam have their slots as numbers, and candidates the numbers after these.
template <bool kPlain>
void Search<kPlain>::fill_table() {
    const auto none = [](std::int32_t) { return false; };  // all these keys differ
    table_.clear(std::size_t(beam_.size) + most_candidates_);
    for (std::int32_t i = 0; i < beam_.size; ++i)
        if (next_.mass[i] > 0) table_.find_or_add(beam_.hash[i], i, none);
    for (std::size_t j = 0; j < candidates_.size(); ++j)
        table_.find_or_add(keys_[candidates_[j].key].hash(), beam_.size + std::int32_t(j), none);
    table_filled_ = true;
}

// Of candidates and prefixes with equal keys, only the best is kept; of equally good ones, the first.
template <bool kPlain>
void Search<kPlain>::recombine(Candidate candidate, const Key& key) {
    if (!table_filled_) fill_table();
    const std::int32_t mine = beam_.size + std::int32_t(candidates_.size());
    std::int32_t& found = table_.find_or_add(key.hash(), mine, [&](std::int32_t number) {
        if (number >= beam_.size) return keys_[candidates_[number - beam_.size].key] == key;
        return key_of(states_[beam_.prefix[number]], beam_.last[number]) == key;
    });
    if (found != mine && found >= beam_.size) {
        Candidate& other = candidates_[found - beam_.size];
        candidate.key = other.key;
        if (candidate.value > other.value || (candidate.value == other.value && candidate < other)) other = candidate;
        highest_value_ = greater(candidate.value, highest_value_);
        return;
    }
    if (found != mine) {
        if (!(candidate.value > next_.mass[found])) return;
        next_.mass[found] = 0;
        found = mine;
    }
    candidate.key = std::int32_t(keys_.size());
    keys_.push(key);
    add(candidate);
}

// The cut that keeps as many of the beam's prefixes and the candidates as the beam holds. There must be more.
template <bool kPlain>
Cut Search<kPlain>::cut() const {
    const std::size_t stays = beam_.size, count = stays + candidates_.size();
    if (bits_.size() < count) bits_.resize(count, 0);
    std::memcpy(bits_.data(), next_.mass.data(), stays * sizeof(double));
    for (std::size_t j = 0; j < candidates_.size(); ++j) bits_[stays + j] = bits_of(candidates_[j].value);
    return find_cut(bits_.data(), std::int64_t(count), options_.beam_width, greater(bar_, 0x1p-1074),
                    greater(stayed_.most, highest_value_));
}

// Removes the candidates that can't be among the best any more, and raises the bar accordingly.
template <bool kPlain>
void Search<kPlain>::raise_bar() {
    std::int64_t alive = std::int64_t(candidates_.size());
    for (int i = 0; i < beam_.size; ++i) alive += next_.mass[i] > 0 ? 1 : 0;
    if (alive <= options_.beam_width) return;
    const Cut found = cut();
    std::int64_t ties = found.ties;
    for (int i = 0; i < beam_.size; ++i) ties -= next_.mass[i] == found.value ? 1 : 0;
    leave_kept(candidates_, found.value, ties, sorter_);
    bar_ = greater(bar_, found.value);
    if (table_filled_) fill_table();
}

}  // namespace
