#include "boot/entry_mode.hpp"

#include "boot/layout.hpp"

namespace cbit::boot {
namespace {

// APM vol. 2, 3.1: CR0, CR4 and EFER.
constexpr std::uint64_t cr0_pe = 1ull << 0, cr0_et = 1ull << 4, cr0_pg = 1ull << 31;
constexpr std::uint64_t cr4_pae = 1ull << 5;
constexpr std::uint64_t efer_lme = 1ull << 8, efer_lma = 1ull << 10;

// APM vol. 2, 5.3: page-table entries.
constexpr std::uint64_t present = 1ull << 0, writable = 1ull << 1, large = 1ull << 7;
constexpr std::uint64_t large_page_bytes = 2ull << 20;
constexpr std::uint64_t entries = page_size / sizeof(std::uint64_t);
constexpr std::uint64_t table_bytes_mapped = entries * large_page_bytes;  // by one page directory

// Descriptor bits 55:52 and 47:40. APM vol. 2, 4.8; present, DPL 0, accessed.
constexpr std::uint16_t code_64 = 0xa9b;  // G L, execute and read
constexpr std::uint16_t code_32 = 0xc9b;  // G DB, execute and read
constexpr std::uint16_t data = 0xc93;     // G DB, read and write
constexpr std::uint16_t busy_tss = 0x08b;
constexpr std::uint16_t tss_selector = 0x20;
constexpr std::uint32_t tss_limit = 0x67;
constexpr std::uint32_t flat_limit = 0xffff'ffff;
constexpr std::uint16_t code_32_selector = 0x08, data_32_selector = 0x10;
constexpr std::uint64_t stack_32 = 0x7c00;

constexpr SegmentState flat(std::uint16_t selector, std::uint16_t attributes) {
  return {selector, attributes, flat_limit, 0};
}

constexpr SegmentState task_state() { return {tss_selector, busy_tss, tss_limit, 0}; }

// Base 0.
constexpr std::uint64_t descriptor(const SegmentState& segment) {
  const bool pages = (segment.attributes & 0x800) != 0;
  const std::uint64_t limit = pages ? segment.limit >> 12 : segment.limit;
  const std::uint64_t high = segment.attributes >> 8, low = segment.attributes & 0xff;
  return (limit & 0xffff) | low << 40 | (limit >> 16) << 48 | high << 52;
}
static_assert(descriptor(flat(0x10, code_64)) == 0x00af'9b00'0000'ffff);
static_assert(descriptor(flat(0x18, data)) == 0x00cf'9300'0000'ffff);

// Puts the descriptors into memory and GDTR.
OrError<void> add_gdt(LoadPlan& plan, std::span<const std::uint64_t> descriptors) {
  const ConstByteSpan bytes = std::as_bytes(descriptors);
  plan.entry.gdtr = {static_cast<std::uint16_t>(bytes.size() - 1), layout::gdt.value()};
  return plan.add_owned("descriptor table", layout::gdt, {bytes.begin(), bytes.end()});
}

// Four levels: one table each of the upper two, and as many directories as RAM needs.
Bytes make_page_tables(PhysAddr end, std::uint64_t encryption_mask) {
  const std::uint64_t directories = align_up(end.value(), table_bytes_mapped) / table_bytes_mapped;
  Bytes tables((2 + directories) * page_size);
  const auto set = [&](std::uint64_t page, std::uint64_t index, std::uint64_t entry) {
    store(tables, page * page_size + index * sizeof entry, entry | encryption_mask);
  };
  const auto table = [](std::uint64_t page) {
    return (layout::page_tables + page * page_size).value() | present | writable;
  };
  set(0, 0, table(1));
  for (std::uint64_t i = 0; i < directories; ++i) set(1, i, table(2 + i));
  for (std::uint64_t at = 0, i = 0; at < end.value(); at += large_page_bytes, ++i)
    set(2 + i / entries, i % entries, at | present | writable | large);
  return tables;
}

}  // namespace

OrError<void> enter_long_mode(LoadPlan& plan, std::uint64_t encryption_mask) {
  EntryState& entry = plan.entry;
  entry.cr0 = cr0_pg | cr0_et | cr0_pe;
  entry.cr3 = PtePhys{layout::page_tables.value()};
  entry.cr4 = cr4_pae;
  entry.efer = efer_lma | efer_lme;
  entry.cs = flat(spec::linux_boot_cs, code_64);
  entry.ds = entry.es = entry.fs = entry.gs = entry.ss = flat(spec::linux_boot_ds, data);
  entry.tr = task_state();
  constexpr std::uint64_t tss_high = 0;  // a TSS' descriptor has 16 bytes in long mode
  constexpr std::uint64_t descriptors[] = {0,
                                           0,
                                           descriptor(flat(spec::linux_boot_cs, code_64)),
                                           descriptor(flat(spec::linux_boot_ds, data)),
                                           descriptor(task_state()),
                                           tss_high};
  CBIT_TRY(add_gdt(plan, descriptors));
  return plan.add_owned("page tables", layout::page_tables,
                        make_page_tables(plan.end_of_low_ram(), encryption_mask));
}

OrError<void> enter_protected_mode(LoadPlan& plan) {
  EntryState& entry = plan.entry;
  entry.cr0 = cr0_et | cr0_pe;
  entry.cs = flat(code_32_selector, code_32);
  entry.ds = entry.es = entry.fs = entry.gs = entry.ss = flat(data_32_selector, data);
  entry.tr = task_state();
  entry.rsp = stack_32;
  constexpr std::uint64_t descriptors[] = {0, descriptor(flat(code_32_selector, code_32)),
                                           descriptor(flat(data_32_selector, data)), 0,
                                           descriptor(task_state())};
  return add_gdt(plan, descriptors);
}

}  // namespace cbit::boot
