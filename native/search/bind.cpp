// Binds the searches. Graphs are checked here, see search/graph.h; values that users choose are checked in Python.
#include "bind.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ctckit.h"
#include "search/run.h"

namespace nb = nanobind;

namespace ctckit {
namespace {

template <class T>
using Row = nb::ndarray<const T, nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Integers = Row<std::int32_t>;
using Numbers = Row<double>;

template <class T>
std::vector<T> copied(const Row<T>& row) {
    return {row.data(), row.data() + row.size()};
}

template <class T, class... Shape>
nb::ndarray<nb::numpy, T> array_of(std::vector<T>&& values, Shape... shape) {
    auto held = std::make_unique<std::vector<T>>(std::move(values));
    T* const data = held->data();
    nb::capsule owner(held.get(), [](void* pointer) noexcept { delete static_cast<std::vector<T>*>(pointer); });
    held.release();
    return nb::ndarray<nb::numpy, T>(data, {std::size_t(shape)...}, owner);
}

nb::tuple arrays_of(Texts&& texts) {
    const std::int64_t size = texts.size();
    const auto offsets = [size](std::vector<std::int64_t>& ends) {
        ends.insert(ends.begin(), 0);
        return array_of(std::move(ends), size + 1);
    };
    const std::size_t tokens = texts.tokens.size(), words = texts.words.size();
    return nb::make_tuple(offsets(texts.token_ends), array_of(std::move(texts.tokens), tokens),
                          array_of(std::move(texts.frames), tokens), offsets(texts.word_ends),
                          array_of(std::move(texts.words), words), array_of(std::move(texts.scores), size, 5));
}

// A graph, and the model that it refers to.
struct BoundGraph {
    nb::object model;
    SearchGraph graph;
};

void make_graph(BoundGraph* self, std::shared_ptr<Spelling> spelling, std::int32_t blank,
                std::shared_ptr<Lexicon> lexicon, std::shared_ptr<Hotwords> hotwords, nb::object model,
                std::uint32_t end, std::optional<Integers> model_tokens, bool sentence_bounds, double alpha,
                double beta, double unknown_score) {
    const LanguageModel* asked = model.is_none() ? nullptr : nb::cast<const LanguageModel*>(model);
    std::vector<std::int32_t> tokens;
    if (model_tokens) tokens = copied(*model_tokens);
    new (self) BoundGraph{model,
                          {spelling,
                           blank,
                           lexicon,
                           hotwords,
                           asked,
                           end,
                           model_tokens.has_value(),
                           std::move(tokens),
                           sentence_bounds,
                           {alpha, beta, unknown_score}}};
}

SearchOptions options_of(std::int32_t beam_width, bool recombine, bool from_logits, double beam_threshold,
                         std::int32_t tokens_per_frame) {
    require(beam_width >= 1 && beam_width <= (1 << 20), "beam_width must be at least 1, and at most 2^20");
    require(tokens_per_frame >= 0, "tokens_per_frame must be at least 0");
    require(beam_threshold >= 0, "beam_threshold must be at least 0");
    return {beam_width, tokens_per_frame, beam_threshold, recombine, from_logits};
}

// The search of one sample, chunk by chunk.
class BoundSearch {
   public:
    BoundSearch(std::shared_ptr<BoundGraph> graph, const SearchOptions& options, const std::string& isa)
        : graph_(std::move(graph)), engine_(make_engine(graph_->graph.view(), options, isa.c_str())) {}

    void feed(nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu> scores) {
        require(std::int64_t(scores.shape(1)) == graph_->graph.view().spelling.classes, "scores must have C classes");
        const FrameBlock block{scores.data(), dtype_of(scores.dtype()), std::int64_t(scores.shape(0)), scores.stride(0),
                               scores.stride(1)};
        const Use use(*this);
        nb::gil_scoped_release release;
        broken_ = true;
        engine_->feed(block);
        broken_ = false;
    }
    nb::tuple texts(std::int64_t most, bool finished) {
        Texts found;
        {
            const Use use(*this);
            nb::gil_scoped_release release;
            engine_->texts(most, finished, found);
        }
        return arrays_of(std::move(found));
    }
    nb::tuple take_stem() {
        Texts found;
        {
            const Use use(*this);
            engine_->take_stem(found);
        }
        return arrays_of(std::move(found));
    }
    nb::bytes save() {
        Bytes bytes;
        const Use use(*this);
        engine_->save(bytes);
        return nb::bytes(bytes.held.data(), bytes.held.size());
    }
    void restore(nb::bytes bytes) {
        const Use use(*this, true);
        broken_ = true;
        const bool restored = engine_->restore(bytes.c_str(), bytes.size());
        broken_ = false;
        require(restored, "not the state of a search with this graph and options");
    }
    void reset() {
        const Use use(*this, true);
        broken_ = true;
        engine_->reset();
        broken_ = false;
    }
    int status() const { return engine_->status(); }
    std::int64_t num_frames() const { return engine_->num_frames(); }

   private:
    // For one thread at a time; a second one gets an error. After a call that failed, the search must be reset.
    struct Use {
        explicit Use(BoundSearch& search, bool anew = false) : busy(search.busy_) {
            if (busy.test_and_set()) throw std::runtime_error("the search is in use by another thread");
            if (!search.broken_ || anew) return;
            busy.clear();
            throw std::runtime_error("an error has cut the search off: reset it");
        }
        ~Use() { busy.clear(); }
        std::atomic_flag& busy;
    };

