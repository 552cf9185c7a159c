#include "paging/walker.hpp"

#include <array>
#include <span>

namespace cbit::paging {
namespace {

constexpr unsigned levels_max = 5;

// One entry on the way down.
struct Step {
  PhysAddr at;
  KeyId key = no_key;
  Pte entry;
};

// Tables in the machine's memory, as any of its CPUs reads them.
class MemoryTables final : public TableMemory {
 public:
  MemoryTables(mem::Memory& memory, const mem::Access& who) : memory_{&memory}, who_{who} {}

  Result<std::uint64_t> read_entry(PhysAddr at, unsigned bytes, KeyId key) override {
    std::array<std::byte, sizeof(std::uint64_t)> raw{};
    CBIT_TRY(memory_->read(at, std::span{raw}.first(bytes), {who_.agent, key, who_.site}));
    return load<std::uint64_t>(raw);
  }
  Result<void> write_entry(PhysAddr at, unsigned bytes, std::uint64_t entry, KeyId key) override {
    return memory_->write(at, cbit::bytes_of(entry).first(bytes), {who_.agent, key, who_.site});
  }

 private:
  mem::Memory* memory_;
  mem::Access who_;
};

// SDM vol. 3, table 4-14 ff.; APM vol. 2, 5.3.3 ff.: PS above the PDPT, address bits that the machine does
// not have, and in a large leaf everything between the PAT bit and the page's address.
bool has_reserved_bit(const PagingConfig& config, Pte entry, unsigned level) {
  const std::uint64_t beyond = Pte::address_mask & ~bit_mask(config.phys_bits) & ~config.view.layout.mask();
  if ((entry.raw & beyond) != 0) return true;
  if (!config.no_execute && entry.get<Pte::NoExecute>()) return true;
  if (level == 0 || !entry.get<Pte::PageSize>()) return false;
  if (level > highest_leaf_level) return true;
  const std::uint64_t below = (span_of_level(level) - 1) & ~bit_mask(13);
  return (entry.raw & below) != 0;
}

void narrow(PageFlags& flags, Pte entry) {
  flags.writable &= entry.get<Pte::Writable>();
  flags.user &= entry.get<Pte::User>();
  flags.executable &= !entry.get<Pte::NoExecute>();
}

// The Accessed and Dirty bits, top down. Writes only what changes.
Result<void> mark_used(TableMemory& tables, unsigned bytes, std::span<Step> steps, bool dirty) {
  for (Step& step : steps) {
    Pte marked = step.entry.with<Pte::Accessed>(true);
    if (dirty && &step == &steps.back()) marked = marked.with<Pte::Dirty>(true);
    if (marked.raw == step.entry.raw) continue;
    CBIT_TRY(tables.write_entry(step.at, bytes, marked.raw, step.key));
    step.entry = marked;
  }
  return {};
}

Translation translation_of(const mem::KeyView& view, const Step& leaf, unsigned level, PageFlags flags,
                           VirtAddr at) {
  const auto page_level = static_cast<PageLevel>(level);
  const auto [page, selector] = view.layout.split(leaf.entry.page(page_level));
  flags.global = leaf.entry.get<Pte::Global>();
  return {.phys = page + at.value() % level_bytes(page_level),
          .key = view.key(selector),
          .selector = selector,
          .level = page_level,
          .flags = flags,
          .entry_at = leaf.at,
          .entry = leaf.entry};
}

// APM vol. 2, 5.2.3: of a PAE table's root only the presence and the address count.
bool is_pae_root(const PagingConfig& config, unsigned level) {
  return config.format == PagingFormat::pae && level + 1 == config.levels;
}

constexpr unsigned legacy_levels = 2;

std::uint64_t legacy_index(VirtAddr at, unsigned level) { return at.value() >> (12 + 10 * level) & 0x3ff; }

// A 4 MiB page: bits 20:13 of its entry are bits 39:32 of the address (PSE-36), bit 21 is reserved. APM
// vol. 2, 5.2.2. It is taken for the 2 MiB of it that are asked for.
Translation legacy_large_page(const mem::KeyView& view, const Step& leaf, PageFlags flags, VirtAddr at) {
  const std::uint64_t base = (leaf.entry.raw & 0xffc0'0000) | (leaf.entry.raw >> 13 & 0xff) << 32;
  flags.global = leaf.entry.get<Pte::Global>();
  return {.phys = PhysAddr{base} + at.value() % (4ull << 20),
          .key = view.key(0),
          .level = PageLevel::size_2m,
          .flags = flags,
          .entry_at = leaf.at,
          .entry = leaf.entry};
}

Result<Translation> walk_legacy(TableMemory& tables, const PagingConfig& config, PtePhys cr3, VirtAddr at,
                                Intent intent, Privilege privilege) {
  const auto refuse = [&](FaultKind kind) { return fault(kind, at.value(), intent == Intent::write); };
  std::array<Step, legacy_levels> steps;
  PageFlags flags{.writable = true, .user = true, .executable = true};
  PhysAddr table{cr3.value() & 0xffff'f000};
  const KeyId key = config.view.key(config.view.walks_private ? mem::KeySelector{1} : mem::KeySelector{0});
  for (unsigned level = legacy_levels - 1;; --level) {
    const std::size_t count = legacy_levels - level;
    Step& step = steps[count - 1];
    step = {table + legacy_index(at, level) * 4, key, {}};
    step.entry = Pte{CBIT_TRY(tables.read_entry(step.at, 4, key))};
    if (!step.entry.present()) return refuse(FaultKind::not_present);
    const bool large = level == 1 && config.large_pages && step.entry.get<Pte::PageSize>();
    if (large && (step.entry.raw & 1u << 21) != 0) return refuse(FaultKind::reserved_bit);
    narrow(flags, step.entry);
    if (level == 1 && !large) {
      table = PhysAddr{step.entry.raw & 0xffff'f000};
      continue;
    }
    if (!permits(flags, intent, privilege)) return refuse(FaultKind::protection);
    CBIT_TRY(mark_used(tables, 4, std::span{steps}.first(count), intent == Intent::write));
    return large ? legacy_large_page(config.view, step, flags, at)
                 : translation_of(config.view, step, level, flags, at);
  }
}

}  // namespace

Result<Translation> walk(mem::Memory& memory, const PagingConfig& config, PtePhys cr3, VirtAddr at,
                         Intent intent, Privilege privilege, const mem::Access& who) {
  MemoryTables tables{memory, who};
  return walk(tables, config, cr3, at, intent, privilege);
}

Result<Translation> walk(TableMemory& tables, const PagingConfig& config, PtePhys cr3, VirtAddr at,
                         Intent intent, Privilege privilege) {
  if (config.format == PagingFormat::legacy) return walk_legacy(tables, config, cr3, at, intent, privilege);
  const auto refuse = [&](FaultKind kind) { return fault(kind, at.value(), intent == Intent::write); };
  if (config.format == PagingFormat::long_mode && !is_canonical(at, config.levels))
    return refuse(FaultKind::non_canonical);

  std::array<Step, levels_max> steps;
  std::size_t count = 0;
  PageFlags flags{.writable = true, .user = true, .executable = true};
  PtePhys pointer{cr3.value() & (config.format == PagingFormat::pae ? 0xffff'ffe0 : Pte::address_mask)};
  for (unsigned level = config.levels - 1;; --level) {
    Step& step = steps[count];
    const auto [table, key] = locate_table(config.view, pointer);
    step = {table + table_index(at, level) * sizeof(Pte), key, {}};
    step.entry = Pte{CBIT_TRY(tables.read_entry(step.at, sizeof(Pte), key))};
    if (!step.entry.present()) return refuse(FaultKind::not_present);
    const bool is_root_of_pae = is_pae_root(config, level);
    if (!is_root_of_pae) {
      if (has_reserved_bit(config, step.entry, level)) return refuse(FaultKind::reserved_bit);
      narrow(flags, step.entry);
      ++count;
    }
    if (is_root_of_pae || !step.entry.is_leaf(level)) {
      pointer = step.entry.target();
      continue;
    }
    if (!permits(flags, intent, privilege)) return refuse(FaultKind::protection);
    CBIT_TRY(mark_used(tables, sizeof(Pte), std::span{steps}.first(count), intent == Intent::write));
    return translation_of(config.view, step, level, flags, at);
  }
}

}  // namespace cbit::paging
