#include "kenlm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "ngram.h"
#include "words.h"

namespace ctckit {
namespace {

constexpr std::string_view kMagic = "mmap lm http://kheafield.com/code";
constexpr std::string_view kVersion = " format version ", kIncomplete = " incomplete\n";
constexpr std::size_t kMostOfProbing = 9;  // a state holds 8 words
constexpr std::size_t kVocabularyEntry = 12, kMiddleEntry = 16, kLongestEntry = 12, kUnigram = 8;
constexpr float kNoUnknown = -100;

void require(bool holds, const std::string& what) {
    if (!holds) throw std::invalid_argument(what);
}

template <class T>
T read(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof(T));
    return value;
}

// What follows the magic in a file: it shows whether numbers are stored here as where the file was written.
struct Sanity {
    float zero = 0, one = 1, minus_half = -0.5;
    std::uint32_t first_word = 1, last_word = 0xffffffffu, padding = 0;
    std::uint64_t one_of_64 = 1;
};
constexpr std::size_t kSanityAt = 56, kFixedAt = kSanityAt + sizeof(Sanity), kCountsAt = kFixedAt + 20;

// Probabilities are logarithms below 0, and their sign says something else.
float below_zero(float score) {
    return -std::abs(score);
}

bool leads_nowhere(float backoff) {  // -0, where it could be either 0
    return backoff == 0 && std::signbit(backoff);
}

std::uint64_t combined(std::uint64_t key, std::uint32_t word) {
    return (key * 8978948897894561157u) ^ ((std::uint64_t(word) + 1) * 17894857484156487943u);
}

}  // namespace

bool is_kenlm(std::string_view first) {
    return first.substr(0, kMagic.size()) == kMagic;
}

KenlmHeader::KenlmHeader(std::string_view file) {
    std::string_view rest = file.substr(std::min(file.size(), kMagic.size()));
    require(is_kenlm(file), "is not a binary file of KenLM");
    require(rest.substr(0, kIncomplete.size()) != kIncomplete,
            "was not finished: build it again with KenLM's build_binary");
    require(rest.substr(0, kVersion.size()) == kVersion && rest.size() > kVersion.size(),
            "is a binary file of KenLM without a version: build it again with KenLM's build_binary");
    rest.remove_prefix(kVersion.size());
    const std::string version(rest.substr(0, std::min(rest.find('\n'), std::size_t(8))));
    require(version == "5", "has version " + quoted(version) +
                                " of KenLM's format: expected version 5; build it again with a newer build_binary");
    require(file.size() >= kCountsAt, "ends within its header; was it written, or copied, completely?");
    const Sanity expected;
    require(!std::memcmp(file.data() + kSanityAt, &expected, sizeof(Sanity)),
            "was written on a machine whose numbers have another form: build it again on this one");
    const std::size_t order = static_cast<unsigned char>(file[kFixedAt]);
    probing_multiplier = read<float>(file.data() + kFixedAt + 4);
    const std::uint32_t kind = read<std::uint32_t>(file.data() + kFixedAt + 8);
    has_words = file[kFixedAt + 12] != 0;
    const std::uint32_t search_version = read<std::uint32_t>(file.data() + kFixedAt + 16);
    require(kind <= kQuantisedArrayTrie, "is of KenLM's type " + std::to_string(kind) + ": expected one of 0 to 5");
    type = static_cast<Type>(kind);
    require(search_version == (type >= kTrie ? 1 : 0),
            "has version " + std::to_string(search_version) + " of KenLM's data structure, which is not known");
    require(order >= 2 && order <= kMostOrders, "is damaged: its order is " + std::to_string(order));
    size = (kCountsAt + 8 * order + 7) / 8 * 8;
    require(file.size() >= size, "ends within its header; was it written, or copied, completely?");
    for (std::size_t i = 0; i < order; ++i) {
        counts.push_back(read<std::uint64_t>(file.data() + kCountsAt + 8 * i));
        // A trie may hold an n-gram in less than a byte, but not in less than a bit.
        require(counts[i] <= kMostNodes && counts[i] / 8 <= file.size(),
                "is damaged: its header holds impossible numbers");
    }
    require(counts[0] >= 1, "is damaged: it has no words");
}

const char* KenlmModel::Table::find(std::uint64_t key) const {
    std::uint64_t at = key % buckets;
    for (std::uint64_t i = 0; i < buckets; ++i, at = at + 1 == buckets ? 0 : at + 1) {
        const char* const here = data + at * entry;
        const std::uint64_t found = read<std::uint64_t>(here);
        if (found == key) return here;
        if (!found) break;
    }
    return nullptr;
}

