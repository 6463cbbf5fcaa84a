// The beam: for each prefix what a frame needs, as arrays; and the part of a frame in which no prefix gets longer.
#pragma once

#include <cstdint>

#include "search/array.h"
#include "search/prefixes.h"
#include "simd/lanes.h"

namespace {

// to[i] = from[places[i]]. `to` may be `from` if the places are in rising order, and it may be `places`.
template <class T>
inline void pick(Array<T>& to, const Array<T>& from, const std::int32_t* places, int begin, int end, int offset = 0) {
    T* const target = to.data() + offset;
    const T* const source = from.data() + offset;
#pragma omp simd
    for (int i = begin; i < end; ++i) target[i] = source[places[i]];
}

// A prefix's probability is the sum of two: of its paths that end in the blank, and of those that end in its last
// token. Both include the factors from the language. Slots after the beam are 0, so that loops run over whole packs;
// the last slot represents all prefixes that are not in the beam.
struct Beam {
    int size = 0, room = 0;
    Array<double> mass;          // (2, room): of all paths; of paths that end in the blank
    Array<double> token;         // of paths that end in the last token
    Array<double> gain;          // the factor from the parent's probability to this one's
    Array<double> frame;         // the last one in which most of the total came from the parent
    Array<double> reach;         // an upper bound of the gain by a token without a boundary
    Array<double> closing;       // an upper bound of the gain by a token with one
    Array<std::int32_t> last;    // its last token; the number of classes if it is empty
    Array<std::int32_t> parent;  // its slot; `none` if that is not in the beam
    Array<std::int32_t> source;  // the index in `mass` of the parent's paths that this token may follow
    Array<std::int32_t> said;    // the first of a list: what the model says when its word is closed
    Array<std::uint32_t> prefix;
    Array<std::uint64_t> children;  // the last tokens of children in the beam, as bits; only if classes are few
    Array<std::uint64_t> allowed;   // the set of tokens that may follow
    Array<std::uint64_t> hash;      // of its key, see candidates.h

    int none() const { return room - 1; }
    int packed() const { return (size + kPack - 1) / kPack * kPack; }

    void make_room(int width, int no_class) {
        room = (width + kPack - 1) / kPack * kPack + kPack;
        for (Array<double>* array : {&token, &gain, &frame, &reach, &closing}) array->resize(room, 0.0);
        mass.resize(2 * room, 0.0);
        said.resize(room, -1);
        last.resize(room, no_class);
        parent.resize(room, none());
        source.resize(room, none());
        prefix.resize(room, kNoPrefix);
        children.resize(room, 0);
        allowed.resize(room, ~std::uint64_t(0));
        hash.resize(room, 0);
    }

    // Makes a slot like those after the beam.
    void empty(int i, int no_class) {
        mass[i] = mass[room + i] = token[i] = gain[i] = reach[i] = closing[i] = 0;
        last[i] = no_class;
        parent[i] = source[i] = none();
    }

    // Moves slots[i] to slot i, from `begin` to `end`: everything but the masses.
    void keep(const std::int32_t* slots, int begin, int end) {
        for (Array<double>* array : {&gain, &frame, &reach, &closing}) pick(*array, *array, slots, begin, end);
        for (Array<std::int32_t>* array : {&last, &parent, &said}) pick(*array, *array, slots, begin, end);
        for (Array<std::uint64_t>* array : {&allowed, &hash}) pick(*array, *array, slots, begin, end);
        pick(prefix, prefix, slots, begin, end);
    }
};

// Probabilities after a frame. They are 0 after the beam, because a swap may make them the beam's.
struct Masses {
    Array<double> mass, token;

    void make_room(int room) {
        mass.resize(2 * room, 0.0);
        token.resize(room, 0.0);
    }
    void empty(int i, int room) { mass[i] = mass[room + i] = token[i] = 0; }
};

struct Stayed {
    double least, most;  // of the totals above 0; +inf and 0 if there are none
    int alive;
};

// The paths of a frame that lead to prefixes of the beam: the blank follows, or the last token again, or the last token
// follows the parent, if that is in the beam too. `emitted`: the emission of each prefix's last token.
inline Stayed stay(Beam& beam, const double* CTCKIT_RESTRICT emitted, double blank, double now,
                   double* CTCKIT_RESTRICT mass, double* CTCKIT_RESTRICT token) {
    const double* const before = beam.mass.data();
    const double* const before_token = beam.token.data();
    const double* const gain = beam.gain.data();
    const std::int32_t* const source = beam.source.data();
    double* const frame = beam.frame.data();
    const int room = beam.room, end = beam.packed();
    double least = kInfinity<double>, most = 0;
    int alive = 0;
#pragma omp simd reduction(min : least) reduction(max : most) reduction(+ : alive)
    for (int i = 0; i < end; ++i) {
        const double entered = before[source[i]] * gain[i] * emitted[i];
        const double ends_token = before_token[i] * emitted[i] + entered;
        const double ends_blank = before[i] * blank;
        const double total = ends_blank + ends_token;
        mass[i] = total;
        mass[room + i] = ends_blank;
        token[i] = ends_token;
        frame[i] = 2 * entered > total ? now : frame[i];
        least = total > 0 && total < least ? total : least;
        most = total > most ? total : most;
        alive += total > 0 ? 1 : 0;
    }
    return {least, most, alive};
}

}  // namespace
