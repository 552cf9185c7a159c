// How the frames of a kernel's functions lie on the stack: the ORC tables that objtool writes.
// Documentation/x86/orc-unwinder.rst, arch/x86/include/asm/orc_types.h.
//
// Tables are a file's or a guest's, and not trusted: any contents give rules, or none.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/state_stream.hpp"
#include "cbit/addr.hpp"

namespace cbit::linux {

// orc_types.h has changed twice without a version in it. 6.1; 6.4, where the types of frames got numbers of
// their own; 7.x, where the registers were numbered anew.
enum class OrcDialect : std::uint8_t { v6_1, v6_4, v7 };

// From which value an address is counted.
enum class OrcBase : std::uint8_t {
  undefined,
  sp,
  bp,
  prev_sp,
  sp_indirect,
  bp_indirect,
  ax,
  dx,
  di,
  r10,
  r13
};
enum class OrcFrame : std::uint8_t { undefined, end_of_stack, call, regs, regs_partial };

struct OrcRule {
  std::int16_t sp_offset = 0;
  std::int16_t bp_offset = 0;
  OrcBase sp_base{};
  OrcBase bp_base{};
  OrcFrame frame{};
  bool signal = false;  // the frame above was interrupted, not called

  friend bool operator==(const OrcRule&, const OrcRule&) = default;
};

class OrcTable {
 public:
  static constexpr std::size_t entry_bytes = 6;

  OrcTable() = default;
  // `offsets` (.orc_unwind_ip) lie at `offsets_at`, and count from their own places; `entries` is
  // .orc_unwind. nullopt: they do not belong together, or the dialect cannot be told.
  static std::optional<OrcTable> create(ConstByteSpan offsets, VirtAddr offsets_at, ConstByteSpan entries,
                                        std::optional<OrcDialect> dialect = std::nullopt);

  [[nodiscard]] OrcDialect dialect() const { return dialect_; }
  [[nodiscard]] std::size_t size() const { return addresses_.size(); }
  // The rule of the last entry at or before the address; nullopt: it is before all, or beyond what ORC knows.
  [[nodiscard]] std::optional<OrcRule> find(VirtAddr ip) const;

  // Loading: in the place of create().
  void transfer(StateStream& s);

 private:
  OrcDialect dialect_{};
  std::vector<VirtAddr> addresses_;
  Bytes entries_;
};

}  // namespace cbit::linux
