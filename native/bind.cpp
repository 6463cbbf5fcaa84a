// The extension module: translates NumPy arrays to the C interface. Shapes are checked here once more, and values that
// the kernels rely on; the messages that users read come from validate/.
#include "bind.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "ctckit.h"
#include "layout.h"
#include "memory.h"
#include "reduce.h"

namespace nb = nanobind;
using namespace ctckit;

namespace {

template <class T, class... Form>
using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu, Form...>;
template <class T, class... Form>
using Filled = nb::ndarray<T, nb::c_contig, nb::device::cpu, Form...>;
using Out = nb::ndarray<nb::device::cpu>;  // like the scores
using Contiguous = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

constexpr std::size_t kLargest = std::size_t(1) << 26;  // of T, C and S: what the kernels' numbers can hold

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (int i = 0; ctckit_instruction_set(i); ++i) names.push_back(ctckit_instruction_set(i));
    return names;
}

void check_result(int result) {
    if (result == CTCKIT_OUT_OF_MEMORY) throw std::bad_alloc();
    require(result == CTCKIT_OK, "unknown instruction set");
}

// The lattices of a call's integers, or what is wrong with them and where. Targets of two dimensions are padded, of one
// dimension concatenated.
nb::object lay_out_call(In<std::int64_t, nb::ndim<1>> frames, In<std::int64_t> targets,
                        In<std::int64_t, nb::ndim<1>> lengths, std::int64_t frames_max, std::int64_t classes,
                        std::int64_t blank, In<std::uint8_t, nb::shape<5>> arcs_by_role) {
    const std::size_t size = frames.shape(0);
    const bool padded = targets.ndim() == 2;
    require(lengths.shape(0) == size && (padded ? targets.shape(0) == size : targets.ndim() == 1),
            "lengths must have N entries, targets N rows or one dimension");
    const Integers given{
        frames.data(), lengths.data(), targets.data(), std::int64_t(size), std::int64_t(targets.shape(padded)), padded};
    const Fault fault = find_fault(given, frames_max, classes, blank);
    if (fault.what) return nb::make_tuple(fault.what, fault.index);
    const std::uint8_t* role = arcs_by_role.data();
    return nb::cast(lay_out(given, blank, {role[0], role[1], role[2], role[3], role[4]}));
}

template <class T, class Array>
std::vector<T> copied(const Array& array) {
    return {array.data(), array.data() + array.size()};
}

// Lattices of any topology.
void make_batch(LatticeBatch* self, In<std::int64_t, nb::ndim<1>> frames, In<std::int64_t, nb::ndim<1>> num_tokens,
                In<std::int32_t, nb::ndim<2>> labels, In<std::uint8_t, nb::ndim<2>> arcs,
                In<std::int32_t, nb::ndim<1>> num_states, std::optional<In<std::int32_t, nb::shape<-1, 3>>> long_arcs,
                std::optional<In<double, nb::ndim<2>>> entry_costs, std::optional<In<std::int32_t, nb::ndim<2>>> tokens,
                std::optional<In<double, nb::ndim<1>>> long_arc_scores) {
    const std::size_t size = frames.shape(0), most = labels.shape(1);
    require(num_tokens.shape(0) == size && labels.shape(0) == size && arcs.shape(0) == size && arcs.shape(1) == most &&
                num_states.shape(0) == size,
            "all arrays must have N entries, labels and arcs K states");
    for (std::size_t n = 0; n < size; ++n)
        require(num_states.data()[n] >= 1 && num_states.data()[n] <= std::int64_t(most), "num_states must be within K");
    std::vector<std::int32_t> far;
    if (long_arcs) {
        require(long_arcs->size() <= std::size_t(std::numeric_limits<int>::max()), "long_arcs must be counted by int");
        far = copied<std::int32_t>(*long_arcs);
    }
    for (std::size_t j = 0; j < far.size(); j += 3) {
        require(far[j] >= 0 && far[j] < std::int64_t(size), "long_arcs must belong to samples");
        require(j == 0 || far[j - 3] < far[j] || (far[j - 3] == far[j] && far[j - 1] <= far[j + 2]),
                "long_arcs must be sorted by sample, then by the state they enter");
        require(far[j + 1] >= 0 && far[j + 1] < far[j + 2] && far[j + 2] < num_states.data()[far[j]],
                "long_arcs must lead from a state to a later one");
    }
    std::vector<double> costs;
    if (entry_costs) {
        require(entry_costs->shape(0) == size && entry_costs->shape(1) == most, "entry_costs must be (N, K)");
        costs = copied<double>(*entry_costs);
        for (double cost : costs) require(cost > -HUGE_VAL, "entry_costs must be finite or +inf");
    }
    std::vector<double> scores(far.size() / 3);
    if (long_arc_scores) {
        require(long_arc_scores->shape(0) == scores.size(), "long_arc_scores must have J entries");
        scores = copied<double>(*long_arc_scores);
        for (double score : scores) require(score < HUGE_VAL, "long_arc_scores must be finite or -inf");
    }
    std::vector<std::int32_t> token_of(size * most, -1);
    if (tokens) {
        require(tokens->shape(0) == size && tokens->shape(1) == most, "tokens must be (N, K)");
        token_of = copied<std::int32_t>(*tokens);
    }
    new (self) LatticeBatch{copied<std::int64_t>(frames),
                            copied<std::int64_t>(num_tokens),
                            std::int64_t(most),
                            copied<std::int32_t>(labels),
                            copied<std::uint8_t>(arcs),
                            copied<std::int32_t>(num_states),
                            std::move(far),
                            std::move(costs),
                            std::move(scores),
                            std::move(token_of)};
}

