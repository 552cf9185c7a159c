// A programmable DMA device for tests and experiments, in the spirit of QEMU's edu: a driver writes addresses
// and a command into registers, and the device does what it was told, right or wrong. Its registers and its
// local memory are one MMIO region:
//
//   0x00'0000  registers (Reg64), each read and written as 8 aligned bytes
//   0x10'0000  local memory, 1 MiB, any access
//
// A command runs to its end while its write to `command` is under way; `status` then says how it went. There
// is no interrupt. While it runs, the device does not answer as an MMIO target, so a DMA to its own region
// fails. Threading: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "base/bytes.hpp"
#include "base/reg.hpp"
#include "base/result.hpp"
#include "bus/dma_port.hpp"

namespace cbit::dev {

class TestDma final : public bus::MmioRegion {
 public:
  // Offsets. `source` and `destination` are bus addresses, or offsets into local memory where the command
  // says so.
  enum class Reg64 : std::uint64_t {
    id = 0x00,  // read-only: id_value
    source = 0x08,
    destination = 0x10,
    count = 0x18,          // bytes, at most local_bytes
    pattern = 0x20,        // 8 bytes that `fill` repeats
    command = 0x28,        // write: starts a Command; reads as 0
    status = 0x30,         // read-only: Status
    result = 0x38,         // read-only: what the last `checksum` found
    fault_address = 0x40,  // read-only: Fault::address of the last failed command
  };
  enum class Command : std::uint64_t {
    read = 1,      // memory at source -> local at destination
    write = 2,     // local at source -> memory at destination
    copy = 3,      // memory at source -> memory at destination
    fill = 4,      // pattern -> memory at destination
    checksum = 5,  // CRC-32C of memory at source -> result
    reset = 6,
  };
  struct Status : Register<Status, std::uint64_t> {
    using Kind = Field<15, 8, FaultKind>;  // with Error
    using Write = Field<2, 2, bool>;       // with Error: the access that failed was a write
    using Error = Field<1, 1, bool>;
    using Done = Field<0, 0, bool>;
  };

  static constexpr std::uint64_t id_value = 0x41'4d44'7469'6263;  // "cbitDMA"
  static constexpr std::uint64_t local_offset = 1 << 20;
  static constexpr std::uint64_t local_bytes = 1 << 20;
  static constexpr std::uint64_t region_bytes = local_offset + local_bytes;
  static constexpr std::uint64_t transfer_max = 1 << 30;

  TestDma(bus::SystemBus& bus, bus::DmaPortConfig config)
      : port_{bus, std::move(config)}, local_(local_bytes) {}

  // As a driver sees it. Registers that do not exist read as all ones; writes to them and to read-only ones
  // are lost. Faults: device_protocol for a register access of another size or alignment.
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

  // Direct use, without registers: what the device reads at an address, and a write to it. More than
  // transfer_max bytes are refused (device_protocol).
  [[nodiscard]] Result<Bytes> read(DmaAddr from, std::uint64_t bytes);
  Result<void> write(DmaAddr to, ConstByteSpan from);

  [[nodiscard]] bus::DmaPort& port() { return port_; }
  [[nodiscard]] ByteSpan local() { return local_; }
  [[nodiscard]] Status status() const { return status_; }
  // Why the last command failed.
  [[nodiscard]] const std::optional<Fault>& last_fault() const { return fault_; }
  // Registers and local memory become zero.
  void reset();

 private:
  [[nodiscard]] std::uint64_t get(Reg64 reg) const;
  void set(Reg64 reg, std::uint64_t value);
  void run(Command command);
  Result<void> execute(Command command);
  [[nodiscard]] Result<ByteSpan> local_part(std::uint64_t offset);

  bus::DmaPort port_;
  Bytes local_;
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
