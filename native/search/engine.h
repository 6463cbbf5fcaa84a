// The search of one sample as the rest of the extension sees it. Each instruction set has its own, and its table of
// kernels makes it.
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

// A text, or the part of one that is settled. The score's parts are those of the whole text so far.
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

// Everything may throw std::bad_alloc, and what a language model throws; then only reset() and the destructor may be
// called. Not for several threads at a time.
class Engine {
   public:
    virtual ~Engine();
    // As new.
    virtual void reset() = 0;
    virtual void feed(const FrameBlock& block) = 0;
    // Of enum ctckit_status.
    virtual int status() const = 0;
    virtual std::int64_t num_frames() const = 0;
    // The best texts, the best first. `finished` closes their words and ends the sentence.
    virtual void texts(std::int64_t most, bool finished, TextSink& sink) = 0;
    // The beginning that all prefixes share. It is forgotten: texts go on from there.
    virtual void take_stem(TextSink& sink) = 0;
    virtual void save(ByteSink& sink) = 0;
    // What save() wrote, of a search with the same graph and options. False if the bytes are something else.
    virtual bool restore(const void* bytes, std::size_t count) = 0;
};

}  // namespace ctckit
