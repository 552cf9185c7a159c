// What a CPU reaches by physical address, once its key bits are off: memory and devices.
//
// A lease is the host's address of a page's bytes, as they are under the key asked for. It holds until the
// holder's revoke() has returned; nullptr is no error: the page is used by read() and write() then.
//
// Threading: one thread, that of the machine.
#pragma once

#include <cstddef>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"

namespace cbit::cpu {

class PageHolder {
 public:
  virtual ~PageHolder() = default;
  // Before the page's bytes stop being what the lease shows, or somebody else changes code that was decoded
  // from them.
  virtual void revoke(PhysAddr page) = 0;
};

enum class LeaseUse : std::uint8_t {
  read,
  write,
  execute,  // code is decoded from it: a change by anybody else revokes it
};

class PhysicalSpace {
 public:
  virtual ~PhysicalSpace() = default;

  virtual std::byte* lease(PhysAddr page, KeyId key, LeaseUse use, PageHolder& holder) = 0;

  // Within one page; of a device: 1, 2, 4 or 8 bytes. Faults: no_memory where nothing answers, private_mmio,
  // what memory's protection refuses.
  virtual Result<void> read(PhysAddr from, ByteSpan to, KeyId key) = 0;
  virtual Result<void> write(PhysAddr to, ConstByteSpan from, KeyId key) = 0;
};

}  // namespace cbit::cpu
