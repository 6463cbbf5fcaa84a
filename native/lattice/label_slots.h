// Label slots: the rows of a table of emissions, one for each distinct label of a lattice, or one for each class where
// that is faster; and which cells belong to each slot.
#pragma once

#include <cstdint>

#include "lattice/arena.h"
#include "simd/scaled.h"
#include "simd/tile.h"

namespace {

struct LabelSlots {
    bool by_class;  // one slot for each class
    int num_slots, num_labels;
    std::int64_t most;            // slots there may be; of classes, whole squares
    std::int32_t* labels;         // (num_labels,) the distinct labels, that of state 0 first
    std::int32_t* slot_of_cell;   // (2 * length,) even cells first; cells of no state have the slot of state 0
    std::int32_t* first;          // (num_slots + 1,) where each slot's cells begin in `cells`
    std::int32_t* cells;          // (num_states,) cells grouped by slot
    std::int32_t* slot_of_class;  // (num_classes,) -1: the class is not a label

    int slot_of_label(int i) const { return by_class ? labels[i] : i; }

    void lay_out(Arena& arena, int num_states, std::int64_t length, std::int64_t num_classes) {
        most = by_class ? round_up(num_classes, kSquare) : lesser<std::int64_t>(num_states, num_classes);
        slot_of_cell = arena.take<std::int32_t>(2 * length);
        labels = arena.take<std::int32_t>(num_states);
        first = arena.take<std::int32_t>(most + 1);
        cells = arena.take<std::int32_t>(num_states);
        slot_of_class = arena.take<std::int32_t>(num_classes);
    }

    // Groups cells by label: all of them, or odd ones only. Cell k / 2 of parity k % 2 is state k; even cells come
    // first, `length` of either parity. False if a label is not a class: the caller has checked that already, but then
    // memory stays safe even if not.
    bool build(const std::int32_t* label, int num_states, std::int64_t length, bool odd_only,
               std::int64_t num_classes) {
        const auto cell = [&](int k) { return (k % 2) * length + k / 2; };
        const auto grouped = [&](int k) { return !odd_only || k % 2 == 1; };
        for (std::int64_t c = 0; c < num_classes; ++c) slot_of_class[c] = -1;
        for (std::int64_t i = 0; i < 2 * length; ++i) slot_of_cell[i] = by_class ? label[0] : 0;
        if (by_class)
            for (std::int64_t c = 0; c < num_classes; ++c) first[c] = 0;
        num_labels = 0;
        for (int k = 0; k < num_states; ++k) {
            const std::int32_t c = label[k];
            if (c < 0 || c >= num_classes) return false;
            if (slot_of_class[c] < 0) {
                labels[num_labels] = c;
                slot_of_class[c] = slot_of_label(num_labels++);
                first[slot_of_class[c]] = 0;
            }
            slot_of_cell[cell(k)] = slot_of_class[c];
            first[slot_of_class[c]] += grouped(k);
        }
        num_slots = by_class ? int(num_classes) : num_labels;
        std::int32_t end = 0;
        for (int s = 0; s < num_slots; ++s) first[s] = end += first[s];
        first[num_slots] = end;
        for (int k = num_states - 1; k >= 0; --k)
            if (grouped(k)) cells[--first[slot_of_cell[cell(k)]]] = std::int32_t(cell(k));
        return true;
    }
};

}  // namespace
