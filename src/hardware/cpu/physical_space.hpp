// What a CPU reaches by physical address, once its key bits are off: memory and devices.
//
// Threading: one thread, that of the machine.
#pragma once

#include <cstddef>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "mem/lease.hpp"

namespace cbit::cpu {

class PhysicalSpace {
 public:
  virtual ~PhysicalSpace() = default;

  // As mem::Memory has them. nullptr: the page is used by read() and write(), whatever the reason.
  virtual std::byte* lease(PhysAddr page, KeyId key, mem::LeaseIntent intent, mem::LeaseHolder& holder) = 0;
  virtual void end_leases(PhysAddr page, mem::LeaseHolder& holder) = 0;
  virtual void end_leases(mem::LeaseHolder& holder) = 0;

  // Within one page; of a device: 1, 2, 4 or 8 bytes. Faults: no_memory where nothing answers, private_mmio,
  // what memory's protection refuses.
  virtual Result<void> read(PhysAddr from, ByteSpan to, KeyId key) = 0;
  virtual Result<void> write(PhysAddr to, ConstByteSpan from, KeyId key) = 0;

  // What is there takes no notice of time.
  [[nodiscard]] virtual bool is_memory(PhysAddr at, std::uint64_t bytes) const = 0;
};

}  // namespace cbit::cpu
