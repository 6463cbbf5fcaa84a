// Searches over a batch, on threads, with results as flat arrays.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ctckit.h"
#include "search/engine.h"

namespace ctckit {

// Texts, concatenated.
class Texts final : public TextSink {
   public:
    void take(const TextView& text) override;
    void append(const Texts& others);
    std::int64_t size() const { return std::int64_t(token_ends.size()); }

    std::vector<std::int64_t> token_ends, word_ends;  // of each text
    std::vector<std::int32_t> tokens, frames, words;
    std::vector<double> scores;  // (texts, 5) score, ctc, language, units, hotwords
};

class Bytes final : public ByteSink {
   public:
    void take(const void* bytes, std::size_t count) override;
    std::vector<char> held;
};

// A search by an instruction set's kernels. Throws std::invalid_argument if there are none of that name.
std::unique_ptr<Engine> make_engine(const GraphView& graph, const SearchOptions& options, const char* instruction_set);

// Up to `nbest` texts of each sample. A sample is searched by one thread. text_ends: the number of texts up to the end
// of each sample. Throws std::bad_alloc, and what a language model throws.
void search_batch(const GraphView& graph, const SearchOptions& options, const ctckit_scores& scores,
                  const std::int64_t* frames, std::int64_t nbest, const char* instruction_set, int threads,
                  std::uint8_t* status, std::int64_t* text_ends, Texts& texts);

}  // namespace ctckit
