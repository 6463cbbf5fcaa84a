#include "search/graph.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace ctckit {
namespace {

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// Whether these are offsets into an array of `total` entries, one row after the other.
void require_offsets(const std::vector<std::int32_t>& offsets, std::size_t total, const char* what) {
    require(!offsets.empty() && offsets.front() == 0 && std::size_t(offsets.back()) == total &&
                std::is_sorted(offsets.begin(), offsets.end()),
            what);
}

constexpr double kNothing = -std::numeric_limits<double>::infinity();

}  // namespace

Spelling::Spelling(std::vector<std::int32_t> offsets, std::vector<std::int32_t> symbols, std::int32_t separator)
    : offsets_(std::move(offsets)), symbols_(std::move(symbols)) {
    require_offsets(offsets_, symbols_.size(), "symbols' offsets must be those of their rows");
    const std::int32_t classes = std::int32_t(offsets_.size()) - 1;
    require(classes >= 1, "a spelling must have classes");
    require(separator >= -1 && separator < classes, "the separator must be a class");
    const std::int32_t most = symbols_.empty() ? 0 : *std::max_element(symbols_.begin(), symbols_.end());
    require(symbols_.empty() || *std::min_element(symbols_.begin(), symbols_.end()) >= 0, "symbols start at 0");
    require(most < (1 << 26), "symbols must be numbered without large gaps");
    view_ = {};
    view_.num_symbols = most + 1;
    view_.boundaries_first = true;
    leave_one_boundary();
    std::vector<Run> found;
    for (std::int32_t c = 0; c < classes; ++c) {
        const std::int32_t begin = offsets_[c], end = offsets_[c + 1];
        const std::int32_t closed =
            std::int32_t(std::count(symbols_.begin() + begin, symbols_.begin() + end, kBoundary));
        require(closed <= kMostClosings, "a token must have at most 16 boundaries");
        const bool letter = end - begin == 1 && !closed;
        letter_.push_back(letter ? symbols_[begin] : -1);
        kind_.push_back(begin == end ? Kind::kSpecial : closed ? Kind::kClosing : Kind::kInner);
        const bool first = closed && symbols_[begin] == kBoundary;
        view_.boundaries_first &= closed == 0 || (closed == 1 && first);
        view_.most_closed = std::max(view_.most_closed, closed);
        if (begin != end) found.push_back({begin, end});
        if (first && end - begin > 1) found.push_back({begin + 1, end});
    }
    std::stable_sort(found.begin(), found.end(),
                     [this](const Run& a, const Run& b) { return symbols_[a.begin] < symbols_[b.begin]; });
    runs_ = std::move(found);
    run_offsets_.assign(view_.num_symbols + 1, 0);
    for (const Run& run : runs_) ++run_offsets_[symbols_[run.begin] + 1];
    std::partial_sum(run_offsets_.begin(), run_offsets_.end(), run_offsets_.begin());
    view_.classes = classes;
    view_.separator = separator;
    view_.offsets = offsets_.data();
    view_.symbols = symbols_.data();
    view_.kind = kind_.data();
    view_.letter = letter_.data();
    view_.run_offsets = run_offsets_.data();
    view_.runs = runs_.data();
}

// Removes repeated boundaries, which mean the same as one.
void Spelling::leave_one_boundary() {
    std::int32_t read = 0, left = 0;
    for (std::size_t c = 1; c < offsets_.size(); ++c) {
        const std::int32_t begin = left;
        for (; read < offsets_[c]; ++read)
            if (symbols_[read] != kBoundary || left == begin || symbols_[left - 1] != kBoundary)
                symbols_[left++] = symbols_[read];
        offsets_[c] = left;
    }
    symbols_.resize(left);
}

Tree::Tree(std::vector<std::int32_t> first, std::vector<std::int32_t> symbols, std::int32_t least_symbol)
    : first_(std::move(first)), symbols_(std::move(symbols)) {
    require_offsets(first_, symbols_.size(), "a tree's first must be the offsets of its nodes' children");
    require(first_.size() == symbols_.size() + 2, "every node of a tree but its root must be a child");
    std::int32_t most = 0;
    for (std::int32_t v = 0; v < size(); ++v) {
        require(first_[v] >= v || first_[v] == first_[v + 1], "a tree's children must be numbered after their parents");
        for (std::int32_t i = first_[v]; i < first_[v + 1]; ++i) {
            require(symbols_[i] >= least_symbol && symbols_[i] < (1 << 26), "a tree's symbols must be within range");
            require(i == first_[v] || symbols_[i - 1] < symbols_[i], "a node's children must be sorted by symbol");
            most = std::max(most, symbols_[i]);
        }
    }
    from_root_.assign(first_[1] ? symbols_[first_[1] - 1] + 1 : 0, 0);
    for (std::int32_t i = 0; i < first_[1]; ++i) from_root_[symbols_[i]] = i + 1;
    view_ = {first_.data(), symbols_.data(), from_root_.data(), std::int32_t(from_root_.size()), most < 64};
}

