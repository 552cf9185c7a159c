#include "mem/lazy_memory.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "mem/copy_page.hpp"

namespace cbit::mem {
namespace {

constexpr std::uint64_t blocks_per_page = page_size / crypt::cipher_block_size;

// Foreign transformations that a page endures before it changes owner: two pages' worth, so that one pass of
// a foreign reader over a page costs no change, and a steady foreign user pays for at most three.
constexpr std::uint64_t foreign_blocks_max = 2 * blocks_per_page;

class PageLock {
 public:
  explicit PageLock(PageState& page) : page_{page} {
    while (page_.locked.exchange(true, std::memory_order_acquire))
      while (page_.locked.load(std::memory_order_relaxed)) {
      }
  }
  ~PageLock() { page_.locked.store(false, std::memory_order_release); }
  PageLock(const PageLock&) = delete;
  PageLock& operator=(const PageLock&) = delete;

 private:
  PageState& page_;
};

std::size_t bytes_in_page(PhysAddr at, std::uint64_t bytes) {
  return static_cast<std::size_t>(std::min(bytes, page_size - at.page_offset()));
}

// Bits of the 64-byte lines that [at, at + bytes) touches, and of those that it covers whole.
std::uint64_t lines_touched(PhysAddr at, std::size_t bytes) {
  const auto first = static_cast<unsigned>(at.page_offset() / cache_line_size);
  const auto last = static_cast<unsigned>((at.page_offset() + bytes - 1) / cache_line_size);
  return bit_mask(last + 1) & ~bit_mask(first);
}
std::uint64_t lines_covered(PhysAddr at, std::size_t bytes) {
  const auto first = static_cast<unsigned>(align_up(at.page_offset(), cache_line_size) / cache_line_size);
  const auto end = static_cast<unsigned>((at.page_offset() + bytes) / cache_line_size);
  return end > first ? bit_mask(end) & ~bit_mask(first) : 0;
}

}  // namespace

LazyMemory::LazyMemory(const MemoryConfig& config, PageStore store, KeyTable& keys, Tracer& tracer)
    : config_{config}, store_{std::move(store)}, keys_{&keys}, tracer_{&tracer} {}

bool LazyMemory::contains(PhysAddr at, std::uint64_t bytes) const {
  return std::ranges::any_of(config_.ram, [&](const PhysRange& range) { return range.contains(at, bytes); });
}

// ---- accesses -------------------------------------------------------------------------------------------

Result<void> LazyMemory::read(PhysAddr from, ByteSpan to, const Access& access) {
  if (!contains(from, to.size())) return fault(FaultKind::no_memory, from.value());
  while (!to.empty()) {
    const std::size_t bytes = bytes_in_page(from, to.size());
    PageState& page = store_.page(from);
    const PageLock lock{page};
    CBIT_TRY(read_piece({page, from, bytes}, to.first(bytes), access));
    to = to.subspan(bytes);
    from += bytes;
  }
  return {};
}

Result<void> LazyMemory::write(PhysAddr to, ConstByteSpan from, const Access& access) {
  if (!contains(to, from.size())) return fault(FaultKind::no_memory, to.value(), true);
  while (!from.empty()) {
    const std::size_t bytes = bytes_in_page(to, from.size());
    PageState& page = store_.page(to);
    const PageLock lock{page};
    CBIT_TRY(write_piece({page, to, bytes}, from.first(bytes), access));
    from = from.subspan(bytes);
    to += bytes;
  }
  return {};
}

Result<void> LazyMemory::snapshot(PhysAddr from, std::uint64_t bytes, SnapshotQueue& to,
                                  const Access& access) {
  if (!contains(from, bytes)) return fault(FaultKind::no_memory, from.value());
  while (bytes != 0) {
    const std::size_t now = bytes_in_page(from, bytes);
    PageState& page = store_.page(from);
    const PageLock lock{page};
    const Piece piece{page, from, now};
    CBIT_TRY(before_read(piece, access));
    const bool written_without_a_word = (page.leases & LeaseTable::bit(LeaseIntent::write)) != 0;
    if (sees_stored(piece, access) && !written_without_a_word) {
      to.extend(ConstByteSpan{store_.data(from), now}, lent_);
    } else {
      UnfilledBytes own(now);
      take_bytes(piece, own, access);
      to.extend(std::move(own));
    }
    from += now;
    bytes -= now;
  }
  return {};
}

Result<void> LazyMemory::copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                              std::uint64_t bytes) {
  if (!contains(from, bytes)) return fault(FaultKind::no_memory, from.value());
  if (!contains(to, bytes)) return fault(FaultKind::no_memory, to.value(), true);
  while (bytes != 0) {
    const std::size_t now = std::min(bytes_in_page(from, bytes), bytes_in_page(to, bytes));
    PageState& source = store_.page(from);
    PageState& target = store_.page(to);
    // Each lock would wait for its own; what is far away comes while the first is taken.
    __builtin_prefetch(&target, 1);
    __builtin_prefetch(store_.data(to), 1);
    std::array<std::byte, page_size> buffer;
    if (&source == &target) {
      CBIT_TRY(read(from, {buffer.data(), now}, from_access));
      CBIT_TRY(write(to, {buffer.data(), now}, to_access));
    } else {
      const PageLock first{&source < &target ? source : target};  // lower address first: no deadlock
      const PageLock second{&source < &target ? target : source};
      const ConstByteSpan data = CBIT_TRY(fetch({source, from, now}, buffer, from_access));
      CBIT_TRY(write_piece({target, to, now}, data, to_access));
    }
    from += now;
    to += now;
    bytes -= now;
  }
  return {};
}

