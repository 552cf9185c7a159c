#include "mem/eager_memory.hpp"

#include <algorithm>
#include <cstring>

namespace cbit::mem {
namespace {

PhysAddr block_of(PhysAddr at) { return PhysAddr{align_down(at.value(), crypt::cipher_block_size)}; }

std::size_t bytes_in_block(PhysAddr at, std::size_t bytes) {
  return std::min<std::size_t>(bytes, crypt::cipher_block_size - at.value() % crypt::cipher_block_size);
}

}  // namespace

bool EagerMemory::contains(PhysAddr at, std::uint64_t bytes) const {
  return std::ranges::any_of(ram_, [&](const PhysRange& range) { return range.contains(at, bytes); });
}

crypt::Block EagerMemory::raw(PhysAddr block) const {
  const auto& page = pages_[block.page_number()];
  return page ? (*page)[block.page_offset() / crypt::cipher_block_size] : crypt::Block{};
}

Result<void> EagerMemory::peek(PhysAddr from, ByteSpan to, KeyId key) const {
  if (!contains(from, to.size())) return fault(FaultKind::no_memory, from.value());
  const crypt::Cipher* const cipher = keys_->cipher(key);
  while (!to.empty()) {
    const std::size_t now = bytes_in_block(from, to.size());
    crypt::Block block = raw(block_of(from));
    if (cipher != nullptr) cipher->decrypt(block_of(from), block, block);
    std::memcpy(to.data(), block.data() + from.value() % crypt::cipher_block_size, now);
    to = to.subspan(now);
    from += now;
  }
  return {};
}

Result<void> EagerMemory::read(PhysAddr from, ByteSpan to, const Access& access) {
  return peek(from, to, access.key);
}

Result<void> EagerMemory::write(PhysAddr to, ConstByteSpan from, const Access& access) {
  if (!contains(to, from.size())) return fault(FaultKind::no_memory, to.value(), true);
  const crypt::Cipher* const cipher = keys_->cipher(access.key);
  while (!from.empty()) {
    const std::size_t now = bytes_in_block(to, from.size());
    const PhysAddr at = block_of(to);
    crypt::Block block = raw(at);
    if (cipher != nullptr) cipher->decrypt(at, block, block);
    std::memcpy(block.data() + to.value() % crypt::cipher_block_size, from.data(), now);
    if (cipher != nullptr) cipher->encrypt(at, block, block);
    auto& page = pages_[at.page_number()];
    if (!page) page = std::make_unique<Page>();
    (*page)[at.page_offset() / crypt::cipher_block_size] = block;
    from = from.subspan(now);
    to += now;
  }
  return {};
}

Result<void> EagerMemory::copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                               std::uint64_t bytes) {
  Bytes buffer(bytes);
  CBIT_TRY(read(from, buffer, from_access));
  return write(to, buffer, to_access);
}

Result<void> EagerMemory::fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) {
  return write(to, Bytes(bytes, value), access);
}

void EagerMemory::for_each_touched(const std::function<void(PhysAddr, const PageHistory&)>& visit) const {
  for (std::size_t number = 0; number < pages_.size(); ++number)
    if (pages_[number]) visit(PhysAddr{number * page_size}, {});
}

}  // namespace cbit::mem
