#include "prepare.h"

#include <algorithm>

#include "kernels.h"

namespace ctckit {
namespace {

// Calls visit(n, tokens, length) for each sample.
template <class Visit>
void for_each_target(const Integers& given, Visit visit) {
    const std::int64_t* tokens = given.targets;
    for (std::int64_t n = 0; n < given.size; ++n) {
        visit(n, tokens, given.lengths[n]);
        tokens += given.padded ? given.longest : given.lengths[n];
    }
}

void lay_out(const std::int64_t* tokens, std::int64_t length, const ArcsByRole& roles, std::int32_t* labels,
             std::uint8_t* arcs) {
    const std::int64_t states = 2 * length + 1;
    arcs[0] = roles.blank;
    for (std::int64_t s = 0; s < length; ++s) {
        labels[2 * s + 1] = std::int32_t(tokens[s]);
        arcs[2 * s + 1] = s > 0 && tokens[s] == tokens[s - 1] ? roles.repeat : roles.token;
        arcs[2 * s + 2] = roles.blank;
    }
    for (std::int64_t k = 0; k < std::min<std::int64_t>(2, states); ++k) {
        arcs[k] |= roles.first;
        arcs[states - 1 - k] |= roles.last;
    }
    // There is no state before the first.
    arcs[0] &= std::uint8_t(~(kStep | kSkip));
    if (states > 1) arcs[1] &= std::uint8_t(~kSkip);
}

}  // namespace

Fault find_fault(const Integers& given, std::int64_t frames_max, std::int64_t classes, std::int64_t blank) {
    std::int64_t sum = 0;
    for (std::int64_t n = 0; n < given.size; ++n)
        if (given.frames[n] < 0 || given.frames[n] > frames_max) return {"input_lengths", n};
    for (std::int64_t n = 0; n < given.size; ++n) {
        if (given.lengths[n] < 0 || given.lengths[n] > given.longest) return {"target_lengths", n};
        sum += given.lengths[n];
    }
    if (!given.padded && sum != given.longest) return {"sum", sum};
    Fault fault{};
    for_each_target(given, [&](std::int64_t, const std::int64_t* tokens, std::int64_t length) {
        for (std::int64_t s = 0; s < length && !fault.what; ++s)
            if (tokens[s] < 0 || tokens[s] >= classes || tokens[s] == blank)
                fault = {"token", tokens + s - given.targets};
    });
    return fault;
}

Prepared prepare(const Integers& given, std::int64_t blank, const ArcsByRole& roles) {
    Prepared made;
    made.frames.assign(given.frames, given.frames + given.size);
    made.lengths.assign(given.lengths, given.lengths + given.size);
    std::int64_t longest = given.padded ? given.longest : 0;
    for (std::int64_t length : made.lengths) longest = std::max(longest, length);
    made.states_max = 2 * longest + 1;
    made.labels.assign(given.size * made.states_max, std::int32_t(blank));
    made.arcs.assign(given.size * made.states_max, 0);
    made.states.resize(given.size);
    made.tokens.assign(given.size * made.states_max, -1);
    for_each_target(given, [&](std::int64_t n, const std::int64_t* tokens, std::int64_t length) {
        made.states[n] = std::int32_t(2 * length + 1);
        const std::int64_t row = n * made.states_max;
        lay_out(tokens, length, roles, &made.labels[row], &made.arcs[row]);
        for (std::int64_t s = 0; s < length; ++s) made.tokens[row + 2 * s + 1] = std::int32_t(s);
    });
    return made;
}

}  // namespace ctckit
