// Windows: at each frame, the range of states that can lie on a path. Only these are visited.
#pragma once

#include <cstdint>

#include "ctckit.h"
#include "lattice/arena.h"
#include "simd/scaled.h"

namespace {

enum Cut : std::uint8_t { kCutBelow = 1, kCutAbove = 2 };

// Neither bound ever falls from one frame to the next, and neither rises by more than two states.
struct Windows {
    std::int32_t* low;   // (num_frames,) the first state from which an END can still be reached
    std::int32_t* high;  // (num_frames,) the last state that a START can have reached

    void lay_out(Arena& arena, std::int64_t num_frames) {
        low = arena.take<std::int32_t>(num_frames);
        high = arena.take<std::int32_t>(num_frames);
    }

    // Bounds from arc bits. False if they leave no state. They are exact for plain lattices; others may have no path
    // within them, which the recursion then finds.
    bool build(const std::uint8_t* arcs, int num_states, int num_frames) {
        const int last = num_states - 1;
        int top = -1, bottom = last + 1;
        for (int k = 0; k <= last; ++k) {
            if (arcs[k] & CTCKIT_START) top = k;
            if ((arcs[k] & CTCKIT_END) && bottom > last) bottom = k;
        }
        if (top < 0 || bottom > last) return false;
        for (int t = 0; t < num_frames; ++t) {
            high[t] = top;
            if (top + 2 <= last && (arcs[top + 2] & CTCKIT_SKIP)) top += 2;
            else if (top + 1 <= last && (arcs[top + 1] & (CTCKIT_STEP | CTCKIT_SKIP))) top += 1;
        }
        for (int t = num_frames - 1; t >= 0; --t) {
            if (bottom > high[t]) return false;
            low[t] = bottom;
            const bool skipped = bottom < last && (arcs[bottom + 1] & CTCKIT_SKIP);
            if (bottom >= 2 && (arcs[bottom] & CTCKIT_SKIP)) bottom -= 2;
            else if (bottom >= 1 && ((arcs[bottom] & CTCKIT_STEP) || skipped)) bottom -= 1;
        }
        return true;
    }

    // All states at all frames, for lattices with long arcs.
    void open(int num_states, int num_frames) {
        for (int t = 0; t < num_frames; ++t) {
            low[t] = 0;
            high[t] = num_states - 1;
        }
    }

    // Clips each frame's window to `most` states on either side of a path, and writes to `cut` where that removed
    // something. The bounds keep their property, whatever the path does.
    void narrow(const std::int32_t* path, int num_frames, int most, std::uint8_t* cut) {
        int state = low[0];
        for (int t = 0; t < num_frames; ++t) {
            state = greater(state, lesser(path[t], state + 2));
            state = greater(low[t], lesser(state, high[t]));
            cut[t] = (state - most > low[t] ? kCutBelow : 0) | (state + most < high[t] ? kCutAbove : 0);
            low[t] = greater(low[t], state - most);
            high[t] = lesser(high[t], state + most);
        }
    }
};

}  // namespace
