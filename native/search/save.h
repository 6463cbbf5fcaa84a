// A search as bytes, to be continued elsewhere: with any instruction set, on machines that store numbers alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "search/search.h"

namespace {

// What must be the same where the search is continued. It is compared, so that no index is out of range.
struct SavedHead {
    char magic[8];
    std::int32_t classes, blank, lexicon_nodes, hotword_nodes, beam_width;
    std::int32_t plain, recombine, from_logits;
    std::int64_t num_frames, exponent;
    std::int32_t status, size;
    std::int64_t num_prefixes, most_apart;
    LongSum offset;
    double best;
    State stem;
};

constexpr char kSavedMagic[8] = {'c', 't', 'c', 's', 'r', 'c', 'h', '1'};

// Prefixes follow their parents; the first is the root.
struct SavedPrefix {
    State state;
    std::int32_t parent, token, word, frame;
};

struct SavedSlot {
    double mass, ends_blank, ends_token, gain, frame;
    std::int32_t prefix, last;
};

// Reads plain data from bytes.
class Bytes {
   public:
    Bytes(const void* bytes, std::size_t count) : next_(static_cast<const char*>(bytes)), left_(count) {}
    template <class T>
    bool read(T& to) {
        if (left_ < sizeof to) return false;
        std::memcpy(static_cast<void*>(&to), next_, sizeof to);
        next_ += sizeof to;
        left_ -= sizeof to;
        return true;
    }
    bool done() const { return left_ == 0; }

   private:
    const char* next_;
    std::size_t left_;
};

template <bool kPlain>
void Search<kPlain>::save(ctckit::ByteSink& sink) {
    // The nodes of the tree, each after its parent.
    Array<std::int32_t> numbers;
    numbers.resize(prefixes_.capacity(), -1);
    Array<std::uint32_t> order, path;
    for (int i = -1; i < beam_.size; ++i) {
        path.clear();
        for (std::uint32_t node = i < 0 ? prefixes_.root() : beam_.prefix[i]; numbers[node] < 0;
             node = prefixes_[node].parent) {
            path.push(node);
            if (node == prefixes_.root()) break;
        }
        path.reverse();
        for (std::uint32_t node : path) {
            numbers[node] = std::int32_t(order.size());
            order.push(node);
        }
    }
    SavedHead head = head_of();
    head.num_frames = num_frames_;
    head.exponent = exponent_;
    head.status = status_;
    head.size = beam_.size;
    head.num_prefixes = std::int64_t(order.size());
    head.most_apart = std::int64_t(most_apart_);
    head.offset = offset_;
    head.best = best_;
    head.stem = stem_;
    sink.take(&head, sizeof head);
    for (std::uint32_t node : order) {
        const Prefix& prefix = prefixes_[node];
        const std::int32_t parent = node == prefixes_.root() ? -1 : numbers[prefix.parent];
        const SavedPrefix saved{kPlain ? State{} : states_[node], parent, prefix.token, prefix.word, prefix.frame};
        sink.take(&saved, sizeof saved);
    }
    for (int i = 0; i < beam_.size; ++i) {
        const SavedSlot saved{beam_.mass[i],  beam_.mass[beam_.room + i], beam_.token[i], beam_.gain[i],
                              beam_.frame[i], numbers[beam_.prefix[i]],   beam_.last[i]};
        sink.take(&saved, sizeof saved);
    }
}

// A head without the state of the search.
template <bool kPlain>
SavedHead Search<kPlain>::head_of() const {
    SavedHead head{};
    std::memcpy(head.magic, kSavedMagic, sizeof head.magic);
    head.classes = classes_;
    head.blank = graph_.blank;
    head.lexicon_nodes = graph_.lexicon_nodes;
    head.hotword_nodes = graph_.hotword_nodes;
    head.beam_width = options_.beam_width;
    head.plain = kPlain;
    head.recombine = options_.recombine;
    head.from_logits = options_.from_logits;
    return head;
}

template <bool kPlain>
bool Search<kPlain>::is_state(const State& state) const {
    const bool off = state.node == ctckit::kOffNode;
    return (off ? !walk_.closed() : state.node >= 0 && state.node < graph_.lexicon_nodes) && state.hot >= 0 &&
           state.hot < graph_.hotword_nodes;
}

template <bool kPlain>
bool Search<kPlain>::restore(const void* bytes, std::size_t count) {
    const bool restored = restore_from(Bytes(bytes, count));
    if (!restored) reset();
    return restored;
}

template <bool kPlain>
bool Search<kPlain>::restore_from(Bytes bytes) {
    SavedHead head;
    if (!bytes.read(head)) return false;
    const SavedHead mine = head_of();
    if (std::memcmp(&mine, &head, offsetof(SavedHead, num_frames)) != 0) return false;
    if (head.size < 0 || head.size > options_.beam_width || head.num_prefixes < 1 || head.most_apart < 0 ||
        head.num_frames < 0 || head.status < CTCKIT_FINE || head.status > CTCKIT_NOT_FINITE || !is_state(head.stem) ||
        !(head.best >= 0 && head.best < kInfinity<double>))
        return false;
    reset();
    leave(0);
    Array<std::uint32_t> nodes;
    for (std::int64_t k = 0; k < head.num_prefixes; ++k) {
        SavedPrefix saved;
        if (!bytes.read(saved) || !is_state(saved.state)) return false;
        const bool token = saved.token >= 0 && saved.token < classes_;
        if (saved.word < kNoWord || (k > 0 && !token && saved.token != kOnlyAWord)) return false;
        if (k > 0 && (saved.parent < 0 || saved.parent >= k)) return false;
        nodes.push(k ? step_to(nodes[saved.parent], saved.token, saved.word) : prefixes_.root());
        prefixes_[nodes[k]].frame = saved.frame;
        if constexpr (!kPlain) states_[nodes[k]] = saved.state;
    }
    empty(0);
    beam_.size = 0;
    num_frames_ = head.num_frames;
    for (int i = 0; i < head.size; ++i) {
        SavedSlot saved;
        if (!bytes.read(saved) || saved.prefix < 0 || saved.prefix >= head.num_prefixes) return false;
        const std::uint32_t node = nodes[saved.prefix];
        const bool root = node == prefixes_.root();
        if (prefixes_[node].slot != kNotInBeam || (!root && saved.last != prefixes_[node].token)) return false;
        if (saved.last < 0 || saved.last > classes_ || !(saved.frame >= 0 && saved.frame <= double(head.num_frames)) ||
            !(saved.mass >= 0 && saved.mass < kInfinity<double>) || !(saved.ends_blank >= 0) ||
            !(saved.ends_token >= 0))
            return false;
        beam_.mass[i] = saved.mass;
        beam_.mass[beam_.room + i] = saved.ends_blank;
        beam_.token[i] = saved.ends_token;
        beam_.gain[i] = saved.gain;
        beam_.last[i] = saved.last;
        beam_.parent[i] = beam_.none();
        ++beam_.size;
        adopt(i, node);
        beam_.frame[i] = saved.frame;
        enter(i);
    }
    for (int i = 0; i < beam_.size; ++i) adopt_children(i, beam_.prefix[i]);
    number_children();
    status_ = head.status;
    offset_ = head.offset;
    exponent_ = head.exponent;
    most_apart_ = std::size_t(head.most_apart);
    best_ = head.best;
    stem_ = head.stem;
    return bytes.done();
}

}  // namespace
