// Reads the binary files of KenLM (kheafield.com/code/kenlm), version 5 of their format.
//
// Files with probing hash tables are used in place: they have hashes instead of n-grams, so they can't be converted.
// Files with tries have words, and are converted to an NgramModel.
#ifndef CTCKIT_LANGUAGE_KENLM_H
#define CTCKIT_LANGUAGE_KENLM_H

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "model.h"

namespace ctckit {

struct KenlmHeader {
    explicit KenlmHeader(std::string_view file);  // throws std::invalid_argument if it is not one that can be read

    enum Type { kProbing, kProbingWithRestCosts, kTrie, kQuantisedTrie, kArrayTrie, kQuantisedArrayTrie };
    Type type;
    float probing_multiplier;
    bool has_words;
    std::vector<std::uint64_t> counts;
    std::uint64_t size;  // of the header
};

bool is_kenlm(std::string_view first);

// KenLM's own model with the same queries, states and scores.
class KenlmModel : public WordModel {
   public:
    // The bytes must outlive it.
    explicit KenlmModel(std::string_view file);

    LanguageState begin(bool sentence) const override;
    double score(const LanguageState& from, std::uint32_t word, LanguageState& to) const override;
    double bound() const override;

    std::uint32_t id(std::string_view word) const override;
    std::uint32_t end() const override { return end_; }
    std::uint32_t num_words() const override { return num_words_; }
    std::vector<std::uint64_t> counts() const override { return header_.counts; }
    bool has_unknown() const override;
    std::vector<std::string_view> words() const;  // empty if the file leaves them out

   private:
    struct Weights {
        float score, backoff;
    };
    struct Table {  // open, from the remainder of the key on; an entry begins with its key, 0 if it is empty
        const char* data = nullptr;
        std::uint64_t buckets = 0, entry = 0;
        const char* find(std::uint64_t key) const;
    };

    Weights unigram(std::uint32_t word) const;
    Weights middle(std::size_t order, std::uint64_t key, bool& found) const;

    KenlmHeader header_;
    std::size_t order_;
    std::uint32_t num_words_, start_, end_;
    Table vocabulary_;
    const char* unigrams_;
    std::vector<Table> tables_;  // by order, from 2
    std::string_view words_;
    mutable std::once_flag bounded_;
    mutable double bound_ = 0;
};

// The model of a file with a trie, as the bytes of an NgramModel.
std::vector<char> read_kenlm_trie(std::string_view file);

}  // namespace ctckit

#endif
