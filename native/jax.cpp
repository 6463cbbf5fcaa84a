// XLA's calls of the kernels, for JAX on the CPU: translates XLA's buffers to the C interface. There are three
// handlers; each takes scores (N, T, C) and, after them, one of two forms of lattices:
//
//     targets (N, S), num_frames (N,), target_lengths (N,)     CTC's lattices, laid out here; if `blank` is given
//     num_frames (N,), num_states (N,), labels (N, K), arcs (N, K), and of tokens (N, K), entry_costs (N, K),
//     state_scores (N, K), class_scores (C,), long_arcs (N, L, 2) with long_arc_scores (N, L) those in `given`
//                                                              any lattices; `blank` is -1
//
// Attributes are int64, but `isa`. Python is called for one thing only: to say what is wrong with a value, in the words
// that the other frontends use.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bind.h"
#include "ctckit.h"
#include "layout.h"
#include "xla_ffi.h"

namespace nb = nanobind;
using namespace xla_ffi;

namespace ctckit {
namespace {

enum Given { kTokens = 1, kEntryCosts = 2, kStateScores = 4, kClassScores = 8, kLongArcs = 16 };
enum Wanted { kGrad = 1, kClassScoresGrad = 2, kStateScoresGrad = 4, kEntryCostsGrad = 8 };

// What Python says once: the arcs by role, and a function that explains a wrong value. They live as long as the
// process.
ArcsByRole roles{};
nb::object* explain = nullptr;

class Arguments {
   public:
    explicit Arguments(const Call& call) : call_(call) {}

    const Buffer& next(std::int64_t rank, DataType dtype) {
        const Buffer& buffer = take(call_.arguments, used_++, rank);
        require(buffer.dtype == dtype, "a buffer has another dtype than ctckit.jax passes");
        return buffer;
    }
    const Buffer& scores() { return take(call_.arguments, used_++, 3); }
    Buffer& result(std::int64_t rank) { return take(call_.results, written_++, rank); }

    std::int64_t integer(std::string_view name) const {
        return *static_cast<const std::int64_t*>(static_cast<const Scalar*>(attribute(name))->value);
    }
    // Empty means the best, so that an exported call runs on other machines.
    const char* instruction_set() {
        const Text& found = *static_cast<const Text*>(attribute("isa"));
        isa_.assign(found.data, found.size);
        return isa_.empty() ? nullptr : isa_.c_str();
    }
    int threads() const { return int(integer("threads")); }

   private:
    static Buffer& take(const Buffers& buffers, std::int64_t index, std::int64_t rank) {
        require(index < buffers.size && buffers.buffers[index]->rank == rank,
                "a buffer has another shape than ctckit.jax passes");
        return *buffers.buffers[index];
    }
    const void* attribute(std::string_view name) const {
        const Attributes& all = call_.attributes;
        for (std::int64_t i = 0; i < all.size; ++i)
            if (std::string_view(all.names[i]->data, all.names[i]->size) == name) return all.values[i];
        throw std::invalid_argument("an attribute is missing that ctckit.jax passes");
    }

    const Call& call_;
    std::int64_t used_ = 0, written_ = 0;
    std::string isa_;
};

ctckit_dtype dtype_of(DataType type) {
    switch (type) {
        case kF32:
            return CTCKIT_FLOAT32;
        case kF64:
            return CTCKIT_FLOAT64;
        case kF16:
            return CTCKIT_FLOAT16;
        case kBF16:
            return CTCKIT_BFLOAT16;
        default:
            throw std::invalid_argument("scores must be floats");
    }
}

std::int64_t size_of(const Buffer& buffer) {
    std::int64_t size = 1;
    for (std::int64_t i = 0; i < buffer.rank; ++i) size *= buffer.dims[i];
    return size;
}

std::vector<std::int64_t> widened(const Buffer& buffer) {
    const auto* data = static_cast<const std::int32_t*>(buffer.data);
    return {data, data + size_of(buffer)};
}

// float32 or float64.
std::vector<double> as_doubles(const Buffer& buffer) {
    const std::int64_t size = size_of(buffer);
    if (buffer.dtype == kF64) return {static_cast<double*>(buffer.data), static_cast<double*>(buffer.data) + size};
    require(buffer.dtype == kF32, "costs and added scores must be float32 or float64");
    return {static_cast<float*>(buffer.data), static_cast<float*>(buffer.data) + size};
}

void store(const std::vector<double>& values, Buffer& to) {
    require(size_of(to) == std::int64_t(values.size()), "a result has another shape than ctckit.jax passes");
    if (to.dtype == kF64) std::copy(values.begin(), values.end(), static_cast<double*>(to.data));
    else std::transform(values.begin(), values.end(), static_cast<float*>(to.data), [](double x) { return float(x); });
}

// A call's scores and lattices, and the memory that these point to.
struct Batch {
    ctckit_scores scores{};
    ctckit_lattices lattices{};
    Integers given{};  // the integers as passed, to explain what is wrong with them
    std::int64_t blank = -1, size = 0, states = 0;

