// KenLM's tries. A trie is read from the last word of an n-gram to its first: unigrams, their children with the word
// before, and so on. Entries are packed bits: a word, its values, and where its children begin; they end where those of
// the next entry begin. Values may be numbers of bins; beginnings may have their upper bits in a separate array.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "build.h"
#include "kenlm.h"

namespace ctckit {
namespace {

constexpr std::size_t kUnigram = 16, kMostBits = 57;
constexpr float kNoUnknown = -100;

[[noreturn]] void fail_damaged(const char* what) {
    throw std::invalid_argument(std::string("is damaged: ") + what);
}

std::uint32_t bits_for(std::uint64_t most) {
    std::uint32_t bits = 0;
    for (; most; most >>= 1) ++bits;
    return bits;
}

template <class T>
T number_at(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof(T));
    return value;
}

float as_float(std::uint64_t bits) {
    const std::uint32_t word = static_cast<std::uint32_t>(bits);
    float value;
    std::memcpy(&value, &word, sizeof(float));
    return value;
}

// The parts of a file in turn; each is there in full, or an error is raised.
class Parts {
   public:
    Parts(std::string_view file, std::uint64_t at) : file_(file), at_(at) {}

    const char* take(std::uint64_t size) {
        if (size > file_.size() - at_)
            throw std::invalid_argument("has " + std::to_string(file_.size()) +
                                        " bytes, fewer than its header says; was it written, or copied, completely?");
        at_ += size;
        return file_.data() + at_ - size;
    }
    std::uint64_t at() const { return at_; }
    std::string_view rest() const { return file_.substr(at_); }

   private:
    std::string_view file_;
    std::uint64_t at_;
};

// How values are kept: as they are, P without its sign; or as numbers of bins, whose values stand in tables.
struct Values {
    std::uint32_t score_bits = 31, backoff_bits = 32;
    std::vector<const char*> score_bins, backoff_bins;  // by order, from 2

    float score(std::size_t order, std::uint64_t bits) const {
        return score_bins.empty() ? as_float(bits | 0x80000000u) : number_at<float>(score_bins[order - 2] + 4 * bits);
    }
    float backoff(std::size_t order, std::uint64_t bits) const {
        return score_bins.empty() ? as_float(bits) : number_at<float>(backoff_bins[order - 2] + 4 * bits);
    }
    bool binned() const { return !score_bins.empty(); }
};

Values read_values(Parts& parts, std::size_t order, bool quantised) {
    Values values;
    if (!quantised) return values;
    const char* const head = parts.take(8);
    if (head[0] != 2) throw std::invalid_argument("has a version of KenLM's quantisation that is not known");
    values.score_bits = static_cast<unsigned char>(head[1]);
    values.backoff_bits = static_cast<unsigned char>(head[2]);
    if (values.score_bits < 1 || values.score_bits > 25 || values.backoff_bits < 1 || values.backoff_bits > 25)
        fail_damaged("its values have an impossible number of bits");
    for (std::size_t n = 2; n < order; ++n) {
        values.score_bins.push_back(parts.take(std::uint64_t(4) << values.score_bits));
        values.backoff_bins.push_back(parts.take(std::uint64_t(4) << values.backoff_bits));
    }
    values.score_bins.push_back(parts.take(std::uint64_t(4) << values.score_bits));
    return values;
}

// How many of the upper bits of children's beginnings are in a separate array: as many as make the file smallest.
std::uint32_t chopped_bits(std::uint64_t entries, std::uint64_t most, std::uint32_t allowed) {
    const std::uint32_t bits = bits_for(most);
    std::uint32_t best = 0;
    std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
    for (std::uint32_t chop = 0; chop <= std::min(bits, allowed); ++chop) {
        const std::int64_t change =
            static_cast<std::int64_t>((most >> (bits - chop)) * 64) - static_cast<std::int64_t>(entries) * chop;
        if (change < lowest) lowest = change, best = chop;
    }
    return best;
}

// The entries of one order. One more follows the last; of it only the children's beginning counts.
class Level {
   public:
    Level(Parts& parts, const KenlmHeader& header, const Values& values, std::size_t order)
        : order_(order), values_(&values), count_(header.counts[order - 1]) {
        highest_ = order == header.counts.size();
        word_bits_ = bits_for(header.counts[0]);
        backoff_bits_ = highest_ ? 0 : values.backoff_bits;
        if (!highest_) {
            const std::uint64_t most = header.counts[order];
            next_bits_ = bits_for(most);
            if (header.type >= KenlmHeader::kArrayTrie) read_array(parts, most);
        }
        total_bits_ = word_bits_ + values.score_bits + backoff_bits_ + next_bits_;
        data_ = parts.take(((count_ + 1) * total_bits_ + 7) / 8 + 8);
    }

