// Accesses to memory that fast paths leave to a processor.
#include <algorithm>
#include <cstring>

#include "cpu/core.hpp"
#include "cpu/memory_access.hpp"

namespace cbit::cpu {
namespace {

constexpr std::uint64_t four_gib = std::uint64_t{1} << 32;

}  // namespace

// A segment that needs no other checks ends at 4 GiB all the same.
bool Core::goes_beyond_4g(std::uint64_t linear, unsigned bytes) const {
  return !mode_.is_64() && !mode_.get<isa::Mode::Segmented>() && linear % four_gib + bytes > four_gib;
}

// At most two pages. A fault in either leaves everything as it was.
bool Core::pieces_of(TlbSet set, std::uint64_t linear, unsigned bytes, bool write, bool stack,
                     std::array<Piece, 2>& to) {
  if (goes_beyond_4g(linear, bytes)) {
    (void)raise(stack ? vector::ss : vector::gp, 0);
    return false;
  }
  const unsigned in_page = static_cast<unsigned>(page_size - (linear & ~page_mask));
  to[0].bytes = std::min(bytes, in_page);
  to[1].bytes = bytes - to[0].bytes;
  for (unsigned i = 0; i < to.size() && to[i].bytes != 0; ++i) {
    std::uint64_t at = i == 0 ? linear : (linear & page_mask) + page_size;
    if (!mode_.is_64()) at %= four_gib;
    const auto page = write ? writable_page(set, at) : memory.page_for(set, at, false);
    if (!page) {
      raise_memory_fault(page.error(), stack);
      return false;
    }
    to[i].info = **page;
    to[i].at = (*page)->page + (at & ~page_mask);
  }
  return true;
}

// Devices see the time of the instruction that reaches them, and may set new deadlines. Memory does neither,
// so that whether a page is leased changes no time.
bool Core::before_device(PhysAddr at, std::uint64_t bytes) {
  if (board.memory.is_memory(at, bytes)) return false;
  if (current_op_ != nullptr) sync_clock(*current_op_);
  return true;
}

void Core::slow_access(PhysAddr at, ByteSpan to, KeyId key) {
  if (board.interrupts.page() == at.page()) {
    if (!board.interrupts.registers().read(at.page_offset(), to)) std::ranges::fill(to, std::byte{0xff});
    return;
  }
  const auto done = board.memory.read(at, to, key);
  if (done) return;
  // Nobody answers: the bus floats.
  std::ranges::fill(to, std::byte{0xff});
  if (done.error().kind != FaultKind::no_memory && board.supervisor != nullptr)
    board.supervisor->refused(self, done.error());
}

void Core::slow_access(PhysAddr at, ConstByteSpan from, KeyId key) {
  if (board.interrupts.page() == at.page()) {
    (void)board.interrupts.registers().write(at.page_offset(), from);
    return;
  }
  const auto done = board.memory.write(at, from, key);
  if (!done && done.error().kind != FaultKind::no_memory && board.supervisor != nullptr)
    board.supervisor->refused(self, done.error());
}

void Core::read_piece(const Piece& piece, std::byte* to) {
  if (piece.info.host != nullptr) {
    std::memcpy(to, piece.info.host + piece.at.page_offset(), piece.bytes);
    return;
  }
  const bool is_device = before_device(piece.at, piece.bytes);
  slow_access(piece.at, ByteSpan{to, piece.bytes}, piece.info.key);
  if (is_device) after_device();
}

// A page without a lease may have had code, all of which has changed since.
Accessed<const TlbInfo*> Core::writable_page(TlbSet set, std::uint64_t linear_at) {
  const auto page = memory.page_for(set, linear_at, true);
  if (!page || (*page)->host != nullptr || !board.code.release_if_idle((*page)->page)) return page;
  memory.tlb().drop((*page)->page);
  return memory.page_for(set, linear_at, true);
}

void Core::write_piece(const Piece& piece, const std::byte* from) {
  if (piece.info.host != nullptr) {
    std::memcpy(piece.info.host + piece.at.page_offset(), from, piece.bytes);
    return;
  }
  const bool is_device = before_device(piece.at, piece.bytes);
  slow_access(piece.at, ConstByteSpan{from, piece.bytes}, piece.info.key);
  if (is_device) after_device();
}

// Code that changes the block it is in sees the change at its next instruction: it runs on its own then.
bool Core::changes_running_code(const std::array<Piece, 2>& pieces) const {
  if (runs_alone() || block->stale) return false;
  for (const Piece& piece : pieces)
    if (piece.bytes != 0 && block->overlaps(piece.at, piece.bytes)) return true;
  return false;
}

// What a device raises is looked at behind the instruction that reads it, which runs on its own for that; a
// store sees to it by itself, where it is all that an operation does.
bool Core::reads_a_device(const std::array<Piece, 2>& pieces) const {
  if (runs_alone()) return false;
  return std::ranges::any_of(pieces, [this](const Piece& piece) {
    return piece.bytes != 0 && piece.info.host == nullptr && !board.memory.is_memory(piece.at, piece.bytes);
  });
}

bool Core::read(TlbSet set, std::uint64_t linear_at, void* to, unsigned bytes, bool stack) {
  if (is_among_others()) {
    if (const std::byte* known = known_bytes(set, linear_at, bytes, false)) {
      load_host_bytes(to, known, bytes);
      return true;
    }
  }
  const Alone alone{*this};
  std::array<Piece, 2> pieces;
  if (!pieces_of(set, linear_at, bytes, false, stack, pieces)) return false;
  if (reads_a_device(pieces)) {
    leave = Leave::retry;
    return false;
  }
  if (!note_watched_access(linear_at, bytes, false)) return false;
  auto* out = static_cast<std::byte*>(to);
  for (const Piece& piece : pieces) {
    if (piece.bytes != 0) read_piece(piece, out);
    out += piece.bytes;
  }
  return true;
}

bool Core::write(TlbSet set, std::uint64_t linear_at, const void* from, unsigned bytes, bool stack) {
  if (is_among_others()) {
    if (std::byte* known = known_bytes(set, linear_at, bytes, true)) {
      store_host_bytes(known, from, bytes);
      return true;
    }
  }
  const Alone alone{*this};
  std::array<Piece, 2> pieces;
  if (!pieces_of(set, linear_at, bytes, true, stack, pieces)) return false;
  if (changes_running_code(pieces)) {
    leave = Leave::retry;
    return false;
  }
  if (!note_watched_access(linear_at, bytes, true)) return false;
  const auto* in = static_cast<const std::byte*>(from);
  for (const Piece& piece : pieces) {
    if (piece.bytes != 0) write_piece(piece, in);
    in += piece.bytes;
  }
  return true;
}

bool Core::probe_write(TlbSet set, std::uint64_t linear_at, unsigned bytes, bool stack) {
  if (is_among_others() && known_bytes(set, linear_at, bytes, true) != nullptr) return true;
  const Alone alone{*this};
  std::array<Piece, 2> pieces;
  if (!pieces_of(set, linear_at, bytes, true, stack, pieces)) return false;
  const bool is_watched = !runs_alone() && watch_of(linear_at, bytes, true) != nullptr;
  if (!is_watched && !changes_running_code(pieces)) return true;
  leave = Leave::retry;
  return false;
}

std::byte* Core::direct(TlbSet set, std::uint64_t linear_at, bool write) {
  if (!watches_.empty()) return nullptr;
  const TlbEntry& entry = memory.tlb().entries(set)[tlb_index(linear_at)];
  if ((write ? entry.write_tag : entry.read_tag) != (linear_at & page_mask)) return nullptr;
  return reinterpret_cast<std::byte*>(entry.addend + linear_at);
}

std::byte* Core::direct_to_overwrite(TlbSet set, std::uint64_t linear_at) {
  if (std::byte* known = direct(set, linear_at, true)) return known;
  // Where accesses are watched, each is made by itself.
  if (tlb != memory.tlb().entries(set) || !watches_.empty()) return nullptr;
  if (!memory.page_for(set, linear_at, true, true)) return nullptr;
  return direct(set, linear_at, true);
}

std::optional<Core::DirectPair> Core::direct_pair(TlbSet set, std::uint64_t from, std::uint64_t to) {
  const std::byte* source = direct(set, from, false);
  std::byte* target = direct(set, to, true);
  if (source != nullptr && target != nullptr) return DirectPair{source, target};
  if (set == TlbSet::closed || !watches_.empty() || tlb_index(from) != tlb_index(to)) return std::nullopt;
  const auto source_page = memory.page_for(set, from, false);
  if (!source_page) return std::nullopt;
  const TlbInfo first = **source_page;
  const auto second = memory.page_for(set, to, true);
  // One page by two keys has no bytes that both could use.
  if (!second || first.host == nullptr || (*second)->host == nullptr || first.page == (*second)->page)
    return std::nullopt;
  return DirectPair{first.host + from % page_size, (*second)->host + to % page_size};
}

void Core::revoke(PhysAddr page) { memory.revoke_page(page); }

// DR7: two enable bits, two of kind and two of length per breakpoint. Kind 1 is writes, 3 reads and writes.
void Core::note_data_access(std::uint64_t linear_at, unsigned bytes, bool write) {
  for (unsigned number = 0; number < sys.breakpoints.size(); ++number) {
    if ((sys.dr7 >> (2 * number) & 3) == 0) continue;
    const unsigned kind = sys.dr7 >> (16 + 4 * number) & 3;
    if (kind != 3 && !(kind == 1 && write)) continue;
    constexpr std::array<unsigned, 4> lengths{1, 2, 8, 4};
    const std::uint64_t length = lengths[sys.dr7 >> (18 + 4 * number) & 3];
    const std::uint64_t first = sys.breakpoints[number] & ~(length - 1);
    if (linear_at < first + length && first < linear_at + bytes) data_hits_ |= 1ull << number;
  }
}

// The access of an operation, checked for alignment where that is asked for (APM vol. 2, 8.2.17).
bool Core::check_access(std::uint64_t linear_at, unsigned bytes, bool write) {
  if (linear_at % bytes != 0 && checks_alignment()) {
    (void)raise(vector::ac, 0);
    return false;
  }
  if (sys.dr7 != 0) note_data_access(linear_at, bytes, write);
  return true;
}

Loaded load_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes) {
  Core& core = core_of(s);
  Loaded loaded;
  if (core.rehearses()) return core.rehearse_load(at, bytes, false);
  core.set_current(*op);
  loaded.ok = core.check_access(at, bytes, false) &&
              core.read(core.data_set(), at, &loaded.value, bytes, op->stack_fault);
  if (!loaded.ok) core.stop_at(*op);
  return loaded;
}

