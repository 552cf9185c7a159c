// A guest's memory as its kernel sees it on a processor, for who knows kernels (linux/).
//
// The machine's own look at its memory leaves no trace, unlike an access of the processor's. Threading: that
// of the machine.
#pragma once

#include "guest/pc.hpp"
#include "linux/guest_memory.hpp"

namespace cbit::guest {

class KernelMemory final : public linux::GuestMemory {
 public:
  explicit KernelMemory(const Pc& pc) : pc_{&pc} {}

  [[nodiscard]] bool read(VirtAddr at, ByteSpan into) const override;
  [[nodiscard]] std::optional<Place> place_of(VirtAddr at) const override;

 private:
  const Pc* pc_;
};

}  // namespace cbit::guest
