#include "cpu/system_space.hpp"

namespace cbit::cpu {

// What an access of the page would fault with, the access itself tells: a lease is only a way to make it.
std::byte* SystemSpace::lease(PhysAddr page, KeyId key, mem::LeaseIntent intent, mem::LeaseHolder& holder) {
  if (!memory_->contains(page, page_size)) return nullptr;
  const auto bytes = memory_->lease(page, access(key), intent, holder);
  return bytes ? *bytes : nullptr;
}

Result<void> SystemSpace::read(PhysAddr from, ByteSpan to, KeyId key) {
  if (memory_->contains(from, to.size())) return memory_->read(from, to, access(key));
  if (key != no_key) return fault(FaultKind::private_mmio, from.value());
  return io_->io_read(from, to);
}

Result<void> SystemSpace::write(PhysAddr to, ConstByteSpan from, KeyId key) {
  if (memory_->contains(to, from.size())) return memory_->write(to, from, access(key));
  if (key != no_key) return fault(FaultKind::private_mmio, to.value(), true);
  return io_->io_write(to, from);
}

}  // namespace cbit::cpu
