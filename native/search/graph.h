// Search graphs as plain data: search.cpp is compiled once for each instruction set, and must not share inline
// functions with other objects. graph.cpp checks the arrays that Python passes, and computes the rest.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "language/model.h"

namespace ctckit {

constexpr std::int32_t kBoundary = 0;     // the symbol between words
constexpr std::int32_t kUnknown = -1;     // among words: one that the lexicon lacks
constexpr std::int32_t kRootNode = 0;     // of the lexicon: between words
constexpr std::int32_t kOffNode = -1;     // within a word that the lexicon lacks
constexpr int kMaskClasses = 64;          // with at most this many classes, a set of tokens is a number
constexpr int kMostClosings = 16;         // words that one token may close
constexpr double kLargestWeight = 300.0;  // nats that one symbol may add: exponentials must not overflow

enum class Kind : std::uint8_t {
    kSpecial,  // spells nothing
    kInner,    // spells a part of a word
    kClosing   // has a boundary: it closes the word before it, if there is one
};

// Nodes are numbered breadth first; children of v are first[v] + 1 to first[v + 1], in the order of their symbols.
struct TreeView {
    const std::int32_t* first;
    const std::int32_t* symbols;    // symbols[v - 1] leads to node v
    const std::int32_t* from_root;  // (num_symbols,) the root's child, 0 if there is none
    std::int32_t num_symbols;       // of from_root
    bool few_symbols;               // all are below 64
};

// What a step in a tree needs, in one cache line.
struct TreeNode {
    std::uint64_t symbols;  // of the children, as bits, if there are few
    std::int32_t first;     // as in the tree
    std::int32_t fail;      // of an automaton
    double come, go;        // factors of a step to the node, and of leaving the tree: see the views
};

// Successive symbols of a token, as indices of the spelling's array.
struct Run {
    std::int32_t begin, end;
};

struct SpellingView {
    std::int32_t classes;
    std::int32_t separator;
    const std::int32_t* offsets;
    const std::int32_t* symbols;
    const Kind* kind;                 // (classes,)
    const std::int32_t* letter;       // (classes,) the only symbol of a token that is one letter; else -1
    const std::int32_t* run_offsets;  // (num_symbols + 1,) of the runs by their first symbol
    const Run* runs;                  // tokens; and without the boundary, those that begin with one
    std::int32_t num_symbols;
    bool boundaries_first;     // whether boundaries are only the first symbol of a token
    std::int32_t most_closed;  // how many words a token may close
};

struct LexiconView {
    TreeView tree;
    const std::int32_t* word_offsets;
    const std::int32_t* words;
    const std::int32_t* model_words;
    bool closed;
    // With a graph's weights: factors of a step from the parent to a node, and from it out of the tree; the potential
    // of a node in nats; and an upper bound of the factor of any token without a boundary.
    const TreeNode* nodes;
    const double* ahead;
    const double* back;  // e^-ahead: the factor that takes the potential back
    const double* reach;
    const std::uint64_t* tokens;  // (V,) the set of tokens that may follow a node; null if the lexicon is open: all
    double ahead_off, back_off;
    double deepest;  // the greatest factor of a way from the root to a node
};

struct HotwordsView {
    TreeView tree;
    const TreeNode* nodes;  // factors of a step to a node, e^(reward + potential), and from it, e^-potential
    const double* rewards;
    const double* potentials;
    std::atomic<double>* highest;  // an upper bound of the factor of any token; NaN until it is computed
    std::int32_t start;
};

struct GraphView {
    SpellingView spelling;
    const LexiconView* lexicon;    // or null
    const HotwordsView* hotwords;  // or null
    const LanguageModel* model;    // or null
    const std::int32_t* model_tokens;
    const std::uint64_t* bit;  // (classes,) a token's bit in sets: its own, if classes are few; else, if the lexicon is
                               // closed, that of its first symbol; 0 if no word of the lexicon can have the token
    const double* after;       // (classes,) the factor of a token's letters after the boundary that it begins with
    double most_after;         // at least 1
    std::int32_t blank;
    bool by_token, sentence_bounds;
    std::uint32_t end;
    double alpha, beta, unknown_score;
    double most_said;                           // an upper bound of the factor of closing a word, without its potential
    double most_spoken;                         // an upper bound of the factor of a token that the model scores
    std::int32_t lexicon_nodes, hotword_nodes;  // at least 1
};

// What tokens spell. Constructors check their arrays, and throw std::invalid_argument.
class Spelling {
   public:
    Spelling(std::vector<std::int32_t> offsets, std::vector<std::int32_t> symbols, std::int32_t separator);
    Spelling(const Spelling&) = delete;
    const SpellingView& view() const { return view_; }

