// The extension module: NumPy arrays in, one Batch out. Shapes are checked here once more, briefly, because what lies
// beyond trusts its pointers; the messages that people read come from check.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace nb = nanobind;
using namespace ctckit;

namespace {

template <class T, class... Form>
using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu, Form...>;
using Scores = nb::ndarray<nb::ro, nb::ndim<3>, nb::device::cpu>;
using Out = nb::ndarray<nb::ndim<3>, nb::device::cpu>;
using Contiguous = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

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

// The flat index of the first token that is no class or the blank, within each row's length; -1 if there is none.
std::int64_t first_bad_token(In<std::int64_t, nb::ndim<2>> targets, In<std::int64_t, nb::ndim<1>> lengths,
                             std::int64_t classes, std::int64_t blank) {
    const std::int64_t longest = targets.shape(1);
    require(lengths.shape(0) == targets.shape(0), "targets and lengths must both have N rows");
    for (std::int64_t n = 0; n < std::int64_t(targets.shape(0)); ++n) {
        const std::int64_t* row = targets.data() + n * longest;
        require(lengths.data()[n] <= longest, "lengths must be within S");
        for (std::int64_t s = 0; s < lengths.data()[n]; ++s)
            if (row[s] < 0 || row[s] >= classes || row[s] == blank) return n * longest + s;
    }
    return -1;
}

void sweep(Scores scores, bool from_logits, In<std::int64_t, nb::ndim<1>> frames, In<std::int32_t, nb::ndim<2>> labels,
           In<std::uint8_t, nb::ndim<2>> arcs, In<std::int32_t, nb::ndim<1>> states,
           nb::ndarray<double, nb::c_contig, nb::ndim<1>, nb::device::cpu> score, std::optional<Out> grad,
           std::optional<In<double, nb::ndim<1>>> weights, std::optional<Contiguous> occupancy, const std::string& isa,
           int threads) {
    const std::size_t size = scores.shape(1), most = labels.shape(1);
    require(scores.shape(2) > 0 && most > 0, "classes and states must not be empty");
    require(frames.shape(0) == size && labels.shape(0) == size && states.shape(0) == size && score.shape(0) == size &&
                arcs.shape(0) == size && arcs.shape(1) == most && (!weights || weights->shape(0) == size),
            "all arrays must have N entries, labels and arcs K states");
    for (std::size_t n = 0; n < size; ++n)
        require(frames.data()[n] >= 0 && frames.data()[n] <= std::int64_t(scores.shape(0)) && states.data()[n] >= 1 &&
                    states.data()[n] <= std::int64_t(most),
                "frames must be within T, states within K");

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
    batch.frames = frames.data();
    batch.labels = labels.data();
    batch.arcs = arcs.data();
    batch.states = states.data();
    batch.states_max = most;
    batch.score = score.data();
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
    const Kernels& kernels = kernels_named(isa);
    nb::gil_scoped_release release;
    sweep_batch(batch, kernels, threads);
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "C++ kernels of ctckit; used through ctckit.kernels.native.";
    m.def("instruction_sets", &instruction_sets, "Instruction sets of the kernels this CPU can run, the best last.");
    m.def("first_bad_token", &first_bad_token, nb::arg("targets"), nb::arg("lengths"), nb::arg("classes"),
          nb::arg("blank"), "Flat index of the first token that is no class or the blank, or -1.");
    m.def("sweep", &sweep, nb::arg("scores"), nb::arg("from_logits"), nb::arg("frames"), nb::arg("labels"),
          nb::arg("arcs"), nb::arg("states"), nb::arg("score"), nb::arg("grad").none(), nb::arg("weights").none(),
          nb::arg("occupancy").none(), nb::arg("isa"), nb::arg("threads"),
          "Sweeps a batch: writes score, and grad and occupancy where given.");
}
