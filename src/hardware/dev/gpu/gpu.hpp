// A GPU, as far as memory is concerned: video memory behind a BAR, a page table for system memory that its
// driver writes (GART), and an engine that copies, fills and adds up what a display would show.
//
// The GPU has an address space of its own:
//
//   0 ..                video memory
//   gart_aperture ..    one page per GART entry; an entry holds a bus address
//
// The GART lies in video memory at gart_base, 8 bytes per entry. It is read anew for each page of each
// access: there is no TLB to flush. System memory is reached through the DmaPort and in no other way, so the
// bus address in the entry is all that decides under which key.
//
// Registers (Reg64) are read and written as 8 aligned bytes; a command runs to its end while its write to
// `command` is under way. While it runs, the GPU does not answer as an MMIO target. There is no interrupt.
//
// Faults: device_protocol (the address is the GPU's) where no valid entry permits the access, no_memory
// beyond video memory, what DmaPort says of the bus address. The part before the fault has been transferred.
// Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/reg.hpp"
#include "base/result.hpp"
#include "bus/dma_port.hpp"

namespace cbit::dev {

using GpuAddr = Addr<struct GpuTag>;  // in the GPU's own address space

inline constexpr GpuAddr gart_aperture{1ull << 40};

// A GART entry; its shape is that of amdgpu's (amdgpu_vm.h: AMDGPU_PTE_*), with room for a C-bit at 51.
struct GartEntry : Register<GartEntry, std::uint64_t> {
  using Page = Field<51, 12>;  // bits 51:12 of the bus address
  using Writable = Field<6, 6, bool>;
  using Readable = Field<5, 5, bool>;
  using Valid = Field<0, 0, bool>;

  [[nodiscard]] static constexpr GartEntry of(DmaAddr page) {
    return GartEntry{}
        .with<Page>(page.value() >> 12)
        .with<Writable>(true)
        .with<Readable>(true)
        .with<Valid>(true);
  }
  [[nodiscard]] constexpr DmaAddr page() const { return DmaAddr{get<Page>() << 12}; }
};

class Gpu final : public bus::MmioRegion {
 public:
  enum class Reg64 : std::uint64_t {
    id = 0x00,            // read-only: id_value
    vram_bytes = 0x08,    // read-only
    gart_base = 0x10,     // offset in video memory
    gart_entries = 0x18,  // 0: no aperture
    source = 0x20,        // GpuAddr
    destination = 0x28,   // GpuAddr
    count = 0x30,         // bytes, at most transfer_max
    pattern = 0x38,       // 8 bytes that `fill` repeats
    command = 0x40,       // write: starts a Command; reads as 0
    status = 0x48,        // read-only: Status
    result = 0x50,        // read-only: what the last `scanout` found
    fault_address = 0x58  // read-only: Fault::address of the last failed command
  };
  enum class Command : std::uint64_t {
    copy = 1,     // source -> destination
    fill = 2,     // pattern -> destination
    scanout = 3,  // CRC-32C of what a display of `count` bytes at source shows -> result
    reset = 4,
  };
  struct Status : Register<Status, std::uint64_t> {
    using Kind = Field<15, 8, FaultKind>;  // with Error
    using Write = Field<2, 2, bool>;       // with Error: the access that failed was a write
    using Error = Field<1, 1, bool>;
    using Done = Field<0, 0, bool>;
  };

  static constexpr std::uint64_t id_value = 0x55'5047'7469'6263;  // "cbitGPU"
  static constexpr std::uint64_t register_bytes = 4096;
  static constexpr std::uint64_t transfer_max = 64 << 20;

  // `vram` is the other BAR; both outlive the GPU's last access.
  Gpu(bus::SystemBus& bus, bus::DmaPortConfig config, bus::RamBar& vram)
      : port_{bus, std::move(config)}, vram_{&vram} {}

  // As a driver sees it. Registers that do not exist read as all ones; writes to them and to read-only ones
  // are lost. Faults: device_protocol for an access of another size or alignment, and while a command runs.
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

  // What a shader does: any access, by the GPU's own addresses.
  Result<void> load(GpuAddr from, ByteSpan to);
  Result<void> store(GpuAddr to, ConstByteSpan from);
  // What load() would return, without a trace.
  using bus::MmioRegion::peek;
  Result<void> peek(GpuAddr from, ByteSpan to) const;

  [[nodiscard]] bus::DmaPort& port() { return port_; }
  // Why the last command failed.
  [[nodiscard]] const std::optional<Fault>& last_fault() const { return fault_; }

 private:
  [[nodiscard]] std::uint64_t get(Reg64 reg) const;
  void set(Reg64 reg, std::uint64_t value);
  void reset();
  void run(Command command);
  Result<void> execute(Command command);
  // The bus address behind an address of the aperture.
  [[nodiscard]] Result<DmaAddr> translate(GpuAddr at, bool write) const;
  // Calls `vram(bytes of video memory, done)` or `system(bus address, bytes, done)` for each piece.
  template <class Vram, class System>
  Result<void> transfer(GpuAddr at, std::uint64_t bytes, bool write, Vram&& vram, System&& system) const;

  bus::DmaPort port_;
  bus::RamBar* vram_;
  std::uint64_t gart_base_ = 0;
  std::uint64_t gart_entries_ = 0;
  std::uint64_t source_ = 0;
  std::uint64_t destination_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t pattern_ = 0;
  std::uint64_t result_ = 0;
  Status status_;
  std::optional<Fault> fault_;
  bool busy_ = false;
};

}  // namespace cbit::dev
