// Builds a model from its n-grams: first all words, then all n-grams of two words, and so on; within an order they may
// come in any order of words.
#ifndef CTCKIT_LANGUAGE_BUILD_H
#define CTCKIT_LANGUAGE_BUILD_H

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
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
    std::uint32_t id(std::string_view word) const { return words_.id(word); }

    // An n-gram of the order that is being built; false if its first words are not an n-gram.
    bool add(const std::uint32_t* words, float score, float backoff);

    // Ends an order, the words' too. Of two equal n-grams, returns how many of this order came before each.
    std::optional<std::pair<std::uint32_t, std::uint32_t>> end_order();

    // After the last order. `adds_unknown`: nobody gave <unk>, which then has log10 P -100, as with KenLM.
    std::vector<char> finish();
    bool adds_unknown() const { return !has_unknown_; }

   private:
    struct Entry {
        std::uint32_t parent, word;
        float score, backoff;
    };

    std::uint32_t child(std::uint32_t node, std::uint32_t word) const;
    std::uint32_t suffix(std::uint32_t node) const { return contexts_[node].arrival.state; }
    std::uint32_t longest_suffix(std::uint32_t parent, std::uint32_t word) const;
    std::vector<std::uint64_t> sorted_entries() const;
    void start_order();
    void end_words();
    double keep_what_matters();

    std::vector<std::uint64_t> counts_;
    std::uint32_t highest_;
    std::uint32_t order_ = 1;            // being built
    std::vector<std::uint32_t> begins_;  // the first node of each order so far; then the first of the next
    WordTable words_;
    bool has_unknown_ = false;
    // A state is at first the node's suffix, whether it matters or not. Behind the last context is one more, with the
    // end of their children; the nodes of the highest order are no contexts.
    std::vector<Context> contexts_;
    std::vector<Arrival> arrivals_;
    std::vector<std::uint32_t> keys_;                      // by node, those of single words left out
    std::vector<Entry> entries_;                           // of the order that is being built
    std::uint32_t last_[kMostOrders], path_[kMostOrders];  // the words of the last n-gram, the nodes of its beginnings
    std::uint32_t known_ = 0;                              // how many of them are set
};

}  // namespace ctckit

#endif