// A read-only array over its owner's memory.
template <auto Member, int Rank>
auto view(LatticeBatch& owner) {
    using T = typename std::decay_t<decltype(owner.*Member)>::value_type;
    const std::size_t shape[2] = {owner.frames.size(), std::size_t(owner.max_states)};
    return nb::ndarray<nb::numpy, const T, nb::ndim<Rank>>((owner.*Member).data(), Rank, shape, nb::find(owner));
}

nb::ndarray<nb::numpy, const std::int32_t, nb::ndim<2>> long_arcs_of(LatticeBatch& owner) {
    return {owner.long_arcs.data(), {owner.long_arcs.size() / 3, 3}, nb::find(owner)};
}

nb::ndarray<nb::numpy, const double, nb::ndim<1>> long_arc_scores_of(LatticeBatch& owner) {
    return {owner.long_arc_scores.data(), {owner.long_arc_scores.size()}, nb::find(owner)};
}

auto tokens_of(LatticeBatch& owner) {
    if (owner.tokens.empty()) number_tokens(owner);
    return view<&LatticeBatch::tokens, 2>(owner);
}

std::optional<nb::ndarray<nb::numpy, const double, nb::ndim<2>>> entry_costs_of(LatticeBatch& owner) {
    if (owner.entry_costs.empty()) return std::nullopt;
    return view<&LatticeBatch::entry_costs, 2>(owner);
}

nb::ndarray<nb::numpy, double, nb::ndim<1>> loss_weights(const LatticeBatch& lattices, bool mean) {
    const std::size_t size = lattices.num_tokens.size();
    double* weights = new double[size];
    nb::capsule owner(weights, [](void* pointer) noexcept { delete[] static_cast<double*>(pointer); });
    if (mean) mean_weights(lattices.num_tokens.data(), size, weights);
    else std::fill(weights, weights + size, 1.0);
    return {weights, {size}, owner};
}

double weighted_loss_of(In<double, nb::ndim<1>> score, In<double, nb::ndim<1>> weights, bool zero_infinity) {
    require(weights.shape(0) == score.shape(0), "weights must have N entries");
    return weighted_loss(score.data(), weights.data(), score.shape(0), zero_infinity);
}

nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>> recycled(std::size_t bytes) {
    Block* block = take_block(bytes);
    nb::capsule owner(block, [](void* pointer) noexcept { park_block(static_cast<Block*>(pointer)); });
    return {block->data, {bytes}, owner};
}

using BySample = Filled<double, nb::ndim<1>>;
using ByRow = Filled<double, nb::ndim<2>>;
using Statuses = Filled<std::uint8_t, nb::ndim<1>>;
using States = Filled<std::int32_t, nb::ndim<2>>;
template <class T>
using Maybe = std::optional<T>;