   private:
    void leave_one_boundary();

    std::vector<std::int32_t> offsets_, symbols_, letter_, run_offsets_;
    std::vector<Run> runs_;
    std::vector<Kind> kind_;
    SpellingView view_;
};

class Tree {
   public:
    Tree(std::vector<std::int32_t> first, std::vector<std::int32_t> symbols, std::int32_t least_symbol);
    Tree(const Tree&) = delete;
    const TreeView& view() const { return view_; }
    std::int32_t size() const { return std::int32_t(first_.size()) - 1; }
    // The nodes; without fail and factors.
    std::vector<TreeNode> nodes() const;

   private:
    std::vector<std::int32_t> first_, symbols_, from_root_;
    TreeView view_;
};

class Lexicon {
   public:
    Lexicon(std::vector<std::int32_t> first, std::vector<std::int32_t> symbols, std::vector<std::int32_t> word_offsets,
            std::vector<std::int32_t> words, std::vector<std::int32_t> model_words, std::vector<double> lookahead,
            bool closed);
    Lexicon(const Lexicon&) = delete;
    const Tree& tree() const { return tree_; }
    const std::vector<double>& lookahead() const { return lookahead_; }
    LexiconView view() const;

   private:
    Tree tree_;
    std::vector<std::int32_t> word_offsets_, words_, model_words_;
    std::vector<double> lookahead_;
    bool closed_;
};

// Made for a spelling, because the upper bounds depend on which symbols one token has.
class Hotwords {
   public:
    Hotwords(std::shared_ptr<const Spelling> spelling, std::vector<std::int32_t> first,
             std::vector<std::int32_t> symbols, std::vector<std::int32_t> fail, std::vector<double> rewards,
             std::vector<double> potentials, std::int32_t start);
    Hotwords(const Hotwords&) = delete;
    const HotwordsView& view() const { return view_; }
    std::int32_t size() const { return tree_.size(); }

   private:
    std::shared_ptr<const Spelling> spelling_;
    Tree tree_;
    std::vector<TreeNode> nodes_;
    std::vector<double> rewards_, potentials_;
    std::unique_ptr<std::atomic<double>[]> highest_;
    HotwordsView view_;
};

struct Weights {
    double alpha, beta, unknown_score;
};

// Spelling, lexicon, model and hotwords, with their weights.
class SearchGraph {
   public:
    SearchGraph(std::shared_ptr<const Spelling> spelling, std::int32_t blank, std::shared_ptr<const Lexicon> lexicon,
                std::shared_ptr<const Hotwords> hotwords, const LanguageModel* model, std::uint32_t end, bool by_token,
                std::vector<std::int32_t> model_tokens, bool sentence_bounds, const Weights& weights);
    SearchGraph(const SearchGraph&) = delete;
    const GraphView& view() const { return view_; }

   private:
    void weigh_lexicon();
    void name_tokens();
    void find_tokens();
    double factor_after(std::int32_t token) const;

    std::shared_ptr<const Spelling> spelling_;
    std::shared_ptr<const Lexicon> lexicon_;
    std::shared_ptr<const Hotwords> hotwords_;
    std::vector<std::int32_t> model_tokens_;
    std::vector<TreeNode> nodes_;
    std::vector<double> ahead_, back_, reach_, after_;
    std::vector<std::uint64_t> bit_, tokens_;
    LexiconView lexicon_view_;
    GraphView view_;
};

}  // namespace ctckit
