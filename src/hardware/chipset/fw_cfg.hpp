// QEMU's firmware configuration, as far as tests that run in a guest ask for it: how many processors and how
// much memory there are.
//
//   510h  selector, 2 bytes · 511h  data: the bytes of what is selected, one after the other, then zeros
//
// Source: QEMU, docs/specs/fw_cfg.rst (the traditional interface; no files, no DMA). Threading: one thread.
#pragma once

#include <cstdint>
#include <map>

#include "base/bytes.hpp"
#include "base/state_stream.hpp"
#include "bus/port_io.hpp"

namespace cbit::chipset {

class FwCfg final : public bus::PioRegion {
 public:
  enum Key : std::uint16_t {
    signature = 0x00,
    interface = 0x01,
    memory_bytes = 0x03,
    cpu_count = 0x05,
    cpu_count_max = 0x0f,
  };

  FwCfg(std::uint16_t cpus, std::uint64_t memory);

  void reset();
  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;
  void transfer(StateStream& s);

 private:
  std::map<std::uint16_t, Bytes> items_;
  std::uint16_t selected_ = signature;
  std::size_t position_ = 0;
};

}  // namespace cbit::chipset