Result<void> LazyMemory::fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) {
  if (!contains(to, bytes)) return fault(FaultKind::no_memory, to.value(), true);
  std::array<std::byte, page_size> block;
  block.fill(value);
  while (bytes != 0) {
    const std::size_t now = bytes_in_page(to, bytes);
    PageState& page = store_.page(to);
    const PageLock lock{page};
    // A blank page is zeros in the store already: clearing it is a change of owner alone, and costs the host
    // no memory.
    if (value == std::byte{0} && now == page_size && !page.stored)
      CBIT_TRY(clear_blank_page({page, to, now}, access));
    else
      CBIT_TRY(write_piece({page, to, now}, {block.data(), now}, access));
    to += now;
    bytes -= now;
  }
  return {};
}

void LazyMemory::prefetchw(PhysAddr at, std::uint64_t bytes) const {
  if (!contains(at, 1)) return;
  __builtin_prefetch(&store_.page(at), 1);
  const std::byte* const data = store_.data(at);
  for (std::size_t i = 0; i < bytes_in_page(at, bytes); i += cache_line_size) __builtin_prefetch(data + i, 1);
}

Result<void> LazyMemory::clear_blank_page(const Piece& piece, const Access& access) {
  CBIT_TRY(before_write(piece, access));
  record_write(piece, access);
  take_ownership(piece, access);
  return {};
}

void LazyMemory::take_ownership(const Piece& piece, const Access& access) {
  if (piece.page.owner == access.key) return;
  revoke_leases(piece.page, piece.at);
  piece.page.foreign_blocks = 0;
  const KeyId previous = std::exchange(piece.page.owner, access.key);
  owner_changes_.fetch_add(1, std::memory_order_relaxed);
  tracer_->emit(access.agent, OwnerChanged{piece.at, previous, access.key, access.site});
}

Result<void> LazyMemory::read_piece(const Piece& piece, ByteSpan to, const Access& access) {
  CBIT_TRY(before_read(piece, access));
  take_bytes(piece, to, access);
  return {};
}

void LazyMemory::take_bytes(const Piece& piece, ByteSpan to, const Access& access) {
  if (sees_stored(piece, access))
    std::memcpy(to.data(), store_.data(piece.at), to.size());
  else
    transform(piece, to, access);
}

Result<ConstByteSpan> LazyMemory::fetch(const Piece& piece, std::span<std::byte, page_size> buffer,
                                        const Access& access) {
  CBIT_TRY(before_read(piece, access));
  if (sees_stored(piece, access)) return ConstByteSpan{store_.data(piece.at), piece.bytes};
  const ByteSpan seen = buffer.first(piece.bytes);
  transform(piece, seen, access);
  return ConstByteSpan{seen};
}

bool LazyMemory::sees_stored(const Piece& piece, const Access& access) const {
  const bool may_hide = config_.protection == MemoryProtection::td && access.key != config_.protected_key;
  return piece.page.owner == access.key && !may_hide;
}

