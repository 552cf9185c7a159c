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

Result<Pte> read_entry(mem::Memory& memory, const Step& step, const mem::Access& who) {
  std::array<std::byte, sizeof(Pte)> raw;
  CBIT_TRY(memory.read(step.at, raw, {who.agent, step.key, who.site}));
  return load<Pte>(raw);
}

// SDM vol. 3, table 4-14 ff.; APM vol. 2, 5.3.3 ff.: PS above the PDPT, address bits that the machine does
// not have, and in a large leaf everything between the PAT bit and the page's address.
bool has_reserved_bit(const PagingConfig& config, Pte entry, unsigned level) {
  const std::uint64_t beyond = Pte::address_mask & ~bit_mask(config.phys_bits) & ~config.view.layout.mask();
  if ((entry.raw & beyond) != 0) return true;
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
Result<void> mark_used(mem::Memory& memory, std::span<Step> steps, bool dirty, const mem::Access& who) {
  for (Step& step : steps) {
    Pte marked = step.entry.with<Pte::Accessed>(true);
    if (dirty && &step == &steps.back()) marked = marked.with<Pte::Dirty>(true);
    if (marked.raw == step.entry.raw) continue;
    CBIT_TRY(memory.write(step.at, bytes_of(marked), {who.agent, step.key, who.site}));
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

}  // namespace

Result<Translation> walk(mem::Memory& memory, const PagingConfig& config, PtePhys cr3, VirtAddr at,
                         Intent intent, Privilege privilege, const mem::Access& who) {
  const auto refuse = [&](FaultKind kind) { return fault(kind, at.value(), intent == Intent::write); };
  if (!is_canonical(at, config.levels)) return refuse(FaultKind::non_canonical);

  std::array<Step, levels_max> steps;
  std::size_t count = 0;
  PageFlags flags{.writable = true, .user = true, .executable = true};
  PtePhys pointer{cr3.value() & Pte::address_mask};
  for (unsigned level = config.levels - 1;; --level) {
    Step& step = steps[count++];
    const auto [table, key] = locate_table(config.view, pointer);
    step = {table + table_index(at, level) * sizeof(Pte), key, {}};
    step.entry = CBIT_TRY(read_entry(memory, step, who));
    if (!step.entry.present()) return refuse(FaultKind::not_present);
    if (has_reserved_bit(config, step.entry, level)) return refuse(FaultKind::reserved_bit);
    narrow(flags, step.entry);
    if (!step.entry.is_leaf(level)) {
      pointer = step.entry.target();
      continue;
    }
    if (!permits(flags, intent, privilege)) return refuse(FaultKind::protection);
    CBIT_TRY(mark_used(memory, std::span{steps}.first(count), intent == Intent::write, who));
    return translation_of(config.view, step, level, flags, at);
  }
}

}  // namespace cbit::paging
