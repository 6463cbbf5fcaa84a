// Language models for Python: readers take bytes, models lie in a buffer that Python owns. Whatever is wrong with a
// file is a ValueError, whose message language/model.py completes with the file's name.
#include "../bind.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "arpa.h"
#include "asked.h"
#include "kenlm.h"
#include "model.h"
#include "ngram.h"

namespace nb = nanobind;

namespace ctckit {
namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::string_view text_of(const nb::bytes& bytes) {
    return {bytes.c_str(), bytes.size()};
}

// An array that owns its memory.
template <class T>
nb::object array_of(std::vector<T> values) {
    auto kept = std::make_unique<std::vector<T>>(std::move(values));
    nb::capsule owner(kept.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    std::vector<T>& data = *kept.release();
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(data.data(), {data.size()}, owner));
}

nb::tuple tuple_of(const LanguageState& state) {
    std::size_t used = 8;
    while (used > 0 && state.word[used - 1] == 0) --used;
    nb::list words;
    for (std::size_t i = 0; i < used; ++i) words.append(state.word[i]);
    return nb::tuple(words);
}

LanguageState state_of(const nb::tuple& words) {
    if (words.size() > 8) throw std::invalid_argument("a state has at most 8 numbers");
    LanguageState state{};
    for (std::size_t i = 0; i < words.size(); ++i) state.word[i] = nb::cast<std::uint32_t>(words[i]);
    return state;
}

nb::tuple step(const LanguageModel& model, const nb::tuple& from, std::uint32_t word) {
    LanguageState state = state_of(from);
    const double score = model.score(state, word, state);
    return nb::make_tuple(score, tuple_of(state));
}

std::vector<std::string_view> texts_of(const nb::list& list) {
    std::vector<std::string_view> texts;
    texts.reserve(list.size());
    for (const nb::handle text : list) texts.push_back(text_of(nb::cast<nb::bytes>(text)));
    return texts;
}

// The numbers of words, given as the UTF-8 bytes of each.
nb::object ids(const WordModel& model, const nb::list& words) {
    const std::vector<std::uint32_t> found = model.ids(texts_of(words));
    return array_of(std::vector<std::int32_t>(found.begin(), found.end()));
}

// The next word of a text, between ASCII white space; empty after the last one.
std::string_view next_word(std::string_view& text) {
    const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    const char *at = text.data(), *const end = at + text.size();
    while (at != end && is_space(*at)) ++at;
    const char* const begin = at;
    while (at != end && !is_space(*at)) ++at;
    text = {at, static_cast<std::size_t>(end - at)};
    return {begin, static_cast<std::size_t>(at - begin)};
}

struct Sentence {
    std::size_t next, end;  // of all words, concatenated
    LanguageState state;
};

// ln P of each word. A few sentences are scored in step: while memory for one is on its way, others go on.
std::vector<double> scores_of(const WordModel& model, const std::vector<std::uint32_t>& words,
                              const std::vector<std::int64_t>& ends, bool bos) {
    constexpr std::size_t kInStep = 8;
    std::vector<double> scores(words.size());
    std::vector<Sentence> active;
    std::size_t next = 0, n = 0;
    while (n < ends.size() || !active.empty()) {
        for (; n < ends.size() && active.size() < kInStep; next = std::size_t(ends[n++]))
            active.push_back({next, std::size_t(ends[n]), model.begin(bos)});
        std::size_t kept = 0;
        for (Sentence& each : active) {
            if (each.next == each.end) continue;
            scores[each.next] = model.score(each.state, words[each.next], each.state);
            ++each.next;
            active[kept++] = each;
        }
        active.resize(kept);
    }
    return scores;
}

// ln P of each word of texts, given in UTF-8, and where each text ends among them; with `eos`, its end is one more
// word.
nb::tuple score_texts(const WordModel& model, const nb::list& texts, bool bos, bool eos) {
    const std::vector<std::string_view> given = texts_of(texts);
    std::vector<double> scores;
    std::vector<std::int64_t> ends;
    {
        nb::gil_scoped_release release;
        std::vector<std::string_view> words;
        for (std::string_view text : given) {
            for (std::string_view word; !(word = next_word(text)).empty();) words.push_back(word);
            if (eos) words.push_back("</s>");
            ends.push_back(static_cast<std::int64_t>(words.size()));
        }
        scores = scores_of(model, model.ids(words), ends, bos);
    }
    return nb::make_tuple(array_of(std::move(scores)), array_of(std::move(ends)));
}

void feed(ArpaReader& reader, const nb::bytes& piece) {
    const std::string_view text = text_of(piece);
    nb::gil_scoped_release release;
    reader.feed(text);
}

// The bytes of a model that a function makes while other Python threads run.
template <class Make>
nb::object made(Make make) {
    std::vector<char> data;
    {
        nb::gil_scoped_release release;
        data = make();
    }
    std::vector<char>* kept = new std::vector<char>(std::move(data));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<char>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>>(reinterpret_cast<std::uint8_t*>(kept->data()),
                                                                      {kept->size()}, owner));
}

std::string_view file_of(const Bytes& data) {
    return {reinterpret_cast<const char*>(data.data()), data.shape(0)};
}