    std::uint64_t count() const { return count_; }
    std::uint64_t word(std::uint64_t i) const { return bits(i * total_bits_, word_bits_); }

    float score(std::uint64_t i) const {
        const std::uint32_t behind = values_->binned() ? backoff_bits_ : 0;
        return values_->score(order_, bits(i * total_bits_ + word_bits_ + behind, values_->score_bits));
    }
    float backoff(std::uint64_t i) const {
        if (highest_) return 0;
        const std::uint32_t behind = values_->binned() ? 0 : values_->score_bits;
        return values_->backoff(order_, bits(i * total_bits_ + word_bits_ + behind, backoff_bits_));
    }
    // Where the children of entry i begin; i must not fall from call to call.
    std::uint64_t next(std::uint64_t i) {
        while (upper_ + 1 < array_size_ && number_at<std::uint64_t>(array_ + 8 * (upper_ + 1)) <= i) ++upper_;
        return upper_ << next_bits_ | bits((i + 1) * total_bits_ - next_bits_, next_bits_);
    }

   private:
    void read_array(Parts& parts, std::uint64_t most) {
        const std::uint64_t begin = parts.at();
        const char* const head = parts.take(2);
        if (head[0] != 0) throw std::invalid_argument("has a version of KenLM's arrays that is not known");
        const std::uint32_t chop = chopped_bits(count_ + 1, most, static_cast<unsigned char>(head[1]));
        next_bits_ -= chop;
        array_size_ = (most >> next_bits_) + 1;
        parts.take((begin + 7) / 8 * 8 + 8 - parts.at());
        array_ = parts.take(8 * array_size_);
        parts.take(begin + 8 * (1 + array_size_) + 7 - parts.at());
    }
    std::uint64_t bits(std::uint64_t at, std::uint32_t size) const {
        return number_at<std::uint64_t>(data_ + at / 8) >> at % 8 & ((std::uint64_t(1) << size) - 1);
    }

