// String instructions. They work a page at a time where memory is the host's, and an element at a time where
// it is not; registers are up to date whenever something can fault or interrupt. APM vol. 3, chapter 3.
#include <algorithm>

#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::Gpr;
using isa::Segment;
using isa::StringParameters;

// An index register in the address size.
class Index {
 public:
  Index(Core& core, Gpr reg, unsigned bytes) : core_{&core}, reg_{reg}, bytes_{bytes} {}
  [[nodiscard]] std::uint64_t value() const { return gpr(*core_, reg_) & mask_of(bytes_); }
  void advance(std::uint64_t distance) {
    put_sized(*core_, isa::slot_of(reg_), bytes_, gpr(*core_, reg_) + distance);
  }

 private:
  Core* core_;
  Gpr reg_;
  unsigned bytes_;
};

struct Run {
  Run(Core& core, const isa::Op& op)
      : with{StringParameters::unpacked(op.imm)},
        source{core, Gpr::rsi, with.address_bytes},
        target{core, Gpr::rdi, with.address_bytes},
        count{core, Gpr::rcx, with.address_bytes},
        step{core.direction ? std::uint64_t{0} - with.bytes : with.bytes} {}

  [[nodiscard]] bool repeats() const { return with.repeat != isa::Repeat::none; }
  [[nodiscard]] std::uint64_t left() const { return repeats() ? count.value() : 1; }
  void done(std::uint64_t elements) {
    if (repeats()) count.advance(0 - elements);
  }

  StringParameters with;
  Index source;
  Index target;
  Index count;
  std::uint64_t step;
};

// The linear address of an element; nullopt: a fault was raised.
std::optional<std::uint64_t> element(Core& core, Segment segment, const Index& index, unsigned bytes,
                                     bool write) {
  const std::uint64_t offset = index.value();
  if (core.mode().get<isa::Mode::Segmented>() || (!core.mode().is_64() && segment >= Segment::fs)) {
    if (!core.check_limit(segment, static_cast<std::uint32_t>(offset), bytes, write)) return std::nullopt;
  }
  return core.linear(segment, offset);
}

// How many whole elements from here on lie in the page of host memory, in the direction of addresses.
std::uint64_t elements_in_page(std::uint64_t linear_at, unsigned bytes) {
  return (page_size - linear_at % page_size) / bytes;
}

// Whether a repeated instruction stops to be interrupted: behind an access of its own that raised attention,
// which is an element's by itself. So it stops at the same element wherever its block began.
class Pauses {
 public:
  explicit Pauses(const Core& core) : core_{&core}, kicked_before_{core.is_kicked()} {}
  [[nodiscard]] bool now() const { return core_->is_kicked() && !kicked_before_; }

 private:
  const Core* core_;
  bool kicked_before_;
};

// The instruction begins again.
Outcome pause(Core& core, const isa::Op& op) {
  core.stop_at(op);
  return Outcome::leave;
}

bool may_go_fast(const Core& core) { return !core.direction && !core.mode().get<isa::Mode::Segmented>(); }

// Alone, where what is used is to be looked up first: what is found stays until it has been used.
struct StringAccess {
  StringAccess(Core& core, bool is_known) : alone{core, core.is_among_others() && !is_known} {}
  Core::Alone alone;
};

bool is_known(Core& core, std::uint64_t at, bool write) {
  return core.direct(core.data_set(), at, write) != nullptr;
}

// Among others each element of eight bytes, as they are aligned, is one access.
void copy_among_others(std::byte* to, const std::byte* from, std::uint64_t bytes, unsigned element_bytes) {
  const auto distance = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
  const std::uint64_t step = distance >= 8 && element_bytes < 8 ? 8 : element_bytes;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t now = std::min(step, bytes - done);
    std::uint64_t value = 0;
    load_host_bytes(&value, from + done, now);
    store_host_bytes(to + done, &value, now);
    done += now;
  }
}