template <class Array>
ctckit_scores scores_of(const Array& scores, bool from_logits, const Maybe<In<double, nb::ndim<1>>>& class_scores) {
    ctckit_scores made = ctckit::scores_of(scores, from_logits);
    require(made.num_classes > 0 && made.num_heads > 0, "classes and heads must not be empty");
    require(made.num_frames <= std::int64_t(kLargest) && made.num_classes <= std::int64_t(kLargest),
            "frames and classes must be counted by int, with room to spare");
    if (class_scores) {
        require(std::int64_t(class_scores->shape(0)) == made.num_classes, "class_scores must have C entries");
        made.class_scores = class_scores->data();
    }
    return made;
}

// The data of an array of that shape, or null.
template <class Array>
auto* rows_of(const Maybe<Array>& array, std::int64_t rows, std::int64_t columns, const char* what) {
    require(!array || (std::int64_t(array->shape(0)) == rows && std::int64_t(array->shape(1)) == columns), what);
    return array ? array->data() : nullptr;
}

// The data of an array with an entry for each sample.
template <class Array>
auto* by_sample(const Array& array, std::int64_t samples) {
    require(std::int64_t(array.shape(0)) == samples, "all arrays must have N entries");
    return array.data();
}

template <class Array>
auto* by_frame(const Maybe<Array>& array, const ctckit_scores& scores) {
    return rows_of(array, scores.num_samples, scores.num_frames, "arrays by sample and frame must be (N, T)");
}

// The lattices, checked against the scores.
ctckit_lattices lattices_of(const LatticeBatch& batch, const ctckit_scores& scores,
                            const Maybe<In<double, nb::ndim<2>>>& state_scores, const std::int64_t* index) {
    require(batch.max_states <= std::int64_t(2 * kLargest + 1), "states must be counted by int, with room to spare");
    const std::int64_t size = batch.frames.size();
    require(index || size == scores.num_samples, "all arrays must have N entries");
    for (std::int64_t m = 0; index && m < size; ++m)
        require(index[m] >= 0 && index[m] < scores.num_samples, "index must be within N");
    for (std::int64_t frames : batch.frames)
        require(frames >= 0 && frames <= scores.num_frames, "frames must be within T");
    ctckit_lattices made{};
    made.num_lattices = size;
    made.index = index;
    made.num_frames = batch.frames.data();
    made.num_states = batch.num_states.data();
    made.max_states = batch.max_states;
    made.labels = batch.labels.data();
    made.arcs = batch.arcs.data();
    made.tokens = batch.tokens.empty() ? nullptr : batch.tokens.data();
    made.entry_costs = batch.entry_costs.empty() ? nullptr : batch.entry_costs.data();
    made.state_scores = rows_of(state_scores, size, batch.max_states, "state_scores must be (N, K)");
    made.long_arcs = batch.long_arcs.data();
    made.long_arc_scores = batch.long_arc_scores.data();
    made.num_long_arcs = batch.long_arcs.size() / 3;
    return made;
}

