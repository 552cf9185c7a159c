// The memory of a running process, read as the host's software reads it: through /proc/PID/mem, while the
// process runs on. It is not stopped, not traced, and nothing is written.
//
// Reading a page that the process never touched is not free of effects: the kernel allocates the page where
// the mapping is shared (memfd, tmpfs, hugetlbfs). So callers ask `presence` first, which /proc/PID/pagemap
// answers without touching anything.
//
// The process that was opened stays the one that is read: its memory is held by a descriptor, and a number
// that is used again is noticed. Threading: const members may be called from any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "os/descriptor.hpp"
#include "process/maps.hpp"

namespace cbit::process {

enum class Presence : std::uint8_t {
  present,
  swapped,
  absent,  // in no page table of the process: never touched, dropped to its file, or touched by others only
};

enum class ReadEnd : std::uint8_t {
  complete,
  unreadable,  // EIO: nothing is mapped there, or what is mapped cannot be read (device memory, guard pages)
  gone,        // the process exited, or runs another program
};

class ProcessMemory {
 public:
  // Errors (bad_input): there is no such process, it is a kernel thread or a zombie, or it may not be read,
  // with the reason (host/process/access.hpp).
  static OrError<ProcessMemory> open(int pid);

  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] const std::string& command() const { return command_; }  // "qemu-system-x86", 15 characters
  // As they were when the process was opened.
  [[nodiscard]] const std::vector<Mapping>& mappings() const { return mappings_; }

  // Fills `to`, or stops at the first page that does not go; `done` bytes were read.
  struct Read {
    ReadEnd end = ReadEnd::complete;
    std::size_t done = 0;
  };
  [[nodiscard]] Read read(VirtAddr at, ByteSpan to) const;

  // Of the pages from `at` on, which is page-aligned. All are called present where the kernel does not tell.
  void presence(VirtAddr at, std::span<Presence> pages) const;

 private:
  ProcessMemory() = default;
  [[nodiscard]] std::optional<Error> without_memory(const os::Descriptor& folder) const;

  int pid_ = 0;
  std::string command_;
  std::vector<Mapping> mappings_;
  os::Descriptor mem_;
  os::Descriptor pagemap_;
};

}  // namespace cbit::process
