// A CPU cache that keeps the views of one address under different keys apart, as processors without
// SME_COHERENT do:
// the C-bit is part of a line's tag. A dirty line hides from other keys until it is flushed or evicted, and
// then overwrites what they wrote. Wraps a coherent Memory; CacheModel::bite.
//
// One cache for all CPUs (they are coherent with each other under one key). Devices snoop lines of their own
// key.
// Only dirty lines are held; a clean line that has gone stale is not modelled.
// Threading: one thread.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>

#include "mem/memory.hpp"

namespace cbit::mem {

class AliasCache final : public Memory {
 public:
  // `lines` dirty lines are held at most; the oldest is written back first.
  AliasCache(std::unique_ptr<Memory> memory, Tracer& tracer, std::size_t lines = 8192);

  [[nodiscard]] const std::vector<PhysRange>& ram() const override { return memory_->ram(); }
  [[nodiscard]] bool contains(PhysAddr at, std::uint64_t bytes) const override {
    return memory_->contains(at, bytes);
  }

  Result<void> read(PhysAddr from, ByteSpan to, const Access& access) override;
  Result<void> write(PhysAddr to, ConstByteSpan from, const Access& access) override;
  Result<void> copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                    std::uint64_t bytes) override;
  Result<void> fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) override;

  // A CPU's view: its dirty lines over memory. A probe sees memory alone.
  Result<void> peek(PhysAddr from, ByteSpan to, KeyId key) const override;
  Result<void> probe(PhysAddr from, ByteSpan to) const override { return memory_->probe(from, to); }
  [[nodiscard]] PageHistory history(PhysAddr page) const override { return memory_->history(page); }
  void for_each_touched(const std::function<void(PhysAddr, const PageHistory&)>& visit) const override {
    memory_->for_each_touched(visit);
  }
  [[nodiscard]] MemoryStats stats() const override;

  void convert(PhysAddr first, std::uint64_t pages, bool encrypted, SiteId site) override {
    memory_->convert(first, pages, encrypted, site);
  }
  [[nodiscard]] RmpEntry rmp(PhysAddr page) const override { return memory_->rmp(page); }
  void rmp_update(PhysAddr page, RmpEntry entry) override { memory_->rmp_update(page, entry); }
  std::uint64_t flush(PhysAddr first, std::uint64_t bytes) override;
  std::uint64_t flush_all() override;
  void rekey(KeyId id, const std::optional<crypt::Key128>& key) override;

 private:
  struct Tag {
    PhysAddr line;
    KeyId key = no_key;
    friend auto operator<=>(const Tag&, const Tag&) = default;
  };
  struct Line {
    std::array<std::byte, cache_line_size> bytes;
    Access writer;
  };

  void overlay(PhysAddr from, ByteSpan to, KeyId key) const;
  void report_aliases(PhysAddr at, std::uint64_t bytes, const Access& access, bool stale);
  std::uint64_t write_back(PhysAddr first, std::uint64_t bytes, const KeyId* only_key);
  void evict(const Tag& tag);

  std::unique_ptr<Memory> memory_;
  Tracer* tracer_;
  std::size_t lines_max_;
  std::map<Tag, Line> lines_;
  std::deque<Tag> order_;  // oldest first; may name lines that are gone
  std::uint64_t hazards_ = 0;
};

}  // namespace cbit::mem