// True if all paths of some sample count as impossible: they are, or they lie below what scaled floats can hold.
bool sums(HeadScores scores, bool from_logits, const LatticeBatch& lattices, BySample score, Statuses status,
          Maybe<Out> grad, bool adds_softmax, Maybe<In<double, nb::ndim<1>>> weights, Maybe<Contiguous> occupancy,
          Maybe<States> along, Maybe<ByRow> occupancy_along, Maybe<In<double, nb::ndim<1>>> class_scores,
          Maybe<In<double, nb::ndim<2>>> state_scores, Maybe<ByRow> class_scores_grad, Maybe<ByRow> state_scores_grad,
          Maybe<ByRow> entry_costs_grad, Maybe<BySample> long_arc_scores_grad,
          Maybe<In<std::int64_t, nb::ndim<1>>> index, int ends, bool readable, const std::string& isa, int threads) {
    require(scores.ndim() == 3 || scores.ndim() == 4, "scores must be (T, N, C) or (H, T, N, C)");
    ctckit_scores given = scores_of(scores, from_logits, class_scores);
    given.readable = readable;
    require(!index || index->shape(0) == lattices.frames.size(), "index must have an entry for each lattice");
    ctckit_lattices laid_out = lattices_of(lattices, given, state_scores, index ? index->data() : nullptr);
    require(ends == CTCKIT_WHOLE ||
                (ends > 0 && ends <= CTCKIT_MEAN_OF_ENDS && !state_scores && !occupancy && !along &&
                 !class_scores_grad && !state_scores_grad && !entry_costs_grad && !long_arc_scores_grad),
            "ends must be known, and have no outputs but scores and their gradient");
    laid_out.ends = ends;
    const std::int64_t samples = given.num_heads * laid_out.num_lattices;
    ctckit_sums_out out{};
    out.score = by_sample(score, samples);
    out.status = by_sample(status, samples);
    if (weights) out.weights = by_sample(*weights, samples);
    if (grad) {
        require(grad->dtype() == scores.dtype() && grad->ndim() == scores.ndim(), "grad must be like scores");
        for (std::size_t i = 0; i < grad->ndim(); ++i)
            require(grad->shape(i) == scores.shape(i), "grad must be like scores");
        require(grad->size() == 0 || given.num_classes == 1 || grad->stride(grad->ndim() - 1) == 1,
                "grad must have contiguous classes");
        out.grad = grad->data();
        out.adds_softmax = adds_softmax;
        out.grad_stride_h = grad->ndim() == 4 ? grad->stride(0) : 0;
        out.grad_stride_t = grad->stride(grad->ndim() - 3);
        out.grad_stride_n = grad->stride(grad->ndim() - 2);
    }
    require((scores.ndim() == 3 && !index) || !(occupancy || along || long_arc_scores_grad),
            "occupancies and gradients of long arcs need scores of their own for each lattice");
    if (occupancy) {
        const nb::dlpack::dtype real = given.dtype == CTCKIT_FLOAT64 ? nb::dtype<double>() : nb::dtype<float>();
        require(occupancy->dtype() == real && std::int64_t(occupancy->shape(0)) == given.num_frames &&
                    std::int64_t(occupancy->shape(1)) == given.num_samples &&
                    std::int64_t(occupancy->shape(2)) == lattices.max_states,
                "occupancy must be a contiguous (T, N, K)");
        out.occupancy = occupancy->data();
    }
    out.class_scores_grad = rows_of(class_scores_grad, samples, given.num_classes, "class_scores_grad must be (N, C)");
    out.state_scores_grad =
        rows_of(state_scores_grad, samples, lattices.max_states, "state_scores_grad must be (N, K)");
    out.entry_costs_grad = rows_of(entry_costs_grad, samples, lattices.max_states, "entry_costs_grad must be (N, K)");
    if (long_arc_scores_grad) {
        require(std::int64_t(long_arc_scores_grad->shape(0)) == laid_out.num_long_arcs,
                "long_arc_scores_grad must have J entries");
        out.long_arc_scores_grad = long_arc_scores_grad->data();
    }
    require(along.has_value() == occupancy_along.has_value(), "along and occupancy_along go together");
    require(!along || (!grad && !occupancy && !class_scores_grad && !state_scores_grad && !entry_costs_grad &&
                       !long_arc_scores_grad),
            "occupancies along a path are sums near it, and come alone");
    out.along = by_frame(along, given);
    out.occupancy_along = by_frame(occupancy_along, given);
    int result = 0;
    {
        nb::gil_scoped_release release;
        result = ctckit_sums(&given, &laid_out, &out, isa.c_str(), threads);
    }
    check_result(result);
    return std::find(out.status, out.status + samples, CTCKIT_IMPOSSIBLE) != out.status + samples;
}

