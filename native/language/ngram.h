// An n-gram model as an automaton. Each n-gram is a node, 0 is the empty one. A node that begins n-grams of the next
// order has them as children, one for each word that may follow; its suffix is the n-gram without its first words. So a
// query looks for the word among the children of the context, else adds the context's back-off and goes to its suffix.
//
// A state is the node of the longest context that can still matter: one with children or a back-off. All nodes that an
// n-gram leads to are stored with it, so a state is a single number, and equal states are equal numbers.
//
// The model is one block of bytes, the same in memory and in a file, and is used in place:
//
// - Header
// - Context[contexts + 1]: the nodes below the highest order: the empty one, the words, those of two words, and so on
// - Arrival[nodes - contexts]: the nodes of the highest order
// - uint32[nodes - 1 - words]: the last word's key of each n-gram of two words or more, sorted among siblings
// - uint64[slots], uint32[words], char[word_bytes]: see Words
//
// Each part begins at a multiple of 8 bytes. Opening a file checks only the header. Whatever the other bytes are, a
// query reads nothing outside the block, and ends.
#ifndef CTCKIT_LANGUAGE_NGRAM_H
#define CTCKIT_LANGUAGE_NGRAM_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model.h"
#include "words.h"

namespace ctckit {

constexpr int kMostOrders = 32;
constexpr std::uint64_t kMostNodes = 0xfffffffeu;  // nodes are numbered in 32 bits

struct NgramHeader {
    char magic[16];
    std::uint32_t version, byte_order, order, adds_unknown;  // adds_unknown: the ARPA file lacked <unk>
    std::uint64_t size, word_bytes;                          // of the whole file, of the words' text
    std::uint32_t start, end;                                // <s>, </s>
    double bound;
    std::uint64_t counts[kMostOrders];  // n-grams of each order, <unk> included
    std::uint64_t checksum;             // of all before
};

// The result of a word: ln P of the n-gram, and the state after it.
struct Arrival {
    float score;
    std::uint32_t state;
};

// A node that may have children: they are from its first up to the first of the next node. If no child has the next
// word, the back-off and the longest suffix that can matter are used. Stored next to the arrival, which mostly leads to
// it.
struct Context {
    std::uint32_t first_child, suffix;
    float backoff;
    Arrival arrival;
};

// Children are sorted by their words' keys. Keys are distributed evenly over 32 bits, whatever the words are, so a
// word's place among a thousand children can be computed to within a few.
constexpr std::uint32_t key_of(std::uint32_t word) {
    return word * 0x9e3779b1u;
}
constexpr std::uint32_t word_of(std::uint32_t key) {
    return key * 0xe8b2f51u;
}

// Where a key is expected among `count` keys.
inline std::uint32_t guess(std::uint32_t count, std::uint32_t key) {
    return static_cast<std::uint32_t>((std::uint64_t(key) * count) >> 32);
}

// The index of a key among ascending ones, or `count` if it is not there. The first guess is off by the root of
// `count`, and the second, from the key there, by the root of that.
inline std::uint32_t find_key(const std::uint32_t* keys, std::uint32_t count, std::uint32_t key) {
    constexpr std::uint32_t kMany = 128, kNear = 32;
    std::uint32_t i = guess(count, key);
    if (count > kMany) {
        const std::int64_t off = ((std::int64_t(key) - keys[i]) * count) >> 32, last = std::int64_t(count) - 1;
        i = static_cast<std::uint32_t>(std::clamp<std::int64_t>(i + off, 0, last));
    }
    const std::uint32_t above = std::min(count, i + kNear), below = i > kNear ? i - kNear : 0;
    while (i < above && keys[i] < key) ++i;
    while (i > below && keys[i - 1] >= key) --i;
    if (i < count && keys[i] == key) return i;
    if ((i < count && keys[i] < key) ||
        (i > 0 && keys[i - 1] >= key)) {  // not near: the words were chosen to be uneven
        i = static_cast<std::uint32_t>(std::lower_bound(keys, keys + count, key) - keys);
        if (i < count && keys[i] == key) return i;
    }
    return count;
}

// Where the parts of a model begin, from the counts in its header.
struct NgramLayout {
    explicit NgramLayout(const NgramHeader& header);

    std::uint64_t words, nodes, contexts, slots;
    std::uint64_t contexts_at, arrivals_at, keys_at, slots_at, ends_at, text_at, size;
};

class NgramModel : public WordModel {
   public:
    // The bytes must outlive it, at an address that is a multiple of 8. Throws std::invalid_argument if they are not a
    // model.
    NgramModel(const char* data, std::size_t size);

    LanguageState begin(bool sentence) const override;
    double score(const LanguageState& from, std::uint32_t word, LanguageState& to) const override;
    double bound() const override { return header_.bound; }

    std::uint32_t id(std::string_view word) const override { return words_.id(word); }
    std::vector<std::uint32_t> ids(const std::vector<std::string_view>& words) const override {
        return words_.ids(words);
    }
    std::uint32_t end() const override { return header_.end; }
    std::uint32_t num_words() const override { return words_.count; }
    std::vector<std::uint64_t> counts() const override;
    bool has_unknown() const override { return !header_.adds_unknown; }

    const Words& words() const { return words_; }

    // Calls visit with the words of each n-gram, their number, its score and its back-off; by order, then as stored.
    using Visit = std::function<void(const std::uint32_t*, std::uint32_t, float, float)>;
    void each_ngram(const Visit& visit) const;

   private:
    std::uint32_t child(std::uint32_t context, std::uint32_t word) const;
    const Arrival& arrival(std::uint32_t node) const {
        return node < num_contexts_ ? contexts_[node].arrival : arrivals_[node - num_contexts_];
    }

    NgramHeader header_;
    std::uint32_t num_nodes_, num_contexts_;
    const Context* contexts_;
    const Arrival* arrivals_;
    const std::uint32_t* keys_;  // by node, those of single words left out
    Words words_;
};

std::uint64_t checksum(const NgramHeader& header);
void set_format(NgramHeader& header);  // all that does not depend on the model

// Whether bytes begin like a model.
bool is_ngram(std::string_view data);

constexpr double kLn10 = 2.302585092994045684;

}  // namespace ctckit

#endif
