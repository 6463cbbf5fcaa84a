// The interfaces of language models: for the search, and for Python. A model is read-only after it is made, so any
// number of threads may use it. Scores are natural logarithms. Includes only the standard library.
#ifndef CTCKIT_LANGUAGE_MODEL_H
#define CTCKIT_LANGUAGE_MODEL_H

#include <cstdint>
#include <string_view>
#include <vector>

namespace ctckit {

// What a model remembers of the words so far. If all texts have the same scores after two states, these are equal byte
// by byte, as far as the model can tell. Unused entries are 0.
struct LanguageState {
    std::uint32_t word[8];
};

// Words are numbers from 0. Word 0 is the unknown word, and so is any number that isn't a word of the model.
class LanguageModel {
   public:
    virtual ~LanguageModel() = default;

    // After the start of a sentence, or without any context.
    virtual LanguageState begin(bool sentence) const = 0;

    // ln P(word | from), and the state after it; `to` may be `from`. Throws what a model that is computed elsewhere
    // throws; models from files throw nothing.
    virtual double score(const LanguageState& from, std::uint32_t word, LanguageState& to) const = 0;

    // An upper bound of ln P in any state. It may be above 0, since back-offs may be.
    virtual double bound() const = 0;
};

// A model whose words are strings.
class WordModel : public LanguageModel {
   public:
    virtual std::uint32_t id(std::string_view word) const = 0;  // 0 for unknown words
    virtual std::vector<std::uint32_t> ids(const std::vector<std::string_view>& words) const {
        std::vector<std::uint32_t> found;
        for (const std::string_view word : words) found.push_back(id(word));
        return found;
    }
    virtual std::uint32_t end() const = 0;                  // the end of a sentence, </s>
    virtual std::uint32_t num_words() const = 0;            // including the unknown one
    virtual std::vector<std::uint64_t> counts() const = 0;  // n-grams of each order, as its file announces them
    virtual bool has_unknown() const = 0;                   // whether its file gives P(<unk>)
};

}  // namespace ctckit

#endif
