// Loads and stores of straight-line code: the fast path here, everything else out of line.
#pragma once

#include <cstdint>

#include "cpu/host_bytes.hpp"
#include "cpu/state.hpp"

namespace cbit::cpu {

struct Loaded {
  std::uint64_t value = 0;
  bool ok = false;  // else State::leave says what happened
};

// What the fast path cannot do: misses, devices, code pages, accesses that cross a page, faults. `bytes` is
// 1, 2, 4 or 8. `to_modify`: a store of the same bytes follows, and then cannot fault.
[[nodiscard]] Loaded load_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes);
[[nodiscard]] Loaded load_to_modify_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes);
[[nodiscard]] bool store_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes,
                                std::uint64_t value);
// The same by an operation that does nothing else: what the store raises is looked at behind its instruction.
[[nodiscard]] bool store_alone_slowly(State& s, const isa::Op* op, std::uint64_t at, unsigned bytes,
                                      std::uint64_t value);
// 16 bytes, at a slot.
[[nodiscard]] bool load_128_slowly(State& s, const isa::Op* op, std::uint64_t at, isa::Xmm& to);
[[nodiscard]] bool store_128_slowly(State& s, const isa::Op* op, std::uint64_t at, const isa::Xmm& from);

// An access that crosses a page has the next page's tag here, which this entry cannot have.
[[nodiscard]] inline std::uint64_t tag_of(std::uint64_t at, unsigned bytes) {
  return (at + (bytes - 1)) & page_mask;
}

template <class T>
[[nodiscard, gnu::always_inline]] inline bool load(State& s, const isa::Op* op, std::uint64_t at, T& value) {
  const TlbEntry& entry = s.tlb[tlb_index(at)];
  if (entry.read_tag == tag_of(at, sizeof(T))) [[likely]] {
    value = load_host<T>(reinterpret_cast<const void*>(entry.addend + at));
    return true;
  }
  const Loaded loaded = load_slowly(s, op, at, sizeof(T));
  value = static_cast<T>(loaded.value);
  return loaded.ok;
}

template <class T>
[[nodiscard, gnu::always_inline]] inline bool load_to_modify(State& s, const isa::Op* op, std::uint64_t at,
                                                             T& value) {
  const TlbEntry& entry = s.tlb[tlb_index(at)];
  if (entry.write_tag == tag_of(at, sizeof(T))) [[likely]] {
    value = load_host<T>(reinterpret_cast<const void*>(entry.addend + at));
    return true;
  }
  const Loaded loaded = load_to_modify_slowly(s, op, at, sizeof(T));
  value = static_cast<T>(loaded.value);
  return loaded.ok;
}

template <class T, auto slowly = store_slowly>
[[nodiscard, gnu::always_inline]] inline bool store(State& s, const isa::Op* op, std::uint64_t at, T value) {
  const TlbEntry& entry = s.tlb[tlb_index(at)];
  if (entry.write_tag == tag_of(at, sizeof(T))) [[likely]] {
    store_host<T>(reinterpret_cast<void*>(entry.addend + at), value);
    return true;
  }
  return slowly(s, op, at, sizeof(T), value);
}

}  // namespace cbit::cpu