void LazyMemory::transform(const Piece& piece, ByteSpan to, const Access& access) {
  view(piece, access.key, to);
  hide_td_lines(piece, access.key, to);
  if (piece.page.owner != access.key) count_foreign(piece, access);
}

Result<void> LazyMemory::write_piece(const Piece& piece, ConstByteSpan from, const Access& access) {
  CBIT_TRY(before_write(piece, access));
  record_write(piece, access);
  if (piece.page.leases != 0) [[unlikely]]
    leases_.tell_of_write(piece.page, piece.at, piece.bytes);
  if (piece.bytes == page_size) take_ownership(piece, access);
  if (piece.page.owner == access.key) {
    piece.page.stored = true;
    if (piece.bytes == page_size)
      copy_page(store_.data(piece.at), from.data());
    else
      std::memcpy(store_.data(piece.at), from.data(), piece.bytes);
    return {};
  }
  store_under(piece, access.key, from);
  count_foreign(piece, access);
  return {};
}

// ---- leases ---------------------------------------------------------------------------------------------

Result<std::byte*> LazyMemory::lease(PhysAddr at, const Access& access, LeaseIntent intent,
                                     LeaseHolder& holder) {
  CBIT_ASSERT(at.is_aligned(page_size));
  const bool overwrites = intent == LeaseIntent::overwrite;
  if (overwrites) intent = LeaseIntent::write;
  const bool write = intent == LeaseIntent::write;
  if (!contains(at, page_size)) return fault(FaultKind::no_memory, at.value(), write);
  if (config_.cache != CacheModel::coherent || config_.protection == MemoryProtection::td) return nullptr;
  PageState& page = store_.page(at);
  const PageLock lock{page};
  if (write && (page.leases & LeaseTable::bit(LeaseIntent::execute)) != 0) return nullptr;
  const Piece whole{page, at, page_size};
  CBIT_TRY(write ? before_write(whole, access) : before_read(whole, access));
  if (write) record_write(whole, access);
  own_for_lease(whole, access, overwrites);
  if (intent == LeaseIntent::execute) leases_.revoke(page, at, LeaseIntent::write);
  leases_.add(page, at, intent, holder);
  page.stored = true;  // a holder writes without a word
  return store_.data(at);
}

void LazyMemory::own_for_lease(const Piece& whole, const Access& access, bool overwrites) {
  if (whole.page.owner == access.key) return;
  if (same_representation(whole.page.owner, access.key))
    take_ownership(whole, access);
  else
    change_owner(whole.page, whole.at, access.key, access, overwrites);
}

void LazyMemory::end_leases(PhysAddr at, LeaseHolder& holder) {
  PageState& page = store_.page(at);
  const PageLock lock{page};
  leases_.remove(page, at.page(), holder);
}

void LazyMemory::end_leases(LeaseHolder& holder) {
  std::vector<PhysAddr> pages;
  {
    const std::lock_guard lock{touched_mutex_};
    pages = touched_;
  }
  for (const PhysAddr at : pages) end_leases(at, holder);
  leases_.forget(holder);
}

// ---- what an access must pass, and what it leaves behind ------------------------------------------------

void LazyMemory::touch(PageState& page, PhysAddr at) {
  if (page.touched) [[likely]]
    return;
  page.touched = true;
  page.owner = config_.initial_owner;
  const std::lock_guard lock{touched_mutex_};
  touched_.push_back(at.page());
}

Result<void> LazyMemory::before_read(const Piece& piece, const Access& access) {
  touch(piece.page, piece.at);
  if (config_.protection == MemoryProtection::rmp) CBIT_TRY(check_rmp(piece, access, false));
  if (config_.protection == MemoryProtection::td) CBIT_TRY(check_td_read(piece, access));
  if (config_.cache == CacheModel::report) check_cache_aliases(piece, access);
  const PageState& page = piece.page;
  if (tracer_->enabled() && page.writer_kind != AgentKind::none &&
      !same_representation(page.writer_key, access.key))
    tracer_->emit(access.agent,
                  KeyMismatch{piece.at.page(), access.key, page.writer_key,
                              Agent{page.writer_kind, page.writer_index}, page.writer_site, access.site});
  return {};
}