// MOVS by elements repeats what it has just written where the target lies a little behind the source.
void copy_forward(const Core& core, std::byte* to, const std::byte* from, std::uint64_t bytes,
                  unsigned element_bytes) {
  if (core.is_among_others()) return copy_among_others(to, from, bytes, element_bytes);
  const auto distance = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
  if (distance >= bytes) {
    std::memmove(to, from, bytes);
    return;
  }
  for (std::uint64_t done = 0; done < bytes; done += element_bytes)
    std::memmove(to + done, from + done, element_bytes);
}

// The element as often as eight bytes hold it.
std::uint64_t repeated(std::uint64_t value, unsigned bytes) {
  for (unsigned bits = 8 * bytes; bits < 64; bits *= 2) value = (value & mask_of(bits / 8)) | value << bits;
  return value;
}

void fill_among_others(std::byte* to, std::uint64_t bytes, std::uint64_t eight) {
  for (std::uint64_t done = 0; done < bytes; done += 8)
    store_host_bytes(to + done, &eight, std::min<std::uint64_t>(8, bytes - done));
}

// Pages are cleared by eight bytes at a time.
void fill(const Core& core, std::byte* to, std::uint64_t elements, unsigned bytes, std::uint64_t value) {
  if (core.is_among_others()) return fill_among_others(to, elements * bytes, repeated(value, bytes));
  const std::uint64_t first = value & 0xff;
  if (((value ^ first * 0x0101'0101'0101'0101) & mask_of(bytes)) == 0) {
    std::memset(to, static_cast<int>(first), elements * bytes);
    return;
  }
  for (std::uint64_t i = 0; i < elements; ++i) std::memcpy(to + i * bytes, &value, bytes);
}

// The result of comparing two elements.
void compare(Core& core, std::uint64_t a, std::uint64_t b, unsigned bytes) {
  switch (bytes) {
    case 1: core.flags.of_difference(static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b)); return;
    case 2: core.flags.of_difference(static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b)); return;
    case 4: core.flags.of_difference(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b)); return;
    default: core.flags.of_difference(a, b); return;
  }
}

bool comparison_goes_on(const Core& core, isa::Repeat repeat) {
  return core.flags.zero() == (repeat == isa::Repeat::rep);
}

bool read_element(Core& core, std::uint64_t at, unsigned bytes, std::uint64_t& value) {
  value = 0;
  if (const std::byte* host = core.direct(core.data_set(), at, false);
      host != nullptr && elements_in_page(at, bytes) > 0) {
    load_host_bytes(&value, host, bytes);
    return true;
  }
  return core.check_access(at, bytes, false) && core.read(core.data_set(), at, &value, bytes);
}

}  // namespace