KenlmModel::KenlmModel(std::string_view file) : header_(file) {
    require(
        header_.type != KenlmHeader::kProbingWithRestCosts,
        "is of KenLM's type 'probing with rest costs', which can't be read: build it again from the ARPA file, with "
        "build_binary and without -r");
    require(header_.type == KenlmHeader::kProbing, "holds a trie of KenLM");
    order_ = header_.counts.size();
    require(order_ <= kMostOfProbing, "has order " + std::to_string(order_) + ": expected at most " +
                                          std::to_string(kMostOfProbing) +
                                          " in KenLM's probing type; read the ARPA file");
    const float multiplier = header_.probing_multiplier;
    require(multiplier >= 1 && multiplier <= 1000, "is damaged: its header holds impossible numbers");
    std::uint64_t at = header_.size;
    const auto table = [&](std::uint64_t count, std::uint64_t entry) {
        const float wanted = multiplier * static_cast<float>(count);
        Table made{file.data() + at, std::max(count + 1, static_cast<std::uint64_t>(wanted)), entry};
        at += made.buckets * entry;
        require(at <= file.size(), "has " + std::to_string(file.size()) +
                                       " bytes, fewer than its header says; was it written, or copied, completely?");
        return made;
    };
    require(file.size() - at >= 8, "ends within its header; was it written, or copied, completely?");
    require(read<std::uint32_t>(file.data() + at) == 0, "has a vocabulary of a version that is not known");
    num_words_ = read<std::uint32_t>(file.data() + at + 4);
    at += 8;
    vocabulary_ = table(header_.counts[0], kVocabularyEntry);
    require(num_words_ >= 1 && num_words_ <= header_.counts[0] + 1, "is damaged: it has an impossible number of words");
    unigrams_ = file.data() + at;
    at += (header_.counts[0] + 1) * kUnigram;
    require(at <= file.size(), "has fewer bytes than its header says; was it written, or copied, completely?");
    for (std::size_t i = 1; i < order_; ++i)
        tables_.push_back(table(header_.counts[i], i + 1 == order_ ? kLongestEntry : kMiddleEntry));
    if (header_.has_words) words_ = file.substr(at);
    start_ = id("<s>");
    end_ = id("</s>");
    require(start_ && end_, "lacks <s> or </s>: expected both among its words");
}

std::uint32_t KenlmModel::id(std::string_view word) const {
    const std::uint64_t hash = murmur_hash(word);
    const char* const found = hash ? vocabulary_.find(hash) : nullptr;
    const std::uint32_t number = found ? read<std::uint32_t>(found + 8) : 0;
    return number < num_words_ ? number : 0;
}

KenlmModel::Weights KenlmModel::unigram(std::uint32_t word) const {
    return read<Weights>(unigrams_ + std::size_t(word) * kUnigram);
}

// An n-gram that is not of the highest order.
KenlmModel::Weights KenlmModel::middle(std::size_t order, std::uint64_t key, bool& found) const {
    const char* const at = tables_[order - 2].find(key);
    found = at != nullptr;
    return at ? read<Weights>(at + 8) : Weights{0, 0};
}

bool KenlmModel::has_unknown() const {
    return below_zero(unigram(0).score) != kNoUnknown;
}

// The words of a state, the last first, each plus 1.
LanguageState KenlmModel::begin(bool sentence) const {
    return {{sentence ? start_ + 1 : 0}};
}

// Longer and longer n-grams that end in the word are looked up. Then the back-offs of the contexts that were too long
// are added.
double KenlmModel::score(const LanguageState& from, std::uint32_t word, LanguageState& to) const {
    if (word >= num_words_) word = 0;
    std::size_t given = 0;
    while (given < order_ - 1 && from.word[given] && from.word[given] <= num_words_) ++given;
    const auto before = [&from](std::size_t i) { return from.word[i] - 1; };

    Weights weights = unigram(word);
    float score = weights.score;
    std::size_t matched = 1, kept = leads_nowhere(weights.backoff) ? 0 : 1;  // words
    std::uint64_t key = word;
    while (matched <= given && !std::signbit(weights.score)) {
        key = combined(key, before(matched - 1));
        if (matched + 1 == order_) {
            if (const char* const at = tables_.back().find(key)) score = read<float>(at + 8), ++matched;
            break;
        }
        bool found = false;
        weights = middle(matched + 1, key, found);
        if (!found) break;
        ++matched;
        score = weights.score;
        if (!leads_nowhere(weights.backoff)) kept = matched;
    }
    double sum = below_zero(score);
    key = given ? before(0) : 0;
    for (std::size_t length = 1; length <= given; ++length) {
        bool found = true;
        if (length > 1) key = combined(key, before(length - 1));
        if (length < matched) continue;
        sum += (length == 1 ? unigram(before(0)) : middle(length, key, found)).backoff;
    }
    LanguageState next{};
    if (kept) next.word[0] = word + 1;
    for (std::size_t i = 1; i < kept; ++i) next.word[i] = from.word[i - 1];
    to = next;
    return sum * kLn10;
}

// No P is above 1 in such files; the back-offs have to be looked through, once.
double KenlmModel::bound() const {
    std::call_once(bounded_, [this] {
        double sum = 0;
        for (std::size_t order = 1; order < order_; ++order) {
            const char* const data = order == 1 ? unigrams_ : tables_[order - 2].data + 8;
            const std::uint64_t count = order == 1 ? num_words_ : tables_[order - 2].buckets;
            const std::size_t stride = order == 1 ? kUnigram : kMiddleEntry;
            float highest = 0;
            for (std::uint64_t i = 0; i < count; ++i)
                highest = std::max(highest, read<Weights>(data + i * stride).backoff);
            sum += highest;
        }
        bound_ = sum * kLn10 + 1e-9;
    });
    return bound_;
}

std::vector<std::string_view> KenlmModel::words() const {
    std::vector<std::string_view> found;
    std::string_view rest = words_;
    while (found.size() < num_words_ && !rest.empty()) {
        const std::size_t end = std::min(rest.find('\0'), rest.size());
        found.push_back(rest.substr(0, end));
        rest.remove_prefix(std::min(rest.size(), end + 1));
    }
    return found.size() == num_words_ ? found : std::vector<std::string_view>();
}

}  // namespace ctckit