Result<void> LazyMemory::before_write(const Piece& piece, const Access& access) {
  lent_.settle();
  touch(piece.page, piece.at);
  if (config_.protection == MemoryProtection::rmp) CBIT_TRY(check_rmp(piece, access, true));
  if (config_.protection == MemoryProtection::td) CBIT_TRY(claim_td_lines(piece, access));
  if (config_.cache == CacheModel::report) check_cache_aliases(piece, access);
  return {};
}

// APM vol. 2, 15.36.10: a write needs a page that is not assigned to another guest; the protected guest's
// accesses need one that is assigned to it. Other reads are not checked. What depends on the guest-physical
// address is checked where that is known: by the nested walk.
Result<void> LazyMemory::check_rmp(const Piece& piece, const Access& access, bool write) {
  const RmpEntry entry = rmp_of(piece.page, piece.at);
  const bool guests_own = access.key != no_key && access.key == config_.protected_key;
  if (guests_own ? entry.assigned() : !write || !entry.assigned() || entry.owner() == access.key) return {};
  const Fault refused{FaultKind::rmp_violation, piece.at.value(), write};
  tracer_->emit(access.agent, AccessFault{refused, access.site});
  return tl::unexpected{refused};
}

// A TD's read of a line that lost its TD owner bit consumes poison. Foreign reads get zeros: hide_td_lines().
Result<void> LazyMemory::check_td_read(const Piece& piece, const Access& access) {
  if (access.key != config_.protected_key) return {};
  if ((piece.page.td_foreign_lines & lines_touched(piece.at, piece.bytes)) == 0) return {};
  const Fault refused{FaultKind::td_integrity, piece.at.value(), false};
  tracer_->emit(access.agent, AccessFault{refused, access.site});
  return tl::unexpected{refused};
}

// A write sets the TD owner bit of its lines according to its key. A partial line is filled first: the TD's
// fill of a foreign line is poison, a foreign fill of a TD line is zeros.
Result<void> LazyMemory::claim_td_lines(const Piece& piece, const Access& access) {
  PageState& page = piece.page;
  const std::uint64_t touched = lines_touched(piece.at, piece.bytes);
  const std::uint64_t partial = touched & ~lines_covered(piece.at, piece.bytes);
  if (access.key == config_.protected_key) {
    if ((page.td_foreign_lines & partial) != 0) CBIT_TRY(check_td_read(piece, access));
    page.td_foreign_lines &= ~touched;
    return {};
  }
  const std::uint64_t taken = partial & ~page.td_foreign_lines;
  static constexpr std::array<std::byte, cache_line_size> zeros{};
  for (unsigned line = 0; line < page_size / cache_line_size; ++line)
    if ((taken >> line & 1) != 0)
      store_under({page, piece.at.page() + line * cache_line_size, cache_line_size}, access.key, zeros);
  page.td_foreign_lines |= touched;
  return {};
}

void LazyMemory::check_cache_aliases(const Piece& piece, const Access& access) {
  PageState& page = piece.page;
  const std::uint64_t dirty = page.dirty_lines & lines_touched(piece.at, piece.bytes);
  if (dirty == 0 || same_representation(page.dirty_key, access.key)) return;
  hazards_.fetch_add(1, std::memory_order_relaxed);
  const auto first = static_cast<std::uint64_t>(__builtin_ctzll(dirty));
  tracer_->emit(access.agent, CacheAliasHazard{piece.at.page() + first * cache_line_size, page.dirty_key,
                                               access.key, false, access.site});
  page.dirty_lines &= ~dirty;  // from here on as if flushed: one report per line
}

void LazyMemory::record_write(const Piece& piece, const Access& access) {
  PageState& page = piece.page;
  if (tracer_->enabled() && page.writer_kind != AgentKind::none && piece.bytes != page_size &&
      !same_representation(page.writer_key, access.key))
    tracer_->emit(access.agent,
                  ForeignWrite{piece.at.page(), access.key, page.writer_key,
                               Agent{page.writer_kind, page.writer_index}, access.site, piece.bytes});
  if (page.leases != 0) [[unlikely]] {
    const bool another = page.writer_kind != access.agent.kind || page.writer_index != access.agent.index ||
                         page.writer_key != access.key;
    if (another) leases_.revoke(page, piece.at.page());
  }
  page.writer_kind = access.agent.kind;
  page.writer_index = access.agent.index;
  page.writer_key = access.key;
  page.writer_site = access.site;
  page.written_ns = tracer_->clock().now_ns();
  if (config_.cache == CacheModel::report && access.agent.kind == AgentKind::cpu) {
    if (page.dirty_key != access.key) page.dirty_lines = 0;
    page.dirty_key = access.key;
    page.dirty_lines |= lines_touched(piece.at, piece.bytes);
  }
}

