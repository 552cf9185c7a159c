// Facts in words, for evidence.
#pragma once

#include <cstdint>
#include <string>

#include "base/events.hpp"
#include "watch/causes.hpp"
#include "watch/facts.hpp"

namespace cbit::watch {

// "read of 512 bytes at D:0x1000 without a key, from P:0x1000"
[[nodiscard]] std::string describe(const Facts& facts, const DeviceAccess& access);
// "streaming, to-device, 512 bytes at D:0x1000 for P:0x2000, bounced, since 12 ns"
[[nodiscard]] std::string describe(const Facts& facts, const Mapping& mapping);
// "private" / "shared by set_memory_decrypted on cpu0 at 12 ns"
[[nodiscard]] std::string describe_attribute(const Facts& facts, PhysAddr page);
// "cpu0 under key 2 in fill_buffer"
[[nodiscard]] std::string describe_writer(const Facts& facts, const KeyMismatch& mismatch);
// "no key", "the guest's key (2)", "the SME key (1)", "key 5"
[[nodiscard]] std::string describe_key(const Facts& facts, KeyId key);
// "IO_PAGE_FAULT: not present: write at D:0x1000"
[[nodiscard]] std::string describe(const DeviceFault& fault);

// The pages that [at, at + bytes) touches.
[[nodiscard]] CauseRange pages_of(PhysAddr at, std::uint64_t bytes);
[[nodiscard]] CauseRange bus_range(DmaAddr at, std::uint64_t bytes);
[[nodiscard]] inline CauseRange range_of(const Mapping& mapping) {
  return bus_range(mapping.call.dma, mapping.call.bytes);
}

}  // namespace cbit::watch
