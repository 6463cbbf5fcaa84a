// What the search asks of a language model, and what Python asks besides. A model is read-only after it is made, so
// that any number of threads may use it at once. Scores are natural logarithms. Includes only the standard library.
#ifndef CTCKIT_LANGUAGE_MODEL_H
#define CTCKIT_LANGUAGE_MODEL_H

#include <cstdint>
#include <string_view>
#include <vector>

namespace ctckit {

// All that the words so far mean to a model. Two states after which the model gives all texts the same scores are
// equal, byte by byte, wherever the model can tell; entries that it does not use are 0.
struct LanguageState {
    std::uint32_t word[8];
};

// Words are numbers from 0; 0 is the unknown word, as is every number that is no word.
class LanguageModel {
   public:
    virtual ~LanguageModel() = default;

    // After the start of a sentence, or without any context.
    virtual LanguageState begin(bool sentence) const = 0;

    // ln P(word | from), and the state behind it; `to` may be `from`. Throws what the model throws, which may be asked
    // elsewhere: those of files throw nothing.
    virtual double score(const LanguageState& from, std::uint32_t word, LanguageState& to) const = 0;

    // No ln P is above it, whatever the state. It may lie above 0, since back-offs may.
    virtual double bound() const = 0;
};

// A model whose words are strings.
class WordModel : public LanguageModel {
   public:
    virtual std::uint32_t id(std::string_view word) const = 0;  // 0 for words that it lacks
    virtual std::vector<std::uint32_t> ids(const std::vector<std::string_view>& words) const {
        std::vector<std::uint32_t> found;
        for (const std::string_view word : words) found.push_back(id(word));
        return found;
    }
    virtual std::uint32_t end() const = 0;                  // the end of a sentence, </s>
    virtual std::uint32_t num_words() const = 0;            // with the unknown one
    virtual std::vector<std::uint64_t> counts() const = 0;  // n-grams of each order, as its file announces them
    virtual bool has_unknown() const = 0;                   // whether its file gives P(<unk>)
};

}  // namespace ctckit

#endif
