#include "asked.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace ctckit {
namespace {

constexpr std::size_t kMostPrefixes = 0x7fffffff;
const double kLeast = -100 * std::log(10.0);  // like unknown words in n-gram models; a finite number

LanguageState state_of(std::uint32_t node) {
    LanguageState state{};
    state.word[0] = node;
    return state;
}

}  // namespace

AskedModel::AskedModel(AskedWords words, std::uint32_t context, std::size_t most_rows)
    : words_(std::move(words)), context_(context), most_rows_(std::max<std::size_t>(1, most_rows)) {
    const auto fits = [&](std::int32_t column) { return column >= -1 && column < words_.num_columns; };
    if (words_.columns.empty() || !fits(words_.start) ||
        !std::all_of(words_.columns.begin(), words_.columns.end(), fits))
        throw std::invalid_argument("columns must be within the model's answers");
    nodes_.push_back({0, 0, -1});
    if (words_.start >= 0) start_ = next(0, words_.start);
}

template <class Use>
void AskedModel::use_row(std::uint32_t node, Use use) const {
    if (use_known(node, use)) return;
    const std::lock_guard<std::recursive_mutex> one(asking_);
    if (use_known(node, use)) return;  // another thread has computed it
    Prefix prefix;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        prefix = spelled(node);
    }
    std::vector<float> row = answer(prefix);
    use(row);
    keep(node, std::move(row));
}

template <class Use>
bool AskedModel::use_known(std::uint32_t node, Use use) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = rows_.find(node);
    if (found == rows_.end()) return false;
    used_.splice(used_.begin(), used_, found->second.use);
    use(found->second.nats);
    return true;
}

LanguageState AskedModel::begin(bool sentence) const {
    return state_of(sentence ? start_ : 0);
}

double AskedModel::score(const LanguageState& from, std::uint32_t word, LanguageState& to) const {
    const std::uint32_t node = node_of(from);
    const bool ends = word == words_.end;
    to = from;
    if (ends && word >= words_.columns.size()) return 0.0;
    const std::int32_t column = words_.columns[word < words_.columns.size() ? word : 0];
    if (column < 0) return kLeast;  // the model doesn't have the word
    double nats = 0.0;
    use_row(node, [&](const std::vector<float>& row) { nats = std::max<double>(kLeast, row[column]); });
    if (!ends) {
        const std::lock_guard<std::mutex> lock(mutex_);
        to = state_of(next(node, column));
    }
    return nats;
}

// The node of a state; the empty prefix's if the state is not one of this model.
std::uint32_t AskedModel::node_of(const LanguageState& state) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return state.word[0] < nodes_.size() ? state.word[0] : 0;
}

std::vector<float> AskedModel::row(const LanguageState& from) const {
    std::vector<float> copy;
    use_row(node_of(from), [&](const std::vector<float>& row) { copy = row; });
    return copy;
}

void AskedModel::keep(std::uint32_t node, std::vector<float> nats) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (rows_.count(node)) return;
    while (rows_.size() >= most_rows_) {
        rows_.erase(used_.back());
        used_.pop_back();
    }
    used_.push_front(node);
    rows_.emplace(node, Row{std::move(nats), used_.begin()});
}

// The prefix after one more word; the first word is dropped if there are more than `context`.
std::uint32_t AskedModel::next(std::uint32_t node, std::int32_t column) const {
    if (!context_ || nodes_[node].length < context_) return child(node, column);
    const std::uint64_t key = std::uint64_t(node) << 32 | std::uint32_t(column);
    const auto known = steps_.find(key);
    if (known != steps_.end()) return known->second;
    const Prefix prefix = spelled(node);
    std::uint32_t found = 0;
    for (std::size_t i = 1; i < prefix.size(); ++i) found = child(found, prefix[i]);
    found = child(found, column);
    steps_.emplace(key, found);
    return found;
}

std::uint32_t AskedModel::child(std::uint32_t node, std::int32_t column) const {
    const auto [step, is_new] = steps_.emplace(std::uint64_t(node) << 32 | std::uint32_t(column), nodes_.size());
    if (is_new) {
        if (nodes_.size() >= kMostPrefixes) throw std::length_error("the language model was asked for 2^31 prefixes");
        nodes_.push_back({node, nodes_[node].length + 1, column});
    }
    return step->second;
}

AskedModel::Prefix AskedModel::spelled(std::uint32_t node) const {
    Prefix prefix;
    for (; node != 0; node = nodes_[node].before) prefix.push_back(nodes_[node].column);
    std::reverse(prefix.begin(), prefix.end());
    return prefix;
}

std::vector<std::int32_t> AskedModel::save() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::int32_t> saved;
    saved.reserve(2 * nodes_.size());
    for (std::size_t i = 1; i < nodes_.size(); ++i) {
        saved.push_back(std::int32_t(nodes_[i].before));
        saved.push_back(nodes_[i].column);
    }
    return saved;
}

bool AskedModel::restore(const std::vector<std::int32_t>& saved) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t i = 0; 2 * i + 1 < saved.size(); ++i) {
        const std::int32_t before = saved[2 * i], column = saved[2 * i + 1];
        if (before < 0 || std::size_t(before) > i || column < 0 || column >= words_.num_columns) return false;
        if (child(std::uint32_t(before), column) != i + 1) return false;
    }
    return true;
}

}  // namespace ctckit