    std::size_t order_;
    const Values* values_;
    std::uint64_t count_;
    bool highest_;
    std::uint32_t word_bits_, backoff_bits_, next_bits_ = 0, total_bits_;
    const char* array_ = nullptr;
    std::uint64_t array_size_ = 0, upper_ = 0;
    const char* data_;
};

struct Entry {
    std::uint32_t word, parent;
};

// The words and parents of an order's entries. `next` says where the children of an entry of the order below begin.
template <class Next>
std::vector<Entry> entries_of(const Level& level, std::uint64_t parents, std::uint64_t words, Next next) {
    std::vector<Entry> entries;
    std::uint64_t begin = next(0);
    if (begin != 0) fail_damaged("its first n-gram's children do not begin the next order");
    entries.reserve(level.count());
    for (std::uint64_t parent = 0; parent < parents; ++parent) {
        const std::uint64_t end = next(parent + 1);
        if (end < begin || end > level.count()) fail_damaged("an n-gram's children are not in order");
        for (; begin < end; ++begin) {
            if (level.word(begin) >= words) fail_damaged("an n-gram holds an unknown word's number");
            entries.push_back({static_cast<std::uint32_t>(level.word(begin)), static_cast<std::uint32_t>(parent)});
        }
    }
    return entries;
}

void add_words(NgramBuilder& builder, std::string_view text, const char* unigrams, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::size_t end = text.find('\0');
        if (end == std::string_view::npos) fail_damaged("it has fewer words than its header says");
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(end + 1);
        const float score = number_at<float>(unigrams + i * kUnigram),
                    backoff = number_at<float>(unigrams + i * kUnigram + 4);
        if (!(score <= 0) || !std::isfinite(backoff)) fail_damaged("a word has an impossible probability or back-off");
        if ((word == "<unk>") != (i == 0)) fail_damaged("its words don't begin with <unk>");
        if (!is_utf8(word)) throw std::invalid_argument("has a word that is not UTF-8: " + quoted(word));
        if (i == 0 && score == kNoUnknown && backoff == 0) continue;  // the ARPA file had none
        if (builder.add_word(word, static_cast<float>(score * kLn10), static_cast<float>(backoff * kLn10)) !=
            NgramBuilder::Word::kNew)
            fail_damaged("it has a word twice");
    }
    if (!builder.words().id("<s>") || !builder.words().id("</s>"))
        throw std::invalid_argument("lacks <s> or </s>: expected both");
}

}  // namespace

std::vector<char> read_kenlm_trie(std::string_view file) {
    const KenlmHeader header(file);
    const std::size_t order = header.counts.size();
    const std::uint64_t words = header.counts[0];
    if (!header.has_words)
        throw std::invalid_argument(
            "is a trie of KenLM without its words: build it again from the ARPA file, with build_binary and without "
            "-v");
    Parts parts(file, header.size);
    parts.take(8 * (1 + words));  // the hashes of words
    const bool quantised =
        header.type == KenlmHeader::kQuantisedTrie || header.type == KenlmHeader::kQuantisedArrayTrie;
    const Values values = read_values(parts, order, quantised);
    const char* const unigrams = parts.take((words + 2) * kUnigram);
    std::vector<Level> levels;
    for (std::size_t n = 2; n <= order; ++n) levels.emplace_back(parts, header, values, n);

    NgramBuilder builder(header.counts);
    add_words(builder, parts.rest(), unigrams, words);
    builder.end_order();
    std::vector<std::vector<Entry>> entries;  // by order, from 2
    for (std::size_t n = 2; n <= order; ++n) {
        Level& level = levels[n - 2];
        entries.push_back(
            n == 2 ? entries_of(level, words, words,
                                [&](std::uint64_t i) { return number_at<std::uint64_t>(unigrams + i * kUnigram + 8); })
                   : entries_of(level, entries[n - 3].size(), words,
                                [&](std::uint64_t i) { return levels[n - 3].next(i); }));
        for (std::uint64_t i = 0; i < entries.back().size(); ++i) {
            std::uint32_t ngram[kMostOrders];
            std::uint64_t at = i;
            for (std::size_t k = n; k >= 2; at = entries[k - 2][at].parent, --k) ngram[n - k] = entries[k - 2][at].word;
            ngram[n - 1] = static_cast<std::uint32_t>(at);
            const float score = level.score(i), backoff = level.backoff(i);
            if (!(score <= 0) || !std::isfinite(backoff)) fail_damaged("an n-gram has an impossible probability");
            // KenLM adds n-grams that the ARPA file lacks where longer ones end in them. What it has to say of them
            // follows from back-offs, and those whose own beginning is missing are never looked up.
            builder.add(ngram, static_cast<float>(score * kLn10), static_cast<float>(backoff * kLn10));
        }
        if (builder.end_order(true).kind != NgramBuilder::Fault::kNone) fail_damaged("it has an n-gram twice");
    }
    return builder.finish();
}

}  // namespace ctckit
