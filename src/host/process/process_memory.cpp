#include "process/process_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "process/access.hpp"
#include "process/proc_file.hpp"

namespace cbit::process {
namespace {

os::Descriptor open_in(const os::Descriptor& folder, const char* name) {
  return os::Descriptor{openat(folder.fd(), name, O_RDONLY | O_CLOEXEC)};
}

// A file of the folder, by way of the descriptor, so that it is of the same process.
std::optional<std::string> read_in(const os::Descriptor& folder, std::string_view name) {
  return read_proc_file(fmt::format("{}/{}", os::path_of(folder), name));
}

tl::unexpected<Error> no_process(int pid) {
  return bad_input(fmt::format("there is no process {}", pid),
                   "see ps -e; under hidepid (proc(5)) the processes of others do not show");
}

}  // namespace

// Why the process has no memory: an error, or nullopt if it has some.
std::optional<Error> ProcessMemory::without_memory(const os::Descriptor& folder) const {
  const std::string status = read_in(folder, "status").value_or("");
  if (status.empty()) return no_process(pid_).value();
  const auto error = [&](std::string_view what, std::string hint) {
    return Error{fmt::format("process {} ({}) {}", pid_, command_, what), std::move(hint),
                 ExitCode::bad_input};
  };
  if (const auto state = status_field(status, "State"); state.starts_with('Z') || state.starts_with('X'))
    return error("has exited already; its memory is gone", "its parent has not waited for it yet");
  // fs/proc/array.c: task_mem() prints Vm* lines where there is an mm.
  if (status_field(status, "VmSize").empty())
    return error("is a kernel thread: it has no memory of its own", "choose a user process, the VMM for one");
  return std::nullopt;
}

OrError<ProcessMemory> ProcessMemory::open(int pid) {
  ProcessMemory process;
  process.pid_ = pid;
  const os::Descriptor folder{::open(fmt::format("/proc/{}", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!folder.is_open()) return no_process(pid);
  process.command_ = read_in(folder, "comm").value_or("?");
  process.command_.resize(std::min(process.command_.find('\n'), process.command_.size()));
  if (auto error = process.without_memory(folder)) return tl::unexpected{*std::move(error)};

  process.mem_ = open_in(folder, "mem");
  const auto maps = process.mem_.is_open() ? read_in(folder, "maps") : std::nullopt;
  if (!maps) {
    const int code = errno;
    if (auto error = process.without_memory(folder)) return tl::unexpected{*std::move(error)};
    if (code == EACCES || code == EPERM) return tl::unexpected{explain_refusal(read_access_facts(pid))};
    return bad_input(fmt::format("the memory of process {} ({}) cannot be opened: {}", pid, process.command_,
                                 std::strerror(code)),
                     "is /proc mounted, and not from elsewhere?");
  }
  process.mappings_ = CBIT_TRY(parse_maps(*maps));
  process.pagemap_ = open_in(folder, "pagemap");
  return process;
}

ProcessMemory::Read ProcessMemory::read(VirtAddr at, ByteSpan to) const {
  std::size_t done = 0;
  while (done < to.size()) {
    const ByteSpan rest = to.subspan(done);
    const ssize_t got = pread(mem_.fd(), rest.data(), rest.size(), static_cast<off_t>((at + done).value()));
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (got == 0) {  // fs/proc/base.c, mem_rw(): no mm, or no users of it
      return {ReadEnd::gone, done};
    } else if (errno != EINTR) {
      return {errno == ESRCH ? ReadEnd::gone : ReadEnd::unreadable, done};
    }
  }
  return {ReadEnd::complete, done};
}

void ProcessMemory::presence(VirtAddr at, std::span<Presence> pages) const {
  // Documentation/admin-guide/mm/pagemap.rst.
  constexpr std::uint64_t present_bit = std::uint64_t{1} << 63;
  constexpr std::uint64_t swapped_bit = std::uint64_t{1} << 62;
  std::array<std::uint64_t, 4096> entries;
  std::ranges::fill(pages, Presence::present);
  while (pagemap_.is_open() && !pages.empty()) {
    const std::size_t wanted = std::min(pages.size(), entries.size());
    const auto offset = static_cast<off_t>(at.page_number() * sizeof entries[0]);
    const ssize_t got = pread(pagemap_.fd(), entries.data(), wanted * sizeof entries[0], offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    const std::size_t count = static_cast<std::size_t>(got) / sizeof entries[0];
    for (std::size_t i = 0; i < count; ++i) {
      if ((entries[i] & present_bit) != 0) continue;
      pages[i] = (entries[i] & swapped_bit) != 0 ? Presence::swapped : Presence::absent;
    }
    pages = pages.subspan(count);
    at += count * page_size;
  }
}

}  // namespace cbit::process
