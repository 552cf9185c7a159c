#include "facts/live_host.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <iterator>

#include "facts/rooted_open.hpp"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace cbit::facts {
namespace {

#if defined(__x86_64__) || defined(__i386__)
constexpr std::uint32_t hypervisor_leaves = 0x4000'0000;

CpuidRegs execute_cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuidRegs regs;
  __cpuid_count(leaf, subleaf, regs.eax, regs.ebx, regs.ecx, regs.edx);
  return regs;
}

// The first leaf of each range holds its last one. Beyond it Intel's processors repeat another leaf.
bool has_leaf(std::uint32_t leaf) {
  const std::uint32_t range = leaf & 0xf000'0000;
  if (range == hypervisor_leaves && (execute_cpuid(1, 0).ecx >> 31 & 1) == 0) return false;
  const std::uint32_t last = execute_cpuid(range, 0).eax;
  // Hypervisors that answer 0 have that one leaf.
  return leaf == range || (last >= leaf && last - range < 0x1000'0000);
}
#endif

// One record of /dev/kmsg, "priority,sequence,microseconds,flags[,...];text\n KEY=value\n...", as dmesg
// prints it (Documentation/ABI/testing/dev-kmsg).
std::string dmesg_line(std::string_view record) {
  const std::size_t text = record.find(';');
  if (text == std::string_view::npos) return {};
  std::string_view head = record.substr(0, text);
  for (int comma = 0; comma < 2; ++comma) head.remove_prefix(std::min(head.find(',') + 1, head.size()));
  std::uint64_t us = 0;
  std::from_chars(head.data(), head.data() + head.size(), us);
  const std::string_view line = record.substr(text + 1, record.find('\n', text) - text - 1);
  return fmt::format("[{:5}.{:06}] {}\n", us / 1'000'000, us % 1'000'000, line);
}

Read<std::string> read_kmsg() {
  const OpenFile kmsg{::open(std::string{kmsg_device}.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (kmsg.fd() < 0) return tl::unexpected{unread_from_errno(errno)};
  std::string log;
  std::array<char, 8192> record;  // no record is longer: CONSOLE_EXT_LOG_MAX
  while (log.size() < kernel_log_bytes_max) {
    const ssize_t n = ::read(kmsg.fd(), record.data(), record.size());
    if (n < 0 && (errno == EPIPE || errno == EINTR)) continue;  // overwritten meanwhile: the next one
    if (n < 0 && errno == EAGAIN) return log;
    if (n < 0) return tl::unexpected{unread_from_errno(errno)};
    if (n == 0) return log;
    log += dmesg_line({record.data(), static_cast<std::size_t>(n)});
  }
  return log;
}

// Lines "<6>[    0.000000] text".
Read<std::string> read_syslog() {
  constexpr int syslog_action_read_all = 3, syslog_action_size_buffer = 10;
  const int size = ::klogctl(syslog_action_size_buffer, nullptr, 0);
  if (size < 0) return tl::unexpected{unread_from_errno(errno)};
  std::string raw(std::min<std::size_t>(static_cast<std::size_t>(size), kernel_log_bytes_max), '\0');
  const int n = ::klogctl(syslog_action_read_all, raw.data(), static_cast<int>(raw.size()));
  if (n < 0) return tl::unexpected{unread_from_errno(errno)};
  raw.resize(static_cast<std::size_t>(n));
  std::string log;
  for (std::size_t at = 0; at < raw.size();) {
    const std::size_t end = std::min(raw.find('\n', at), raw.size());
    std::string_view line{raw.data() + at, end - at};
    if (line.starts_with('<')) line.remove_prefix(std::min(line.find('>') + 1, line.size()));
    fmt::format_to(std::back_inserter(log), "{}\n", line);
    at = end + 1;
  }
  return log;
}

}  // namespace

std::optional<CpuidRegs> live_cpuid([[maybe_unused]] std::uint32_t leaf,
                                    [[maybe_unused]] std::uint32_t subleaf) {
#if defined(__x86_64__) || defined(__i386__)
  if (has_leaf(leaf)) return execute_cpuid(leaf, subleaf);
#endif
  return std::nullopt;
}

DeviceState live_device(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return errno == EACCES ? DeviceState::denied : DeviceState::absent;
  if (!S_ISCHR(info.st_mode)) return DeviceState::absent;
  const OpenFile device{::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
  if (device.fd() >= 0) return DeviceState::usable;
  switch (errno) {
    case EACCES:
    case EPERM: return DeviceState::denied;
    case EBUSY: return DeviceState::busy;
    case ENOENT:
    case ENODEV:
    case ENXIO: return DeviceState::absent;
    default: return DeviceState::io_error;
  }
}

Read<std::uint64_t> live_msr(std::uint32_t index) {
  const OpenFile device{::open(std::string{msr_device}.c_str(), O_RDONLY | O_CLOEXEC)};
  if (device.fd() < 0) return tl::unexpected{unread_from_errno(errno)};
  std::uint64_t value = 0;
  if (::pread(device.fd(), &value, sizeof value, index) != sizeof value)
    return tl::unexpected{Unread::io_error};
  return value;
}

Read<std::string> live_kernel_log() {
  Read<std::string> log = read_kmsg();
  if (log) return log;
  Read<std::string> other = read_syslog();
  return other ? other : log;
}

}  // namespace cbit::facts
