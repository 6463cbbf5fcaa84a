#include "layout.h"

#include <algorithm>

#include "ctckit.h"

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

void lay_out_target(const std::int64_t* tokens, std::int64_t length, const ArcsByRole& roles, std::int32_t* labels,
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
    arcs[0] &= std::uint8_t(~(CTCKIT_STEP | CTCKIT_SKIP));
    if (states > 1) arcs[1] &= std::uint8_t(~CTCKIT_SKIP);
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

LatticeBatch lay_out(const Integers& given, std::int64_t blank, const ArcsByRole& roles) {
    LatticeBatch made;
    made.frames.assign(given.frames, given.frames + given.size);
    made.num_tokens.assign(given.lengths, given.lengths + given.size);
    std::int64_t longest = given.padded ? given.longest : 0;
    for (std::int64_t length : made.num_tokens) longest = std::max(longest, length);
    made.max_states = 2 * longest + 1;
    made.labels.assign(given.size * made.max_states, std::int32_t(blank));
    made.arcs.assign(given.size * made.max_states, 0);
    made.num_states.resize(given.size);
    for_each_target(given, [&](std::int64_t n, const std::int64_t* tokens, std::int64_t length) {
        made.num_states[n] = std::int32_t(2 * length + 1);
        const std::int64_t row = n * made.max_states;
        lay_out_target(tokens, length, roles, &made.labels[row], &made.arcs[row]);
    });
    return made;
}

void number_tokens(LatticeBatch& batch) {
    batch.tokens.assign(batch.labels.size(), -1);
    for (std::size_t n = 0; n < batch.num_tokens.size(); ++n)
        for (std::int64_t s = 0; s < batch.num_tokens[n]; ++s)
            batch.tokens[n * batch.max_states + 2 * s + 1] = std::int32_t(s);
}

}  // namespace ctckit