std::vector<TreeNode> Tree::nodes() const {
    std::vector<TreeNode> made(size());
    for (std::int32_t v = 0; v < size(); ++v) {
        made[v].first = first_[v];
        for (std::int32_t i = first_[v]; i < first_[v + 1] && view_.few_symbols; ++i)
            made[v].symbols |= std::uint64_t(1) << symbols_[i];
    }
    return made;
}

Lexicon::Lexicon(std::vector<std::int32_t> first, std::vector<std::int32_t> symbols,
                 std::vector<std::int32_t> word_offsets, std::vector<std::int32_t> words,
                 std::vector<std::int32_t> model_words, std::vector<double> lookahead, bool closed)
    : tree_(std::move(first), std::move(symbols), 1),
      word_offsets_(std::move(word_offsets)),
      words_(std::move(words)),
      model_words_(std::move(model_words)),
      lookahead_(std::move(lookahead)),
      closed_(closed) {
    const std::size_t nodes = tree_.size();
    require(word_offsets_.size() == nodes + 1, "word_offsets must have an entry for each node, and one more");
    require_offsets(word_offsets_, words_.size(), "word_offsets must be those of the nodes' words");
    require(word_offsets_[1] == 0, "no word may be empty");
    for (std::int32_t word : words_)
        require(word >= 0 && std::size_t(word) < model_words_.size(), "words must be indices of model_words");
    std::vector<std::int32_t> alike;
    for (std::size_t v = 0; v < nodes; ++v) {
        if (word_offsets_[v + 1] - word_offsets_[v] < 2) continue;
        alike.assign(words_.begin() + word_offsets_[v], words_.begin() + word_offsets_[v + 1]);
        std::sort(alike.begin(), alike.end());
        require(std::adjacent_find(alike.begin(), alike.end()) == alike.end(), "a node's words must differ");
    }
    for (std::int32_t word : model_words_) require(word >= kUnknown, "model_words must be words of the model, or -1");
    require(lookahead_.size() == nodes && lookahead_[0] == 0, "lookahead must have an entry for each node, 0 at first");
    for (double nats : lookahead_) require(nats <= kLargestWeight, "lookahead must be at most 300 nats, and not NaN");
}

LexiconView Lexicon::view() const {
    LexiconView made{};
    made.tree = tree_.view();
    made.word_offsets = word_offsets_.data();
    made.words = words_.data();
    made.model_words = model_words_.data();
    made.closed = closed_;
    return made;
}

Hotwords::Hotwords(std::shared_ptr<const Spelling> spelling, std::vector<std::int32_t> first,
                   std::vector<std::int32_t> symbols, std::vector<std::int32_t> fail, std::vector<double> rewards,
                   std::vector<double> potentials, std::int32_t start)
    : spelling_(std::move(spelling)),
      tree_(std::move(first), std::move(symbols), 0),
      rewards_(std::move(rewards)),
      potentials_(std::move(potentials)) {
    const std::size_t nodes = tree_.size();
    require(fail.size() == nodes && rewards_.size() == nodes && potentials_.size() == nodes,
            "fail, rewards and potentials must have an entry for each node");
    require(start >= 0 && std::size_t(start) < nodes, "start must be a node");
    nodes_ = tree_.nodes();
    highest_ = std::make_unique<std::atomic<double>[]>(nodes);
    for (std::size_t v = 0; v < nodes; ++v) {
        require(fail[v] >= 0 && (v == 0 ? fail[v] == 0 : std::size_t(fail[v]) < v),
                "fail must lead to a node with a lower number");
        require(std::abs(potentials_[v]) <= kLargestWeight && std::abs(rewards_[v] + potentials_[v]) <= kLargestWeight,
                "hotwords must not weigh more than 300 nats");
        nodes_[v].fail = fail[v];
        nodes_[v].come = std::exp(rewards_[v] + potentials_[v]);
        nodes_[v].go = std::exp(-potentials_[v]);
        highest_[v].store(std::numeric_limits<double>::quiet_NaN(), std::memory_order_relaxed);
    }
    view_ = {tree_.view(), nodes_.data(), rewards_.data(), potentials_.data(), highest_.get(), start};
}