// The store cannot fault, so among others nobody comes between: it is fast, as this load is now, or whoever
// does it is alone from here on.
Loaded load_to_modify_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes) {
  Core& core = core_of(s);
  Loaded loaded;
  if (core.rehearses()) return core.rehearse_load(at, bytes, true);
  core.set_current(*op);
  const TlbEntry& entry = core.tlb[tlb_index(at)];
  for (;;) {
    core.hold_others();
    loaded.ok = core.check_access(at, bytes, true) &&
                core.probe_write(core.data_set(), at, bytes, op->stack_fault) &&
                core.read(core.data_set(), at, &loaded.value, bytes, op->stack_fault);
    if (!loaded.ok) core.stop_at(*op);
    const bool is_fast = entry.write_tag == tag_of(at, bytes);
    if (loaded.ok && (!core.holds_others() || !is_fast)) return loaded;
    core.release_others();
    if (!loaded.ok) return loaded;
    if (entry.write_tag != tag_of(at, bytes)) continue;
    load_host_bytes(&loaded.value, reinterpret_cast<const std::byte*>(entry.addend + at), bytes);
    return loaded;
  }
}

bool store_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes, std::uint64_t value) {
  Core& core = core_of(s);
  if (core.rehearses()) return core.rehearse_store(at, &value, bytes);
  core.set_current(*op);
  const bool ok =
      core.check_access(at, bytes, true) && core.write(core.data_set(), at, &value, bytes, op->stack_fault);
  if (!ok) core.stop_at(*op);
  core.release_others();
  return ok;
}

