// What somebody who watches the guest's kernel knows, for whoever looks at the machine meanwhile.
#pragma once

#include <optional>
#include <string>

#include "cbit/addr.hpp"
#include "guest/vmcore.hpp"

namespace cbit::guest {

class KernelKnowledge {
 public:
  virtual ~KernelKnowledge() = default;
  // "do_idle+0x1c"; empty: no code that is known.
  [[nodiscard]] virtual std::string name_of(VirtAddr at) const = 0;
  // The DMA API so far, for people: pools, devices, and at most so many of the mappings that are active;
  // nullopt: nobody watches it.
  [[nodiscard]] virtual std::optional<std::string> dma_text(std::size_t mappings_max) const = 0;
  // The kernel's modules, and where their code is: at most so many.
  [[nodiscard]] virtual std::string modules_text(std::size_t lines_max) const = 0;
  // nullopt: the kernel is not found in memory.
  [[nodiscard]] virtual std::optional<KernelForDump> for_dump() const = 0;
};

}  // namespace cbit::guest
