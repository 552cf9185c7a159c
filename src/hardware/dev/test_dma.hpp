// A programmable DMA device for tests and experiments, in the spirit of QEMU's edu: a driver writes addresses
// and a command into registers, and the device does what it was told, right or wrong. Its registers and its
// local memory are one MMIO region:
//
//   0x00'0000  registers (Reg64), each read and written as 8 aligned bytes
//   0x10'0000  local memory, 1 MiB, any access
//
// A command runs to its end while its write to `command` is under way, or `delay` later; `status` then says
// how it went, and an interrupt follows where one is enabled. While it runs, the device does not answer as an
// MMIO target, so a DMA to its own region fails. docs/test-device.md has the registers for authors of
// drivers; dev/test_dma_pci.hpp makes a PCI function of it. Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/reg.hpp"
#include "base/result.hpp"
#include "base/state_stream.hpp"
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
    count = 0x18,             // bytes, at most local_bytes
    pattern = 0x20,           // 8 bytes that `fill` repeats
    command = 0x28,           // write: starts a Command; reads as 0
    status = 0x30,            // read-only: Status
    result = 0x38,            // read-only: what the last `checksum` found
    fault_address = 0x40,     // read-only: Fault::address of the last failed command
    interrupt_status = 0x48,  // Interrupt; written ones clear
    interrupt_enable = 0x50,  // Interrupt
    address_bits = 0x58,      // read-only: address lines that the device drives
    delay = 0x60,             // ns from the write to `command` to the command's run, at most delay_max_ns
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
    using Busy = Field<3, 3, bool>;        // a command waits for its time
    using Write = Field<2, 2, bool>;       // with Error: the access that failed was a write
    using Error = Field<1, 1, bool>;
    using Done = Field<0, 0, bool>;
  };

  struct Interrupt : Register<Interrupt, std::uint64_t> {
    using Error = Field<1, 1, bool>;
    using Done = Field<0, 0, bool>;  // with or without an error
  };

  static constexpr std::uint64_t id_value = 0x41'4d44'7469'6263;  // "cbitDMA"
  static constexpr std::uint64_t local_offset = 1 << 20;
  static constexpr std::uint64_t local_bytes = 1 << 20;
  static constexpr std::uint64_t region_bytes = local_offset + local_bytes;
  static constexpr std::uint64_t transfer_max = 1 << 30;
  static constexpr std::uint64_t delay_max_ns = 10 * ns_per_second;

  // `clock`: what delayed commands wait on; without one there is no delay, and its register reads as 0.
  TestDma(bus::SystemBus& bus, bus::DmaPortConfig config, Clock* clock = nullptr)
      : port_{bus, std::move(config)}, local_(local_bytes) {
    if (clock != nullptr) timer_.emplace(*clock, [this] { run(waiting_); });
  }
  // Told whether an interrupt is wanted (enabled, and not cleared), whenever that changes.
  void on_interrupt(std::function<void(bool wanted)> handler) { interrupt_ = std::move(handler); }

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

  // With a command that waits for its time. Loading tells nobody of an interrupt.
  void transfer(StateStream& s);

 private:
  [[nodiscard]] std::uint64_t get(Reg64 reg) const;
  void set(Reg64 reg, std::uint64_t value);
  // What a command works on, as it was when the command was given.
  struct Work {
    Command command{};
    std::uint64_t source = 0;
    std::uint64_t destination = 0;
    std::uint64_t count = 0;
    std::uint64_t pattern = 0;
    void transfer(StateStream& s);
  };
  void start(Command command);
  void run(const Work& work);
  Result<void> execute(const Work& work);
  [[nodiscard]] Result<ByteSpan> local_part(std::uint64_t offset, std::uint64_t count);
  void update_interrupt();

  bus::DmaPort port_;
  Bytes local_;
  Work next_;  // as its registers stand
  Work waiting_;
  std::uint64_t result_ = 0;
  std::uint64_t delay_ns_ = 0;
  std::uint64_t interrupt_enable_ = 0;
  Interrupt interrupt_status_;
  bool interrupt_wanted_ = false;
  std::function<void(bool)> interrupt_;
  std::optional<Timer> timer_;
  Status status_;
  std::optional<Fault> fault_;
  bool busy_ = false;
};

}  // namespace cbit::dev
