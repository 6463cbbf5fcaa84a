#include "arpa.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace ctckit {
namespace {

constexpr std::size_t kAtOnce = 16;  // n-grams whose words are looked up together
constexpr std::size_t kLongestLine = std::size_t(1) << 20;

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
}

bool begins(std::string_view text, std::string_view with) {
    return text.substr(0, with.size()) == with;
}

// Takes the next field off a line; empty after the last one.
std::string_view next_field(std::string_view& text) {
    const char *at = text.data(), *const end = at + text.size();
    while (at != end && is_space(*at)) ++at;
    const char* const begin = at;
    while (at != end && (static_cast<unsigned char>(*at) > ' ' || !is_space(*at))) ++at;
    text = {at, static_cast<std::size_t>(end - at)};
    return {begin, static_cast<std::size_t>(at - begin)};
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// A whole number; nothing but digits.
bool read_count(std::string_view text, std::uint64_t& value) {
    value = 0;
    for (const char c : text) {
        if (!is_digit(c) || value > std::numeric_limits<std::uint64_t>::max() / 20) return false;
        value = 10 * value + static_cast<std::uint64_t>(c - '0');
    }
    return !text.empty();
}

const double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                          1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

double scaled(double digits, int exponent) {
    const int size = std::abs(exponent);
    const double power = size <= 22 ? kPowers[size] : std::pow(10.0, size);
    return exponent < 0 ? digits / power : digits * power;
}

// A decimal number as double, with an error of a few units in its last place; NaN if it is none. The C library's own
// functions go by the locale, and take longer. Every number is kept as a float, which this is exact enough for.
double read_number(std::string_view text) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    constexpr std::uint64_t kFull = std::numeric_limits<std::uint64_t>::max() / 10 - 1;
    const char *at = text.data(), *const end = at + text.size();
    const bool negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+')) ++at;
    const std::string_view unsigned_text(at, static_cast<std::size_t>(end - at));
    if (unsigned_text == "inf" || unsigned_text == "Inf" || unsigned_text == "INF")
        return negative ? -HUGE_VAL : HUGE_VAL;
    std::uint64_t digits = 0;
    int exponent = 0, seen = 0;
    for (; at != end && is_digit(*at); ++at, ++seen) {
        if (digits < kFull) digits = 10 * digits + static_cast<std::uint64_t>(*at - '0');
        else ++exponent;
    }
    if (at != end && *at == '.') {
        for (++at; at != end && is_digit(*at); ++at, ++seen) {
            if (digits < kFull) digits = 10 * digits + static_cast<std::uint64_t>(*at - '0'), --exponent;
        }
    }
    if (!seen) return kNone;
    if (at != end && (*at == 'e' || *at == 'E')) {
        ++at;
        const bool down = at != end && *at == '-';
        if (at != end && (*at == '-' || *at == '+')) ++at;
        if (at == end) return kNone;
        int given = 0;
        for (; at != end && is_digit(*at); ++at) given = std::min(10 * given + (*at - '0'), 100000);
        exponent += down ? -given : given;
    }
    if (at != end) return kNone;
    const double value = digits ? scaled(static_cast<double>(digits), exponent) : 0.0;
    return negative ? -value : value;
}

// Appends a number with `decimals` digits after the point.
void append_fixed(std::string& out, double value, int decimals) {
    const std::uint64_t digits = static_cast<std::uint64_t>(std::llround(std::abs(value) * kPowers[decimals]));
    const std::string text = std::to_string(digits);
    const std::size_t after = static_cast<std::size_t>(decimals);
    if (value < 0 && digits) out += '-';
    if (text.size() <= after) {
        out += after ? "0." + std::string(after - text.size(), '0') + text : "0";
    } else {
        out.append(text, 0, text.size() - after);
        if (after) (out += '.').append(text, text.size() - after);
    }
}

// Appends log10 of a score in nats, with as few digits as give the same score again.
void append_log10(std::string& out, float nats) {
    const double value = nats / kLn10;
    if (nats == 0) return out.push_back('0');
    if (std::isinf(nats)) return void(out += "-inf");
    const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
    const bool fixed = exponent >= -5 && exponent < 6;
    const double shown = fixed ? value : scaled(value, -exponent);
    const std::size_t begin = out.size();
    for (int decimals = fixed ? std::max(0, 4 - exponent) : 4;; ++decimals) {
        append_fixed(out, shown, decimals);
        if (!fixed) out += "e" + std::to_string(exponent);
        const double read = read_number(std::string_view(out).substr(begin));
        if (static_cast<float>(read * kLn10) == nats || decimals == (fixed ? 14 : 9)) return;
        out.resize(begin);
    }
}

std::string ngrams(std::uint32_t order) {
    return std::to_string(order) + "-grams";
}

}  // namespace

void ArpaReader::fail_at(std::uint64_t line, const std::string& what) {
    look_up();  // what is wrong on an earlier line comes first
    throw std::invalid_argument("line " + std::to_string(line) + ": " + what);
}

void ArpaReader::fail(const std::string& what) {
    fail_at(line_, what);
}

