// Builds a model from its n-grams: first all words, then all n-grams of two words, and so on; within an order they may
// come in any order of words.
#ifndef CTCKIT_LANGUAGE_BUILD_H
#define CTCKIT_LANGUAGE_BUILD_H

#include <cstdint>
#include <string_view>
#include <vector>

#include "ngram.h"
#include "words.h"

namespace ctckit {

class NgramBuilder {
   public:
    explicit NgramBuilder(const std::vector<std::uint64_t>& counts);  // as announced, of each order

    // Scores and back-offs are nats. <unk> is word 0, wherever it comes.
    enum class Word { kNew, kTwice };
    Word add_word(std::string_view word, float score, float backoff);
    const WordTable& words() const { return words_; }

    // An n-gram of the order that is being built.
    void add(const std::uint32_t* words, float score, float backoff);

    // What is wrong with an order: an n-gram whose first words are not an n-gram, or a second one with the same words.
    // Gives the index of each within its order.
    struct Fault {
        enum Kind { kNone, kNoBeginning, kTwice } kind = kNone;
        std::uint32_t index = 0, earlier = 0;
    };

    // Ends an order; also that of single words. N-grams whose first words are missing are a fault, or are left out.
    Fault end_order(bool leave_out = false);

    // After the last order. `adds_unknown`: nobody gave <unk>, which then has log10 P -100, as with KenLM.
    std::vector<char> finish();
    bool adds_unknown() const { return !has_unknown_; }

   private:
    struct Entry {
        std::uint32_t parent, word;  // parent: 0 until it is found
        float score, backoff;
    };

    std::uint32_t child(std::uint32_t node, std::uint32_t word) const;
    std::uint32_t suffix(std::uint32_t node) const { return contexts_[node].arrival.state; }
    std::uint32_t longest_suffix(std::uint32_t parent, std::uint32_t word) const;
    std::uint32_t find_parents();
    void find_parents(std::uint32_t first, std::uint32_t count);
    std::vector<std::uint64_t> sorted_entries() const;
    Fault link_entries(const std::vector<std::uint64_t>& sorted);
    void start_order();
    void end_words();
    double keep_what_matters();

    std::vector<std::uint64_t> counts_;
    std::uint32_t highest_;
    std::uint32_t order_ = 1;            // being built
    std::vector<std::uint32_t> begins_;  // the first node of each order so far; then the first of the next
    WordTable words_;
    bool has_unknown_ = false;
    // A state is at first the node's suffix, whether it matters or not. One more context follows the last, with the end
    // of the children; the nodes of the highest order are not contexts.
    std::vector<Context> contexts_;
    std::vector<Arrival> arrivals_;
    std::vector<std::uint32_t> keys_;        // by node, those of single words left out
    std::vector<Entry> entries_;             // of the order that is being built
    std::vector<std::uint32_t> beginnings_;  // the first words of each entry, all but its last
};

}  // namespace ctckit

#endif
