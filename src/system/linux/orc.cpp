#include "linux/orc.hpp"

#include <algorithm>
#include <array>

namespace cbit::linux {
namespace {

// struct orc_entry: two offsets, then a word of sp_reg:4, bp_reg:4 and the type.
struct OrcEntry {
  std::int16_t sp_offset = 0;
  std::int16_t bp_offset = 0;
  std::uint16_t bits = 0;

  [[nodiscard]] unsigned sp_register() const { return bits & 0xf; }
  [[nodiscard]] unsigned bp_register() const { return bits >> 4 & 0xf; }
  [[nodiscard]] unsigned type() const { return bits >> 8 & 7; }  // 6.1: type:2, end:1
  [[nodiscard]] bool signal() const { return (bits >> 11 & 1) != 0; }
};
static_assert(sizeof(OrcEntry) == OrcTable::entry_bytes);

OrcEntry entry_at(ConstByteSpan entries, std::size_t index) {
  return load<OrcEntry>(entries, index * OrcTable::entry_bytes);
}

constexpr std::size_t entries_max = 1 << 28;  // 1.5 GiB of them

constexpr unsigned sp_of_v6 = 5;
constexpr unsigned sp_of_v7 = 3;
constexpr unsigned call_of_v6_1 = 0;
constexpr unsigned call_of_v6_4 = 2;

using enum OrcBase;
constexpr std::array<OrcBase, 16> registers_v6 = {undefined, prev_sp, dx,  di,          bp,
                                                  sp,        r10,     r13, bp_indirect, sp_indirect};
constexpr std::array<OrcBase, 16> registers_v7 = {undefined, ax,  dx,      sp,          bp,         di,
                                                  r10,       r13, prev_sp, sp_indirect, bp_indirect};

// In every kernel nearly all frames are those of calls, and their stack pointer says where they are: so the
// commonest numbers tell the dialect. The hash in .orc_header would take a list of all there are.
std::optional<OrcDialect> dialect_of(ConstByteSpan entries) {
  std::size_t calls_6_1 = 0, calls_6_4 = 0, sp_v6 = 0, sp_v7 = 0;
  const std::size_t count = entries.size() / OrcTable::entry_bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const OrcEntry entry = entry_at(entries, i);
    calls_6_1 += entry.type() == call_of_v6_1;
    calls_6_4 += entry.type() == call_of_v6_4;
    sp_v6 += entry.sp_register() == sp_of_v6;
    sp_v7 += entry.sp_register() == sp_of_v7;
  }
  const bool by_sp_v6 = sp_v6 > count / 2, by_sp_v7 = sp_v7 > count / 2;
  if (by_sp_v6 && calls_6_1 > count / 2) return OrcDialect::v6_1;
  if (by_sp_v6 && calls_6_4 > count / 2) return OrcDialect::v6_4;
  if (by_sp_v7 && calls_6_4 > count / 2) return OrcDialect::v7;
  return std::nullopt;
}

OrcFrame frame_of(const OrcEntry& entry, OrcDialect dialect) {
  using enum OrcFrame;
  constexpr std::array<OrcFrame, 8> types = {OrcFrame::undefined, end_of_stack, call, regs, regs_partial};
  if (dialect != OrcDialect::v6_1) return types[entry.type()];
  const bool end = (entry.type() & 4) != 0;
  if (entry.sp_register() == 0) return end ? end_of_stack : OrcFrame::undefined;
  constexpr std::array<OrcFrame, 4> hints = {call, regs, regs_partial, OrcFrame::undefined};
  return hints[entry.type() & 3];
}

}  // namespace

std::optional<OrcTable> OrcTable::create(ConstByteSpan offsets, VirtAddr offsets_at, ConstByteSpan entries,
                                         std::optional<OrcDialect> dialect) {
  const std::size_t count = offsets.size() / sizeof(std::int32_t);
  if (count == 0 || offsets.size() % sizeof(std::int32_t) != 0 || entries.size() != count * entry_bytes)
    return std::nullopt;
  if (!dialect) dialect = dialect_of(entries);
  if (!dialect) return std::nullopt;
  OrcTable made;
  made.dialect_ = *dialect;
  made.entries_.assign(entries.begin(), entries.end());
  made.addresses_.reserve(count);
  for (std::size_t at = 0; at < offsets.size(); at += sizeof(std::int32_t)) {
    const auto offset = static_cast<std::uint64_t>(std::int64_t{load<std::int32_t>(offsets, at)});
    made.addresses_.push_back(offsets_at + at + offset);
  }
  return made;
}

std::optional<OrcRule> OrcTable::find(VirtAddr ip) const {
  const auto after = std::ranges::upper_bound(addresses_, ip);
  if (after == addresses_.begin()) return std::nullopt;
  const OrcEntry entry = entry_at(entries_, static_cast<std::size_t>(after - addresses_.begin() - 1));
  const auto& registers = dialect_ == OrcDialect::v7 ? registers_v7 : registers_v6;
  const OrcFrame frame = frame_of(entry, dialect_);
  if (frame == OrcFrame::undefined) return std::nullopt;
  const bool interrupted = frame == OrcFrame::regs || frame == OrcFrame::regs_partial;
  return OrcRule{entry.sp_offset,
                 entry.bp_offset,
                 registers[entry.sp_register()],
                 registers[entry.bp_register()],
                 frame,
                 dialect_ == OrcDialect::v6_1 ? interrupted : entry.signal()};
}

void OrcTable::transfer(StateStream& s) {
  s.section("unwind tables", [&] {
    s.choice(dialect_, OrcDialect::v7);
    const std::size_t count = s.count(addresses_.size(), entries_max);
    if (s.loads()) {
      addresses_.resize(count);
      entries_.resize(count * entry_bytes);
    }
    for (VirtAddr& address : addresses_) {
      std::uint64_t value = address.value();
      s(value);
      address = VirtAddr{value};
    }
    s.raw(entries_);
  });
}

}  // namespace cbit::linux
