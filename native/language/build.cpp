#include "build.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace ctckit {
namespace {

constexpr std::uint64_t kReserved = std::uint64_t(1) << 22;  // at most: an announced count may be made up
constexpr float kNoUnknown = static_cast<float>(-100 * kLn10);

}  // namespace

NgramBuilder::NgramBuilder(const std::vector<std::uint64_t>& counts)
    : highest_(static_cast<std::uint32_t>(counts.size())), begins_{1}, words_(counts[0]) {
    const std::uint64_t most = std::min(counts[0] + 2, kReserved);
    arrivals_.reserve(most);
    contexts_.reserve(most);
    words_.add("<unk>");
    arrivals_ = {{0, 0}, {kNoUnknown, 0}};
    contexts_ = {{0, 0, 1}, {0, 0, 0}};
}

NgramBuilder::Word NgramBuilder::add_word(std::string_view word, float score, float backoff) {
    if (word == "<unk>" || word == "<UNK>") {
        if (has_unknown_) return Word::kTwice;
        has_unknown_ = true;
        arrivals_[1].score = score;
        contexts_[1].backoff = backoff;
        return Word::kNew;
    }
    if (!words_.add(word)) return Word::kTwice;
    arrivals_.push_back({score, 0});
    contexts_.push_back({backoff, 0, 0});
    return Word::kNew;
}

// While an order is built, the children of the orders two below it are known.
std::uint32_t NgramBuilder::child(std::uint32_t node, std::uint32_t word) const {
    if (node == 0) return 1 + word;
    const std::uint32_t begin = contexts_[node].first_child, end = contexts_[node + 1].first_child;
    const auto first = last_words_.begin() - begins_[1];  // by node
    const auto at = std::lower_bound(first + begin, first + end, word);
    return at != first + end && *at == word ? static_cast<std::uint32_t>(at - first) : 0;
}

bool NgramBuilder::add(const std::uint32_t* words, float score, float backoff) {
    const std::uint32_t before = order_ - 1;  // words before the last
    std::uint32_t same = 0;
    while (same < known_ && last_[same] == words[same]) ++same;
    std::uint32_t node = same ? path_[same - 1] : 0;
    for (; same < before; ++same) {
        node = child(node, words[same]);
        known_ = same;
        if (!node) return false;
        last_[same] = words[same];
        path_[same] = node;
    }
    known_ = before;
    if (!entries_.empty()) {
        const Entry& last = entries_.back();
        sorted_ = sorted_ && (last.parent < node || (last.parent == node && last.word < words[before]));
    }
    entries_.push_back({node, words[before], score, backoff});
    return true;
}

// By parent, then by word; first a counting sort by parent, whose children are few.
void NgramBuilder::sort_entries(std::vector<std::uint32_t>& order) const {
    const std::uint32_t lowest = begins_[order_ - 2], parents = begins_[order_ - 1] - lowest;
    std::vector<std::uint32_t> ends(parents + 1);
    for (const Entry& entry : entries_) ++ends[entry.parent - lowest + 1];
    for (std::uint32_t p = 0; p < parents; ++p) ends[p + 1] += ends[p];
    order.resize(entries_.size());
    for (std::uint32_t i = 0; i < entries_.size(); ++i) order[ends[entries_[i].parent - lowest]++] = i;
    const auto by_word = [this](std::uint32_t a, std::uint32_t b) {
        return entries_[a].word != entries_[b].word ? entries_[a].word < entries_[b].word : a < b;
    };
    for (std::uint32_t p = 0; p < parents; ++p) {
        const auto first = order.begin() + (p ? ends[p - 1] : 0), last = order.begin() + ends[p];
        if (!std::is_sorted(first, last, by_word)) std::sort(first, last, by_word);
    }
}

