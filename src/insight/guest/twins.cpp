#include "guest/twins.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "watch/uniformity.hpp"

namespace cbit::guest {
namespace {

using Word = std::uint64_t;
constexpr std::uint64_t word_bytes = sizeof(Word);
constexpr std::uint64_t block_bytes = Twins::block_bytes;
constexpr std::uint64_t blocks_per_page = page_size / block_bytes;
// As many equal bytes at an end of a run are what surrounds a copy, not the copy.
constexpr std::uint64_t padding_bytes = 8;

using Block = std::array<std::byte, block_bytes>;

constexpr Word in_each_byte(Word byte) { return byte * 0x0101'0101'0101'0101; }

int bytes_that_are(Word word, Word byte) {
  constexpr Word low = in_each_byte(0x7f);
  const Word zero_there = word ^ in_each_byte(byte);
  return std::popcount(~(((zero_there & low) + low) | zero_there | low));
}

// Zero, a counter, a small negative number: such words are everywhere.
bool is_dull(Word word) {
  constexpr int equal_max = 5;
  return bytes_that_are(word, word & 0xff) > equal_max || bytes_that_are(word, word >> 56) > equal_max;
}

// Which word of a block stands for it, as an offset; nullopt: all of them are dull.
std::optional<std::uint64_t> anchor_of(ConstByteSpan block) {
  for (std::uint64_t offset = 0; offset < block_bytes; offset += word_bytes)
    if (!is_dull(load<Word>(block, offset))) return offset;
  return std::nullopt;
}

// One of the two sides: pages of a key, as that key shows them.
class Side {
 public:
  Side(const mem::Memory& memory, KeyId key, std::uint64_t since_ns)
      : memory_{&memory}, key_{key}, since_ns_{since_ns} {}

  [[nodiscard]] bool has(const mem::PageHistory& page) const {
    return page.writer.kind != AgentKind::none && page.writer_key == key_ && page.written_ns >= since_ns_;
  }
  // false: not all of it is of this side.
  [[nodiscard]] bool read(PhysAddr at, ByteSpan into) const {
    const std::uint64_t rest_of_page = page_size - at.page_offset();
    return has_page(at) && (into.size() <= rest_of_page || has_page(at + rest_of_page)) &&
           memory_->peek(at, into, key_).has_value();
  }
  // The byte, for walks from one to the next.
  [[nodiscard]] std::optional<std::byte> byte(PhysAddr at) {
    if (at.page() != page_) {
      page_ = at.page();
      is_there_ = read(page_, bytes_);
    }
    return is_there_ ? std::optional{bytes_[at.page_offset()]} : std::nullopt;
  }

 private:
  [[nodiscard]] bool has_page(PhysAddr at) const {
    return memory_->contains(at, 1) && has(memory_->history(at.page()));
  }

  const mem::Memory* memory_;
  KeyId key_;
  std::uint64_t since_ns_;
  PhysAddr page_{std::numeric_limits<std::uint64_t>::max()};
  bool is_there_ = false;
  std::array<std::byte, page_size> bytes_;
};

// Blocks of shared memory by their anchors: a hash table with chains, and in front of it a Bloom filter of
// two bits in one word, which few words of private memory pass.
class Index {
 public:
  using Number = std::uint32_t;
  static constexpr Number none = std::numeric_limits<Number>::max();

  // false: there are too many.
  bool add_page(PhysAddr at, ConstByteSpan page) {
    if (pages_.size() == pages_max) return false;
    pages_.push_back(at);
    for (std::uint64_t offset = 0; offset < page_size; offset += block_bytes) {
      const ConstByteSpan block = page.subspan(offset, block_bytes);
      const auto anchor = anchor_of(block);
      const std::uint64_t hashed = anchor ? hash(load<Word>(block, *anchor)) : 0;
      entries_.push_back({upper_half(hashed), tag_of(hashed)});
      done_.push_back(!anchor);
    }
    return true;
  }
  // When all pages are there: what an entry kept of its hash makes room for the chains, which ascend.
  void close() {
    const int bits = std::max(static_cast<int>(std::bit_width(entries_.size())), bits_min);
    shift_ = 32 - bits;
    filter_shift_ = shift_ - filter_more;
    heads_.assign(std::size_t{1} << bits, none);
    filter_.assign(std::size_t{1} << (32 - filter_shift_ - 6), 0);
    for (std::size_t i = entries_.size(); i-- > 0;) {
      if (done_[i]) continue;
      const std::uint32_t hashed = entries_[i].next;
      entries_[i].next = std::exchange(heads_[hashed >> shift_], static_cast<Number>(i));
      filter_[hashed >> filter_shift_ >> 6] |=
          1ull << (hashed >> filter_shift_ & 63) | 1ull << second_bit(entries_[i].tag);
    }
  }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  [[nodiscard]] bool may_have(Word word) const {
    const std::uint32_t first_bit = upper_half(hash(word)) >> filter_shift_;
    return (filter_[first_bit >> 6] >> (first_bit & 63) & 1) != 0;
  }
  // visit(number, where the block stands) for the blocks that are not done and may have that anchor. The
  // others are forgotten on the way. How many entries it has passed.
  template <class Visit>
  std::uint64_t for_each(Word word, Visit&& visit) {
    const std::uint64_t hashed = hash(word);
    const std::uint64_t filtered = filter_[upper_half(hashed) >> filter_shift_ >> 6];
    if ((filtered >> second_bit(tag_of(hashed)) & 1) == 0) return 0;
    std::uint64_t steps = 0;
    for (Number* link = &heads_[upper_half(hashed) >> shift_]; *link != none; ++steps) {
      Entry& entry = entries_[*link];
      if (!done_[*link] && entry.tag == tag_of(hashed)) visit(*link, address_of(*link));
      if (done_[*link])
        *link = entry.next;
      else
        link = &entry.next;
    }
    return steps;
  }
  void finish(Number number) { done_[number] = true; }
  // The blocks that lie in [at, at + bytes), of which the block `number` is one.
  void finish_all(PhysAddr at, std::uint64_t bytes, Number number) {
    const PhysAddr end = at + bytes;
    for (Number i = number; i < entries_.size() && address_of(i) + block_bytes <= end; ++i) finish(i);
    for (Number i = number; i-- > 0 && address_of(i) >= at;) finish(i);
  }

 private:
  struct Entry {
    Number next = none;  // in its chain; the hash's upper half until there is one
    std::uint32_t tag = 0;
  };
  static constexpr int bits_min = 13;
  static constexpr int filter_more = 5;  // it has 2^5 bits for each slot
  static constexpr std::size_t pages_max = (std::size_t{1} << (32 - filter_more)) / blocks_per_page - 1;

  [[nodiscard]] static std::uint64_t hash(Word word) { return word * 0x9e37'79b9'7f4a'7c15; }
  [[nodiscard]] static std::uint32_t upper_half(std::uint64_t hashed) {
    return static_cast<std::uint32_t>(hashed >> 32);
  }
  [[nodiscard]] static std::uint32_t second_bit(std::uint32_t tag) { return tag >> 26; }
  [[nodiscard]] static std::uint32_t tag_of(std::uint64_t hashed) {
    return static_cast<std::uint32_t>(hashed);
  }
  [[nodiscard]] PhysAddr address_of(Number number) const {
    return pages_[number / blocks_per_page] + number % blocks_per_page * block_bytes;
  }

  std::vector<PhysAddr> pages_;  // in ascending order
  std::vector<Entry> entries_;
  std::vector<bool> done_;  // a twin was found, or there can be none
  std::vector<Number> heads_;
  std::vector<std::uint64_t> filter_;
  int shift_ = 0;
  int filter_shift_ = 0;
};

bool is_zero(ConstByteSpan page) {
  return page.front() == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

class TwinFinder {
 public:
  TwinFinder(const mem::Memory& memory, KeyId guest_key, std::uint64_t since_ns)
      : memory_{&memory}, shared_{memory, no_key, since_ns}, private_{memory, guest_key, 0} {}

  Twins run() && {
    bool complete = true;
    for_each_page(shared_,
                  [&](PhysAddr at, ConstByteSpan page) { complete = index_.add_page(at, page) && complete; });
    if (index_.size() == 0) return {};
    index_.close();
    steps_left_ = Twins::steps_max + 2 * index_.size();
    for_each_page(private_, [this](PhysAddr at, ConstByteSpan page) { look_up(at, page); });
    return {disjoint(), complete && steps_left_ != 0};
  }

 private:
  // Those that hold anything.
  template <class Visit>
  void for_each_page(const Side& side, Visit visit) {
    std::array<std::byte, page_size> bytes;
    memory_->for_each_touched([&](PhysAddr at, const mem::PageHistory& page) {
      if (side.has(page) && side.read(at, bytes) && !is_zero(bytes)) visit(at, ConstByteSpan{bytes});
    });
  }

  // Words across two pages, too.
  void look_up(PhysAddr at, ConstByteSpan page) {
    constexpr std::uint64_t kept = word_bytes - 1;
    const bool goes_on = at == next_page_;
    std::copy_n(text_.end() - kept, kept, text_.begin());
    std::ranges::copy(page, text_.begin() + kept);
    for (std::uint64_t i = goes_on ? 0 : kept; i + word_bytes <= text_.size(); ++i) {
      const Word word = load<Word>(text_, i);
      if (index_.may_have(word)) [[unlikely]]
        compare(word, PhysAddr{at.value() + i - kept});
    }
    next_page_ = at + page_size;
  }

  // A private word that may be an anchor.
  void compare(Word word, PhysAddr at) {
    if (steps_left_ == 0) return;
    const std::uint64_t passed = index_.for_each(word, [&](Index::Number number, PhysAddr block_at) {
      Block block, twin;
      spend(1);
      if (steps_left_ == 0 || !shared_.read(block_at, block)) return;
      const auto anchor = anchor_of(block);
      if (!anchor || load<Word>(block, *anchor) != word || at.value() < *anchor) return;
      const PhysAddr twin_at{at.value() - *anchor};
      if (!private_.read(twin_at, twin) || twin != block) return;
      if (!has_substance(block)) return index_.finish(number);
      const Twin run = grown({block_at, twin_at, block_bytes});
      spend(run.bytes / block_bytes);
      if (run.bytes < Twins::bytes_min) return;
      found_.push_back(run);
      index_.finish_all(run.at, run.bytes, number);
    });
    if (passed > short_chain) spend(passed);
  }
  void spend(std::uint64_t steps) { steps_left_ -= std::min(steps_left_, steps); }

  [[nodiscard]] Twin grown(Twin run) {
    const std::uint64_t before = equal_bytes(run, -1), behind = equal_bytes(run, 1);
    return {PhysAddr{run.at.value() - before}, PhysAddr{run.private_at.value() - before},
            before + run.bytes + behind};
  }
  // How many bytes in front of a run, or behind it, are equal as well.
  [[nodiscard]] std::uint64_t equal_bytes(const Twin& run, int step) {
    const std::uint64_t first = step > 0 ? run.bytes : ~std::uint64_t{0};  // -1
    std::uint64_t count = 0, stretch = 0;
    std::optional<std::byte> last = shared_.byte(run.at + (step > 0 ? first - 1 : 0));
    for (std::uint64_t offset = first;; offset += static_cast<std::uint64_t>(step)) {
      const auto shared = shared_.byte(run.at + offset), hidden = private_.byte(run.private_at + offset);
      if (!shared || shared != hidden) break;
      stretch = shared == last ? stretch + 1 : 1;
      last = shared;
      if (++count, stretch == block_bytes) break;
    }
    return stretch >= padding_bytes ? count - std::min(count, stretch) : count;
  }

  // What several private runs share is the first one's.
  [[nodiscard]] std::vector<Twin> disjoint() {
    std::ranges::sort(found_, {}, [](const Twin& run) { return std::pair{run.at, run.private_at}; });
    std::vector<Twin> runs;
    PhysAddr end;
    for (const Twin& run : found_) {
      if (run.at + run.bytes <= end) continue;
      const std::uint64_t told = run.at < end ? end - run.at : 0;
      runs.push_back({run.at + told, run.private_at + told, run.bytes - told});
      end = run.at + run.bytes;
    }
    return runs;
  }

  const mem::Memory* memory_;
  Side shared_, private_;
  Index index_;
  std::array<std::byte, page_size + word_bytes - 1> text_{};  // the end of the last page, and this one
  PhysAddr next_page_;
  static constexpr std::uint64_t short_chain = 8;  // as tables have by chance
  std::uint64_t steps_left_ = 0;                   // blocks that are looked at, for whatever reason
  std::vector<Twin> found_;
};

}  // namespace

bool has_substance(ConstByteSpan bytes) {
  constexpr double bits_min = 2;
  if (bytes.size() < block_bytes) return false;
  for (const std::size_t lag : {0, 1, 2, 4, 8}) {
    watch::ByteCounts counts{};
    for (std::size_t i = lag; i < bytes.size(); ++i) {
      const auto before = lag == 0 ? 0u : std::to_integer<unsigned>(bytes[i - lag]);
      ++counts[(std::to_integer<unsigned>(bytes[i]) - before) & 0xff];
    }
    if (watch::entropy(counts) < bits_min) return false;
  }
  return true;
}

Twins find_twins(const mem::Memory& memory, KeyId guest_key, std::uint64_t since_ns) {
  return TwinFinder{memory, guest_key, since_ns}.run();
}

}  // namespace cbit::guest
