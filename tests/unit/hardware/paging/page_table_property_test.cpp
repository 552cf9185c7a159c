// Random edits against a model that is an array of 4 KiB pages: after every edit, and after every single
// write to the tables during an edit, each page shows what the model says.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "base/random.hpp"
#include "fixture.hpp"

namespace cbit::paging {
namespace {

constexpr std::uint64_t pages_2m = 512;
constexpr std::uint64_t pages_1g = 512 * 512;

struct Mapping {
  PhysAddr phys;
  mem::KeySelector selector = 0;
  PageFlags flags;
  friend bool operator==(const Mapping&, const Mapping&) = default;
};

// By page number in the window.
using Model = std::vector<std::optional<Mapping>>;

// Calls back after every write, when the tables are in a state that a walker may meet.
class WatchedMemory final : public mem::Memory {
 public:
  explicit WatchedMemory(mem::Memory& inner) : inner_{&inner} {}
  std::function<void()> after_write = [] {};

  [[nodiscard]] const std::vector<mem::PhysRange>& ram() const override { return inner_->ram(); }
  [[nodiscard]] bool contains(PhysAddr at, std::uint64_t bytes) const override {
    return inner_->contains(at, bytes);
  }
  Result<void> read(PhysAddr from, ByteSpan to, const mem::Access& access) override {
    return inner_->read(from, to, access);
  }
  Result<void> write(PhysAddr to, ConstByteSpan from, const mem::Access& access) override {
    CBIT_TRY(inner_->write(to, from, access));
    after_write();
    return {};
  }
  Result<void> copy(PhysAddr to, const mem::Access& to_access, PhysAddr from, const mem::Access& from_access,
                    std::uint64_t bytes) override {
    return inner_->copy(to, to_access, from, from_access, bytes);
  }
  Result<void> fill(PhysAddr to, std::uint64_t bytes, std::byte value, const mem::Access& access) override {
    return inner_->fill(to, bytes, value, access);
  }
  Result<void> peek(PhysAddr from, ByteSpan to, KeyId key) const override {
    return inner_->peek(from, to, key);
  }
  Result<void> probe(PhysAddr from, ByteSpan to) const override { return inner_->probe(from, to); }
  [[nodiscard]] mem::PageHistory history(PhysAddr page) const override { return inner_->history(page); }
  void for_each_touched(const std::function<void(PhysAddr, const mem::PageHistory&)>& visit) const override {
    inner_->for_each_touched(visit);
  }
  [[nodiscard]] mem::MemoryStats stats() const override { return inner_->stats(); }
  void convert(PhysAddr first, std::uint64_t pages, bool encrypted, SiteId site) override {
    inner_->convert(first, pages, encrypted, site);
  }
  std::uint64_t flush(PhysAddr first, std::uint64_t bytes) override { return inner_->flush(first, bytes); }
  std::uint64_t flush_all() override { return inner_->flush_all(); }
  void rekey(KeyId id, const std::optional<crypt::Key128>& key) override { inner_->rekey(id, key); }

 private:
  mem::Memory* inner_;
};

struct Layout {
  const char* name;
  PagingConfig paging;
  mem::KeySelector table_selector;
};

PagingConfig with_levels(PagingConfig paging, unsigned levels) {
  paging.levels = levels;
  return paging;
}

const Layout layouts[] = {
    {"plain4", plain_paging(4), 0},
    {"plain5", plain_paging(5), 0},
    {"sme4", sme_paging(47), 1},
    {"sme5", with_levels(sme_paging(51), 5), 1},
    {"sme32", sme_paging(32), 1},
    {"sev4", sev_paging(), 1},
    {"sev5", with_levels(sev_paging(), 5), 0},
    {"tdx", tdx_paging(), 1},
    {"mktme", mktme_paging(), 0},
};

// One set of tables and its model. It begins with a gigabyte in one leaf, and 16 MiB of smaller ones behind
// it.
class Subject {
 public:
  Subject(const Layout& layout, std::uint64_t seed)
      : random_{seed},
        box_{layout.paging},
        memory_{*box_.memory},
        table_{PageTable::create(memory_, box_.config, layout.table_selector,
                                 box_.frames.source<PageTable::Source>(), box_.who)
                   .value()},
        model_(window_pages) {
    map({0, pages_1g}, PhysAddr{1ull << 30});
    map({pages_1g, crowd_pages}, PhysAddr{random_.below(8) * page_size * 64});
  }

  void step() {
    const Range range = random_range();
    switch (random_.below(5)) {
      case 0: return unmap(range);
      case 1:
      case 2: return set_selector(range);
      default:
        return map(range, PhysAddr{align_down(random_.below(1ull << 31),
                                              random_.below(2) == 0 ? page_size : pages_2m * page_size)});
    }
  }

  void compare_all() {
    Model seen(window_pages);
    ASSERT_TRUE(
        table_.for_each_leaf(window, window_pages * page_size, [&](VirtAddr at, PageLevel level, Pte entry) {
          const auto [phys, selector] = box_.config.view.layout.split(entry.page(level));
          const PageFlags flags{.writable = entry.get<Pte::Writable>(),
                                .user = entry.get<Pte::User>(),
                                .executable = !entry.get<Pte::NoExecute>(),
                                .global = entry.get<Pte::Global>()};
          for (std::uint64_t offset = 0; offset < level_bytes(level); offset += page_size)
            seen[(at + offset - window) / page_size] = Mapping{phys + offset, selector, flags};
        }));
    ASSERT_TRUE(seen == model_);
  }

  [[nodiscard]] std::uint64_t splits() const { return splits_; }

 private:
  struct Range {
    std::uint64_t first, pages;
  };

