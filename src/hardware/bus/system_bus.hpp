// What decodes an address: RAM through the memory controller, MMIO regions, and the IOMMU in front of
// devices. Threading: accesses may run in parallel as far as the regions allow it; configure while nothing
// runs in another thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/state_stream.hpp"
#include "base/trace.hpp"
#include "iommu/iommu.hpp"
#include "mem/memory.hpp"
#include "paging/io_space.hpp"

namespace cbit::bus {

// A range of MMIO. Offsets are relative to the region, widths 1, 2, 4 or 8 for registers; memory-like regions
// (a BAR with device RAM) accept any length. The bus has checked that the access lies inside the region's
// range.
class MmioRegion {
 public:
  virtual ~MmioRegion() = default;
  virtual Result<void> read(std::uint64_t offset, ByteSpan to) = 0;
  virtual Result<void> write(std::uint64_t offset, ConstByteSpan from) = 0;
  // What a read would return, without its effects. device_protocol where that cannot be told: registers.
  virtual Result<void> peek(std::uint64_t offset, ByteSpan to) const;
};

// Device memory behind a BAR: plain bytes, no encryption, no effects. no_memory outside of it.
class RamBar final : public MmioRegion {
 public:
  explicit RamBar(std::uint64_t bytes) : data_(bytes) {}
  Result<void> read(std::uint64_t offset, ByteSpan to) override { return peek(offset, to); }
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
  Result<void> peek(std::uint64_t offset, ByteSpan to) const override;
  [[nodiscard]] ByteSpan data() { return data_; }
  [[nodiscard]] ConstByteSpan data() const { return data_; }
  [[nodiscard]] std::uint64_t size() const { return data_.size(); }
  void transfer(StateStream& s) { s.raw(data_); }

 private:
  Bytes data_;
};

class SystemBus final : public paging::IoSpace {
 public:
  // `device_view` says which key the bits of an untranslated device address select: the host's view with SME,
  // no key bits at all for the devices of a guest.
  SystemBus(mem::Memory& memory, Tracer& tracer, const mem::KeyView& device_view)
      : memory_{&memory}, tracer_{&tracer}, device_view_{device_view} {}

  [[nodiscard]] mem::Memory& memory() const { return *memory_; }
  [[nodiscard]] Tracer& tracer() const { return *tracer_; }
  [[nodiscard]] const mem::KeyView& device_view() const { return device_view_; }

  // The IOMMU translates all devices from now on; nullptr removes it.
  void set_iommu(iommu::DmaTranslator* iommu) { iommu_ = iommu; }
  [[nodiscard]] iommu::DmaTranslator* iommu() const { return iommu_; }

  // Each requester that has, or had, a way to memory.
  void add_requester(RequesterId requester) { requesters_.insert(requester); }
  [[nodiscard]] bool has_requester(RequesterId requester) const { return requesters_.contains(requester); }

  // The range is not empty and overlaps neither RAM nor another region; the region outlives the bus, or is
  // removed.
  void add_mmio(mem::PhysRange range, MmioRegion& region);
  // The same where the guest decides about the range (a BAR): false, and nothing is added, if it will not do.
  [[nodiscard]] bool try_add_mmio(mem::PhysRange range, MmioRegion& region);
  // What was added with this range for this region; nothing if nothing was.
  void remove_mmio(mem::PhysRange range, const MmioRegion& region);
  struct Hit {
    MmioRegion* region = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;  // from the offset to the region's end
  };
  // region == nullptr when [at, at + bytes) does not lie in one region.
  [[nodiscard]] Hit find_mmio(PhysAddr at, std::uint64_t bytes = 1) const;

  // A CPU's access, once its key bits are off.
  Result<void> io_read(PhysAddr from, ByteSpan to) override;
  Result<void> io_write(PhysAddr to, ConstByteSpan from) override;

 private:
  [[nodiscard]] bool overlaps_something(mem::PhysRange range) const;

  mem::Memory* memory_;
  Tracer* tracer_;
  mem::KeyView device_view_;
  iommu::DmaTranslator* iommu_ = nullptr;
  std::set<RequesterId> requesters_;
  std::map<PhysAddr, std::pair<std::uint64_t, MmioRegion*>> mmio_;
};

}  // namespace cbit::bus
