// A lease: a pointer to the stored bytes of a page, for somebody who uses it too often to ask each time (a
// CPU's TLB). What is stored is plaintext under the page's owner, so a lease is given to a user whose key
// owns the page, and is revoked before that, or anything else that it rests on, changes:
//
//   the owner, the key's value, the page's state (RMP, TD, shared or private), the last writer, and for
//   `write` that somebody holds code of the page
//
// It is the only way past Memory::read() and write(). Using it costs whatever the holder needs to know that
// it still has it: one compare, in a TLB.
//
// Threading: one thread, that of the machine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cbit/addr.hpp"

namespace cbit::mem {

enum class LeaseIntent : std::uint8_t {
  read = 1,
  write = 2,      // reads, too; counts as a write of the page now: history names the holder from here on
  overwrite = 8,  // a lease to write, whose holder writes every byte at once: what the page had is lost
  execute = 4,    // reads, too; nobody has a lease to write the page as long as this lasts
};

class LeaseHolder {
 public:
  virtual ~LeaseHolder() = default;
  // All leases of this page end now. May be called in the middle of anybody's access: forget the pointers,
  // and do not touch memory.
  virtual void revoke(PhysAddr page) = 0;
  // To holders of `execute`: these bytes, all of one page, are being written. The lease goes on.
  virtual void code_written(PhysAddr at, std::uint64_t bytes) = 0;
};

}  // namespace cbit::mem
