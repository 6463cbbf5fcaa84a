// The interface of a search of one sample. Each instruction set has its own implementation, which its table of kernels
// creates.
#pragma once

#include <cstdint>

#include "search/graph.h"

namespace ctckit {

struct SearchOptions {
    std::int32_t beam_width;
    std::int32_t tokens_per_frame;  // 0: all
    double beam_threshold;          // nats; +inf: none
    bool recombine;
    bool from_logits;
};

// Frames of one sample.
struct FrameBlock {
    const void* data;
    std::int32_t dtype;  // of enum ctckit_dtype
    std::int64_t frames, stride_t, stride_c;
};

// A text, or its part that can't change any more. The parts of the score are those of the whole text so far.
struct TextView {
    const std::int32_t* tokens;
    const std::int32_t* frames;  // of each token, see Search::stay()
    std::int64_t num_tokens;
    const std::int32_t* words;
    std::int64_t num_words;
    double score, ctc, language, hotwords;
    std::int64_t units;
};

class TextSink {
   public:
    virtual void take(const TextView& text) = 0;

   protected:
    ~TextSink();
};

class ByteSink {
   public:
    virtual void take(const void* bytes, std::size_t count) = 0;

   protected:
    ~ByteSink();
};

// All functions may throw std::bad_alloc, and what a language model throws. After that, only reset() and the destructor
// may be called. Not thread-safe.
class Engine {
   public:
    virtual ~Engine();
    // Starts again.
    virtual void reset() = 0;
    virtual void feed(const FrameBlock& block) = 0;
    // A value of enum ctckit_status.
    virtual int status() const = 0;
    virtual std::int64_t num_frames() const = 0;
    // The best texts, the best first. `finished` closes their words and ends the sentence.
    virtual void texts(std::int64_t most, bool finished, TextSink& sink) = 0;
    // The beginning that all prefixes share. It is removed from the search, and later texts lack it.
    virtual void take_stem(TextSink& sink) = 0;
    virtual void save(ByteSink& sink) = 0;
    // Reads what save() of a search with the same graph and options has written. False for any other bytes.
    virtual bool restore(const void* bytes, std::size_t count) = 0;
};

}  // namespace ctckit
