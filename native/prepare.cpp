#include "prepare.h"

#include <algorithm>

#include "kernels.h"

namespace ctckit {
namespace {

std::int64_t first_out_of_range(const std::int64_t* lengths, std::int64_t size, std::int64_t most) {
    return std::find_if(lengths, lengths + size, [=](std::int64_t n) { return n < 0 || n > most; }) - lengths;
}

// Calls visit(n, tokens, length) for each sample.
template <class Visit>
void for_each_target(const Targets& targets, Visit visit) {
    const std::int64_t* tokens = targets.tokens;
    for (std::int64_t n = 0; n < targets.size; ++n) {
        visit(n, tokens, targets.lengths[n]);
        tokens += targets.padded ? targets.longest : targets.lengths[n];
    }
}

}  // namespace

Fault find_length_fault(const Targets& targets) {
    const std::int64_t n = first_out_of_range(targets.lengths, targets.size, targets.longest);
    if (n < targets.size) return {"target_lengths", n};
    if (targets.padded) return {};
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < targets.size; ++i) sum += targets.lengths[i];
    return sum == targets.longest ? Fault{} : Fault{"sum", sum};
}

Fault find_fault(const Targets& targets, const std::int64_t* frames, std::int64_t frames_max, std::int64_t classes,
                 std::int64_t blank) {
    const std::int64_t n = first_out_of_range(frames, targets.size, frames_max);
    if (n < targets.size) return {"input_lengths", n};
    Fault fault = find_length_fault(targets);
    if (fault.what) return fault;
    for_each_target(targets, [&](std::int64_t, const std::int64_t* tokens, std::int64_t length) {
        for (std::int64_t s = 0; s < length && !fault.what; ++s)
            if (tokens[s] < 0 || tokens[s] >= classes || tokens[s] == blank)
                fault = {"token", tokens + s - targets.tokens};
    });
    return fault;
}

void expand(const Targets& targets, std::int64_t blank, const ArcsByRole& roles, std::int64_t states_max,
            std::int32_t* labels, std::uint8_t* arcs, std::int32_t* states) {
    std::fill_n(labels, targets.size * states_max, std::int32_t(blank));
    for_each_target(targets, [&](std::int64_t n, const std::int64_t* tokens, std::int64_t length) {
        const std::int64_t count = 2 * length + 1;
        std::int32_t* label = labels + n * states_max;
        std::uint8_t* arc = arcs + n * states_max;
        states[n] = std::int32_t(count);
        arc[0] = roles.blank;
        for (std::int64_t s = 0; s < length; ++s) {
            label[2 * s + 1] = std::int32_t(tokens[s]);
            arc[2 * s + 1] = s > 0 && tokens[s] == tokens[s - 1] ? roles.repeat : roles.token;
            arc[2 * s + 2] = roles.blank;
        }
        std::fill(arc + count, arc + states_max, 0);
        for (std::int64_t k = 0; k < std::min<std::int64_t>(2, count); ++k) {
            arc[k] |= roles.first;
            arc[count - 1 - k] |= roles.last;
        }
        // There is no state before the first.
        arc[0] &= std::uint8_t(~(kStep | kSkip));
        if (count > 1) arc[1] &= std::uint8_t(~kSkip);
    });
}

}  // namespace ctckit
