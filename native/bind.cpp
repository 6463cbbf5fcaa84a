// The extension module: NumPy arrays in, one Batch out. Shapes are checked here once more, briefly, because what lies
// beyond trusts its pointers; the messages that people read come from validate/.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "prepare.h"
#include "reduce.h"

namespace nb = nanobind;
using namespace ctckit;

namespace {

template <class T, class... Form>
using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu, Form...>;
template <class T, class... Form>
using Filled = nb::ndarray<T, nb::c_contig, nb::device::cpu, Form...>;
using Scores = nb::ndarray<nb::ro, nb::ndim<3>, nb::device::cpu>;
using Out = nb::ndarray<nb::ndim<3>, nb::device::cpu>;
using Contiguous = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

constexpr std::size_t kLargest = std::size_t(1) << 26;  // of T, C and S; see validate/

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// bfloat16 has no NumPy type of its own: 16-bit integers stand for its bits.
DType dtype_of(nb::dlpack::dtype type) {
    if (type == nb::dtype<float>()) return DType::float32;
    if (type == nb::dtype<double>()) return DType::float64;
    require(type.bits == 16 && type.lanes == 1, "scores must be a 64, 32 or 16 bit float");
    return type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float) ? DType::float16 : DType::bfloat16;
}

const Kernels& kernels_named(const std::string& name) {
    for (const Kernels* const* k = available_kernels(); *k; ++k)
        if (name == (*k)->name) return **k;
    throw std::invalid_argument("no kernels named " + name);
}

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Kernels* const* k = available_kernels(); *k; ++k) names.push_back((*k)->name);
    return names;
}

// What prepare() makes of a call's integers, or what is wrong with them and where. Targets of two dimensions are
// padded, of one dimension end to end.
nb::object prepare_call(In<std::int64_t, nb::ndim<1>> frames, In<std::int64_t> targets,
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
    return nb::cast(prepare(given, blank, {role[0], role[1], role[2], role[3], role[4]}));
}

template <class T, class Array>
std::vector<T> copied(const Array& array) {
    return {array.data(), array.data() + array.size()};
}

// Lattices of any topology.
void prepare_lattices(Prepared* place, In<std::int64_t, nb::ndim<1>> frames, In<std::int64_t, nb::ndim<1>> lengths,
                      In<std::int32_t, nb::ndim<2>> labels, In<std::uint8_t, nb::ndim<2>> arcs,
                      In<std::int32_t, nb::ndim<1>> states, std::optional<In<std::int32_t, nb::shape<-1, 3>>> jumps,
                      std::optional<In<double, nb::ndim<2>>> tolls, In<std::int32_t, nb::ndim<2>> tokens,
                      In<double, nb::ndim<1>> long_arc_scores) {
    const std::size_t size = frames.shape(0), most = labels.shape(1);
    require(lengths.shape(0) == size && labels.shape(0) == size && arcs.shape(0) == size && arcs.shape(1) == most &&
                states.shape(0) == size,
            "all arrays must have N entries, labels and arcs K states");
    for (std::size_t n = 0; n < size; ++n)
        require(states.data()[n] >= 1 && states.data()[n] <= std::int64_t(most), "states must be within K");
    std::vector<std::int32_t> far;
    if (jumps) far = copied<std::int32_t>(*jumps);
    for (std::size_t j = 0; j < far.size(); j += 3) {
        require(far[j] >= 0 && far[j] < std::int64_t(size), "jumps must belong to samples");
        require(j == 0 || far[j - 3] < far[j] || (far[j - 3] == far[j] && far[j - 1] <= far[j + 2]),
                "jumps must be in order of samples and of where they lead");
        require(far[j + 1] >= 0 && far[j + 1] < far[j + 2] && far[j + 2] < states.data()[far[j]],
                "jumps must lead from a state to one further on");
    }
    std::vector<double> dues;
    if (tolls) {
        require(tolls->shape(0) == size && tolls->shape(1) == most, "tolls must be (N, K)");
        dues = copied<double>(*tolls);
        
    }
    new (place) Prepared{
        copied<std::int64_t>(frames), copied<std::int64_t>(lengths), std::int64_t(most), copied<std::int32_t>(labels),
        copied<std::uint8_t>(arcs),   copied<std::int32_t>(states),  std::move(far),     std::move(dues),     copied<std::int32_t>(tokens), copied<double>(long_arc_scores)};
}

// A read-only array in the memory of its owner.
template <auto Member, int Rank>
auto view(Prepared& owner) {
    using T = typename std::decay_t<decltype(owner.*Member)>::value_type;
    const std::size_t shape[2] = {owner.frames.size(), std::size_t(owner.states_max)};
    return nb::ndarray<nb::numpy, const T, nb::ndim<Rank>>((owner.*Member).data(), Rank, shape, nb::find(owner));
}