    explicit Batch(Arguments& arguments) : blank(arguments.integer("blank")) {
        read_scores(arguments);
        if (blank >= 0) read_targets(arguments);
        else read_lattices(arguments);
        lattices.num_lattices = size;
        lattices.num_frames = frames_.data();
        lattices.max_states = states;
    }
    Batch(const Batch&) = delete;

    bool has_valid_values() const {
        if (blank >= 0) return !find_fault(given, scores.num_frames, scores.num_classes, blank).what;
        return std::all_of(frames_.begin(), frames_.end(),
                           [this](std::int64_t frames) { return frames >= 0 && frames <= scores.num_frames; });
    }

    // Values must be valid.
    void lay_out_targets() {
        if (blank < 0) return;
        laid_out_ = lay_out(given, blank, roles);
        lattices.num_states = laid_out_.num_states.data();
        lattices.labels = laid_out_.labels.data();
        lattices.arcs = laid_out_.arcs.data();
    }

   private:
    void read_scores(Arguments& arguments) {
        const Buffer& buffer = arguments.scores();
        size = buffer.dims[0];
        scores.data = buffer.data;
        scores.dtype = dtype_of(buffer.dtype);
        scores.num_heads = 1;
        scores.num_samples = size;
        scores.num_frames = buffer.dims[1];
        scores.num_classes = buffer.dims[2];
        scores.stride_c = 1;
        scores.stride_t = scores.num_classes;
        scores.stride_n = scores.num_frames * scores.num_classes;
        scores.from_logits = arguments.integer("from_logits") != 0;
    }

    void read_targets(Arguments& arguments) {
        const Buffer& targets = by_sample(arguments.next(2, kS32));
        targets_ = widened(targets);
        frames_ = widened(by_sample(arguments.next(1, kS32)));
        lengths_ = widened(by_sample(arguments.next(1, kS32)));
        states = 2 * targets.dims[1] + 1;
        given = {frames_.data(), lengths_.data(), targets_.data(), size, targets.dims[1], true};
    }

    void read_lattices(Arguments& arguments) {
        frames_ = widened(by_sample(arguments.next(1, kS32)));
        lattices.num_states = static_cast<const std::int32_t*>(by_sample(arguments.next(1, kS32)).data);
        const Buffer& labels = by_sample(arguments.next(2, kS32));
        states = labels.dims[1];
        lattices.labels = static_cast<const std::int32_t*>(labels.data);
        lattices.arcs = static_cast<const std::uint8_t*>(by_sample(arguments.next(2, kU8)).data);
        for (std::int64_t n = 0; n < size; ++n)
            require(lattices.num_states[n] >= 1 && lattices.num_states[n] <= states, "num_states must be within K");
        const std::int64_t added = arguments.integer("given");
        if (added & kTokens)
            lattices.tokens = static_cast<const std::int32_t*>(by_sample(arguments.next(2, kS32)).data);
        if (added & kEntryCosts) lattices.entry_costs = doubles(arguments, entry_costs_, 2);
        if (added & kStateScores) lattices.state_scores = doubles(arguments, state_scores_, 2);
        if (added & kClassScores) scores.class_scores = doubles(arguments, class_scores_, 1);
        if (added & kLongArcs) read_long_arcs(arguments);
        given = {frames_.data(), nullptr, nullptr, size, 0, true};
    }

