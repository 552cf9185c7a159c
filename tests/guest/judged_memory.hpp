// Memory as a machine has it, and beside it one that encrypts each access (mem/eager_memory.hpp): what is
// asked of the one is asked of the other, and the first time that they differ is told.
//
// Leases to read and to write are refused while it judges, so that every access comes here. Leases to execute
// are not: who holds code must be told of writes. Their page is compared as it is when it is leased, and
// each write to it by the DRAM that it leaves.
//
// Threading: one thread.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "mem/eager_memory.hpp"

namespace cbit::test {

class JudgedMemory final : public mem::Memory {
 public:
  // A mem::MemoryMaker. It judges from the first access on.
  static OrError<std::unique_ptr<Memory>> create(const mem::MemoryConfig& config, mem::KeyTable& keys,
                                                 Tracer& tracer);

  // Between two accesses: the other memory is given this one's DRAM; the other memory is left alone.
  void begin();
  void pause() { judging_ = false; }
  [[nodiscard]] bool judges() const { return judging_; }

  // What a probe sees in either, all over.
  void compare_dram();

  [[nodiscard]] const std::optional<std::string>& difference() const { return difference_; }
  [[nodiscard]] std::uint64_t accesses() const { return accesses_; }

  [[nodiscard]] const std::vector<mem::PhysRange>& ram() const override { return memory_->ram(); }
  [[nodiscard]] bool contains(PhysAddr at, std::uint64_t bytes) const override {
    return memory_->contains(at, bytes);
  }

  Result<void> read(PhysAddr from, ByteSpan to, const mem::Access& access) override;
  Result<void> write(PhysAddr to, ConstByteSpan from, const mem::Access& access) override;
  Result<void> copy(PhysAddr to, const mem::Access& to_access, PhysAddr from, const mem::Access& from_access,
                    std::uint64_t bytes) override;
  Result<void> fill(PhysAddr to, std::uint64_t bytes, std::byte value, const mem::Access& access) override;

  Result<std::byte*> lease(PhysAddr page, const mem::Access& access, mem::LeaseIntent intent,
                           mem::LeaseHolder& holder) override;
  void end_leases(PhysAddr page, mem::LeaseHolder& holder) override { memory_->end_leases(page, holder); }
  void end_leases(mem::LeaseHolder& holder) override;

  Result<void> peek(PhysAddr from, ByteSpan to, KeyId key) const override {
    return memory_->peek(from, to, key);
  }
  Result<void> probe(PhysAddr from, ByteSpan to) const override { return memory_->probe(from, to); }
  [[nodiscard]] mem::PageHistory history(PhysAddr page) const override { return memory_->history(page); }
  void for_each_touched(const std::function<void(PhysAddr, const mem::PageHistory&)>& visit) const override {
    memory_->for_each_touched(visit);
  }
  [[nodiscard]] mem::MemoryStats stats() const override { return memory_->stats(); }

  void convert(PhysAddr first, std::uint64_t pages, bool encrypted, SiteId site) override {
    memory_->convert(first, pages, encrypted, site);
  }
  std::uint64_t flush(PhysAddr first, std::uint64_t bytes) override { return memory_->flush(first, bytes); }
  std::uint64_t flush_all() override { return memory_->flush_all(); }
  // The keys are both memories': one of them installs it.
  void rekey(KeyId id, const std::optional<crypt::Key128>& key) override { memory_->rekey(id, key); }

 private:
  JudgedMemory(std::unique_ptr<Memory> memory, mem::KeyTable& keys, Tracer& tracer);

  Result<void> agreed(const Result<void>& here, const Result<void>& there, PhysAddr at,
                      const mem::Access& access);
  void compare(PhysAddr at, ConstByteSpan here, ConstByteSpan there, std::string_view what,
               const mem::Access& access);
  void compare_dram(PhysAddr at, std::uint64_t bytes, std::string_view what, const mem::Access& access);
  void differ(PhysAddr at, std::string_view what, const mem::Access& access);

  std::unique_ptr<Memory> memory_;
  mem::EagerMemory eager_;
  Tracer* tracer_;
  bool judging_ = true;
  std::set<std::pair<mem::LeaseHolder*, PhysAddr>> leased_;  // since pause(); they may have ended
  Bytes buffer_;
  std::optional<std::string> difference_;
  std::uint64_t accesses_ = 0;
};

}  // namespace cbit::test
