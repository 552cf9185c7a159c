// What the steps of a GPU share: its driver, and the buffer objects behind buffers and windows.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "kernel/drm/gpu_driver.hpp"
#include "lab/experiment/run.hpp"

namespace cbit::lab {

struct GpuConfig {
  std::string name;
  unsigned address_bits = 64;
  std::uint64_t vram_bytes = 1 << 20;
  kernel::GpuDriverOptions driver;
};

class GpuPart {
 public:
  struct Object {
    std::size_t device = 0;
    kernel::TtmBo* bo = nullptr;  // nullptr: was freed
  };
  struct Opened {
    std::size_t buffer = 0;
    std::optional<VirtAddr> user;  // of a process; else of the kernel
    std::optional<kernel::TtmKmap> kmap;
    VirtAddr at;
  };

  OrError<void> install(Run& run, std::size_t device, const GpuConfig& config);
  [[nodiscard]] kernel::GpuDriver& driver(std::size_t device) { return *drivers_.at(device); }

  // StepTrouble when the object was never made, or is gone.
  Result<Object*, StepTrouble> object(std::size_t buffer);
  Object& add(std::size_t buffer, std::size_t device, kernel::TtmBo& bo);
  void open(std::size_t window, Opened opened) { windows_[window] = opened; }
  Result<void, StepTrouble> close(Run& run, std::size_t window);
  void put(Run& run, std::size_t buffer);
  // Where the object's bytes are by now.
  void refresh(Run& run, std::size_t buffer);

 private:
  // What the driver's remove() does; what a file leaves is no leak.
  void remove_all(Run& run);

  std::map<std::size_t, std::unique_ptr<kernel::GpuDriver>> drivers_;
  std::map<std::size_t, Object> objects_;
  std::map<std::size_t, Opened> windows_;
};

}  // namespace cbit::lab
