// Address space for a machine's RAM and what is known about each page, reserved as a whole and backed by the
// host page by page as it is touched: an untouched page costs nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"

namespace cbit::mem {

// One page, all zero until first touched. A cache line, so that an access costs one miss beside the data's.
struct alignas(64) PageState {
  std::atomic<bool> locked;
  bool touched : 1;
  bool shared : 1;
  bool ever_converted : 1;
  bool stored : 1;  // its bytes may be others than zeros
  AgentKind writer_kind;
  std::uint8_t leases;   // LeaseTable::Intents
  std::uint16_t lessee;  // LeaseTable's
  std::uint16_t writer_index;
  KeyId owner;
  KeyId writer_key;
  KeyId dirty_key;
  std::uint16_t foreign_blocks;  // transformed for other keys since the page has its owner
  SiteId writer_site;
  SiteId conversion_site;
  std::uint64_t written_ns;
  std::uint64_t converted_ns;
  std::uint64_t dirty_lines;       // bit n: line n is dirty in a CPU cache under dirty_key
  std::uint64_t td_foreign_lines;  // bit n: line n has lost its TD owner bit
  std::uint64_t rmp;               // RMP entry, XORed with what it is on a fresh machine
};
static_assert(sizeof(PageState) == 64 && std::is_trivially_destructible_v<PageState>);

class PageStore {
 public:
  // Covers [0, end). Fails when the host refuses the address space.
  static OrError<PageStore> reserve(PhysAddr end);
  PageStore(PageStore&& other) noexcept;
  PageStore& operator=(PageStore&&) = delete;
  ~PageStore();

  [[nodiscard]] std::byte* data(PhysAddr at) const { return data_ + at.value(); }
  [[nodiscard]] PageState& page(PhysAddr at) const { return pages_[at.page_number()]; }
  [[nodiscard]] std::uint64_t page_count() const { return bytes_ / page_size; }
  // The bytes are a private copy of a file's from now on. Whole pages. Errors (input): the host refuses.
  OrError<void> map(PhysAddr first, std::uint64_t bytes, int fd, std::uint64_t offset);

 private:
  PageStore(std::byte* data, PageState* pages, std::uint64_t bytes)
      : data_{data}, pages_{pages}, bytes_{bytes} {}

  std::byte* data_;
  PageState* pages_;
  std::uint64_t bytes_;
};

}  // namespace cbit::mem
