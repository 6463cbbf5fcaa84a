// Steps in a search graph, token by token: the states of the lexicon, of the language model and of the hotwords after a
// prefix, and their scores. The counterpart of Walk in kernels/search/reference.py.
#pragma once

#include <cmath>
#include <cstdint>

#include "search/array.h"
#include "search/bits.h"
#include "search/graph.h"
#include "simd/scaled.h"

namespace {

using ctckit::GraphView;
using ctckit::Kind;
using ctckit::LanguageState;
using ctckit::TreeNode;
using ctckit::TreeView;

// The part of a prefix that decides how it can be continued, and the scores that are added to its CTC score, in nats.
struct State {
    LanguageState model;
    double language, hotwords;
    std::int32_t units;
    std::int32_t node, hot;  // in the lexicon's tree, in the hotwords' automaton
};

inline bool same(const LanguageState& a, const LanguageState& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

// The part of a state that letters change.
struct Place {
    double hotwords;
    std::int32_t node, hot;
};

// A way to read a token after a prefix: the state after it, the factor of its score with potentials, and the words that
// it closes.
struct Way {
    State state;
    double gain;
    int num_words;
    std::int32_t words[ctckit::kMostClosings];
};

// The answer of the model for a word or a token after a prefix; without a model it is 0 nats. Each prefix has a list.
struct Said {
    LanguageState state;
    double nats, gain;  // the gain doesn't include potentials
    std::int32_t word, next;
    std::int32_t units;
};

constexpr std::int32_t kNotAsked = -1, kEndOfList = -2;

// The lists of answers. A prefix's list is kept as long as the prefix is in the beam.
class SaidLists {
   public:
    void reset() {
        all_.clear();
        free_ = kEndOfList;
    }
    const Said& operator[](std::int32_t i) const { return all_[i]; }
    std::int32_t add(const Said& said) {
        std::int32_t i = free_;
        if (i == kEndOfList) {
            i = std::int32_t(all_.size());
            all_.push(said);
        } else {
            free_ = all_[i].next;
            all_[i] = said;
        }
        return i;
    }
    void set_next(std::int32_t i, std::int32_t next) { all_[i].next = next; }
    void give_back(std::int32_t first) {
        while (first >= 0) {
            const std::int32_t next = all_[first].next;
            all_[first].next = free_;
            free_ = first;
            first = next;
        }
    }

   private:
    Array<Said> all_;
    std::int32_t free_ = kEndOfList;
};

// The child that a symbol leads to, or 0.
inline std::int32_t child_of(const TreeView& tree, const TreeNode* nodes, std::int32_t node, std::int32_t symbol) {
    if (tree.few_symbols) {
        const std::uint64_t set = nodes[node].symbols;
        if (symbol >= 64 || !(set >> symbol & 1)) return 0;
        return nodes[node].first + count_bits(set & ((std::uint64_t(1) << symbol) - 1)) + 1;
    }
    if (node == 0) return symbol < tree.num_symbols ? tree.from_root[symbol] : 0;
    std::int32_t low = tree.first[node], high = tree.first[node + 1];
    while (high - low > 4) {
        const std::int32_t middle = low + (high - low) / 2;
        (tree.symbols[middle] <= symbol ? low : high) = middle;
    }
    for (; low < high; ++low)
        if (tree.symbols[low] == symbol) return low + 1;
    return 0;
}

class Walk {
   public:
    explicit Walk(const GraphView& graph) : graph_(graph), spelling_(graph.spelling) {}

    State begin() const {
        State state{};
        if (graph_.model) state.model = graph_.model->begin(graph_.sentence_bounds);
        if (graph_.hotwords) state.hot = graph_.hotwords->start;
        return state;
    }
    bool closed() const { return graph_.lexicon && graph_.lexicon->closed; }

    // Nats in addition to the CTC score; and potentials, which are taken back later.
    double worth(const State& state) const {
        return graph_.alpha * state.language + graph_.beta * state.units + state.hotwords;
    }
    double potential(const State& state) const {
        return ahead(state.node) + (graph_.hotwords ? graph_.hotwords->potentials[state.hot] : 0.0);
    }

    // Calls visit(word, said) for each way to close the word at a state, which must be within one.
    template <class Visit>
    void close(const State& state, Visit visit) const;

    // The model's answer for a word or a token.
    Said say(const LanguageState& from, std::int32_t model_word) const;

    // Calls visit(variant, way) for each way to read a token. `closings` stands in for close() of the first word.
    // `spoken` returns the model's answer for the token, or null if the way is not worth asking for.
    template <class Closings, class Spoken, class Visit>
    void read(const State& state, std::int32_t token, Closings closings, Spoken spoken, Visit visit) const;

    // The same for a token of one letter without a model of tokens, which can be read in one way at most. Changes the
    // state, and returns the gain: 0 if the letter can't follow.
    template <class Changed>
    double read_letter(Changed& state, std::int32_t letter) const {
        double gain = 1.0;
        if (!spell(state, gain, letter)) return 0.0;
        if (graph_.hotwords) hear(state, gain, letter);
        return gain;
    }

    // Calls visit(state, word) for each way to end a text.
    template <class Visit>
    void finish(const State& state, Visit visit) const;

    // Upper bounds of a token's factor after a state: of a token without a boundary; and of one with a boundary, where
    // letters after the boundary are left out (see GraphView::after), and closing the word has at most the factor
    // `closing`, or any if that is negative.
    double reach(const State& state) const;
    double closing_reach(const State& state, double closing) const;

   private:
    double ahead(std::int32_t node) const {
        if (!graph_.lexicon || node == ctckit::kRootNode) return 0.0;
        return node == ctckit::kOffNode ? graph_.lexicon->ahead_off : graph_.lexicon->ahead[node];
    }
    // e^-ahead
    double back(std::int32_t node) const {
        if (!graph_.lexicon || node == ctckit::kRootNode) return 1.0;
        return node == ctckit::kOffNode ? graph_.lexicon->back_off : graph_.lexicon->back[node];
    }
    std::int32_t step(std::int32_t hot, std::int32_t symbol) const;
    template <class Changed>
    void hear(Changed& state, double& gain, std::int32_t symbol) const;
    template <class Changed>
    bool spell(Changed& state, double& gain, std::int32_t symbol) const;
    double highest_on(std::int32_t hot) const;
    double highest(std::int32_t hot) const;
    double hot_reach(std::int32_t hot) const;
    template <class Closings, class Spoken, class Visit>
    void go_on(const std::int32_t* symbol, const std::int32_t* end, bool first, std::int32_t token, Way& way,
               Closings closings, Spoken spoken, int& variant, Visit& visit) const;

    const GraphView& graph_;
    const ctckit::SpellingView& spelling_;
};

inline std::int32_t Walk::step(std::int32_t hot, std::int32_t symbol) const {
    const ctckit::HotwordsView& hotwords = *graph_.hotwords;
    std::int32_t found;
    while ((found = child_of(hotwords.tree, hotwords.nodes, hot, symbol)) == 0 && hot != 0)
        hot = hotwords.nodes[hot].fail;
    return found;
}

// A step of the hotwords' automaton.
template <class Changed>
void Walk::hear(Changed& state, double& gain, std::int32_t symbol) const {
    const ctckit::HotwordsView& hotwords = *graph_.hotwords;
    const std::int32_t next = step(state.hot, symbol);
    if ((next | state.hot) == 0 && hotwords.rewards[0] == 0) return;
    gain *= hotwords.nodes[state.hot].go * hotwords.nodes[next].come;
    state.hot = next;
    state.hotwords += hotwords.rewards[next];
}

// A step of the lexicon. False if it has no such word, and is closed.
template <class Changed>
bool Walk::spell(Changed& state, double& gain, std::int32_t symbol) const {
    const ctckit::LexiconView* lexicon = graph_.lexicon;
    if (!lexicon) {
        state.node = ctckit::kOffNode;
        return true;
    }
    if (state.node == ctckit::kOffNode) return !lexicon->closed;
    const std::int32_t child = child_of(lexicon->tree, lexicon->nodes, state.node, symbol);
    if (!child && lexicon->closed) return false;
    gain *= child ? lexicon->nodes[child].come : lexicon->nodes[state.node].go;
    state.node = child ? child : ctckit::kOffNode;
    return true;
}

inline Said Walk::say(const LanguageState& from, std::int32_t model_word) const {
    Said said{};
    const double nats = graph_.model->score(from, model_word < 0 ? 0 : std::uint32_t(model_word), said.state);
    said.nats = model_word == ctckit::kUnknown ? graph_.unknown_score : nats;
    said.units = 1;
    said.gain = std::exp(graph_.alpha * said.nats + graph_.beta);
    return said;
}

template <class Visit>
void Walk::close(const State& state, Visit visit) const {
    const bool by_word = !graph_.by_token;
    const ctckit::LexiconView* lexicon = graph_.lexicon;
    const auto visit_word = [&](std::int32_t word) {
        Said said{};
        if (by_word && lexicon && graph_.model) {
            said = say(state.model, word == ctckit::kUnknown ? word : lexicon->model_words[word]);
        } else {
            said.state = state.model;
            said.nats = by_word && lexicon && word == ctckit::kUnknown ? graph_.unknown_score : 0.0;
            said.units = by_word;
            said.gain = by_word ? std::exp(graph_.alpha * said.nats + graph_.beta) : 1.0;
        }
        said.word = word;
        visit(said);
    };
    if (!lexicon) return visit_word(ctckit::kUnknown);
    std::int32_t begin = 0, end = 0;
    if (state.node != ctckit::kOffNode) {
        begin = lexicon->word_offsets[state.node];
        end = lexicon->word_offsets[state.node + 1];
    }
    for (std::int32_t i = begin; i < end; ++i) visit_word(lexicon->words[i]);
    if (begin == end && !lexicon->closed) visit_word(ctckit::kUnknown);
}

template <class Closings, class Spoken, class Visit>
void Walk::read(const State& state, std::int32_t token, Closings closings, Spoken spoken, Visit visit) const {
    const std::int32_t* symbol = spelling_.symbols + spelling_.offsets[token];
    const std::int32_t* end = spelling_.symbols + spelling_.offsets[token + 1];
    Way way;
    way.state = state;
    way.gain = 1.0;
    way.num_words = 0;
    int variant = 0;
    if (symbol == end) {
        if (!closed()) visit(variant, way);
        return;
    }
    if (closed() && token == spelling_.separator && state.node == ctckit::kRootNode) return;
    go_on(symbol, end, true, token, way, closings, spoken, variant, visit);
}

template <class Closings, class Spoken, class Visit>
void Walk::go_on(const std::int32_t* symbol, const std::int32_t* end, bool first, std::int32_t token, Way& way,
                 Closings closings, Spoken spoken, int& variant, Visit& visit) const {
    for (; symbol < end; ++symbol, first = false) {
        const bool boundary = *symbol == ctckit::kBoundary;
        if (boundary && way.state.node == ctckit::kRootNode) continue;  // no word has begun
        if (graph_.hotwords) hear(way.state, way.gain, *symbol);
        if (!boundary) {
            if (!spell(way.state, way.gain, *symbol)) return;
        } else {
            const double take_back = back(way.state.node);
            const auto visit_closed = [&](const Said& said) {
                Way next = way;
                next.state.node = ctckit::kRootNode;
                next.state.model = said.state;
                next.state.language += said.nats;
                next.state.units += said.units;
                next.gain *= said.gain * take_back;
                next.words[next.num_words++] = said.word;
                go_on(symbol + 1, end, false, token, next, closings, spoken, variant, visit);
            };
            if (first) closings(visit_closed);
            else close(way.state, visit_closed);
            return;
        }
    }
    if (graph_.by_token) {
        const Said* const said = spoken(way.gain);
        if (!said) {
            ++variant;
            return;
        }
        way.state.model = said->state;
        way.state.language += said->nats;
        way.state.units += said->units;
        way.gain *= said->gain;
    }
    visit(variant++, way);
}

template <class Visit>
void Walk::finish(const State& state, Visit visit) const {
    const auto ended = [&](State last, std::int32_t word) {
        if (graph_.model && graph_.sentence_bounds)
            last.language += graph_.model->score(last.model, graph_.end, last.model);
        visit(last, word);
    };
    if (state.node == ctckit::kRootNode) return ended(state, kNoWord);
    State heard = state;
    double gain = 1.0;
    if (graph_.hotwords) hear(heard, gain, ctckit::kBoundary);
    close(heard, [&](const Said& said) {
        State last = heard;
        last.node = ctckit::kRootNode;
        last.model = said.state;
        last.language += said.nats;
        last.units += said.units;
        ended(last, said.word);
    });
}

// The greatest factor from hotwords of the tokens whose first symbol continues a phrase; at the root, of all tokens.
// The state's potential is not taken back in it.
inline double Walk::highest_on(std::int32_t hot) const {
    const ctckit::HotwordsView& hotwords = *graph_.hotwords;
    double found = 0.0;
    const auto hear_run = [&](const ctckit::Run& run) {
        Place place{0.0, 0, hot};
        double gain = 1.0 / hotwords.nodes[hot].go;
        for (std::int32_t i = run.begin; i < run.end; ++i) hear(place, gain, spelling_.symbols[i]);
        found = greater(gain, found);
    };
    if (hot == 0) {
        for (std::int32_t j = 0; j < spelling_.run_offsets[spelling_.num_symbols]; ++j) hear_run(spelling_.runs[j]);
        return found;
    }
    for (std::int32_t i = hotwords.tree.first[hot]; i < hotwords.tree.first[hot + 1]; ++i) {
        const std::int32_t symbol = hotwords.tree.symbols[i];
        if (symbol >= spelling_.num_symbols) break;
        const std::int32_t end = spelling_.run_offsets[symbol + 1];
        for (std::int32_t j = spelling_.run_offsets[symbol]; j < end; ++j) hear_run(spelling_.runs[j]);
    }
    return found;
}

// The greatest of all tokens: the others have the factors of the state that the automaton falls back to. It is computed
// once for a state; if several threads do it at a time, they get the same.
inline double Walk::highest(std::int32_t hot) const {
    const ctckit::HotwordsView& hotwords = *graph_.hotwords;
    double found = 0.0;
    for (std::int32_t back = hot;; back = hotwords.nodes[back].fail) {
        const double known = hotwords.highest[back].load(std::memory_order_relaxed);
        const bool is_known = known == known;
        const double here = is_known ? known : highest_on(back);
        found = greater(here, found);
        if (back == 0 && !is_known) hotwords.highest[0].store(here, std::memory_order_relaxed);
        if (back == 0 || is_known) break;
    }
    hotwords.highest[hot].store(found, std::memory_order_relaxed);
    return found;
}

inline double Walk::hot_reach(std::int32_t hot) const {
    if (!graph_.hotwords) return 1.0;
    const double known = graph_.hotwords->highest[hot].load(std::memory_order_relaxed);
    return greater(1.0, (known == known ? known : highest(hot)) * graph_.hotwords->nodes[hot].go);
}

constexpr double kSlack = 1 + 1e-9;  // since bounds are rounded

inline double Walk::reach(const State& state) const {
    double found = 1.0;
    if (graph_.lexicon && state.node != ctckit::kOffNode) found = graph_.lexicon->reach[state.node];
    found *= hot_reach(state.hot) * graph_.most_spoken;
    return (closed() ? found : greater(found, 1.0)) * kSlack;  // a token that spells nothing has the factor 1
}

inline double Walk::closing_reach(const State& state, double closing) const {
    if (!spelling_.most_closed) return 0.0;
    double found = hot_reach(state.hot) * graph_.most_spoken * kSlack;
    if (!spelling_.boundaries_first)
        return found * back(state.node) * std::pow(greater(1.0, graph_.most_said), spelling_.most_closed);
    if (state.node == ctckit::kRootNode) return found;
    return found * back(state.node) * (closing < 0 ? graph_.most_said : closing);
}

}  // namespace