std::string ArpaReader::expected() const {
    switch (part_) {
        case Part::kBefore:
            return "\\data\\";
        case Part::kCounts:
            return "the counts of n-grams, such as 'ngram 1=1000'";
        case Part::kHeader:
            return order_ < counts_.size() ? "\\" + ngrams(order_ + 1) + ":" : "\\end\\";
        case Part::kGrams:
            return "the " + ngrams(order_) + " " + std::to_string(read_ + 1) + " of " +
                   std::to_string(counts_[order_ - 1]);
        case Part::kEnd:
            break;
    }
    return "nothing more after \\end\\";
}

void ArpaReader::feed(std::string_view piece) {
    while (!piece.empty()) {
        const void* const found = std::memchr(piece.data(), '\n', piece.size());
        if (!found) {
            look_up();
            rest_ += piece;
            if (rest_.size() > kLongestLine)
                ++line_, fail("is longer than 1 MiB: expected a text file, in ARPA format");
            return;
        }
        const std::size_t size = static_cast<std::size_t>(static_cast<const char*>(found) - piece.data());
        if (rest_.empty()) {
            line(piece.substr(0, size));
        } else {
            rest_ += piece.substr(0, size);
            const std::string whole = std::move(rest_);
            rest_.clear();
            line(whole);
            look_up();
        }
        piece.remove_prefix(size + 1);
    }
    look_up();
}

void ArpaReader::line(std::string_view text) {
    ++line_;
    if (part_ == Part::kGrams && !text.empty() && text[0] != '\\' && text[0] != '\r') return ngram(text);
    text = trimmed(text);
    if (text.empty()) {
        if (part_ == Part::kCounts && !counts_.empty()) end_counts();
        if (part_ == Part::kGrams) gaps_.push_back(read_);
        return;
    }
    switch (part_) {
        case Part::kBefore:
            return before(text);
        case Part::kCounts:
            return count(text);
        case Part::kHeader:
            return header(text);
        default:
            fail(quoted(text) + ": expected " + expected());
    }
}

void ArpaReader::before(std::string_view text) {
    if (line_ == 1 && begins(text, "\xef\xbb\xbf")) text.remove_prefix(3);
    if (text == "\\data\\") {
        part_ = Part::kCounts;
        return;
    }
    if (text.empty() || text[0] == '#') return;
    if (text == "iARPA")
        fail("this is IRSTLM's iARPA: expected ARPA; convert it with compile-lm --text yes FILE FILE.arpa");
    if (begins(text, "blmt"))
        fail("this is a binary file of IRSTLM: expected ARPA; convert it with compile-lm --text yes FILE FILE.arpa");
    fail(quoted(text) + ": expected " + expected() + ", with only empty lines and comments (#) before it");
}

void ArpaReader::count(std::string_view text) {
    if (text[0] == '\\' && !counts_.empty()) {
        end_counts();
        return header(text);
    }
    std::string_view rest = text;
    std::uint64_t order = 0, number = 0;
    const std::size_t equals = rest.find('=');
    if (next_field(rest) != "ngram" || equals == std::string_view::npos ||
        !read_count(trimmed(text.substr(5, equals - 5)), order) ||
        !read_count(trimmed(text.substr(equals + 1)), number))
        fail(quoted(text) + ": expected " + expected());
    if (order != counts_.size() + 1)
        fail(quoted(text) + ": expected the number of " + ngrams(static_cast<std::uint32_t>(counts_.size()) + 1) +
             "; orders count up from 1");
    if (order > kMostOrders)
        fail("order " + std::to_string(order) + ": expected at most " + std::to_string(kMostOrders));
    counts_.push_back(number);
    std::uint64_t all = 0;
    for (const std::uint64_t each : counts_) all = std::min(all + std::min(each, kMostNodes), kMostNodes);
    if (all + 2 >= kMostNodes)
        fail("more than " + std::to_string(kMostNodes - 3) + " n-grams: a model can't hold them");
    if (order == 1 && number == 0) fail("'ngram 1=0': expected words");
}

void ArpaReader::end_counts() {
    builder_ = std::make_unique<NgramBuilder>(counts_);
    part_ = Part::kHeader;
}

void ArpaReader::header(std::string_view text) {
    if (text != expected()) {
        fail(quoted(text) + ": expected " + expected() +
             (order_ && text[0] != '\\' ? "; " + std::to_string(counts_[order_ - 1]) + " " + ngrams(order_) +
                                              " were announced, and this would be one more"
                                        : ""));
    }
    if (order_ == counts_.size()) {
        part_ = Part::kEnd;
        return;
    }
    ++order_;
    read_ = 0;
    first_ = line_ + 1;
    gaps_.clear();
    part_ = Part::kGrams;
    if (counts_[order_ - 1] == 0) end_order();
}