SearchGraph::SearchGraph(std::shared_ptr<const Spelling> spelling, std::int32_t blank,
                         std::shared_ptr<const Lexicon> lexicon, std::shared_ptr<const Hotwords> hotwords,
                         const LanguageModel* model, std::uint32_t end, bool by_token,
                         std::vector<std::int32_t> model_tokens, bool sentence_bounds, const Weights& weights)
    : spelling_(std::move(spelling)),
      lexicon_(std::move(lexicon)),
      hotwords_(std::move(hotwords)),
      model_tokens_(std::move(model_tokens)) {
    const double alpha = weights.alpha, beta = weights.beta, unknown = weights.unknown_score;
    require(blank >= 0 && blank < spelling_->view().classes, "the blank must be a class");
    require(alpha >= 0 && alpha <= std::numeric_limits<double>::max(), "alpha must be a number, at least 0");
    require(std::abs(beta) <= kLargestWeight, "beta must be at most 300 nats");
    require(unknown <= kLargestWeight, "unknown_score must be at most 300 nats, and not NaN");
    require(!by_token || (model && model_tokens_.size() == std::size_t(spelling_->view().classes)),
            "a model of tokens needs model_tokens with an entry for each class");
    view_ = {};
    view_.spelling = spelling_->view();
    view_.hotwords = hotwords_ ? &hotwords_->view() : nullptr;
    view_.model = model;
    view_.model_tokens = model_tokens_.data();
    view_.blank = blank;
    view_.by_token = by_token;
    view_.sentence_bounds = sentence_bounds;
    view_.end = end;
    view_.alpha = alpha;
    view_.beta = beta;
    view_.unknown_score = unknown;
    view_.hotword_nodes = hotwords_ ? hotwords_->size() : 1;
    view_.lexicon_nodes = lexicon_ ? lexicon_->tree().size() : 1;
    const double said = model ? model->bound() : 0.0;
    require(!(said > kLargestWeight), "a model's ln P must not be above 300");
    const double spoken = std::exp(alpha * std::max(said, unknown) + beta);
    view_.most_spoken = by_token ? spoken : 1.0;
    view_.most_said = by_token ? 1.0 : lexicon_ ? spoken : std::exp(beta);
    if (lexicon_) weigh_lexicon();
    name_tokens();
    if (lexicon_ && lexicon_view_.closed) find_tokens();
    for (std::int32_t c = 0; c < view_.spelling.classes; ++c) after_.push_back(factor_after(c));
    view_.most_after = std::max(1.0, *std::max_element(after_.begin(), after_.end()));
    after_.resize(after_.size() + 8, 0.0);  // loops run over whole packs of classes
    view_.after = after_.data();
}

// If a token may close several words, this is an upper bound.
double SearchGraph::factor_after(std::int32_t token) const {
    const SpellingView& spelling = view_.spelling;
    if (!view_.lexicon || spelling.kind[token] != Kind::kClosing) return 1.0;
    if (!spelling.boundaries_first) return std::max(1.0, lexicon_view_.deepest);
    const TreeView& tree = lexicon_view_.tree;
    std::int32_t node = kRootNode;
    for (std::int32_t i = spelling.offsets[token] + 1; i < spelling.offsets[token + 1]; ++i) {
        const std::int32_t* const begin = tree.symbols + tree.first[node];
        const std::int32_t* const end = tree.symbols + tree.first[node + 1];
        const std::int32_t* const found = std::lower_bound(begin, end, spelling.symbols[i]);
        if (found == end || *found != spelling.symbols[i]) return std::exp(lexicon_view_.ahead_off);
        node = std::int32_t(found - tree.symbols) + 1;
    }
    return std::exp(ahead_[node]);
}