  [[nodiscard]] static VirtAddr address(std::uint64_t page) { return window + page * page_size; }

  // A few pages, or a few 2 MiB pieces, on both sides of the gigabyte's end; at the ends of larger pages as
  // often as not.
  Range random_range() {
    const std::uint64_t unit = random_.below(8) == 0 ? pages_2m : 1;
    const std::uint64_t pages = unit * (1 + random_.below(4));
    std::uint64_t first = pages_1g - crowd_pages + random_.below(2 * crowd_pages - pages + 1);
    first = align_down(first, unit);
    if (random_.below(2) == 0) first = align_down(first, pages_2m);
    return {first, pages};
  }
  mem::KeySelector random_selector() {
    const mem::KeyView& view = box_.config.view;
    if (view.layout.mask() == 0) return 0;
    return static_cast<mem::KeySelector>(random_.below(view.selector_is_key ? 8 : 2));
  }

  void map(const Range& range, PhysAddr phys) {
    const auto coin = [&] { return random_.below(2) == 0; };
    const Mapping first{phys,
                        random_selector(),
                        {.writable = coin(), .user = coin(), .executable = coin(), .global = coin()}};
    const auto after = [&](std::uint64_t page) {
      return std::optional{Mapping{phys + (page - range.first) * page_size, first.selector, first.flags}};
    };
    edit(range, after, [&] {
      return table_.map({.at = address(range.first),
                         .phys = phys,
                         .bytes = range.pages * page_size,
                         .flags = first.flags,
                         .selector = first.selector});
    });
  }
  void unmap(const Range& range) {
    const auto after = [](std::uint64_t) { return std::optional<Mapping>{}; };
    edit(range, after, [&] { return table_.unmap(address(range.first), range.pages * page_size); });
  }
  // Stops at the first page that is not mapped.
  void set_selector(const Range& range) {
    const mem::KeySelector selector = random_selector();
    const auto begin = model_.begin() + static_cast<std::ptrdiff_t>(range.first);
    const auto hole = std::find(begin, begin + static_cast<std::ptrdiff_t>(range.pages), std::nullopt);
    const auto mapped = static_cast<std::uint64_t>(hole - begin);
    const auto after = [&](std::uint64_t page) {
      auto mapping = model_[page];
      if (page < range.first + mapped) mapping->selector = selector;
      return mapping;
    };
    edit(range, after, [&] {
      const auto edited = table_.set_selector(address(range.first), range.pages * page_size, selector);
      if (mapped == range.pages) return edited;
      EXPECT_EQ(edited.error(),
                (Fault{FaultKind::not_present, address(range.first + mapped).value(), false}));
      return Result<EditResult>{};
    });
  }

  // Runs an edit, and checks pages inside, at the ends and beside the range on the way and afterwards.
  void edit(const Range& range, const std::function<std::optional<Mapping>(std::uint64_t)>& after,
            const std::function<Result<EditResult>()>& run) {
    const std::uint64_t last = range.first + range.pages - 1;
    std::vector<std::uint64_t> sample{range.first, last, range.first + random_.below(range.pages)};
    if (range.first > 0) sample.push_back(range.first - 1);
    if (last + 1 < window_pages) sample.push_back(last + 1);
    for (const std::uint64_t end : {range.first, last})
      for (const std::uint64_t size : {pages_2m, pages_1g})
        sample.push_back(align_down(end, size) + random_.below(size));

    const auto expected = [&](std::uint64_t page) {
      return page >= range.first && page <= last ? after(page) : model_[page];
    };
    memory_.after_write = [&] {
      for (const std::uint64_t page : sample) {
        const auto now = walked(page);
        ASSERT_TRUE(now == model_[page] || now == expected(page)) << "page " << page;
      }
    };
    const auto edited = run();
    memory_.after_write = [] {};
    ASSERT_TRUE(edited);
    splits_ += edited->pages_split;
    for (const std::uint64_t page : sample) ASSERT_TRUE(walked(page) == expected(page)) << "page " << page;
    for (std::uint64_t page = range.first; page <= last; ++page) model_[page] = after(page);
  }

  std::optional<Mapping> walked(std::uint64_t page) {
    const auto found = box_.walk(table_.cr3(), address(page));
    if (!found) {
      EXPECT_EQ(found.error().kind, FaultKind::not_present);
      return std::nullopt;
    }
    EXPECT_EQ(found->key, box_.config.view.key(found->selector));
    return Mapping{found->phys, found->selector, found->flags};
  }

  static constexpr std::uint64_t window_pages = 2 * pages_1g;
  static constexpr std::uint64_t crowd_pages = 8 * pages_2m;
  static constexpr VirtAddr window{0xffff'8800'0000'0000 -
                                   pages_1g * page_size};  // the PDPT ends in its middle

  Random random_;
  PagingBox box_;
  WatchedMemory memory_;
  PageTable table_;
  Model model_;
  std::uint64_t splits_ = 0;
};

class PageTableProperty : public testing::TestWithParam<Layout> {};

TEST_P(PageTableProperty, EqualsTheModelAfterAndDuringRandomEdits) {
  std::uint64_t splits = 0;
  for (std::uint64_t seed = 0; seed < 5 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Subject subject{GetParam(), seed};
    for (int i = 0; i < 30; ++i) subject.step();
    subject.compare_all();
    splits += subject.splits();
  }
  EXPECT_GT(splits, 25u);
}

INSTANTIATE_TEST_SUITE_P(Layouts, PageTableProperty, testing::ValuesIn(layouts),
                         [](const auto& layout) { return std::string{layout.param.name}; });

}  // namespace
}  // namespace cbit::paging
