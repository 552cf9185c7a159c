// The oracle: a memory controller that stores nothing but ciphertext and encrypts on every access. Trivial,
// slow, and what LazyMemory must be indistinguishable from. Without protection, caches or history.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "mem/memory.hpp"

namespace cbit::mem {

class EagerMemory final : public Memory {
 public:
  EagerMemory(std::vector<PhysRange> ram, KeyTable& keys)
      : ram_{std::move(ram)}, keys_{&keys}, pages_(ram_.back().end().page_number()) {}

  [[nodiscard]] const std::vector<PhysRange>& ram() const override { return ram_; }
  [[nodiscard]] bool contains(PhysAddr at, std::uint64_t bytes) const override;

  Result<void> read(PhysAddr from, ByteSpan to, const Access& access) override;
  Result<void> write(PhysAddr to, ConstByteSpan from, const Access& access) override;
  Result<void> copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                    std::uint64_t bytes) override;
  Result<void> fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) override;

  Result<void> peek(PhysAddr from, ByteSpan to, KeyId key) const override;
  Result<void> probe(PhysAddr from, ByteSpan to) const override { return peek(from, to, no_key); }
  [[nodiscard]] PageHistory history(PhysAddr) const override { return {}; }
  void for_each_touched(const std::function<void(PhysAddr, const PageHistory&)>& visit) const override;
  [[nodiscard]] MemoryStats stats() const override { return {}; }

  void convert(PhysAddr, std::uint64_t, bool, SiteId) override {}
  std::uint64_t flush(PhysAddr, std::uint64_t) override { return 0; }
  std::uint64_t flush_all() override { return 0; }
  void rekey(KeyId id, const std::optional<crypt::Key128>& key) override { keys_->replace(id, key); }

 private:
  using Page = std::array<crypt::Block, page_size / crypt::cipher_block_size>;

  // One block of DRAM; zeros where nothing was written.
  [[nodiscard]] crypt::Block raw(PhysAddr block) const;

  std::vector<PhysRange> ram_;
  KeyTable* keys_;
  std::vector<std::unique_ptr<Page>> pages_;  // by page number; none: never written
};

}  // namespace cbit::mem