void best_path(Scores scores, bool from_logits, const LatticeBatch& lattices, BySample score, Statuses status,
               States states, Maybe<ByRow> frame_scores, Maybe<Filled<std::int32_t, nb::shape<-1, -1, 2>>> visits,
               Maybe<In<double, nb::ndim<1>>> class_scores, Maybe<In<double, nb::ndim<2>>> state_scores,
               const std::string& isa, int threads) {
    const ctckit_scores given = scores_of(scores, from_logits, class_scores);
    const ctckit_lattices laid_out = lattices_of(lattices, given, state_scores, nullptr);
    ctckit_path_out out{};
    out.score = by_sample(score, given.num_samples);
    out.status = by_sample(status, given.num_samples);
    out.states = by_frame(Maybe<States>(states), given);
    out.frame_scores = by_frame(frame_scores, given);
    out.visits = rows_of(visits, given.num_samples, lattices.max_states, "visits must be (N, K, 2)");
    int result = 0;
    {
        nb::gil_scoped_release release;
        result = ctckit_best_path(&given, &laid_out, &out, isa.c_str(), threads);
    }
    check_result(result);
}

}  // namespace

NB_MODULE(_ext, m) {
    m.doc() = "The C++ kernels; imported through ctckit.native, and documented in _ext.pyi.";
    nb::set_leak_warnings(false);  // a loss that is alive when Python ends holds a LatticeBatch, which is not a leak
    m.attr("LARGEST") = kLargest;
    m.def("instruction_sets", &instruction_sets);
    nb::class_<LatticeBatch>(m, "LatticeBatch")
        .def("__init__", &make_batch, nb::arg("frames"), nb::arg("num_tokens"), nb::arg("labels"), nb::arg("arcs"),
             nb::arg("num_states"), nb::arg("long_arcs").none() = nb::none(),
             nb::arg("entry_costs").none() = nb::none(), nb::arg("tokens").none() = nb::none(),
             nb::arg("long_arc_scores").none() = nb::none())
        .def("loss_weights", &loss_weights, nb::arg("mean"))
        .def_prop_ro("frames", &view<&LatticeBatch::frames, 1>)
        .def_prop_ro("num_tokens", &view<&LatticeBatch::num_tokens, 1>)
        .def_prop_ro("labels", &view<&LatticeBatch::labels, 2>)
        .def_prop_ro("arcs", &view<&LatticeBatch::arcs, 2>)
        .def_prop_ro("num_states", &view<&LatticeBatch::num_states, 1>)
        .def_prop_ro("long_arcs", &long_arcs_of)
        .def_prop_ro("entry_costs", &entry_costs_of)
        .def_prop_ro("tokens", &tokens_of)
        .def_prop_ro("long_arc_scores", &long_arc_scores_of);
    m.def("lay_out", &lay_out_call, nb::arg("frames"), nb::arg("targets"), nb::arg("lengths"), nb::arg("frames_max"),
          nb::arg("classes"), nb::arg("blank"), nb::arg("arcs_by_role"));
    m.def("weighted_loss", &weighted_loss_of, nb::arg("score"), nb::arg("weights"), nb::arg("zero_infinity"));
    m.def("recycled", &recycled, nb::arg("bytes"));
    m.def("sums", &sums, nb::arg("scores"), nb::arg("from_logits"), nb::arg("lattices"), nb::arg("score").noconvert(),
          nb::arg("status").noconvert(), nb::arg("grad").noconvert().none(), nb::arg("adds_softmax"),
          nb::arg("weights").none(), nb::arg("occupancy").noconvert().none(), nb::arg("along").noconvert().none(),
          nb::arg("occupancy_along").noconvert().none(), nb::arg("class_scores").none(), nb::arg("state_scores").none(),
          nb::arg("class_scores_grad").noconvert().none(), nb::arg("state_scores_grad").noconvert().none(),
          nb::arg("entry_costs_grad").noconvert().none(), nb::arg("long_arc_scores_grad").noconvert().none(),
          nb::arg("index").none(), nb::arg("ends"), nb::arg("readable"), nb::arg("isa"), nb::arg("threads"));
    m.def("best_path", &best_path, nb::arg("scores"), nb::arg("from_logits"), nb::arg("lattices"),
          nb::arg("score").noconvert(), nb::arg("status").noconvert(), nb::arg("states").noconvert(),
          nb::arg("frame_scores").noconvert().none(), nb::arg("visits").noconvert().none(),
          nb::arg("class_scores").none(), nb::arg("state_scores").none(), nb::arg("isa"), nb::arg("threads"));
    bind_language(m);
    bind_search(m);
    bind_jax(m);
}
