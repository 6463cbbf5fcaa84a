#include "search/run.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <numeric>
#include <stdexcept>

#include "kernels.h"
#include "threads.h"

namespace ctckit {
namespace {

constexpr double kWorthAThread = 2e-4;      // seconds, as in batch.cpp
constexpr double kFrameSeconds = 5e-7;      // of a frame, roughly; and for each prefix and class:
constexpr std::int64_t kFramesAtOnce = 64;  // then a thread checks whether another one has failed
constexpr double kPrefixSeconds = 5e-9, kClassSeconds = 1e-10;

std::int64_t item_size(std::int32_t dtype) {
    return dtype == CTCKIT_FLOAT64 ? 8 : dtype == CTCKIT_FLOAT32 ? 4 : 2;
}

}  // namespace

Engine::~Engine() = default;
TextSink::~TextSink() = default;
ByteSink::~ByteSink() = default;

void Texts::take(const TextView& text) {
    tokens.insert(tokens.end(), text.tokens, text.tokens + text.num_tokens);
    frames.insert(frames.end(), text.frames, text.frames + text.num_tokens);
    words.insert(words.end(), text.words, text.words + text.num_words);
    token_ends.push_back(std::int64_t(tokens.size()));
    word_ends.push_back(std::int64_t(words.size()));
    scores.insert(scores.end(), {text.score, text.ctc, text.language, double(text.units), text.hotwords});
}

void Texts::append(const Texts& others) {
    const auto extend = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    for (std::int64_t end : others.token_ends) token_ends.push_back(std::int64_t(tokens.size()) + end);
    for (std::int64_t end : others.word_ends) word_ends.push_back(std::int64_t(words.size()) + end);
    extend(tokens, others.tokens);
    extend(frames, others.frames);
    extend(words, others.words);
    extend(scores, others.scores);
}

void Bytes::take(const void* bytes, std::size_t count) {
    const char* const begin = static_cast<const char*>(bytes);
    held.insert(held.end(), begin, begin + count);
}

std::unique_ptr<Engine> make_engine(const GraphView& graph, const SearchOptions& options, const char* instruction_set) {
    const Kernels* const kernels = find_kernels(instruction_set);
    if (!kernels) throw std::invalid_argument("unknown instruction set");
    return std::unique_ptr<Engine>(kernels->make_search(graph, options));
}

void search_batch(const GraphView& graph, const SearchOptions& options, const ctckit_scores& scores,
                  const std::int64_t* frames, std::int64_t nbest, const char* instruction_set, int threads,
                  std::uint8_t* status, std::int64_t* text_ends, Texts& texts) {
    const std::int64_t size = scores.num_samples;
    std::vector<std::int64_t> order(size);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return frames[a] > frames[b]; });
    const double frame_seconds =
        kFrameSeconds + kPrefixSeconds * options.beam_width + kClassSeconds * graph.spelling.classes;
    const double seconds = double(std::accumulate(frames, frames + size, std::int64_t(0))) * frame_seconds;
    const std::int64_t useful = std::min<std::int64_t>(size, std::int64_t(seconds / kWorthAThread) + 1);
    const int workers = int(std::max<std::int64_t>(1, std::min<std::int64_t>(threads, useful)));
    std::vector<std::unique_ptr<Engine>> engines(workers);
    for (auto& engine : engines) engine = make_engine(graph, options, instruction_set);

    std::vector<Texts> found(size);
    std::atomic<bool> failed{false};
    std::exception_ptr error;
    each_on_threads(size, workers, [&](int worker, std::int64_t i) {
        if (failed) return;
        const std::int64_t n = order[i];
        const char* const sample =
            static_cast<const char*>(scores.data) + n * scores.stride_n * item_size(scores.dtype);
        try {
            Engine& engine = *engines[worker];
            engine.reset();
            for (std::int64_t t = 0; t < frames[n] && !failed; t += kFramesAtOnce) {
                const char* const block = sample + t * scores.stride_t * item_size(scores.dtype);
                const std::int64_t count = std::min(kFramesAtOnce, frames[n] - t);
                engine.feed({block, scores.dtype, count, scores.stride_t, scores.stride_c});
            }
            engine.texts(nbest, true, found[n]);
            status[n] = std::uint8_t(engine.status());
        } catch (...) {
            if (!failed.exchange(true)) error = std::current_exception();
        }
    });
    if (error) std::rethrow_exception(error);
    for (std::int64_t n = 0; n < size; ++n) {
        texts.append(found[n]);
        text_ends[n] = texts.size();
    }
}

}  // namespace ctckit
