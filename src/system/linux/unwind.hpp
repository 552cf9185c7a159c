// Who called whom: the stack of a kernel at one instruction.
//
// By the ORC tables, which is exact, or, where they are missing, by looking for return addresses, which may
// keep stale ones: such frames are marked.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "linux/guest_memory.hpp"
#include "linux/orc.hpp"

namespace cbit::linux {

inline constexpr std::uint64_t kernel_stack_bytes = 16 << 10;  // THREAD_SIZE and IRQ_STACK_SIZE without KASAN

// What is known of the kernel's code, modules included, at the addresses where it runs.
class CodeMap {
 public:
  virtual ~CodeMap() = default;
  [[nodiscard]] virtual bool is_text(VirtAddr at) const = 0;
  [[nodiscard]] virtual bool is_function_start(VirtAddr at) const = 0;
  [[nodiscard]] virtual std::optional<OrcRule> rule_at(VirtAddr ip) const = 0;
};

struct Frame {
  VirtAddr ip;            // of the first frame where it is, of the others where they continue
  bool called = false;    // ip is a return address: the call is before it
  bool reliable = false;  // by ORC
};

// Calls `visit` with each frame until it returns false, or `frames_max` were visited.
using FrameVisitor = std::function<bool(const Frame&)>;
void walk_stack(const CpuView& cpu, const CodeMap& code, std::size_t frames_max, const FrameVisitor& visit);

// The CPU's own frame first, at most `frames_max`. Ends at the stack's end, where code is unknown, or where
// memory cannot be read.
[[nodiscard]] std::vector<Frame> unwind(const CpuView& cpu, const CodeMap& code, std::size_t frames_max);

// The same without ORC.
[[nodiscard]] std::vector<Frame> scan_stack(const CpuView& cpu, const CodeMap& code, std::size_t frames_max);

}  // namespace cbit::linux