void LazyMemory::count_foreign(const Piece& piece, const Access& access) {
  const std::uint64_t blocks =
      (piece.at.page_offset() % crypt::cipher_block_size + piece.bytes + crypt::cipher_block_size - 1) /
      crypt::cipher_block_size;
  blocks_transformed_.fetch_add(blocks, std::memory_order_relaxed);
  const std::uint64_t total = piece.page.foreign_blocks + blocks;
  piece.page.foreign_blocks = static_cast<std::uint16_t>(total);
  if (total >= foreign_blocks_max) change_owner(piece.page, piece.at.page(), access.key, access);
}

void LazyMemory::change_owner(PageState& page, PhysAddr at, KeyId to, const Access& by, bool overwrites) {
  revoke_leases(page, at);
  lent_.settle();
  const Piece whole{page, at, page_size};
  const ByteSpan stored{store_.data(at), page_size};
  if (!overwrites) view(whole, to, stored);
  page.stored = true;
  const KeyId from = std::exchange(page.owner, to);
  page.foreign_blocks = 0;
  owner_changes_.fetch_add(1, std::memory_order_relaxed);
  tracer_->emit(by.agent, OwnerChanged{at, from, to, by.site});
}

// ---- representations ------------------------------------------------------------------------------------

void LazyMemory::view(const Piece& piece, KeyId key, ByteSpan to) const {
  const PhysAddr first{align_down(piece.at.value(), crypt::cipher_block_size)};
  const std::size_t skip = piece.at - first;
  const std::size_t bytes = align_up(skip + piece.bytes, crypt::cipher_block_size);
  const KeyId owner = piece.page.touched ? piece.page.owner : config_.initial_owner;
  const crypt::Cipher* const encrypt = keys_->cipher(owner);
  const crypt::Cipher* const decrypt = keys_->cipher(key);
  const ConstByteSpan stored{store_.data(first), bytes};
  if (encrypt == decrypt) {
    std::memmove(to.data(), stored.data() + skip, piece.bytes);
    return;
  }
  std::array<std::byte, page_size> buffer;
  const ByteSpan blocks{buffer.data(), bytes};
  if (encrypt != nullptr)
    encrypt->encrypt(first, stored, blocks);
  else if (piece.page.stored)
    std::memcpy(blocks.data(), stored.data(), bytes);
  else  // what the host has not backed yet stays so
    std::ranges::fill(blocks, std::byte{0});
  if (decrypt != nullptr) decrypt->decrypt(first, blocks, blocks);
  std::memcpy(to.data(), blocks.data() + skip, piece.bytes);
}

void LazyMemory::store_under(const Piece& piece, KeyId key, ConstByteSpan from) {
  const PhysAddr first{align_down(piece.at.value(), crypt::cipher_block_size)};
  const std::size_t skip = piece.at - first;
  const std::size_t bytes = align_up(skip + piece.bytes, crypt::cipher_block_size);
  std::array<std::byte, page_size> buffer;
  const ByteSpan blocks{buffer.data(), bytes};
  // Only the blocks at the ends keep bytes of their own, but a short access is nothing but ends.
  view({piece.page, first, crypt::cipher_block_size}, key, blocks.first(crypt::cipher_block_size));
  view({piece.page, first + (bytes - crypt::cipher_block_size), crypt::cipher_block_size}, key,
       blocks.last(crypt::cipher_block_size));
  std::memcpy(blocks.data() + skip, from.data(), piece.bytes);

  const crypt::Cipher* const encrypt = keys_->cipher(key);
  const crypt::Cipher* const decrypt = keys_->cipher(piece.page.owner);
  if (encrypt != decrypt && encrypt != nullptr) encrypt->encrypt(first, blocks, blocks);
  if (encrypt != decrypt && decrypt != nullptr) decrypt->decrypt(first, blocks, blocks);
  piece.page.stored = true;
  std::memcpy(store_.data(first), blocks.data(), bytes);
}

