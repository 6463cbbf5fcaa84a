// Reads models in the ARPA format, in pieces, as a file or a decompressor hands them out.
//
// What is accepted is what KenLM accepts, and a little more: fields may be separated by any number of spaces and tabs,
// lines may end in \r\n, P may be -inf, a model may have one order only.
#ifndef CTCKIT_LANGUAGE_ARPA_H
#define CTCKIT_LANGUAGE_ARPA_H

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "build.h"

namespace ctckit {

class ArpaReader {
   public:
    // Both throw std::invalid_argument, which says the line, and what was expected there.
    void feed(std::string_view piece);
    std::vector<char> finish();

   private:
    enum class Part { kBefore, kCounts, kHeader, kGrams, kEnd };

    void line(std::string_view text);
    void before(std::string_view text);
    void count(std::string_view text);
    void header(std::string_view text);
    void ngram(std::string_view text);
    void word(std::string_view word, float score, float backoff);
    void look_up();
    void end_counts();
    void end_order();
    std::string expected() const;
    [[noreturn]] void fail(const std::string& what);
    [[noreturn]] void fail_at(std::uint64_t line, const std::string& what);

    // N-grams whose words are still to be looked up: in a row, while the table's memory for them is on its way. Their
    // words lie in the piece at hand.
    struct Waiting {
        float score, backoff;
        std::uint64_t line;
    };
    struct Wanted {
        std::string_view word;
        std::uint64_t hash;
    };

    Part part_ = Part::kBefore;
    std::uint64_t line_ = 0;  // of the line at hand, from 1
    std::string rest_;        // of the last piece, after its last whole line
    std::vector<std::uint64_t> counts_;
    std::unique_ptr<NgramBuilder> builder_;
    std::uint32_t order_ = 0;  // at hand
    std::uint64_t read_ = 0;   // n-grams of it
    std::uint64_t first_ = 0;  // the line of its first one
    std::vector<Waiting> waiting_;
    std::vector<Wanted> wanted_;       // the words of all of them
    std::vector<std::uint64_t> gaps_;  // how many of it were read before each empty line among them
};

// Writes what ArpaReader reads; numbers get as few digits as give the same model back.
std::string to_arpa(const NgramModel& model);

}  // namespace ctckit

#endif
