// DRAM behind its memory controller: the one place that knows keys, owners and ciphertext.
//
// A byte has a value only under a key:   plain = Dec(key, physical address, DRAM)
//
// A page is stored in the representation of its *owner*, the key that used it last, so an access by the owner
// is a memcpy. Another key's access transforms the 16-byte blocks that it touches:
//
//   read   Dec(k, a, Enc(owner, a, stored))        write   stored = Dec(owner, a, Enc(k, a, data))
//
// A page that a foreign key covers whole, or has transformed a page's worth of blocks of, changes owner. None
// of this can be observed: tests/property holds it to EagerMemory, which encrypts on every access.
//
// Memory also keeps what the explainer needs: who wrote a page last, under which key and from where, who made
// it shared and when, and which cache lines are dirty under which key.
//
// Errors: FaultKind::no_memory outside RAM, rmp_violation and td_integrity where the platform protects
// memory.
// A faulting access has no effect on the pages from the fault on.
// Threading: accesses may run in parallel (a lock per page); create, configure and observe from one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/state_stream.hpp"
#include "base/trace.hpp"
#include "base/words.hpp"
#include "cbit/addr.hpp"
#include "mem/key_table.hpp"
#include "mem/lease.hpp"
#include "mem/rmp.hpp"

namespace cbit::mem {

// [first, first + bytes)
struct PhysRange {
  PhysAddr first;
  std::uint64_t bytes = 0;

  [[nodiscard]] constexpr PhysAddr end() const { return first + bytes; }
  [[nodiscard]] constexpr bool contains(PhysAddr at, std::uint64_t length) const {
    return at >= first && length <= bytes && at - first <= bytes - length;
  }
};

enum class MemoryProtection : std::uint8_t {
  none,  // SME, SEV, SEV-ES: confidentiality only
  rmp,   // SEV-SNP: reverse map table, APM vol. 2, 15.36
  td,    // TDX: TD owner bit per cache line
};

enum class CacheModel : std::uint8_t {
  coherent,  // SME_COHERENT (CPUID 8000001F EAX[10]), or no caches: aliases agree
  report,    // aliases agree, but each use of one while the other is dirty is reported
  bite,      // aliases are cached apart: stale data is returned, as on the first EPYC
};

inline constexpr Word<CacheModel> cache_model_words[] = {
    {"coherent", CacheModel::coherent}, {"report", CacheModel::report}, {"bite", CacheModel::bite}};

struct MemoryConfig {
  std::vector<PhysRange> ram;  // page-aligned, ascending, disjoint; at most 1 TiB in all, below 2^52
  MemoryProtection protection = MemoryProtection::none;
  CacheModel cache = CacheModel::coherent;
  // rmp, td: the guest's key, to whom all pages belong at first, at the guest-physical address that they have
  // here; no_key with rmp: a host's machine, whose pages are all the hypervisor's.
  KeyId protected_key = no_key;
  KeyId initial_owner = no_key;  // key under which untouched memory reads as zeros (TDX: accepted pages)
};

class SnapshotQueue;

// How an access reaches memory: under which key, by whom, from where.
struct Access {
  Agent agent;
  KeyId key = no_key;
  SiteId site = 0;
};

// What is known about one page. Times are virtual nanoseconds.
struct PageHistory {
  KeyId owner = no_key;       // representation it is stored in
  KeyId writer_key = no_key;  // key of the last write
  Agent writer;               // none: never written
  SiteId writer_site = 0;
  std::uint64_t written_ns = 0;
  bool shared = false;  // the kernel's mapping is decrypted
  SiteId conversion_site = 0;
  std::uint64_t converted_ns = 0;
  bool ever_converted = false;
  bool assigned = false;  // RMP: belongs to the guest
};

struct MemoryStats {
  std::uint64_t owner_changes = 0;
  std::uint64_t blocks_transformed = 0;
  std::uint64_t hazards = 0;
};

class Memory {
 public:
  // Fails when the host cannot reserve the address space. `tracer` and `keys` outlive the Memory.
  static OrError<std::unique_ptr<Memory>> create(const MemoryConfig& config, KeyTable& keys, Tracer& tracer);
  virtual ~Memory() = default;

  [[nodiscard]] virtual const std::vector<PhysRange>& ram() const = 0;
  [[nodiscard]] virtual bool contains(PhysAddr at, std::uint64_t bytes) const = 0;

