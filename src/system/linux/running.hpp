// A kernel that runs: its file's knowledge at the addresses where KASLR put it, and its modules.
//
// Threading: that of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "linux/guest_memory.hpp"
#include "linux/kernel.hpp"
#include "linux/modules.hpp"
#include "linux/unwind.hpp"

namespace cbit::linux {

// How far the running kernel is from where its file has it, told by the whole banner; nullopt: the kernel is
// not mapped yet, or it is another one than the file's. Asked again whenever a CPU is found in the kernel's
// map.
[[nodiscard]] std::optional<std::uint64_t> find_slide(const Kernel& kernel, const GuestMemory& memory);

struct Location {
  std::string_view function;
  std::uint64_t offset = 0;
  std::string_view module;  // empty: the kernel itself
};

// The kernel outlives it.
class RunningKernel : public CodeMap {
 public:
  RunningKernel(const Kernel& kernel, std::uint64_t slide) : kernel_{&kernel}, slide_{slide} {}

  [[nodiscard]] const Kernel& kernel() const { return *kernel_; }
  [[nodiscard]] std::uint64_t slide() const { return slide_; }
  [[nodiscard]] ModuleMap& modules() { return modules_; }
  [[nodiscard]] const ModuleMap& modules() const { return modules_; }

  // Where a symbol of the kernel is; per-CPU ones of up to 6.14 are offsets. nullopt: none, or several.
  [[nodiscard]] std::optional<VirtAddr> address_of(std::string_view symbol) const;
  // nullopt: no code that is known.
  [[nodiscard]] std::optional<Location> locate(VirtAddr ip) const;
  // "virtqueue_add_split+0x1c [virtio_ring]", as the kernel prints it (%pS without the size); an address
  // where nothing is known. A return address belongs to the call before it (`called`).
  [[nodiscard]] std::string describe(VirtAddr ip, bool called = false) const;
  // The same with the line of the source, where it is known: "probe+0x17d [my_driver] at my_driver.c:67".
  [[nodiscard]] std::string describe_with_line(VirtAddr ip, bool called = false) const;

  // What a variable of 8 bytes holds.
  [[nodiscard]] std::optional<std::uint64_t> variable(const GuestMemory& memory,
                                                      std::string_view symbol) const;

  [[nodiscard]] bool is_text(VirtAddr at) const override;
  [[nodiscard]] bool is_function_start(VirtAddr at) const override;
  [[nodiscard]] std::optional<OrcRule> rule_at(VirtAddr ip) const override;

 private:
  [[nodiscard]] VirtAddr in_file(VirtAddr at) const { return at - slide_; }

  const Kernel* kernel_;
  std::uint64_t slide_;
  ModuleMap modules_;
};

}  // namespace cbit::linux
