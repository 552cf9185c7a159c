// DmaPort: the only way from a device to memory.
//
//   bus address ── address lines ── IOMMU (if there is one) ── key bits ── MMIO or memory
//
// It decides under which key the access is made: the IOMMU entry's C-bit, or else the key bits of the bus
// address as the machine decodes them. On an SME host an address without the bit is an unencrypted access. A
// guest's device is a part of the host: for it the guest's key bits are just address bits that decode to
// nothing, unless the guest has taken the device into its trust: then all accesses are made under its key.
//
// A device may reach another one's registers (peer to peer), but what that one does at once in response may
// not reach a third, and nobody reaches the device that is at it: whatever addresses a guest hands out, no
// device is entered twice, and the work is bounded.
//
// Every access is one DeviceAccess event per contiguous piece (more where the pages of a piece were written
// under different keys), every refusal a DeviceFault event. Threading: one thread per port; ports may run in
// parallel.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "bus/system_bus.hpp"
#include "cbit/addr.hpp"

namespace cbit::bus {

struct DmaPortConfig {
  std::string device;          // name in events
  RequesterId requester = 0;   // bus/device/function
  unsigned address_bits = 64;  // address lines the device drives, 1 to 64
  // The key that all of its accesses are made under, whatever their addresses: that of the guest which has
  // taken the device (TDISP, state RUN) into its trust. no_key: the address or the IOMMU's entry decides.
  KeyId trusted_with = no_key;
  bool bypass_iommu =
      false;  // a virtio device without VIRTIO_F_ACCESS_PLATFORM: QEMU goes to memory directly
};

class DmaPort {
 public:
  DmaPort(SystemBus& bus, DmaPortConfig config);

  // Faults: bus_master_off; address_width when the address does not fit the device's address lines (or wraps
  // around), the IOMMU's faults, no_memory, rmp_violation, td_integrity, private_mmio, device_protocol for a
  // device that is being accessed by a device, what an MMIO region says. The part before the fault has been
  // transferred.
  Result<void> read(DmaAddr from, ByteSpan to);
  Result<void> write(DmaAddr to, ConstByteSpan from);
  // A read whose bytes come to the queue's end.
  Result<void> snapshot(DmaAddr from, std::uint64_t bytes, mem::SnapshotQueue& to);

  template <class T>
  Result<T> load(DmaAddr from) {
    std::array<std::byte, sizeof(T)> raw;
    CBIT_TRY(read(from, raw));
    return cbit::load<T>(raw);
  }
  template <class T>
  Result<void> store(DmaAddr to, const T& value) {
    return write(to, bytes_of(value));
  }

  // What a read would return, without doing it: no event, no history.
  Result<void> peek(DmaAddr from, ByteSpan to) const;

  [[nodiscard]] const DmaPortConfig& config() const { return config_; }
  void set_bypass_iommu(bool bypass) { config_.bypass_iommu = bypass; }
  // A PCI function's command register; on at first, as for a device that is no PCI function.
  void set_bus_master(bool on) { bus_master_ = on; }
  [[nodiscard]] bool bus_master() const { return bus_master_; }
  // It is accessing another device, which must not come back to this one.
  [[nodiscard]] bool in_peer_access() const { return in_peer_access_; }
  // Where on the bus the last read or write that faulted had come to.
  [[nodiscard]] DmaAddr stopped_at() const { return stopped_at_; }
  [[nodiscard]] NameId name() const { return name_; }
  [[nodiscard]] SystemBus& bus() { return *bus_; }

 private:
  // Consecutive bytes of one transfer that go to one place under one key.
  struct Piece {
    DmaAddr bus;
    PhysAddr phys;
    std::uint64_t bytes = 0;
    KeyId key = no_key;
    bool translated = false;
    SystemBus::Hit mmio;  // region == nullptr: RAM
  };
  enum class Look : std::uint8_t { access, peek };

  // The first piece of [at, at + bytes), bytes > 0.
  Result<void> resolve(Piece& first, DmaAddr at, std::uint64_t bytes, bool write, Look look) const;
  Result<void> translate(iommu::IommuTranslation& to, DmaAddr at, bool write, Look look) const;
  // Calls `move(piece, bytes before it)` for each piece in order, until one faults.
  template <class Move>
  Result<void> transfer(DmaAddr at, std::uint64_t bytes, bool write, Look look, Move&& move) const;
  // Moves one piece that is not RAM.
  template <class Move>
  Result<void> move_to_peer(const Piece& piece, bool write, Move&& move);
  // Moves one piece with its events; leaves the piece at its end.
  template <class Move>
  Result<void> move_told(Piece& piece, std::uint64_t before, bool write, Move&& move) const;
  // The piece's first bytes, as far as their pages were last written under one key, which is `page_key`.
  [[nodiscard]] std::uint64_t run_of_one_writer_key(const Piece& piece, KeyId& page_key) const;
  [[nodiscard]] tl::unexpected<Fault> refuse(DmaAddr at, const Fault& why, Look look) const;
  [[nodiscard]] Agent agent() const { return {AgentKind::device, config_.requester}; }
  [[nodiscard]] mem::Access access(const Piece& piece) const { return {agent(), piece.key, name_}; }

  SystemBus* bus_;
  DmaPortConfig config_;
  NameId name_;
  bool bus_master_ = true;
  bool in_peer_access_ = false;
  mutable DmaAddr stopped_at_;  // a fault is noted where it is told, which peeks share
};

}  // namespace cbit::bus
