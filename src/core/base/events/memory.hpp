// Keys, owners, caches and page attributes. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// The page is now stored in the representation of another key (mem/memory.hpp).
struct OwnerChanged {
  static constexpr std::string_view name = "mem_owner_changed";
  PhysAddr page;
  KeyId from = no_key;
  KeyId to = no_key;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("page", page);
    v("from_key", from);
    v("to_key", to);
    v("site", site);
  }
};

// An agent read bytes through a key that is not the one they were last written under, so it saw
// ciphertext or noise. Reported once per page and access.
struct KeyMismatch {
  static constexpr std::string_view name = "mem_key_mismatch";
  PhysAddr page;
  KeyId key = no_key;         // the reader's
  KeyId writer_key = no_key;  // the page's last writer's
  Agent writer;
  SiteId writer_site = 0;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("page", page);
    v("key", key);
    v("writer_key", writer_key);
    v("writer", writer);
    v("writer_site", writer_site);
    v("site", site);
  }
};

// A write under one key into a page whose other bytes were last written under another: it turns the
// blocks that it touches into noise for every reader of the old key.
struct ForeignWrite {
  static constexpr std::string_view name = "mem_foreign_write";
  PhysAddr page;
  KeyId key = no_key;
  KeyId previous_key = no_key;
  Agent previous_writer;
  SiteId site = 0;
  std::uint64_t bytes = 0;
  void visit(auto&& v) const {
    v("page", page);
    v("key", key);
    v("previous_key", previous_key);
    v("previous_writer", previous_writer);
    v("site", site);
    v("bytes", bytes);
  }
};

// A cache line is dirty under one key while it is accessed under another and nobody flushed it:
// without SME_COHERENT the hardware may return stale data, or overwrite new data later.
struct CacheAliasHazard {
  static constexpr std::string_view name = "mem_cache_alias_hazard";
  PhysAddr line;
  KeyId dirty_key = no_key;
  KeyId key = no_key;
  bool stale = false;  // the model let it bite: the reader got old bytes
  SiteId site = 0;
  void visit(auto&& v) const {
    v("line", line);
    v("dirty_key", dirty_key);
    v("key", key);
    v("stale", stale);
    v("site", site);
  }
};

// Bytes that were written under the guest's key stand in a page that needs none as well, where no DMA mapping
// has given them to a device. At the end of a run.
struct PrivateBytesShared {
  static constexpr std::string_view name = "private_bytes_shared";
  PhysAddr at;
  PhysAddr private_at;
  std::uint64_t bytes = 0;
  Agent writer;  // of the shared page
  void visit(auto&& v) const {
    v("at", at);
    v("private_at", private_at);
    v("bytes", bytes);
    v("writer", writer);
  }
};

enum class FlushKind : std::uint8_t { tlb_range, tlb_full, clflush, wbinvd };

// Conversion cost: `count` is pages for TLB range flushes and cache lines for clflush; 1 otherwise.
struct Flush {
  static constexpr std::string_view name = "flush";
  FlushKind kind{};
  std::uint64_t count = 0;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("kind", kind);
    v("count", count);
    v("site", site);
  }
};

// A run of pages became shared (decrypted) or private (encrypted) in the kernel's mapping.
struct PageConversion {
  static constexpr std::string_view name = "set_memory";
  PhysAddr first;
  std::uint64_t pages = 0;
  bool encrypted = false;
  bool converts_contents = false;  // the early_* variants do
  SiteId site = 0;
  void visit(auto&& v) const {
    v("first", first);
    v("pages", pages);
    v("encrypted", encrypted);
    v("converts_contents", converts_contents);
    v("site", site);
  }
};

// A mapping of pages besides the direct map: vmap, ioremap, or a process'. Its attribute is its own; all
// mappings of one page should agree.
struct MappingAdded {
  static constexpr std::string_view name = "mapping_added";
  std::string_view kind;  // "vmap", "ioremap", "user"
  VirtAddr at;
  PhysAddr first;  // physically contiguous from here
  std::uint64_t pages = 0;
  bool encrypted = false;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("kind", kind);
    v("at", at);
    v("first", first);
    v("pages", pages);
    v("encrypted", encrypted);
    v("site", site);
  }
};

struct MappingRemoved {
  static constexpr std::string_view name = "mapping_removed";
  VirtAddr at;
  PhysAddr first;
  std::uint64_t pages = 0;
  void visit(auto&& v) const {
    v("at", at);
    v("first", first);
    v("pages", pages);
  }
};

// An access that the machine refused: RMP, TD integrity, page fault, no memory.
struct AccessFault {
  static constexpr std::string_view name = "access_fault";
  Fault fault;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("fault", fault);
    v("site", site);
  }
};

}  // namespace cbit