// Attention that an earlier access of the block has raised waits for its end, as behind stores that are fast:
// which way a store takes shows nowhere.
bool store_alone_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes, std::uint64_t value) {
  Core& core = core_of(s);
  const bool kicked_before = core.is_kicked() || core.rehearses();
  return store_slowly(s, op, at, bytes, value) && (kicked_before || core.goes_on_behind(*op));
}

bool load_128_slowly(State& s, const isa::Op* op, std::uint64_t at, isa::Xmm& to) {
  Core& core = core_of(s);
  bool ok = !(op->aligned && at % sizeof to != 0);
  if (core.rehearses()) return ok ? core.rehearse_load(at, &to, sizeof to, false) : core.give_up_rehearsal();
  core.set_current(*op);
  if (!ok)
    (void)core.raise(vector::gp, 0);
  else
    ok = core.check_access(at, 8, false) && core.read(core.data_set(), at, &to, sizeof to, op->stack_fault);
  if (!ok) core.stop_at(*op);
  return ok;
}

bool store_128_slowly(State& s, const isa::Op* op, std::uint64_t at, const isa::Xmm& from) {
  Core& core = core_of(s);
  bool ok = !(op->aligned && at % sizeof from != 0);
  if (core.rehearses()) return ok ? core.rehearse_store(at, &from, sizeof from) : core.give_up_rehearsal();
  core.set_current(*op);
  if (!ok)
    (void)core.raise(vector::gp, 0);
  else
    ok = core.check_access(at, 8, true) &&
         core.write(core.data_set(), at, &from, sizeof from, op->stack_fault);
  if (!ok) core.stop_at(*op);
  return ok;
}

}  // namespace cbit::cpu