Outcome move_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  while (run.left() > 0) {
    const auto from = element(core, run.with.segment, run.source, bytes, false);
    const auto to = from ? element(core, Segment::es, run.target, bytes, true) : std::nullopt;
    if (!to) return Outcome::fault;
    const StringAccess access{core, is_known(core, *from, false) && is_known(core, *to, true)};
    const std::uint64_t fast =
        std::min({run.left(), elements_in_page(*from, bytes), elements_in_page(*to, bytes)});
    std::uint64_t elements = 1;
    const auto both =
        may_go_fast(core) && fast > 0 ? core.direct_pair(core.data_set(), *from, *to) : std::nullopt;
    if (both) {
      elements = fast;
      copy_forward(core, both->target, both->source, elements * bytes, bytes);
    } else {
      std::uint64_t value = 0;
      if (!read_element(core, *from, bytes, value) || !core.check_access(*to, bytes, true) ||
          !core.write(core.data_set(), *to, &value, bytes))
        return Outcome::fault;
    }
    run.source.advance(run.step * elements);
    run.target.advance(run.step * elements);
    run.done(elements);
    if (!run.repeats()) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

Outcome store_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  const std::uint64_t value = gpr(core, Gpr::rax);
  while (run.left() > 0) {
    const auto to = element(core, Segment::es, run.target, bytes, true);
    if (!to) return Outcome::fault;
    const StringAccess access{core, is_known(core, *to, true)};
    const std::uint64_t fast = std::min(run.left(), elements_in_page(*to, bytes));
    const bool whole_page = may_go_fast(core) && fast * bytes == page_size;
    std::byte* target =
        whole_page ? core.direct_to_overwrite(core.data_set(), *to) : core.direct(core.data_set(), *to, true);
    std::uint64_t elements = 1;
    if (may_go_fast(core) && fast > 0 && target != nullptr) {
      elements = fast;
      fill(core, target, elements, bytes, value);
    } else if (!core.check_access(*to, bytes, true) || !core.write(core.data_set(), *to, &value, bytes)) {
      return Outcome::fault;
    }
    run.target.advance(run.step * elements);
    run.done(elements);
    if (!run.repeats()) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

Outcome load_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  while (run.left() > 0) {
    const auto from = element(core, run.with.segment, run.source, bytes, false);
    std::uint64_t value = 0;
    if (!from || !read_element(core, *from, bytes, value)) return Outcome::fault;
    put_sized(core, isa::slot_of(Gpr::rax), bytes, value);
    run.source.advance(run.step);
    run.done(1);
    if (!run.repeats()) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

// Of two operands that fault, processors of AMD's report the one at ES:rDI, those of Intel's the other.
Outcome compare_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  while (run.left() > 0) {
    const auto first = element(core, run.with.segment, run.source, bytes, false);
    const auto second = first ? element(core, Segment::es, run.target, bytes, false) : std::nullopt;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    if (!second || !read_element(core, *second, bytes, b) || !read_element(core, *first, bytes, a))
      return Outcome::fault;
    compare(core, a, b, bytes);
    run.source.advance(run.step);
    run.target.advance(run.step);
    run.done(1);
    if (!run.repeats() || !comparison_goes_on(core, run.with.repeat)) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

Outcome scan_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  const std::uint64_t wanted = gpr(core, Gpr::rax) & mask_of(bytes);
  while (run.left() > 0) {
    const auto at = element(core, Segment::es, run.target, bytes, false);
    std::uint64_t value = 0;
    if (!at || !read_element(core, *at, bytes, value)) return Outcome::fault;
    compare(core, wanted, value, bytes);
    run.target.advance(run.step);
    run.done(1);
    if (!run.repeats() || !comparison_goes_on(core, run.with.repeat)) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

Outcome input_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  const auto port = static_cast<std::uint16_t>(gpr(core, Gpr::rdx));
  if (!core.may_use_port(port, bytes)) return Outcome::fault;
  while (run.left() > 0) {
    const auto to = element(core, Segment::es, run.target, bytes, true);
    if (!to || !core.probe_write(core.data_set(), *to, bytes)) return Outcome::fault;
    const std::uint32_t value = core.read_port(op, port, bytes);
    if (!core.write(core.data_set(), *to, &value, bytes)) return Outcome::fault;
    run.target.advance(run.step);
    run.done(1);
    if (!run.repeats()) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

Outcome output_string(Core& core, const isa::Op& op) {
  Run run{core, op};
  const Pauses pauses{core};
  const unsigned bytes = run.with.bytes;
  const auto port = static_cast<std::uint16_t>(gpr(core, Gpr::rdx));
  if (!core.may_use_port(port, bytes)) return Outcome::fault;
  while (run.left() > 0) {
    const auto from = element(core, run.with.segment, run.source, bytes, false);
    std::uint64_t value = 0;
    if (!from || !read_element(core, *from, bytes, value)) return Outcome::fault;
    core.write_port(op, port, bytes, static_cast<std::uint32_t>(value));
    run.source.advance(run.step);
    run.done(1);
    if (!run.repeats()) return Outcome::next;
    if (run.left() > 0 && pauses.now()) return pause(core, op);
  }
  return Outcome::next;
}

}  // namespace cbit::cpu::helpers
