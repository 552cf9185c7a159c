// The memory controller that stores each page under its owner's key. See mem/memory.hpp for the idea.
#pragma once

#include <mutex>
#include <vector>

#include "mem/lease_table.hpp"
#include "mem/memory.hpp"
#include "mem/page_store.hpp"
#include "mem/snapshot.hpp"

namespace cbit::mem {

class LazyMemory final : public Memory {
 public:
  LazyMemory(const MemoryConfig& config, PageStore store, KeyTable& keys, Tracer& tracer);

  [[nodiscard]] const std::vector<PhysRange>& ram() const override { return config_.ram; }
  [[nodiscard]] bool contains(PhysAddr at, std::uint64_t bytes) const override;

  Result<void> read(PhysAddr from, ByteSpan to, const Access& access) override;
  Result<void> write(PhysAddr to, ConstByteSpan from, const Access& access) override;
  Result<void> snapshot(PhysAddr from, std::uint64_t bytes, SnapshotQueue& to, const Access& access) override;
  void settle_snapshots() override { lent_.settle(); }
  Result<void> copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                    std::uint64_t bytes) override;
  Result<void> fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) override;
  void prefetchw(PhysAddr at, std::uint64_t bytes) const override;

  Result<std::byte*> lease(PhysAddr page, const Access& access, LeaseIntent intent,
                           LeaseHolder& holder) override;
  void end_leases(PhysAddr page, LeaseHolder& holder) override;
  void end_leases(LeaseHolder& holder) override;

  Result<void> peek(PhysAddr from, ByteSpan to, KeyId key) const override;
  Result<void> probe(PhysAddr from, ByteSpan to) const override;
  [[nodiscard]] PageHistory history(PhysAddr page) const override;
  void for_each_touched(const std::function<void(PhysAddr, const PageHistory&)>& visit) const override;
  [[nodiscard]] MemoryStats stats() const override;

  void convert(PhysAddr first, std::uint64_t pages, bool encrypted, SiteId site) override;
  [[nodiscard]] RmpEntry rmp(PhysAddr page) const override;
  void rmp_update(PhysAddr page, RmpEntry entry) override;
  std::uint64_t flush(PhysAddr first, std::uint64_t bytes) override;
  std::uint64_t flush_all() override;
  void rekey(KeyId id, const std::optional<crypt::Key128>& key) override;
  void transfer(StateStream& s) override;
  [[nodiscard]] std::vector<PhysAddr> touched_pages() const override;
  OrError<void> map_dram(int fd, std::uint64_t offset) override;

 private:
  // The part of an access that lies in one page, with the page locked.
  struct Piece {
    PageState& page;
    PhysAddr at;
    std::size_t bytes;
  };

  void touch(PageState& page, PhysAddr at);
  void transfer_page(StateStream& s, PageState& page) const;
  void revoke_leases(PageState& page, PhysAddr at) {
    if (page.leases != 0) [[unlikely]]
      leases_.revoke(page, at.page());
  }
  // Makes the page its owner's whose lease it will be.
  void own_for_lease(const Piece& whole, const Access& access, bool overwrites);
  // The page's whole contents are the access's.
  void take_ownership(const Piece& piece, const Access& access);
  Result<void> clear_blank_page(const Piece& piece, const Access& access);
  void change_owner(PageState& page, PhysAddr at, KeyId to, const Access& by, bool overwrites = false);

  Result<void> read_piece(const Piece& piece, ByteSpan to, const Access& access);
  // The bytes that the access reads: the stored ones where it sees those, else a view in `buffer`.
  Result<ConstByteSpan> fetch(const Piece& piece, std::span<std::byte, page_size> buffer,
                              const Access& access);
  // Whether the access reads the page's bytes as they are stored.
  [[nodiscard]] bool sees_stored(const Piece& piece, const Access& access) const;
  void take_bytes(const Piece& piece, ByteSpan to, const Access& access);
  // What it reads where it does not.
  void transform(const Piece& piece, ByteSpan to, const Access& access);
  Result<void> write_piece(const Piece& piece, ConstByteSpan from, const Access& access);
  Result<void> before_read(const Piece& piece, const Access& access);
  Result<void> before_write(const Piece& piece, const Access& access);
  Result<void> check_rmp(const Piece& piece, const Access& access, bool write);
  Result<void> check_td_read(const Piece& piece, const Access& access);
  Result<void> claim_td_lines(const Piece& piece, const Access& access);
  void check_cache_aliases(const Piece& piece, const Access& access);
  void record_write(const Piece& piece, const Access& access);
  void count_foreign(const Piece& piece, const Access& access);

  // The bytes of a piece as `key` sees them, and their inverse.
  void view(const Piece& piece, KeyId key, ByteSpan to) const;
  void store_under(const Piece& piece, KeyId key, ConstByteSpan from);
  void hide_td_lines(const Piece& piece, KeyId key, ByteSpan to) const;
  [[nodiscard]] bool same_representation(KeyId a, KeyId b) const {
    return keys_->cipher(a) == keys_->cipher(b);
  }
  [[nodiscard]] PageHistory describe(const PageState& page, PhysAddr at) const;
  // The RMP entry of a fresh machine.
  [[nodiscard]] RmpEntry initial_rmp(PhysAddr page) const;
  [[nodiscard]] RmpEntry rmp_of(const PageState& page, PhysAddr at) const {
    return RmpEntry{{page.rmp ^ initial_rmp(at).raw}};
  }

  MemoryConfig config_;
  PageStore store_;
  KeyTable* keys_;
  Tracer* tracer_;
  LeaseTable leases_;
  Lender lent_;  // ends before store_
  mutable std::mutex touched_mutex_;
  std::vector<PhysAddr> touched_;
  std::atomic<std::uint64_t> owner_changes_ = 0;
  std::atomic<std::uint64_t> blocks_transformed_ = 0;
  std::atomic<std::uint64_t> hazards_ = 0;
};

}  // namespace cbit::mem
