// What a search walks, as plain data: search.cpp is compiled once per instruction set and must share no inline function
// with other objects. graph.cpp checks the arrays that Python hands over and fills in the rest.
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
constexpr int kMaskClasses = 64;          // up to here, sets of tokens are the bits of a number
constexpr int kMostClosings = 16;         // words that one token may close
constexpr double kLargestWeight = 300.0;  // nats that one symbol may add: their exponentials must stay numbers

enum class Kind : std::uint8_t {
    kSpecial,  // spells nothing
    kInner,    // goes on with a word
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

// What a step in a tree needs, on one line of memory.
struct TreeNode {
    std::uint64_t symbols;  // of the children, as bits, if there are few
    std::int32_t first;     // as in the tree
    std::int32_t fail;      // of an automaton
    double come, go;        // factors: see LexiconView and HotwordsView
};

// Symbols that are heard one after the other, of some token: places in the spelling's array.
struct Run {
    std::int32_t begin, end;
};

struct SpellingView {
    std::int32_t classes;
    std::int32_t separator;
    const std::int32_t* offsets;
    const std::int32_t* symbols;
    const Kind* kind;            // (classes,)
    const std::int32_t* letter;  // (classes,) the symbol of a token that has just one, which is no boundary; else -1
    const std::int32_t* run_offsets;  // (num_symbols + 1,) of the runs by their first symbol
    const Run* runs;                  // tokens, and again without a boundary that they begin with
    std::int32_t num_symbols;
    bool boundaries_first;     // a boundary is a token's first symbol, or none of them
    std::int32_t most_closed;  // words that one token closes at most
};

struct LexiconView {
    TreeView tree;
    const std::int32_t* word_offsets;
    const std::int32_t* words;
    const std::int32_t* model_words;
    bool closed;
    // With the weights of a graph: factors of coming to a node from its parent, and of going from it off the tree; nats
    // ahead of it; no token without a boundary has a greater factor than reach.
    const TreeNode* nodes;
    const double* ahead;
    const double* back;  // e^-ahead: what is ahead of a node, taken back
    const double* reach;
    const std::uint64_t* tokens;  // (V,) sets of the tokens that may follow a node; null: all, since it isn't closed
    double ahead_off, back_off;
    double deepest;  // the greatest factor of going from the root to any node
};

struct HotwordsView {
    TreeView tree;
    const TreeNode* nodes;  // factors of coming to a node, e^(reward + potential), and of going from it, e^-potential
    const double* rewards;
    const double* potentials;
    std::atomic<double>* highest;  // the greatest raise that any token leads to from here; NaN until it is asked for
    std::int32_t start;
};

struct GraphView {
    SpellingView spelling;
    const LexiconView* lexicon;    // or null
    const HotwordsView* hotwords;  // or null
    const LanguageModel* model;    // or null
    const std::int32_t* model_tokens;
    const std::uint64_t* bit;  // (classes,) what stands for a token in a set: if classes are few, its own bit; else, of
                               // a closed lexicon, one for its first symbol; 0 for a token that no word of it can have
    const double* after;       // (classes,) the factor of a token's letters behind the boundary that it begins with
    double most_after;         // at least 1
    std::int32_t blank;
    bool by_token, sentence_bounds;
    std::uint32_t end;
    double alpha, beta, unknown_score;
    double most_said;    // the greatest factor that closing a word may have, what was ahead of it apart
    double most_spoken;  // the greatest factor of a token that the model is asked for
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
    // Their steps, without fail and factors.
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

// Bound to a spelling, since tokens, not symbols, are what can be gained at once.
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

// All of it, with weights.
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