void LazyMemory::hide_td_lines(const Piece& piece, KeyId key, ByteSpan to) const {
  if (config_.protection != MemoryProtection::td || key == config_.protected_key) return;
  const std::uint64_t base = piece.at.page_offset();
  for (std::size_t i = 0; i < piece.bytes; ++i)
    if ((piece.page.td_foreign_lines >> ((base + i) / cache_line_size) & 1) == 0) to[i] = std::byte{0};
}

// ---- observation ----------------------------------------------------------------------------------------

Result<void> LazyMemory::peek(PhysAddr from, ByteSpan to, KeyId key) const {
  if (!contains(from, to.size())) return fault(FaultKind::no_memory, from.value());
  while (!to.empty()) {
    const std::size_t bytes = bytes_in_page(from, to.size());
    PageState& page = store_.page(from);
    const PageLock lock{page};
    view({page, from, bytes}, key, to.first(bytes));
    hide_td_lines({page, from, bytes}, key, to.first(bytes));
    to = to.subspan(bytes);
    from += bytes;
  }
  return {};
}

Result<void> LazyMemory::probe(PhysAddr from, ByteSpan to) const {
  if (!contains(from, to.size())) return fault(FaultKind::no_memory, from.value());
  while (!to.empty()) {
    const std::size_t bytes = bytes_in_page(from, to.size());
    PageState& page = store_.page(from);
    const PageLock lock{page};
    view({page, from, bytes}, no_key, to.first(bytes));
    to = to.subspan(bytes);
    from += bytes;
  }
  return {};
}

PageHistory LazyMemory::history(PhysAddr at) const {
  if (!contains(at, 1)) return {};
  PageState& page = store_.page(at);
  const PageLock lock{page};
  return describe(page, at);
}

PageHistory LazyMemory::describe(const PageState& page, PhysAddr at) const {
  return {.owner = page.touched ? page.owner : config_.initial_owner,
          .writer_key = page.writer_key,
          .writer = Agent{page.writer_kind, page.writer_index},
          .writer_site = page.writer_site,
          .written_ns = page.written_ns,
          .shared = page.shared,
          .conversion_site = page.conversion_site,
          .converted_ns = page.converted_ns,
          .ever_converted = page.ever_converted,
          .assigned = rmp_of(page, at).assigned()};
}

void LazyMemory::for_each_touched(const std::function<void(PhysAddr, const PageHistory&)>& visit) const {
  for (const PhysAddr at : touched_pages()) {
    const PageHistory now = history(at);
    if (now.writer.kind != AgentKind::none || now.ever_converted) visit(at, now);
  }
}

MemoryStats LazyMemory::stats() const { return {owner_changes_, blocks_transformed_, hazards_}; }

// ---- conversion, flushes, keys --------------------------------------------------------------------------

void LazyMemory::convert(PhysAddr first, std::uint64_t pages, bool encrypted, SiteId site) {
  CBIT_ASSERT(first.is_aligned(page_size) && contains(first, pages * page_size));
  for (std::uint64_t i = 0; i < pages; ++i) {
    const PhysAddr at = first + i * page_size;
    PageState& page = store_.page(at);
    const PageLock lock{page};
    touch(page, at);
    revoke_leases(page, at);
    lent_.settle();
    page.shared = !encrypted;
    page.ever_converted = true;
    page.conversion_site = site;
    page.converted_ns = tracer_->clock().now_ns();
    page.rmp = (encrypted ? 0 : initial_rmp(at).raw);
    if (config_.protection == MemoryProtection::td) {
      if (page.stored) std::memset(store_.data(at), 0, page_size);
      page.stored = false;
      page.owner = page.writer_key = encrypted ? config_.protected_key : no_key;
      page.writer_kind = AgentKind::none;
      page.foreign_blocks = 0;
      page.td_foreign_lines = encrypted ? 0 : ~std::uint64_t{0};
    }
  }
}