  virtual Result<void> read(PhysAddr from, ByteSpan to, const Access& access) = 0;
  virtual Result<void> write(PhysAddr to, ConstByteSpan from, const Access& access) = 0;
  // A read whose bytes come to the queue's end, and stay where they are if they can.
  virtual Result<void> snapshot(PhysAddr from, std::uint64_t bytes, SnapshotQueue& to, const Access& access);
  // All snapshots have copies of their own from here on. Before a write of bytes that a snapshot holds.
  virtual void settle_snapshots() {}
  // memcpy between two ranges that do not overlap, nor share a block of the cipher: a write under another key
  // changes all of a block. Each side under its own key.
  virtual Result<void> copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                            std::uint64_t bytes) = 0;
  virtual Result<void> fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) = 0;
  // prefetchw(): these bytes will be written soon. A hint for the host's caches, which changes nothing else.
  virtual void prefetchw(PhysAddr /*at*/, std::uint64_t /*bytes*/) const {}

  // A pointer to the page's stored bytes, page_size of them, which are plaintext under access.key until the
  // holder is told otherwise (mem/lease.hpp). nullptr: this page is to be accessed by read() and write(), be
  // it for now (`write` where somebody holds code) or always (TD integrity, caches that do not agree). Faults
  // as an access would; what an access of the whole page would report is reported.
  virtual Result<std::byte*> lease(PhysAddr page, const Access& access, LeaseIntent intent,
                                   LeaseHolder& holder);
  // The holder gives back its leases of a page, or all it has; it is not told.
  virtual void end_leases(PhysAddr page, LeaseHolder& holder);
  virtual void end_leases(LeaseHolder& holder);

  // Observation: what a reader with `key` would be given (no_key: the host's software). Changes nothing,
  // leaves no trace, never faults inside RAM; TD-private lines read as zeros to foreign keys.
  virtual Result<void> peek(PhysAddr from, ByteSpan to, KeyId key) const = 0;
  // What a probe on the DRAM chips sees: always the ciphertext.
  virtual Result<void> probe(PhysAddr from, ByteSpan to) const = 0;
  [[nodiscard]] virtual PageHistory history(PhysAddr page) const = 0;
  // Calls back for each page that was ever written or converted, in ascending order.
  virtual void for_each_touched(const std::function<void(PhysAddr, const PageHistory&)>& visit) const = 0;
  [[nodiscard]] virtual MemoryStats stats() const = 0;

  // The kernel changed the attribute of its mapping of these pages: history, and under RMP and TD the page's
  // assignment. SNP (PSC, PVALIDATE) keeps the contents. TDX does not: MapGPA to shared backs the address
  // with other memory, TDG.MEM.PAGE.ACCEPT clears the page; both read as zeros afterwards.
  virtual void convert(PhysAddr first, std::uint64_t pages, bool encrypted, SiteId site) = 0;

  // The RMP: what RMPUPDATE (the hypervisor) and PVALIDATE (the guest) have left there. Only memory with RMP
  // protection has one; else entries read as zeros and writes to them are lost.
  [[nodiscard]] virtual RmpEntry rmp(PhysAddr) const { return {}; }
  virtual void rmp_update(PhysAddr, RmpEntry) {}

  // CLFLUSH of a range / WBINVD. Returns the number of lines that were dirty.
  virtual std::uint64_t flush(PhysAddr first, std::uint64_t bytes) = 0;
  virtual std::uint64_t flush_all() = 0;

  // Replaces a key, or takes it away (nullopt: accesses under it are not encrypted from then on); what was
  // stored under the old one keeps its ciphertext and so becomes noise.
  virtual void rekey(KeyId id, const std::optional<crypt::Key128>& key) = 0;

  // What is known of each page but its contents; of sites nothing, which are names of this process. Loading:
  // nobody has used the memory yet, and map_dram() comes next.
  virtual void transfer(StateStream& s) { s.refuse("this memory cannot be saved"); }
  // Those of which DRAM may have something else than zeros, ascending: what probe() is to be asked for.
  [[nodiscard]] virtual std::vector<PhysAddr> touched_pages() const { return {}; }
  // DRAM is, from now on, what the file has from there on, range after range of ram(); what is written stays
  // in this process. The file is not made shorter as long as the memory lives. Errors (input): the host
  // cannot map it.
  virtual OrError<void> map_dram(int /*fd*/, std::uint64_t /*offset*/) {
    return usage_error("this memory maps no file");
  }
};

// Memory::create(), or what puts something in its place.
using MemoryMaker = OrError<std::unique_ptr<Memory>> (*)(const MemoryConfig&, KeyTable&, Tracer&);

}  // namespace cbit::mem