nb::ndarray<nb::numpy, const std::int32_t, nb::ndim<2>> jumps_of(Prepared& owner) {
    return {owner.jumps.data(), {owner.jumps.size() / 3, 3}, nb::find(owner)};
}

std::optional<nb::ndarray<nb::numpy, const double, nb::ndim<2>>> tolls_of(Prepared& owner) {
    if (owner.tolls.empty()) return std::nullopt;
    return view<&Prepared::tolls, 2>(owner);
}

nb::ndarray<nb::numpy, const double, nb::ndim<1>> scores_of(Prepared& owner) {
    return {owner.long_arc_scores.data(), {owner.long_arc_scores.size()}, nb::find(owner)};
}

void mean_weights_of(const Prepared& prepared, Filled<double, nb::ndim<1>> weights) {
    require(weights.shape(0) == prepared.lengths.size(), "weights must have N entries");
    mean_weights(prepared.lengths.data(), prepared.lengths.size(), weights.data());
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

// A call's scores and lattices, their shapes checked against each other.
Batch batch_of(const Scores& scores, bool from_logits, const Prepared& prepared,
               const Filled<double, nb::ndim<1>>& score) {
    const std::size_t size = scores.shape(1), most = prepared.states_max;
    require(scores.shape(2) > 0, "classes must not be empty");
    require(scores.shape(0) <= kLargest && scores.shape(2) <= kLargest && most <= 2 * kLargest + 1,
            "frames, classes and states must be counted by int, with room to spare");
    require(prepared.frames.size() == size && score.shape(0) == size, "all arrays must have N entries");
    for (std::int64_t frames : prepared.frames)
        require(frames >= 0 && frames <= std::int64_t(scores.shape(0)), "frames must be within T");

    Batch batch{};
    batch.scores = scores.data();
    batch.dtype = dtype_of(scores.dtype());
    batch.frames_max = scores.shape(0);
    batch.size = size;
    batch.classes = scores.shape(2);
    batch.stride_t = scores.stride(0);
    batch.stride_n = scores.stride(1);
    batch.stride_c = scores.stride(2);
    batch.from_logits = from_logits;
    batch.frames = prepared.frames.data();
    batch.labels = prepared.labels.data();
    batch.arcs = prepared.arcs.data();
    batch.states = prepared.states.data();
    batch.states_max = most;
    batch.jumps = prepared.jumps.data();
    batch.jump_count = prepared.jumps.size() / 3;
    batch.tolls = prepared.tolls.empty() ? nullptr : prepared.tolls.data();
    batch.score = score.data();
    return batch;
}

template <class Array>
auto* by_frame(const std::optional<Array>& array, const Batch& batch) {
    require(
        !array || (std::int64_t(array->shape(0)) == batch.size && std::int64_t(array->shape(1)) == batch.frames_max),
        "arrays by sample and frame must be (N, T)");
    return array ? array->data() : nullptr;
}

// Numbers of states, and memory of the same shape for what is to be said of them.
using States = Filled<std::int32_t, nb::ndim<2>>;
using ByFrame = Filled<double, nb::ndim<2>>;

void sweep(Scores scores, bool from_logits, const Prepared& prepared, Filled<double, nb::ndim<1>> score,
           std::optional<Out> grad, std::optional<In<double, nb::ndim<1>>> weights, std::optional<Contiguous> occupancy,
           std::optional<States> path, std::optional<ByFrame> occupancy_along, const std::string& isa, int threads) {
    const std::size_t size = scores.shape(1), most = prepared.states_max;
    require(prepared.jumps.empty() && prepared.tolls.empty(),
            "sums over paths are for lattices without jumps or tolls");
    require(!weights || weights->shape(0) == size, "all arrays must have N entries");
    Batch batch = batch_of(scores, from_logits, prepared, score);
    batch.weights = weights ? weights->data() : nullptr;
    if (grad) {
        require(grad->dtype() == scores.dtype() && grad->shape(0) == scores.shape(0) && grad->shape(1) == size &&
                    grad->shape(2) == scores.shape(2) &&
                    (grad->size() == 0 || grad->shape(2) == 1 || grad->stride(2) == 1),
                "grad must be like scores, its classes contiguous");
        batch.grad = grad->data();
        batch.grad_stride_t = grad->stride(0);
        batch.grad_stride_n = grad->stride(1);
    }
    if (occupancy) {
        const nb::dlpack::dtype real = batch.dtype == DType::float64 ? nb::dtype<double>() : nb::dtype<float>();
        require(occupancy->dtype() == real && occupancy->shape(0) == scores.shape(0) && occupancy->shape(1) == size &&
                    occupancy->shape(2) == most,
                "occupancy must be a contiguous (T, N, K)");
        batch.occupancy = occupancy->data();
    }
    require(path.has_value() == occupancy_along.has_value(), "path and occupancy_along go together");
    require(!path || (!grad && !occupancy), "occupancies along a path are sums near it, and come alone");
    batch.path = by_frame(path, batch);
    batch.occupancy_along = by_frame(occupancy_along, batch);
    const Kernels& kernels = kernels_named(isa);
    nb::gil_scoped_release release;
    run_batch(batch, kernels.sums, 1e-9, threads);
}

void best_path(Scores scores, bool from_logits, const Prepared& prepared, Filled<double, nb::ndim<1>> score,
               States path, std::optional<ByFrame> path_scores,
               std::optional<Filled<std::int32_t, nb::shape<-1, -1, 2>>> visits, const std::string& isa, int threads) {
    Batch batch = batch_of(scores, from_logits, prepared, score);
    batch.path = by_frame(std::optional<States>(path), batch);
    batch.path_scores = by_frame(path_scores, batch);
    if (visits) {
        require(std::int64_t(visits->shape(0)) == batch.size && std::int64_t(visits->shape(1)) == batch.states_max,
                "visits must be (N, K, 2)");
        batch.visits = visits->data();
    }
    const Kernels& kernels = kernels_named(isa);
    nb::gil_scoped_release release;
    run_batch(batch, kernels.best_path, 1e-10, threads);
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "C++ kernels of ctckit; used through ctckit.kernels.native.";
    nb::set_leak_warnings(false);  // a loss that is alive when Python ends holds a Prepared: that is no leak
    m.def("instruction_sets", &instruction_sets, "Instruction sets of the kernels this CPU can run, the best last.");
    nb::class_<Prepared>(m, "LatticeBatch", "All that a sweep needs besides scores, in memory of its own.")
        .def("__init__", &prepare_lattices, nb::arg("frames"), nb::arg("num_tokens"), nb::arg("labels"), nb::arg("arcs"),
             nb::arg("num_states"), nb::arg("long_arcs").none(), nb::arg("entry_costs").none(), nb::arg("tokens"),
             nb::arg("long_arc_scores"))
        .def_prop_ro("frames", &view<&Prepared::frames, 1>)
        .def_prop_ro("num_tokens", &view<&Prepared::lengths, 1>)
        .def_prop_ro("labels", &view<&Prepared::labels, 2>)
        .def_prop_ro("arcs", &view<&Prepared::arcs, 2>)
        .def_prop_ro("num_states", &view<&Prepared::states, 1>)
        .def_prop_ro("long_arcs", &jumps_of)
        .def_prop_ro("tokens", &view<&Prepared::tokens, 2>)
        .def_prop_ro("long_arc_scores", &scores_of)
        .def_prop_ro("entry_costs", &tolls_of);
    m.def("lay_out", &prepare_call, nb::arg("frames"), nb::arg("targets"), nb::arg("lengths"), nb::arg("frames_max"),
          nb::arg("classes"), nb::arg("blank"), nb::arg("arcs_by_role"),
          "Checks integers and lays out lattices; returns Prepared, or what is wrong and where (see prepare.h).");
    m.def("mean_weights", &mean_weights_of, nb::arg("prepared"), nb::arg("weights").noconvert(),
          "Writes the weights of a mean of losses by token.");
    m.def("weighted_loss", &weighted_loss_of, nb::arg("score"), nb::arg("weights"), nb::arg("zero_infinity"),
          "The weighted sum of losses.");
    m.def("recycled", &recycled, nb::arg("bytes"),
          "Memory that holds anything, and that the next call gets when nothing refers to it any more.");
    m.def("sweep", &sweep, nb::arg("scores"), nb::arg("from_logits"), nb::arg("prepared"), nb::arg("score").noconvert(),
          nb::arg("grad").noconvert().none(), nb::arg("weights").none(), nb::arg("occupancy").noconvert().none(),
          nb::arg("path").noconvert().none(), nb::arg("occupancy_along").noconvert().none(), nb::arg("isa"),
          nb::arg("threads"),
          "Sums over all paths of a batch: writes score and, where given, grad, occupancy, and that of path's states.");
    m.def("best_path", &best_path, nb::arg("scores"), nb::arg("from_logits"), nb::arg("prepared"),
          nb::arg("score").noconvert(), nb::arg("path").noconvert(), nb::arg("path_scores").noconvert().none(),
          nb::arg("visits").noconvert().none(), nb::arg("isa"), nb::arg("threads"),
          "Finds each sample's best path: writes score and path, and where given path_scores and visits.");
}