RmpEntry LazyMemory::initial_rmp(PhysAddr page) const {
  if (config_.protection != MemoryProtection::rmp || config_.protected_key == no_key) return {};
  return assigned_page(config_.protected_key - guest_key(0), page.page_number())
      .with<RmpEntry::Validated>(true);
}

RmpEntry LazyMemory::rmp(PhysAddr at) const {
  if (config_.protection != MemoryProtection::rmp || !contains(at, 1)) return {};
  PageState& page = store_.page(at);
  const PageLock lock{page};
  return rmp_of(page, at);
}

void LazyMemory::rmp_update(PhysAddr at, RmpEntry entry) {
  if (config_.protection != MemoryProtection::rmp || !contains(at, 1)) return;
  PageState& page = store_.page(at);
  const PageLock lock{page};
  revoke_leases(page, at);
  page.rmp = entry.raw ^ initial_rmp(at).raw;
}

std::uint64_t LazyMemory::flush(PhysAddr first, std::uint64_t bytes) {
  if (config_.cache != CacheModel::report || !contains(first, bytes)) return 0;
  std::uint64_t lines = 0;
  while (bytes != 0) {
    const std::size_t now = bytes_in_page(first, bytes);
    PageState& page = store_.page(first);
    const PageLock lock{page};
    const std::uint64_t dirty = page.dirty_lines & lines_touched(first, now);
    lines += static_cast<std::uint64_t>(__builtin_popcountll(dirty));
    page.dirty_lines &= ~dirty;
    first += now;
    bytes -= now;
  }
  return lines;
}

std::uint64_t LazyMemory::flush_all() {
  std::uint64_t lines = 0;
  for (const PhysAddr at : touched_pages()) lines += flush(at, page_size);
  return lines;
}

void LazyMemory::rekey(KeyId id, const std::optional<crypt::Key128>& key) {
  const Access controller{};
  // What the old key protects keeps its ciphertext: store it as such.
  for (const PhysAddr at : touched_pages()) {
    PageState& page = store_.page(at);
    const PageLock lock{page};
    if (page.owner == id) change_owner(page, at, no_key, controller);
  }
  keys_->replace(id, key);
}

// ---- saving ---------------------------------------------------------------------------------------------

std::vector<PhysAddr> LazyMemory::touched_pages() const {
  std::vector<PhysAddr> pages;
  {
    const std::lock_guard lock{touched_mutex_};
    pages = touched_;
  }
  std::ranges::sort(pages);
  return pages;
}

// The file has DRAM's contents, so pages are nobody's until somebody uses them.
void LazyMemory::transfer(StateStream& s) {
  s.require(config_.cache == CacheModel::coherent, "caches that do not agree cannot be saved");
  CBIT_ASSERT(!s.loads() || touched_.empty());
  std::vector<PhysAddr> pages = touched_pages();
  const std::size_t count = s.count(pages.size(), store_.page_count());
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < count && s.good(); ++i) {
    std::uint64_t number = s.loads() ? 0 : pages[i].page_number();
    s(number);
    s.require(number >= next && number < store_.page_count() && contains(PhysAddr{number * page_size}, 1),
              "a page is not where one can be");
    if (!s.good()) return;
    next = number + 1;
    PageState& page = store_.page(PhysAddr{number * page_size});
    if (s.loads()) {
      page.touched = page.stored = true;
      page.owner = no_key;
      touched_.push_back(PhysAddr{number * page_size});
    }
    transfer_page(s, page);
  }
}

void LazyMemory::transfer_page(StateStream& s, PageState& page) const {
  bool shared = page.shared;
  bool ever_converted = page.ever_converted;
  s(shared, ever_converted, page.writer_index, page.writer_key, page.written_ns);
  s.choice(page.writer_kind, AgentKind::loader);
  page.shared = shared;
  page.ever_converted = ever_converted;
  if (ever_converted) s(page.converted_ns);
  if (config_.protection == MemoryProtection::rmp) s(page.rmp);
  if (config_.protection == MemoryProtection::td) s(page.td_foreign_lines);
}

OrError<void> LazyMemory::map_dram(int fd, std::uint64_t offset) {
  for (const PhysRange& range : config_.ram) {
    CBIT_TRY(store_.map(range.first, range.bytes, fd, offset));
    offset += range.bytes;
  }
  return {};
}

}  // namespace cbit::mem
