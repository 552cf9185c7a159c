// I/O ports: who may use them, and time as devices see it. APM vol. 2, 12.2.4 and 12.3.2 (I/O permission
// bitmap).
#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

// How long an access keeps the processor. Linux counts on a microsecond for two of them: pit_verify_msb() of
// arch/x86/kernel/tsc.c.
constexpr std::uint64_t ns_per_access = 1000;

}  // namespace

bool Core::may_use_port(std::uint16_t port, unsigned bytes) {
  const unsigned iopl = static_cast<unsigned>((sys.flags & rflags::iopl) >> 12);
  if (!protected_mode() || sys.cpl <= iopl) return true;
  // The bitmap's offset is at 102 of the 32-bit and of the 64-bit task state alike; a bit that is clear
  // allows.
  constexpr std::uint64_t bitmap_offset = 102;
  if (sys.tr.limit < bitmap_offset + 1) return refuse(vector::gp, 0);
  const auto offset = read<std::uint16_t>(system_set(), sys.tr.base + bitmap_offset);
  if (!offset) return false;
  const std::uint64_t at = std::uint64_t{*offset} + port / 8;
  if (at + 1 > sys.tr.limit) return refuse(vector::gp, 0);
  const auto bits = read<std::uint16_t>(system_set(), sys.tr.base + at);
  if (!bits) return false;
  const unsigned mask = ((1u << bytes) - 1) << (port % 8);
  return (*bits & mask) == 0 ? true : refuse(vector::gp, 0);
}

std::uint32_t Core::read_port(const isa::Op& op, std::uint16_t port, unsigned bytes) {
  sync_clock(op);
  const std::uint32_t value = board.ports.read(port, bytes);
  board.clock.advance(ns_per_access);
  after_device();
  return value;
}

void Core::write_port(const isa::Op& op, std::uint16_t port, unsigned bytes, std::uint32_t value) {
  sync_clock(op);
  board.ports.write(port, bytes, value);
  board.clock.advance(ns_per_access);
  after_device();
}

}  // namespace cbit::cpu