    std::shared_ptr<BoundGraph> graph_;
    std::unique_ptr<Engine> engine_;
    std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
    bool broken_ = false;
};

nb::tuple search(const BoundGraph& graph, Scores scores, Row<std::int64_t> frames, std::int64_t nbest,
                 std::int32_t beam_width, bool recombine, bool from_logits, double beam_threshold,
                 std::int32_t tokens_per_frame, const std::string& isa, int threads) {
    const GraphView& view = graph.graph.view();
    require(std::int64_t(scores.shape(2)) == view.spelling.classes, "scores must have C classes");
    require(frames.shape(0) == scores.shape(1), "frames must have N entries");
    for (std::size_t n = 0; n < frames.size(); ++n)
        require(frames.data()[n] >= 0 && frames.data()[n] <= std::int64_t(scores.shape(0)), "frames must be within T");
    const ctckit_scores given = scores_of(scores, from_logits);
    const SearchOptions options = options_of(beam_width, recombine, from_logits, beam_threshold, tokens_per_frame);
    const std::size_t size = frames.size();
    std::vector<std::uint8_t> status(size);
    std::vector<std::int64_t> text_ends(size + 1);
    Texts texts;
    {
        nb::gil_scoped_release release;
        search_batch(view, options, given, frames.data(), nbest, isa.c_str(), threads, status.data(),
                     text_ends.data() + 1, texts);
    }
    return nb::make_tuple(array_of(std::move(status), size), array_of(std::move(text_ends), size + 1),
                          arrays_of(std::move(texts)));
}

}  // namespace

void bind_search(nb::module_& m) {
    nb::class_<Spelling>(m, "Spelling")
        .def(
            "__init__",
            [](Spelling* self, Integers offsets, Integers symbols, std::int32_t separator) {
                new (self) Spelling(copied(offsets), copied(symbols), separator);
            },
            nb::arg("offsets"), nb::arg("symbols"), nb::arg("separator"));
    nb::class_<Lexicon>(m, "Lexicon")
        .def(
            "__init__",
            [](Lexicon* self, Integers first, Integers symbols, Integers word_offsets, Integers words,
               Integers model_words, Numbers lookahead, bool closed) {
                new (self) Lexicon(copied(first), copied(symbols), copied(word_offsets), copied(words),
                                   copied(model_words), copied(lookahead), closed);
            },
            nb::arg("first"), nb::arg("symbols"), nb::arg("word_offsets"), nb::arg("words"), nb::arg("model_words"),
            nb::arg("lookahead"), nb::arg("closed"));
    nb::class_<Hotwords>(m, "Hotwords")
        .def(
            "__init__",
            [](Hotwords* self, std::shared_ptr<Spelling> spelling, Integers first, Integers symbols, Integers fail,
               Numbers rewards, Numbers potentials, std::int32_t start) {
                new (self) Hotwords(spelling, copied(first), copied(symbols), copied(fail), copied(rewards),
                                    copied(potentials), start);
            },
            nb::arg("spelling"), nb::arg("first"), nb::arg("symbols"), nb::arg("fail"), nb::arg("rewards"),
            nb::arg("potentials"), nb::arg("start"));
    nb::class_<BoundGraph>(m, "SearchGraph")
        .def("__init__", &make_graph, nb::arg("spelling"), nb::arg("blank"), nb::arg("lexicon").none(),
             nb::arg("hotwords").none(), nb::arg("model").none(), nb::arg("end"), nb::arg("model_tokens").none(),
             nb::arg("sentence_bounds"), nb::arg("alpha"), nb::arg("beta"), nb::arg("unknown_score"));
    nb::class_<BoundSearch>(m, "Search")
        .def(
            "__init__",
            [](BoundSearch* self, std::shared_ptr<BoundGraph> graph, std::int32_t beam_width, bool recombine,
               bool from_logits, double beam_threshold, std::int32_t tokens_per_frame, const std::string& isa) {
                const SearchOptions options =
                    options_of(beam_width, recombine, from_logits, beam_threshold, tokens_per_frame);
                new (self) BoundSearch(graph, options, isa);
            },
            nb::arg("graph"), nb::arg("beam_width"), nb::arg("recombine"), nb::arg("from_logits"),
            nb::arg("beam_threshold"), nb::arg("tokens_per_frame"), nb::arg("isa"))
        .def("feed", &BoundSearch::feed, nb::arg("scores"))
        .def("texts", &BoundSearch::texts, nb::arg("most"), nb::arg("finished"))
        .def("take_stem", &BoundSearch::take_stem)
        .def("save", &BoundSearch::save)
        .def("restore", &BoundSearch::restore, nb::arg("state"))
        .def("reset", &BoundSearch::reset)
        .def_prop_ro("status", &BoundSearch::status)
        .def_prop_ro("num_frames", &BoundSearch::num_frames);
    m.def("search", &search, nb::arg("graph"), nb::arg("scores"), nb::arg("frames"), nb::arg("nbest"),
          nb::arg("beam_width"), nb::arg("recombine"), nb::arg("from_logits"), nb::arg("beam_threshold"),
          nb::arg("tokens_per_frame"), nb::arg("isa"), nb::arg("threads"));
}

}  // namespace ctckit
