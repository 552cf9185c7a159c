#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/format.hpp"
#include "base/text.hpp"
#include "recorder/recorder.hpp"

namespace cbit::recorder {
namespace {

constexpr std::string_view instance_prefix = "cbit-";
constexpr const char* places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

// What is enabled where the kernel has it. `device_field`: what its filter is about; empty: it has no device.
struct EventChoice {
  std::string_view path;  // below events/
  std::string_view device_field;
};
constexpr EventChoice event_choices[] = {
    {"dma", "device"},   {"swiotlb/swiotlb_bounced", "dev_name"}, {"iommu/map", ""},
    {"iommu/unmap", ""}, {"iommu/io_page_fault", "device"},
};

tl::unexpected<Error> cannot(std::string_view what, int reason) {
  return bad_input(fmt::format("{}: {}", what, std::generic_category().message(reason)),
                   reason == EACCES || reason == EPERM || reason == EROFS
                       ? "record as root, in the machine's own namespaces"
                       : "see Documentation/trace/ftrace.rst of your kernel");
}

// Of recorders that were killed. The kernel keeps those that are still read.
void remove_abandoned(int folder) {
  const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const entries = copy < 0 ? nullptr : ::fdopendir(copy);
  if (entries == nullptr) return;
  std::vector<std::string> abandoned;
  while (const dirent* const entry = ::readdir(entries)) {
    const std::string_view name{entry->d_name};
    if (!name.starts_with(instance_prefix)) continue;
    const auto pid = decimal(name.substr(instance_prefix.size()));
    if (pid && !std::filesystem::exists(fmt::format("/proc/{}", *pid))) abandoned.emplace_back(name);
  }
  ::closedir(entries);
  for (const std::string& name : abandoned) ::unlinkat(folder, name.c_str(), AT_REMOVEDIR);
}

}  // namespace

OrError<std::string> find_tracefs() {
  int reason = ENOENT;
  for (const char* const place : places) {
    const std::string instances = std::string{place} + "/instances";
    if (::faccessat(AT_FDCWD, instances.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return place;
    if (errno != ENOENT) reason = errno;
  }
  if (reason != ENOENT) return cannot("the kernel's tracing cannot be used", reason);
  if (::geteuid() != 0) return bad_input("the kernel's tracing is not to be seen", "record as root");
  return bad_input(fmt::format("tracefs is not mounted at {}", places[0]),
                   "mount -t tracefs tracefs /sys/kernel/tracing; a kernel has it with CONFIG_FTRACE");
}

OrError<TraceInstance> TraceInstance::create(const std::string& tracefs, const RecordRequest& request) {
  TraceInstance instance;
  const std::string folder = tracefs + "/instances";
  instance.folder_ = os::Descriptor{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!instance.folder_.is_open()) return cannot(folder, errno);
  remove_abandoned(instance.folder_.fd());
  std::string name = fmt::format("{}{}", instance_prefix, ::getpid());
  if (::mkdirat(instance.folder_.fd(), name.c_str(), 0700) != 0)
    return cannot(fmt::format("{}/{} cannot be made", folder, name), errno);
  instance.name_ = std::move(name);
  instance.instance_ = os::Descriptor{
      ::openat(instance.folder_.fd(), instance.name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!instance.instance_.is_open()) return cannot(instance.name_, errno);
  instance.write("tracing_on", "0");
  instance.write("trace_clock", "mono");
  if (!instance.write("buffer_size_kb", std::to_string(request.buffer_kib)))
    return bad_input(fmt::format("the kernel gives no buffer of {} KiB per CPU", request.buffer_kib),
                     "ask for less with --buffer");
  CBIT_TRY(instance.enable_events(request));
  return instance;
}

TraceInstance::~TraceInstance() {
  instance_.reset();
  if (!name_.empty() && folder_.is_open()) ::unlinkat(folder_.fd(), name_.c_str(), AT_REMOVEDIR);
}

OrError<void> TraceInstance::enable_events(const RecordRequest& request) {
  for (const EventChoice& choice : event_choices) {
    const std::string path = fmt::format("events/{}/", choice.path);
    if (::faccessat(instance_.fd(), (path + "enable").c_str(), F_OK, 0) != 0) continue;
    if (!request.device.empty()) {
      if (choice.device_field.empty()) continue;
      const std::string filter = fmt::format("{} ~ \"{}\"", choice.device_field, request.device);
      if (!write(path + "filter", filter))
        return bad_input(fmt::format("the kernel does not take the filter {}", filter),
                         "give a device's name as in /sys/bus/pci/devices, with * for the rest");
    }
    if (write(path + "enable", "1")) events_.push_back(choice.path);
  }
  if (events_.empty())
    return bad_input("this kernel has no events of DMA",
                     "it needs CONFIG_SWIOTLB and CONFIG_EVENT_TRACING, Linux 6.12 for dma:*");
  return {};
}

bool TraceInstance::write(std::string_view file, std::string_view text) const {
  const os::Descriptor control{::openat(instance_.fd(), std::string{file}.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!control.is_open()) return false;
  return os::retry([&] { return ::write(control.fd(), text.data(), text.size()); }) ==
         static_cast<ssize_t>(text.size());
}

os::Descriptor TraceInstance::open_pipe() const {
  return os::Descriptor{::openat(instance_.fd(), "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
}

}  // namespace cbit::recorder