    // Each sample's arcs (from, to) in order of `to`, and then -1.
    void read_long_arcs(Arguments& arguments) {
        const Buffer& buffer = by_sample(arguments.next(3, kS32));
        const std::int64_t most = buffer.dims[1];
        const std::vector<double> values =
            as_doubles(by_sample(arguments.next(2, scores.dtype == CTCKIT_FLOAT64 ? kF64 : kF32)));
        require(buffer.dims[2] == 2 && std::int64_t(values.size()) == size * most, "long arcs must be (N, L, 2)");
        const auto* pairs = static_cast<const std::int32_t*>(buffer.data);
        for (std::int64_t n = 0; n < size; ++n) {
            const std::int32_t* arc = pairs + 2 * n * most;
            for (std::int64_t l = 0, before = 0; l < most && arc[2 * l] >= 0; before = arc[2 * l++ + 1]) {
                const std::int32_t from = arc[2 * l], to = arc[2 * l + 1];
                require(from < to && before <= to && to < lattices.num_states[n],
                        "long arcs must lead to later states, and be in the order of these");
                long_arcs_.insert(long_arcs_.end(), {std::int32_t(n), from, to});
                long_arc_scores_.push_back(values[n * most + l]);
            }
        }
        lattices.long_arcs = long_arcs_.data();
        lattices.long_arc_scores = long_arc_scores_.data();
        lattices.num_long_arcs = long_arc_scores_.size();
    }

    const Buffer& by_sample(const Buffer& buffer) const {
        require(buffer.dims[0] == size, "all arrays must have N rows");
        return buffer;
    }

    const double* doubles(Arguments& arguments, std::vector<double>& to, int rank) {
        const DataType real = scores.dtype == CTCKIT_FLOAT64 ? kF64 : kF32;
        const Buffer& buffer = arguments.next(rank, real);
        require(size_of(buffer) == (rank == 2 ? size * states : scores.num_classes),
                "added scores have another shape than ctckit.jax passes");
        to = as_doubles(buffer);
        return to.data();
    }