std::optional<std::pair<std::uint32_t, std::uint32_t>> NgramBuilder::end_order() {
    const std::uint32_t begin = begins_.back();
    known_ = 0;
    if (order_ == 1) {
        if (highest_ == 1) contexts_.resize(1);
        contexts_.push_back({0, 0, static_cast<std::uint32_t>(arrivals_.size())});
        begins_.push_back(static_cast<std::uint32_t>(arrivals_.size()));
        ++order_;
        return std::nullopt;
    }
    std::vector<std::uint32_t> order;
    if (!sorted_) sort_entries(order);
    std::uint32_t parent = begins_[order_ - 2];
    contexts_[parent].first_child = begin;
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
        const Entry& entry = entries_[sorted_ ? i : order[i]];
        while (parent < entry.parent) contexts_[++parent].first_child = begin + i;
        if (i && !sorted_) {
            const Entry& last = entries_[order[i - 1]];
            if (last.parent == entry.parent && last.word == entry.word) return std::make_pair(order[i - 1], order[i]);
        }
        arrivals_.push_back({entry.score, entry.parent});
        last_words_.push_back(entry.word);
    }
    const std::uint32_t end = static_cast<std::uint32_t>(arrivals_.size());
    while (++parent < begin) contexts_[parent].first_child = end;
    if (order_ < highest_) {
        contexts_.pop_back();
        for (std::uint32_t i = 0; i < entries_.size(); ++i)
            contexts_.push_back({entries_[sorted_ ? i : order[i]].backoff, 0, end});
        contexts_.push_back({0, 0, end});
    }
    contexts_.back().first_child = end;
    begins_.push_back(end);
    link_suffixes(begin);
    entries_.clear();
    sorted_ = true;
    ++order_;
    return std::nullopt;
}

// The suffix of a node is the child, for the same word, of the longest suffix of its parent that has such a child.
void NgramBuilder::link_suffixes(std::uint32_t begin) {
    for (std::uint32_t node = begin; node < arrivals_.size(); ++node) {
        const std::uint32_t word = last_words_[node - begins_[1]];
        std::uint32_t context = arrivals_[arrivals_[node].state].state, found = 0;
        while (!(found = child(context, word))) context = arrivals_[context].state;
        arrivals_[node].state = found;
    }
}

// Replaces suffixes by the longest ones that matter. Returns the highest score that any state gives a word.
double NgramBuilder::keep_what_matters() {
    const std::uint32_t contexts = static_cast<std::uint32_t>(contexts_.size()) - 1;
    std::vector<std::uint32_t> kept(contexts);
    std::vector<double> highest(contexts);
    const auto best = [this](std::uint32_t first, std::uint32_t last) {
        double score = -std::numeric_limits<double>::infinity();
        for (std::uint32_t node = first; node < last; ++node) score = std::max<double>(score, arrivals_[node].score);
        return score;
    };
    double bound = highest[0] = best(1, begins_[1]);
    for (std::uint32_t node = 1; node < contexts; ++node) {
        Context& context = contexts_[node];
        const std::uint32_t first = context.first_child, last = contexts_[node + 1].first_child;
        context.suffix = kept[arrivals_[node].state];
        kept[node] = first < last || context.backoff != 0 ? node : context.suffix;
        highest[node] = std::max(best(first, last), context.backoff + highest[context.suffix]);
        bound = std::max(bound, highest[node]);
    }
    for (std::uint32_t node = 1; node < contexts; ++node) arrivals_[node].state = kept[node];
    for (std::uint32_t node = contexts; node < arrivals_.size(); ++node)
        arrivals_[node].state = kept[arrivals_[node].state];
    return bound + 1e-9;  // sums of back-offs may round up
}

std::vector<char> NgramBuilder::finish() {
    words_.fit();
    const Words words = words_.view();
    NgramHeader header{};
    set_format(header);
    header.order = highest_;
    header.adds_unknown = !has_unknown_;
    header.word_bytes = words.text_size;
    header.start = words.id("<s>");
    header.end = words.id("</s>");
    header.bound = keep_what_matters();
    for (std::uint32_t i = 0; i < highest_; ++i) header.counts[i] = begins_[i + 1] - begins_[i];
    const NgramLayout layout(header);
    header.size = layout.size;
    header.checksum = checksum(header);
    std::vector<char> data(layout.size);
    const auto put = [&data](std::uint64_t at, const auto* from, std::size_t count) {
        if (count) std::memcpy(data.data() + at, from, count * sizeof(*from));
    };
    put(0, &header, 1);
    put(layout.arrivals_at, arrivals_.data(), arrivals_.size());
    put(layout.contexts_at, contexts_.data(), contexts_.size());
    put(layout.last_words_at, last_words_.data(), last_words_.size());
    put(layout.slots_at, words.slots, words.num_slots);
    put(layout.ends_at, words.ends, words.count);
    put(layout.text_at, words.text, words.text_size);
    return data;
}

}  // namespace ctckit
