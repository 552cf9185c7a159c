#include "paging/page_table.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"

namespace cbit::paging {
namespace {

using TableEntries = std::array<Pte, entries_per_table>;

ConstByteSpan as_bytes(const TableEntries& entries) { return std::as_bytes(std::span{entries}); }

// _KERNPG_TABLE and _PAGE_TABLE: rights are the leaves' business.
Pte table_entry(PtePhys table, bool user) {
  return Pte{table.value()}
      .with<Pte::Dirty>(true)
      .with<Pte::Accessed>(true)
      .with<Pte::User>(user)
      .with<Pte::Writable>(true)
      .with<Pte::Present>(true);
}

// The same mapping in 512 leaves one level down. A PTE has its PAT bit where larger leaves have PS.
TableEntries split_leaf(Pte large, unsigned level) {
  Pte first = large;
  if (level == 1) first = large.with<Pte::LargePat>(false).with<Pte::SmallPat>(large.get<Pte::LargePat>());
  TableEntries entries;
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = Pte{first.raw + i * span_of_level(level - 1)};
  return entries;
}

constexpr std::uint64_t caching_mask = Pte{}.with<Pte::CacheDisable>(true).with<Pte::WriteThrough>(true).raw;

// cachemode2protval() of the PAT that Linux programs.
std::uint64_t caching_bits(PageCaching caching) {
  return Pte{}
      .with<Pte::CacheDisable>(caching == PageCaching::uncached)
      .with<Pte::WriteThrough>(caching == PageCaching::write_combined)
      .raw;
}

// The part of [at, at + bytes) that lies in one entry of `level`.
std::uint64_t part_in_entry(VirtAddr at, std::uint64_t bytes, unsigned level) {
  return std::min(bytes, span_of_level(level) - at.value() % span_of_level(level));
}

}  // namespace

PageTable::PageTable(mem::Memory& memory, const PagingConfig& config, mem::KeySelector table_selector,
                     Source source, const mem::Access& who)
    : memory_{&memory},
      config_{config},
      table_selector_{table_selector},
      source_{std::move(source)},
      who_{who} {}

Result<PageTable> PageTable::create(mem::Memory& memory, const PagingConfig& config,
                                    mem::KeySelector table_selector, Source source, const mem::Access& who) {
  PageTable table{memory, config, table_selector, std::move(source), who};
  table.root_ = CBIT_TRY(table.add_table(as_bytes(TableEntries{})));
  return table;
}

PageTable::~PageTable() {
  for (const PhysAddr page : tables_) source_.release(page);
}

Result<PhysAddr> PageTable::add_table(ConstByteSpan entries) {
  const PhysAddr page = CBIT_TRY(source_.allocate());
  tables_.push_back(page);
  const auto [at, key] = locate_table(config_.view, config_.view.layout.join(page, table_selector_));
  CBIT_TRY(memory_->write(at, entries, {who_.agent, key, who_.site}));
  return page;
}

PageTable::Place PageTable::place_of(PtePhys table, VirtAddr at, unsigned level) const {
  const auto [base, key] = locate_table(config_.view, table);
  return {base + table_index(at, level) * sizeof(Pte), key};
}

Result<Pte> PageTable::load_entry(const Place& place, unsigned level) const {
  std::array<std::byte, sizeof(Pte)> raw;
  CBIT_TRY(memory_->read(place.at, raw, {who_.agent, place.key, who_.site}));
  const auto entry = load<Pte>(raw);
  const bool malformed = entry.present() && entry.is_leaf(level) && level > highest_leaf_level;
  if (malformed) return fault(FaultKind::reserved_bit, place.at.value());
  return entry;
}

Result<void> PageTable::store_entry(const Place& place, Pte entry) {
  return memory_->write(place.at, bytes_of(entry), {who_.agent, place.key, who_.site});
}

Result<void> PageTable::check_range(VirtAddr at, std::uint64_t bytes) const {
  CBIT_ASSERT(at.is_aligned(page_size) && bytes % page_size == 0);
  if (bytes == 0) return {};
  const VirtAddr last = at + (bytes - 1);
  const bool one_half = last >= at && is_canonical(at, config_.levels) &&
                        is_canonical(last, config_.levels) && (at.value() ^ last.value()) >> 63 == 0;
  if (!one_half) return fault(FaultKind::non_canonical, at.value());
  return {};
}

Result<void> PageTable::check_phys(PhysAddr at, std::uint64_t bytes) const {
  CBIT_ASSERT(at.is_aligned(page_size));
  const mem::KeyLayout& layout = config_.view.layout;
  const unsigned bits =
      layout.mask() == 0 ? config_.phys_bits : std::min(config_.phys_bits, layout.lowest_bit());
  if (at.value() > bit_mask(bits) || bytes > bit_mask(bits) + 1 - at.value())
    return fault(FaultKind::no_memory, at.value());
  return {};
}

Result<EditResult> PageTable::apply(VirtAddr at, std::uint64_t bytes, Edit edit) {
  CBIT_TRY(check_range(at, bytes));
  CBIT_TRY(edit_table(cr3(), config_.levels - 1, at, bytes, edit));
  return edit.done;
}

Result<void> PageTable::edit_table(PtePhys pointer, unsigned level, VirtAddr at, std::uint64_t bytes,
                                   Edit& edit) {
  while (bytes > 0) {
    const std::uint64_t part = part_in_entry(at, bytes, level);
    const Place place = place_of(pointer, at, level);
    const Pte entry = CBIT_TRY(load_entry(place, level));
    const Slot slot{at, level, entry, part == span_of_level(level)};
    const bool has_table = entry.present() && !entry.is_leaf(level);
    const auto decided = has_table ? std::optional<Pte>{} : CBIT_TRY(edit.decide(slot));
    if (!decided) {
      const PtePhys below = CBIT_TRY(descend(place, slot, edit));
      CBIT_TRY(edit_table(below, level - 1, at, part, edit));
    } else if (decided->raw != entry.raw) {
      CBIT_TRY(store_entry(place, *decided));
      ++edit.done.leaves_changed;
    }
    at += part;
    bytes -= part;
  }
  return {};
}

Result<PtePhys> PageTable::descend(const Place& place, const Slot& slot, Edit& edit) {
  if (!slot.entry.present() || slot.entry.is_leaf(slot.level)) {
    const bool splits = slot.entry.present();
    const bool user = splits ? slot.entry.get<Pte::User>() || edit.user : edit.user;
    const TableEntries entries = splits ? split_leaf(slot.entry, slot.level) : TableEntries{};
    const PhysAddr page = CBIT_TRY(add_table(as_bytes(entries)));
    const PtePhys table = config_.view.layout.join(page, table_selector_);
    CBIT_TRY(store_entry(place, table_entry(table, user)));
    edit.done.pages_split += splits;
    return table;
  }
  if (edit.user && !slot.entry.get<Pte::User>())
    CBIT_TRY(store_entry(place, slot.entry.with<Pte::User>(true)));
  return slot.entry.target();
}

Pte PageTable::leaf_for(const MapRequest& request, const Slot& slot) const {
  const PhysAddr phys = request.phys + (slot.at - request.at);
  const PageFlags& flags = request.flags;
  return Pte{config_.view.layout.join(phys, request.selector).value() | caching_bits(request.caching)}
      .with<Pte::NoExecute>(!flags.executable)
      .with<Pte::Global>(flags.global)
      .with<Pte::PageSize>(slot.level > 0)
      .with<Pte::Dirty>(!flags.user)
      .with<Pte::Accessed>(true)
      .with<Pte::User>(flags.user)
      .with<Pte::Writable>(flags.writable)
      .with<Pte::Present>(true);
}

Result<EditResult> PageTable::map(const MapRequest& request) {
  CBIT_TRY(check_phys(request.phys, request.bytes));
  const auto largest = static_cast<unsigned>(request.largest);
  const auto decide = [&](const Slot& slot) -> Result<std::optional<Pte>> {
    const PhysAddr phys = request.phys + (slot.at - request.at);
    const bool fits = slot.whole && slot.level <= largest && phys.is_aligned(span_of_level(slot.level));
    return fits ? std::optional{leaf_for(request, slot)} : std::nullopt;
  };
  return apply(request.at, request.bytes, {decide, request.flags.user, {}});
}

Result<EditResult> PageTable::unmap(VirtAddr at, std::uint64_t bytes) {
  const auto decide = [](const Slot& slot) -> Result<std::optional<Pte>> {
    if (!slot.entry.present()) return slot.entry;
    return slot.whole ? std::optional{Pte{}} : std::nullopt;
  };
  return apply(at, bytes, {decide, false, {}});
}

Result<EditResult> PageTable::replace_bits(VirtAddr at, std::uint64_t bytes, std::uint64_t mask,
                                           std::uint64_t bits) {
  const auto decide = [&](const Slot& slot) -> Result<std::optional<Pte>> {
    if (!slot.entry.present()) return fault(FaultKind::not_present, slot.at.value());
    return slot.whole ? std::optional{Pte{(slot.entry.raw & ~mask) | bits}} : std::nullopt;
  };
  return apply(at, bytes, {decide, false, {}});
}

Result<EditResult> PageTable::set_selector(VirtAddr at, std::uint64_t bytes, mem::KeySelector selector) {
  const mem::KeyLayout& layout = config_.view.layout;
  return replace_bits(at, bytes, layout.mask(), layout.join(PhysAddr{}, selector).value());
}

Result<EditResult> PageTable::set_caching(VirtAddr at, std::uint64_t bytes, PageCaching caching) {
  return replace_bits(at, bytes, caching_mask, caching_bits(caching));
}

Result<EditResult> PageTable::split(VirtAddr at, std::uint64_t bytes) {
  const auto decide = [](const Slot& slot) -> Result<std::optional<Pte>> {
    return slot.whole || !slot.entry.present() ? std::optional{slot.entry} : std::nullopt;
  };
  return apply(at, bytes, {decide, false, {}});
}

Result<void> PageTable::for_each_leaf(VirtAddr at, std::uint64_t bytes, const Visit& visit) const {
  CBIT_TRY(check_range(at, bytes));
  return visit_table(cr3(), config_.levels - 1, at, bytes, visit);
}

Result<void> PageTable::visit_table(PtePhys pointer, unsigned level, VirtAddr at, std::uint64_t bytes,
                                    const Visit& visit) const {
  while (bytes > 0) {
    const std::uint64_t part = part_in_entry(at, bytes, level);
    const Pte entry = CBIT_TRY(load_entry(place_of(pointer, at, level), level));
    if (entry.present() && entry.is_leaf(level))
      visit(VirtAddr{align_down(at.value(), span_of_level(level))}, static_cast<PageLevel>(level), entry);
    else if (entry.present())
      CBIT_TRY(visit_table(entry.target(), level - 1, at, part, visit));
    at += part;
    bytes -= part;
  }
  return {};
}

}  // namespace cbit::paging
