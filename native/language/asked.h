// A language model that is computed elsewhere: a function that returns the ln P of every word after a prefix. This
// class numbers the prefixes, which are the states, and keeps the rows that the function returned.
//
// The function is called for one prefix at a time. A network rounds differently in another batch, so texts would depend
// on the threads. A frame needs few prefixes anyway.
//
// Prefixes are kept as long as the model, about 60 bytes each. The number of rows is limited: the least recently used
// one is dropped, and computed again if it is needed. Includes only the standard library.
#ifndef CTCKIT_LANGUAGE_ASKED_H
#define CTCKIT_LANGUAGE_ASKED_H

#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model.h"

namespace ctckit {

// The columns of the model's words in its answers.
struct AskedWords {
    std::vector<std::int32_t> columns;  // of each word, by number; -1 if the model has no unknown word
    std::int32_t num_columns;
    std::int32_t start;  // the column of the sentence's beginning; -1 if prefixes don't have it
    std::uint32_t end;   // the word that ends a sentence; if it is not a word, the end costs nothing
};

class AskedModel : public LanguageModel {
   public:
    // Only the last `context` words of a prefix count; 0: all. At most `most_rows` rows are kept. Throws
    // std::invalid_argument.
    AskedModel(AskedWords words, std::uint32_t context, std::size_t most_rows);

    LanguageState begin(bool sentence) const override;
    // Throws what answer() throws.
    double score(const LanguageState& from, std::uint32_t word, LanguageState& to) const override;
    double bound() const override { return 0.0; }             // a probability is at most 1
    std::vector<float> row(const LanguageState& from) const;  // the ln P of all that may follow

    // All prefixes so far, each as its parent and its last column. restore() reads them into a new model; false if they
    // are not valid.
    std::vector<std::int32_t> save() const;
    bool restore(const std::vector<std::int32_t>& saved);

   protected:
    using Prefix = std::vector<std::int32_t>;  // columns

    // `num_columns` numbers, the ln P of what follows a prefix. Called by one thread at a time.
    virtual std::vector<float> answer(const Prefix& prefix) const = 0;
    std::int32_t num_columns() const { return words_.num_columns; }

   private:
    struct Node {
        std::uint32_t before, length;
        std::int32_t column;
    };
    struct Row {
        std::vector<float> nats;
        std::list<std::uint32_t>::iterator use;
    };

    std::uint32_t node_of(const LanguageState& state) const;
    // Calls use(row) with what follows a prefix.
    template <class Use>
    void use_row(std::uint32_t node, Use use) const;
    template <class Use>
    bool use_known(std::uint32_t node, Use use) const;
    void keep(std::uint32_t node, std::vector<float> nats) const;
    std::uint32_t next(std::uint32_t node, std::int32_t column) const;
    std::uint32_t child(std::uint32_t node, std::int32_t column) const;
    Prefix spelled(std::uint32_t node) const;

    const AskedWords words_;
    const std::uint32_t context_;
    const std::size_t most_rows_;
    std::uint32_t start_ = 0;

    mutable std::recursive_mutex asking_;  // taken before mutex_, and never by a thread that holds the GIL
    mutable std::mutex mutex_;             // for all members below; never held while the function is called
    mutable std::vector<Node> nodes_;
    mutable std::unordered_map<std::uint64_t, std::uint32_t> steps_;  // from a node and a column to the next node
    mutable std::unordered_map<std::uint32_t, Row> rows_;
    mutable std::list<std::uint32_t> used_;  // the nodes that have rows, the last used first
};

}  // namespace ctckit

#endif
