// Memory and registers of a running guest, as those who watch it are given them.
//
// Contract: reading has no effect on the guest: no fault, no accessed or dirty bit, no event.
// Threading: that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "cbit/addr.hpp"

namespace cbit::linux {

class GuestMemory {
 public:
  // Where a virtual address lies, and whether the mapping's leaf selects the guest's key.
  struct Place {
    PhysAddr phys;
    bool encrypted = false;

    friend bool operator==(const Place&, const Place&) = default;
  };

  virtual ~GuestMemory() = default;

  // What the kernel would see on this CPU now: through its page tables, under the key that the mapping
  // selects. false: not all of it is mapped, or lies in memory; `into` is then unspecified.
  [[nodiscard]] virtual bool read(VirtAddr at, ByteSpan into) const = 0;
  [[nodiscard]] virtual std::optional<Place> place_of(VirtAddr at) const = 0;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> load(VirtAddr at) const {
    std::array<std::byte, sizeof(T)> raw{};
    if (!read(at, raw)) return std::nullopt;
    return cbit::load<T>(raw);
  }
  // Up to a NUL, or `bytes_max` bytes of it; what is not printable ASCII becomes "?". nullopt: not mapped.
  [[nodiscard]] std::optional<std::string> text(VirtAddr at, std::size_t bytes_max) const;
};

// A CPU that is about to execute the instruction at rip.
struct CpuView {
  // In the order of their encodings: APM vol. 3, table 1-10.
  enum Register : std::uint8_t {
    rax,
    rcx,
    rdx,
    rbx,
    rsp,
    rbp,
    rsi,
    rdi,
    r8,
    r9,
    r10,
    r11,
    r12,
    r13,
    r14,
    r15
  };

  std::uint16_t number = 0;
  std::uint64_t rip = 0;
  std::array<std::uint64_t, 16> gpr{};
  std::uint64_t rflags = 0;
  std::uint64_t gs_base = 0;
  std::uint64_t kernel_gs_base = 0;
  const GuestMemory* memory = nullptr;  // through this CPU's page tables; never null

  [[nodiscard]] VirtAddr stack() const { return VirtAddr{gpr[rsp]}; }
};

}  // namespace cbit::linux