// The potential of a node is that of the best word below it. Outside the tree, and everywhere if the lexicon is open, a
// word may also be an unknown one.
void SearchGraph::weigh_lexicon() {
    const std::vector<double>& lookahead = lexicon_->lookahead();
    const std::int32_t nodes = lexicon_->tree().size();
    lexicon_view_ = lexicon_->view();
    const TreeView& tree = lexicon_view_.tree;
    const bool closed = lexicon_view_.closed;
    const auto weighed = [&](double nats) { return nats != 0 ? view_.alpha * nats : 0.0; };
    ahead_.resize(nodes);
    nodes_ = lexicon_->tree().nodes();
    lexicon_view_.ahead_off = closed ? kNothing : weighed(view_.unknown_score);
    lexicon_view_.back_off = std::exp(-lexicon_view_.ahead_off);
    for (std::int32_t v = 1; v < nodes; ++v)
        ahead_[v] = weighed(closed ? lookahead[v] : std::max(lookahead[v], view_.unknown_score));
    std::vector<double> below(nodes, std::isnan(lexicon_view_.ahead_off) ? kNothing : lexicon_view_.ahead_off);
    for (std::int32_t v = nodes - 1; v >= 0; --v) {
        for (std::int32_t i = tree.first[v]; i < tree.first[v + 1]; ++i) {
            nodes_[i + 1].come = std::exp(ahead_[i + 1] - ahead_[v]);
            below[v] = std::max({below[v], ahead_[i + 1], below[i + 1]});
        }
        nodes_[v].go = std::exp(lexicon_view_.ahead_off - ahead_[v]);
        back_.push_back(std::exp(-ahead_[v]));
        reach_.push_back(std::exp(below[v] - ahead_[v]));
    }
    std::reverse(back_.begin(), back_.end());
    std::reverse(reach_.begin(), reach_.end());
    lexicon_view_.nodes = nodes_.data();
    lexicon_view_.ahead = ahead_.data();
    lexicon_view_.back = back_.data();
    lexicon_view_.reach = reach_.data();
    lexicon_view_.deepest = std::exp(below[0]);
    view_.lexicon = &lexicon_view_;
}

// Chooses each token's bit in sets. The symbols of a closed lexicon are numbered in the order of its tree, so up to 63
// letters have different bits.
void SearchGraph::name_tokens() {
    const SpellingView& spelling = view_.spelling;
    const bool closed = lexicon_ && lexicon_view_.closed;
    std::vector<std::int32_t> rank(spelling.num_symbols, closed ? -1 : 0);  // -1 if the lexicon lacks it
    rank[kBoundary] = 0;
    for (std::int32_t v = 1, count = 0; closed && v < lexicon_->tree().size(); ++v) {
        const std::int32_t symbol = lexicon_view_.tree.symbols[v - 1];
        if (symbol < spelling.num_symbols && rank[symbol] < 0) rank[symbol] = ++count;
    }
    for (std::int32_t c = 0; c < spelling.classes; ++c) {
        const std::int32_t* const begin = spelling.symbols + spelling.offsets[c];
        const std::int32_t* const end = spelling.symbols + spelling.offsets[c + 1];
        const auto known = [&](std::int32_t symbol) { return rank[symbol] >= 0; };
        const bool possible = (begin < end || !closed) && std::all_of(begin, end, known);
        const std::int32_t place = spelling.classes <= kMaskClasses ? c : begin < end ? rank[*begin] & 63 : 0;
        bit_.push_back(possible ? std::uint64_t(1) << place : 0);
    }
    view_.bit = bit_.data();
}

// The tokens that may follow each node of a closed lexicon.
void SearchGraph::find_tokens() {
    const SpellingView& spelling = view_.spelling;
    const TreeView& tree = lexicon_view_.tree;
    std::uint64_t closing = 0, separator = 0;
    std::vector<std::uint64_t> begun(spelling.num_symbols, 0);
    for (std::int32_t c = 0; c < spelling.classes; ++c) {
        if (spelling.kind[c] == Kind::kSpecial) continue;
        const std::int32_t first = spelling.symbols[spelling.offsets[c]];
        std::uint64_t& set = c == spelling.separator ? separator : first == kBoundary ? closing : begun[first];
        set |= bit_[c];
    }
    for (std::int32_t v = 0; v < lexicon_->tree().size(); ++v) {
        const bool ends = lexicon_view_.word_offsets[v] < lexicon_view_.word_offsets[v + 1];
        std::uint64_t found = v == kRootNode ? closing : ends ? closing | separator : 0;
        for (std::int32_t i = tree.first[v]; i < tree.first[v + 1]; ++i)
            if (tree.symbols[i] < spelling.num_symbols) found |= begun[tree.symbols[i]];
        tokens_.push_back(found);
    }
    lexicon_view_.tokens = tokens_.data();
}

}  // namespace ctckit