    std::vector<std::int64_t> frames_, targets_, lengths_;
    std::vector<double> entry_costs_, state_scores_, class_scores_, long_arc_scores_;
    std::vector<std::int32_t> long_arcs_;
    LatticeBatch laid_out_;
};

nb::object array_of(const std::int64_t* data, std::vector<std::size_t> shape) {
    if (!data) return nb::none();
    return nb::cast(nb::ndarray<nb::numpy, const std::int64_t>(data, shape.size(), shape.data()), nb::rv_policy::copy);
}

// What is wrong, as the other frontends say it.
std::string explained(const Batch& batch, const Arguments& arguments) {
    nb::gil_scoped_acquire holds;
    const std::size_t size = batch.size;
    const nb::object said =
        (*explain)(nb::make_tuple(batch.scores.num_samples, batch.scores.num_frames, batch.scores.num_classes),
                   array_of(batch.given.targets, {size, std::size_t(batch.given.longest)}),
                   array_of(batch.given.frames, {size}), array_of(batch.given.lengths, {size}), batch.blank,
                   batch.scores.from_logits != 0, arguments.integer("single") != 0, arguments.integer("as_optax") != 0);
    return nb::cast<std::string>(said);
}

void check_done(int result) {
    if (result == CTCKIT_OUT_OF_MEMORY) throw std::bad_alloc();
    require(result == CTCKIT_OK, "unknown instruction set");
}

void sums(Arguments& arguments, const Batch& batch) {
    const std::int64_t wanted = arguments.integer("wanted");
    std::vector<double> score(batch.size), by_class, by_state, by_entry;
    std::vector<std::uint8_t> status(batch.size);
    ctckit_sums_out out{};
    out.score = score.data();
    out.status = status.data();
    Buffer& loss = arguments.result(1);
    if (wanted & kGrad) {
        Buffer& grad = arguments.result(3);
        require(dtype_of(grad.dtype) == batch.scores.dtype &&
                    size_of(grad) == batch.scores.num_samples * batch.scores.stride_n,
                "the gradient must be like the scores");
        out.grad = grad.data;
        out.grad_stride_n = batch.scores.stride_n;
        out.grad_stride_t = batch.scores.stride_t;
    }
    const auto memory = [&](std::int64_t bit, std::vector<double>& values, std::int64_t columns) {
        if (!(wanted & bit)) return static_cast<double*>(nullptr);
        values.resize(batch.size * columns);
        return values.data();
    };
    out.class_scores_grad = memory(kClassScoresGrad, by_class, batch.scores.num_classes);
    out.state_scores_grad = memory(kStateScoresGrad, by_state, batch.lattices.max_states);
    out.entry_costs_grad = memory(kEntryCostsGrad, by_entry, batch.lattices.max_states);
    check_done(ctckit_sums(&batch.scores, &batch.lattices, &out, arguments.instruction_set(), arguments.threads()));
    for (double& each : score) each = 0.0 - each;  // not -each: a certain target costs 0, not -0
    store(score, loss);
    for (const std::vector<double>* values : {&by_class, &by_state, &by_entry})
        if (!values->empty()) store(*values, arguments.result(2));
}

// Log-scores (N,), statuses (N,), occupancies (T, N, K); K is that of the longest target's array.
void posteriors(Arguments& arguments, const Batch& batch) {
    std::vector<double> score(batch.size);
    ctckit_sums_out out{};
    out.score = score.data();
    Buffer& scores = arguments.result(1);
    out.status = static_cast<std::uint8_t*>(arguments.result(1).data);
    Buffer& occupancy = arguments.result(3);
    require(occupancy.dtype == (batch.scores.dtype == CTCKIT_FLOAT64 ? kF64 : kF32) &&
                size_of(occupancy) == batch.scores.num_frames * batch.size * batch.lattices.max_states,
            "occupancies must be (T, N, K)");
    out.occupancy = occupancy.data;
    check_done(ctckit_sums(&batch.scores, &batch.lattices, &out, arguments.instruction_set(), arguments.threads()));
    store(score, scores);
}

// Log-scores (N,), statuses (N,), states (N, T), and what each frame adds (N, T).
void best_path(Arguments& arguments, const Batch& batch) {
    std::vector<double> score(batch.size), by_frame(batch.size * batch.scores.num_frames);
    ctckit_path_out out{};
    out.score = score.data();
    out.frame_scores = by_frame.data();
    Buffer& scores = arguments.result(1);
    out.status = static_cast<std::uint8_t*>(arguments.result(1).data);
    Buffer& states = arguments.result(2);
    require(size_of(states) == batch.size * batch.scores.num_frames, "states must be (N, T)");
    out.states = static_cast<std::int32_t*>(states.data);
    check_done(
        ctckit_best_path(&batch.scores, &batch.lattices, &out, arguments.instruction_set(), arguments.threads()));
    store(score, scores);
    store(by_frame, arguments.result(2));
}

// XLA computes with denormals flushed to zero, which the kernels need, and which threads inherit: half precision is
// unpacked by way of them.
class Denormals {
   public:
    Denormals() {
        std::fegetenv(&kept_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~Denormals() { std::fesetenv(&kept_); }
    Denormals(const Denormals&) = delete;

   private:
    std::fenv_t kept_;
};

Error* failure(const Call& call, ErrorCode code, const char* message) {
    NewError error{sizeof(NewError), nullptr, message, code};
    return call.api->new_error(&error);
}

// Whether the call is a question, which then is answered.
bool answered(Extension* extensions) {
    for (Extension* each = extensions; each; each = each->next) {
        if (each->type != kMetadata) continue;
        Metadata& asked = *reinterpret_cast<MetadataExtension*>(each)->metadata;
        asked.version.major = kMajor;
        asked.version.minor = kMinor;
        asked.traits = 0;
        return true;
    }
    return false;
}

template <void (*Compute)(Arguments&, const Batch&)>
Error* handler(Call* call) {
    if (answered(call->extensions) || call->stage != kExecute) return nullptr;
    try {
        const Denormals kept;
        Arguments arguments(*call);
        Batch batch(arguments);
        if (!batch.has_valid_values()) return failure(*call, kInvalidArgument, explained(batch, arguments).c_str());
        batch.lay_out_targets();
        if (batch.size) Compute(arguments, batch);
        return nullptr;
    } catch (const std::bad_alloc&) {
        return failure(*call, kResourceExhausted, "ctckit: out of memory");
    } catch (const std::invalid_argument& error) {
        return failure(*call, kInvalidArgument, error.what());
    } catch (const std::exception& error) {
        return failure(*call, kInternal, error.what());
    }
}

template <void (*Compute)(Arguments&, const Batch&)>
nb::capsule capsule() {
    return nb::capsule(reinterpret_cast<void*>(&handler<Compute>));
}

// The handlers by name. `explained` says in words what is wrong with a call's integers.
nb::dict handlers(nb::ndarray<const std::uint8_t, nb::shape<5>, nb::c_contig, nb::device::cpu> arcs_by_role,
                  nb::object explained) {
    const std::uint8_t* role = arcs_by_role.data();
    roles = {role[0], role[1], role[2], role[3], role[4]};
    if (!explain) explain = new nb::object(explained);
    nb::dict made;
    made["sums"] = capsule<sums>();
    made["posteriors"] = capsule<posteriors>();
    made["best_path"] = capsule<best_path>();
    return made;
}

}  // namespace

void bind_jax(nb::module_& m) {
    m.def("xla_handlers", &handlers, nb::arg("arcs_by_role"), nb::arg("explained"));
}

}  // namespace ctckit
