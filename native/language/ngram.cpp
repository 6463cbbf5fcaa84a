#include "ngram.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace ctckit {
namespace {

constexpr char kMagic[16] = {'c', 't', 'c', 'k', 'i', 't', ' ', 'n', 'g', 'r', 'a', 'm', 's', '\n', '\x1a', '\0'};
constexpr std::uint32_t kVersion = 1, kByteOrder = 0x01020304;

std::uint64_t aligned(std::uint64_t at) {
    return (at + 7) / 8 * 8;
}

void require(bool holds, const std::string& what) {
    if (!holds) throw std::invalid_argument(what);
}

// Raises unless the header is one, and is that of a file of this size.
void check(const NgramHeader& header, std::uint64_t size) {
    require(!std::memcmp(header.magic, kMagic, sizeof(kMagic)), "is not an n-gram model of ctckit");
    require(header.byte_order == kByteOrder,
            "was written on a machine of another byte order: write it again on this one");
    require(header.version == kVersion, "has version " + std::to_string(header.version) +
                                            " of the format: this ctckit reads version " + std::to_string(kVersion) +
                                            "; write it again from the ARPA file");
    require(header.checksum == checksum(header), "is damaged: its header does not add up");
    std::uint64_t nodes = 0;
    for (const std::uint64_t count : header.counts) nodes = std::min(nodes + std::min(count, kMostNodes), kMostNodes);
    require(header.order >= 1 && header.order <= kMostOrders && header.counts[0] > 0 && nodes < kMostNodes &&
                header.word_bytes <= 0xffffffffu && header.start < header.counts[0] && header.end < header.counts[0],
            "is damaged: its header holds impossible numbers");
    require(header.size == size && NgramLayout(header).size == size,
            "has " + std::to_string(size) + " bytes where its header says " + std::to_string(header.size) +
                "; was it written, or copied, completely?");
}

}  // namespace

std::uint64_t checksum(const NgramHeader& header) {
    return murmur_hash({reinterpret_cast<const char*>(&header), offsetof(NgramHeader, checksum)});
}

void set_format(NgramHeader& header) {
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
    header.version = kVersion;
    header.byte_order = kByteOrder;
}

bool is_ngram(std::string_view data) {
    return data.substr(0, sizeof(kMagic)) == std::string_view(kMagic, sizeof(kMagic));
}

NgramLayout::NgramLayout(const NgramHeader& header) {
    words = header.counts[0];
    nodes = 1;
    for (std::uint32_t i = 0; i < header.order; ++i) nodes += header.counts[i];
    contexts = nodes - header.counts[header.order - 1];
    slots = WordTable::slots_for(words);
    contexts_at = aligned(sizeof(NgramHeader));
    arrivals_at = aligned(contexts_at + (contexts + 1) * sizeof(Context));
    keys_at = aligned(arrivals_at + (nodes - contexts) * sizeof(Arrival));
    slots_at = aligned(keys_at + (nodes - 1 - words) * sizeof(std::uint32_t));
    ends_at = slots_at + slots * sizeof(std::uint64_t);
    text_at = aligned(ends_at + words * sizeof(std::uint32_t));
    size = text_at + header.word_bytes;
}

NgramModel::NgramModel(const char* data, std::size_t size) {
    require(size >= sizeof(NgramHeader), "ends within its header; was it written, or copied, completely?");
    std::memcpy(&header_, data, sizeof(NgramHeader));
    check(header_, size);
    const NgramLayout layout(header_);
    num_nodes_ = static_cast<std::uint32_t>(layout.nodes);
    num_contexts_ = static_cast<std::uint32_t>(layout.contexts);
    arrivals_ = reinterpret_cast<const Arrival*>(data + layout.arrivals_at);
    contexts_ = reinterpret_cast<const Context*>(data + layout.contexts_at);
    keys_ = reinterpret_cast<const std::uint32_t*>(data + layout.keys_at);
    words_ = {static_cast<std::uint32_t>(layout.words),
              reinterpret_cast<const std::uint32_t*>(data + layout.ends_at),
              data + layout.text_at,
              header_.word_bytes,
              reinterpret_cast<const std::uint64_t*>(data + layout.slots_at),
              layout.slots};
}

LanguageState NgramModel::begin(bool sentence) const {
    return {{sentence ? arrival(1 + header_.start).state : 0}};
}

// The child of a context for a word, 0 if there is none. Children lie between the ends, or there are none that count.
std::uint32_t NgramModel::child(std::uint32_t context, std::uint32_t word) const {
    const std::uint32_t begin = contexts_[context].first_child, end = contexts_[context + 1].first_child;
    if (begin >= end || begin <= words_.count || end > num_nodes_) return 0;
    const std::uint32_t count = end - begin, key = key_of(word);
    prefetch(&arrival(begin + guess(count, key)));
    const std::uint32_t found = find_key(keys_ + (begin - 1 - words_.count), count, key);
    return found < count ? begin + found : 0;
}

double NgramModel::score(const LanguageState& from, std::uint32_t word, LanguageState& to) const {
    if (word >= words_.count) word = 0;
    double backoffs = 0;
    std::uint32_t found = 0;
    prefetch(&arrival(1 + word));
    for (std::uint32_t node = from.word[0]; node != 0 && node < num_contexts_;) {
        const Context& context = contexts_[node];
        const std::uint32_t suffix = context.suffix < node ? context.suffix : 0;  // it has fewer words: a lower number
        prefetch(&contexts_[suffix]);
        if ((found = child(node, word))) break;
        backoffs += context.backoff;
        node = suffix;
    }
    const Arrival& there = arrival(found ? found : 1 + word);
    if (there.state < num_contexts_) prefetch(&contexts_[there.state]);  // it will be asked sooner or later
    to = {{there.state}};
    return backoffs + there.score;
}

void NgramModel::each_ngram(const Visit& visit) const {
    std::vector<std::uint32_t> parents(num_nodes_);  // by node
    for (std::uint32_t node = 1; node < num_contexts_; ++node) {
        const std::uint32_t begin = std::max(contexts_[node].first_child, node + 1);
        const std::uint32_t end = std::min(contexts_[node + 1].first_child, num_nodes_);
        for (std::uint32_t child = begin; child < end; ++child) parents[child] = node;
    }
    std::uint32_t words[kMostOrders], node = 1;
    for (std::uint32_t order = 1; order <= header_.order; ++order) {
        for (std::uint64_t i = 0; i < header_.counts[order - 1]; ++i, ++node) {
            std::uint32_t at = node, left = order;
            for (; left > 1 && at > words_.count; at = parents[at])
                words[--left] = word_of(keys_[at - 1 - words_.count]);
            require(left == 1 && at >= 1 && at <= words_.count, "is damaged: an n-gram has no beginning");
            words[0] = at - 1;
            visit(words, order, arrival(node).score, node < num_contexts_ ? contexts_[node].backoff : 0);
        }
    }
}

std::vector<std::uint64_t> NgramModel::counts() const {
    std::vector<std::uint64_t> counts(header_.counts, header_.counts + header_.order);
    counts[0] -= header_.adds_unknown ? 1 : 0;
    return counts;
}

}  // namespace ctckit
