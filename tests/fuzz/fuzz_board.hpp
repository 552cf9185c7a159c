// Memory for fuzzers of devices.
#pragma once

#include <cstdlib>
#include <memory>

#include "base/trace.hpp"
#include "bus/message_interrupt.hpp"
#include "bus/system_bus.hpp"
#include "mem/memory.hpp"

namespace cbit {

inline void require(bool holds) {
  if (!holds) std::abort();
}

// To be made once: reserving address space per input would be all that a fuzzer does.
struct FuzzBoard {
  static constexpr std::uint64_t ram_bytes = 64 * 1024;

  FuzzBoard() {
    mem::MemoryConfig config;
    config.ram = {{PhysAddr{0}, ram_bytes}};
    memory = std::move(*mem::Memory::create(config, keys, tracer));
  }
  void clear() { require(memory->fill(PhysAddr{0}, ram_bytes, std::byte{0}, {}).has_value()); }

  Clock clock;
  Tracer tracer{clock};
  mem::KeyTable keys{1, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory;
};

// Message interrupts that somebody takes, and nobody looks at.
class IgnoredMessages final : public bus::MessageInterruptSink {
 public:
  bool deliver(const bus::MessageInterrupt&) override { return true; }
};

}  // namespace cbit