nb::object text_object(std::string_view word) {
    return nb::steal(PyUnicode_DecodeUTF8(word.data(), static_cast<Py_ssize_t>(word.size()), "replace"));
}

nb::list vocabulary(const NgramModel& model) {
    nb::list words;
    for (std::uint32_t id = 0; id < model.num_words(); ++id) words.append(text_object(model.words().word(id)));
    return words;
}

nb::list kenlm_vocabulary(const KenlmModel& model) {
    nb::list words;
    for (const std::string_view word : model.words()) words.append(text_object(word));
    return words;
}

void make_ngram(NgramModel* self, Bytes data) {
    const std::string_view file = file_of(data);
    if (reinterpret_cast<std::uintptr_t>(file.data()) % 8) throw std::invalid_argument("lies at an odd address");
    new (self) NgramModel(file.data(), file.size());
}

nb::bytes arpa_of(const NgramModel& model) {
    std::string text;
    {
        nb::gil_scoped_release release;
        text = to_arpa(model);
    }
    return nb::bytes(text.data(), text.size());
}

// Calls a Python function. Searching threads don't hold the GIL; so the binding's own threads must release it while
// they wait for them.
class PythonModel final : public AskedModel {
   public:
    PythonModel(nb::object ask, AskedWords words, std::uint32_t context, std::size_t most_rows)
        : AskedModel(std::move(words), context, most_rows), ask_(std::move(ask)) {}

   protected:
    std::vector<float> answer(const Prefix& prefix) const override {
        nb::gil_scoped_acquire held;
        nb::list columns;
        for (const std::int32_t column : prefix) columns.append(column);
        using Row = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
        const Row row = nb::cast<Row>(ask_(nb::tuple(columns)));
        if (row.size() != std::size_t(num_columns())) throw std::invalid_argument("the answer has another shape");
        return {row.data(), row.data() + row.size()};
    }

   private:
    nb::object ask_;
};

using Integers = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void make_python(PythonModel* self, nb::object ask, Integers columns, std::int32_t num_columns, std::int32_t start,
                 std::uint32_t end, std::uint32_t context, std::size_t most_rows) {
    std::vector<std::int32_t> held(columns.data(), columns.data() + columns.size());
    new (self) PythonModel(std::move(ask), {std::move(held), num_columns, start, end}, context, most_rows);
}

nb::tuple step_of_python(const PythonModel& model, const nb::tuple& from, std::uint32_t word) {
    LanguageState state = state_of(from);
    double score;
    {
        nb::gil_scoped_release release;
        score = model.score(state, word, state);
    }
    return nb::make_tuple(score, tuple_of(state));
}

nb::object row_of_python(const PythonModel& model, const nb::tuple& from) {
    const LanguageState state = state_of(from);
    std::vector<float> row;
    {
        nb::gil_scoped_release release;
        row = model.row(state);
    }
    return array_of(std::move(row));
}

bool restore(PythonModel& model, Integers saved) {
    return model.restore({saved.data(), saved.data() + saved.size()});
}

}  // namespace

void bind_language(nb::module_& m) {
    nb::class_<LanguageModel>(m, "LanguageModel")
        .def("begin", [](const LanguageModel& model, bool sentence) { return tuple_of(model.begin(sentence)); })
        .def("step", &step)
        .def_prop_ro("bound", &LanguageModel::bound);
    nb::class_<WordModel, LanguageModel>(m, "WordModel")
        .def("ids", &ids)
        .def("score_texts", &score_texts)
        .def_prop_ro("end", &WordModel::end)
        .def_prop_ro("num_words", &WordModel::num_words)
        .def_prop_ro("counts", &WordModel::counts)
        .def_prop_ro("has_unknown", &WordModel::has_unknown);
    nb::class_<NgramModel, WordModel>(m, "NgramModel")
        .def("__init__", &make_ngram, nb::keep_alive<1, 2>())
        .def("vocabulary", &vocabulary)
        .def("to_arpa", &arpa_of);
    nb::class_<KenlmModel, WordModel>(m, "KenlmModel")
        .def(
            "__init__", [](KenlmModel* self, Bytes data) { new (self) KenlmModel(file_of(data)); },
            nb::keep_alive<1, 2>())
        .def("vocabulary", &kenlm_vocabulary);
    nb::class_<PythonModel, LanguageModel>(m, "PythonModel")
        .def("__init__", &make_python)
        .def("step", &step_of_python)
        .def("row", &row_of_python)
        .def("save", [](const PythonModel& model) { return array_of(model.save()); })
        .def("restore", &restore);
    nb::class_<ArpaReader>(m, "ArpaReader").def(nb::init<>()).def("feed", &feed).def("finish", [](ArpaReader& reader) {
        return made([&reader] { return reader.finish(); });
    });
    m.def("is_ngram", [](const nb::bytes& first) { return is_ngram(text_of(first)); });
    m.def("is_kenlm", [](const nb::bytes& first) { return is_kenlm(text_of(first)); });
    m.def("is_kenlm_trie", [](Bytes data) { return KenlmHeader(file_of(data)).type >= KenlmHeader::kTrie; });
    m.def("read_kenlm_trie", [](Bytes data) { return made([&data] { return read_kenlm_trie(file_of(data)); }); });
}

}  // namespace ctckit
