// What answers at physical addresses that are no memory: registers of devices and their BARs. A machine has
// one.
#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"

namespace cbit::paging {

class IoSpace {
 public:
  virtual ~IoSpace() = default;
  // Faults: no_memory where nothing answers to all of the access; what the device says.
  virtual Result<void> io_read(PhysAddr from, ByteSpan to) = 0;
  virtual Result<void> io_write(PhysAddr to, ConstByteSpan from) = 0;
};

}  // namespace cbit::paging
