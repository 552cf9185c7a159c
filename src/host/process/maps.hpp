// /proc/PID/maps (proc(5), fs/proc/task_mmu.c: show_map_vma): what a process has mapped, and which of it can
// be looked at.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cbit/addr.hpp"

namespace cbit::process {

// [start, end) of a process's addresses; start <= end.
struct VirtRange {
  VirtAddr start;
  VirtAddr end;

  [[nodiscard]] std::uint64_t bytes() const { return end - start; }
  [[nodiscard]] std::uint64_t pages() const { return bytes() / page_size; }
  friend bool operator==(const VirtRange&, const VirtRange&) = default;
};

enum class MappingKind : std::uint8_t {
  anonymous,      // heap, stack, mmap(MAP_ANONYMOUS | MAP_PRIVATE): QEMU's memory-backend-ram
  shared_memory,  // memfd, /dev/shm, System V, hugetlbfs at its usual place: memory-backend-memfd, -file
  file,
  device,   // a device's registers or memory: reading may have effects there
  special,  // the kernel's own: vdso, vvar, vsyscall
};

struct Mapping {
  VirtRange range;
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  std::uint64_t file_offset = 0;
  std::string device;  // "fd:01"
  std::uint64_t inode = 0;
  std::string name;  // path, "[heap]", "/memfd:ram (deleted)"; empty: anonymous

  [[nodiscard]] MappingKind kind() const;
  // "rw-p", as in the file.
  [[nodiscard]] std::string permissions() const;
  friend bool operator==(const Mapping&, const Mapping&) = default;
};

// One Mapping per line, in the file's order. Errors (bad_input) name the line. Ranges are page-aligned, not
// empty, ascending and disjoint, or else refused.
[[nodiscard]] OrError<std::vector<Mapping>> parse_maps(std::string_view text);

// A part of a range that one mapping covers, or none does.
struct Segment {
  VirtRange range;
  const Mapping* mapping = nullptr;  // into what was split by
};

// The range, cut at the borders of mappings. `mappings` as parse_maps returns them.
[[nodiscard]] std::vector<Segment> split_by_mapping(const VirtRange& range,
                                                    std::span<const Mapping> mappings);

// The largest anonymous or shared-memory mapping that can be written and not executed: a VMM's guest memory,
// if the process is one. (What can be executed is a translator's code, TCG's for one.) nullptr: none.
[[nodiscard]] const Mapping* largest_memory(std::span<const Mapping> mappings);

}  // namespace cbit::process