void ArpaReader::ngram(std::string_view text) {
    const std::string_view whole = text;
    const bool highest = order_ == counts_.size();
    std::string_view word = next_field(text);
    if (word.empty()) return gaps_.push_back(read_);  // nothing but spaces
    const double score = read_number(word);
    if (std::isnan(score)) fail(quoted(word) + ": expected log10 P, a number, where " + expected() + " should begin");
    if (score > 0) fail(quoted(word) + ": expected log10 P, which is never above 0");
    const std::size_t before = wanted_.size();
    for (std::uint32_t i = 0; i < order_; ++i) {
        word = next_field(text);
        if (word.empty()) {
            wanted_.resize(before);
            fail(quoted(trimmed(whole)) + ": expected log10 P and " + std::to_string(order_) + " words");
        }
        if (order_ > 1) {
            wanted_.push_back({word, murmur_hash(word)});
            builder_->words().expect(wanted_.back().hash);
        }
    }
    double backoff = 0;
    const std::string_view last = next_field(text);
    if (!last.empty()) backoff = read_number(last);
    const bool ends = next_field(text).empty();
    const float nats = static_cast<float>(score * kLn10), backoff_nats = static_cast<float>(backoff * kLn10);
    if (!std::isfinite(backoff_nats) || !ends || (highest && backoff != 0)) {
        wanted_.resize(before);
        if (std::isfinite(backoff_nats) && ends)
            fail("back-off " + quoted(last) + ": expected none, as of all n-grams of the highest order");
        fail(quoted(trimmed(whole)) + ": expected log10 P, " + std::to_string(order_) +
             (order_ == 1 ? " word" : " words") + " and at most a back-off, a number, after them");
    }
    if (order_ == 1) {
        if (!is_utf8(word)) fail("the word " + quoted(word) + " is not UTF-8: expected UTF-8 text");
        if (builder_->add_word(word, nats, backoff_nats) == NgramBuilder::Word::kTwice)
            fail("the word " + quoted(word) + " is twice among the 1-grams");
    } else {
        waiting_.push_back({nats, backoff_nats, line_});
        if (waiting_.size() == kAtOnce) look_up();
    }
    if (++read_ == counts_[order_ - 1]) end_order();
}

void ArpaReader::look_up() {
    std::uint32_t ids[kMostOrders];
    const Wanted* next = wanted_.data();
    for (const Waiting& each : waiting_) {
        for (std::uint32_t i = 0; i < order_; ++i, ++next) {
            ids[i] = builder_->words().id(next->word, next->hash);
            if (ids[i] == 0 && next->word != "<unk>" && next->word != "<UNK>") {
                const std::uint64_t line = each.line;
                waiting_.clear();
                fail_at(line, "the word " + quoted(next->word) + " is not among the 1-grams: expected all words to be");
            }
        }
        builder_->add(ids, each.score, each.backoff);
    }
    waiting_.clear();
    wanted_.clear();
}

void ArpaReader::end_order() {
    look_up();
    if (order_ == 1) {
        for (const char* const word : {"<s>", "</s>"})
            if (!builder_->words().id(word))
                fail(std::string("the 1-grams end without ") + word + ": expected it among them");
    }
    const NgramBuilder::Fault fault = builder_->end_order();
    const auto line_of = [this](std::uint64_t index) {
        return first_ + index + (std::upper_bound(gaps_.begin(), gaps_.end(), index) - gaps_.begin());
    };
    if (fault.kind == NgramBuilder::Fault::kTwice)
        fail_at(line_of(fault.index), "this n-gram is on line " + std::to_string(line_of(fault.earlier)) + " too");
    if (fault.kind == NgramBuilder::Fault::kNoBeginning)
        fail_at(line_of(fault.index), "the first " + std::to_string(order_ - 1) + " words are not among the " +
                                          ngrams(order_ - 1) + ": expected the beginning of every n-gram to be one");
    part_ = Part::kHeader;
}

std::string to_arpa(const NgramModel& model) {
    const std::vector<std::uint64_t> counts = model.counts();
    const std::uint32_t most = static_cast<std::uint32_t>(counts.size());
    std::string out = "\\data\\\n";
    for (std::uint32_t i = 0; i < most; ++i)
        out += "ngram " + std::to_string(i + 1) + "=" + std::to_string(counts[i]) + "\n";
    std::uint32_t order = 0;
    model.each_ngram([&](const std::uint32_t* words, std::uint32_t size, float score, float backoff) {
        if (!(score <= 0) || !std::isfinite(backoff))
            throw std::invalid_argument("is damaged: an n-gram has an impossible probability or back-off");
        if (size == 1 && words[0] == 0 && !model.has_unknown()) return;
        for (; order < size; ++order) out += "\n\\" + ngrams(order + 1) + ":\n";
        append_log10(out, score);
        for (std::uint32_t i = 0; i < size; ++i) (out += i ? ' ' : '\t') += model.words().word(words[i]);
        if (backoff != 0) append_log10(out += '\t', backoff);
        out += '\n';
    });
    for (; order < most; ++order) out += "\n\\" + ngrams(order + 1) + ":\n";
    return out += "\n\\end\\\n";
}

std::vector<char> ArpaReader::finish() {
    if (!rest_.empty()) {
        const std::string last = std::move(rest_);
        rest_.clear();
        line(last);
        look_up();
    }
    if (part_ != Part::kEnd)
        fail("the file ends after this line: expected " + expected() + "; was it written, or copied, completely?");
    return builder_->finish();
}

}  // namespace ctckit
