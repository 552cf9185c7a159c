// Captures from anywhere: whatever the bytes of an archive, it is read within its limits or refused with the
// file's name and a remedy; what was read can be packed and read again. Masking a text twice masks no more;
// of a log, the second time leaves out lines that say nothing any more.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "facts/capture_archive.hpp"
#include "facts/masking.hpp"

namespace {

constexpr cbit::facts::UnpackLimits limits{.entries = 64, .file_bytes = 1 << 16, .total_bytes = 1 << 18};

void require(bool holds) {
  if (!holds) std::abort();
}

void read(std::string_view bytes) {
  const auto capture = cbit::facts::read_archive(bytes, "fuzz.tar.zst", limits);
  if (!capture) {
    require(capture.error().message.starts_with("fuzz.tar.zst") && !capture.error().hint.empty());
    return;
  }
  std::uint64_t total = 0;
  for (const auto& [path, entry] : *capture) {
    require(!path.empty() && !path.starts_with('/') && path.find("..") != 0);
    require(entry.kind != cbit::facts::CaptureKind::file || entry.content.size() <= limits.file_bytes);
    total += entry.kind == cbit::facts::CaptureKind::file ? entry.content.size() : 0;
  }
  require(total <= limits.total_bytes && capture->size() <= limits.entries);
  const auto packed = cbit::facts::pack_capture(*capture);
  if (packed) require(cbit::facts::read_archive(*packed, "again", limits) == *capture);
}

void mask(std::string_view text) {
  for (const std::string_view path :
       {"/proc/cmdline", "/sys/some/file", "/proc/self/status", "/boot/config-6.1", "/proc/iomem",
        "/proc/cpuinfo", "/proc/meminfo", "/proc/self/limits", "/proc/sys/kernel/osrelease",
        "/sys/class/dmi/id/product_name", "/sys/bus/pci/devices/0000:00:04.0/class",
        "/sys/fs/cgroup/misc.capacity"}) {
    const cbit::facts::Masked once = cbit::facts::mask_file(path, text);
    require(cbit::facts::mask_file(path, once.text).text == once.text);
  }
  const std::string identifiers = cbit::facts::mask_identifiers(text).text;
  require(cbit::facts::mask_identifiers(identifiers).text == identifiers);
  const std::string log = cbit::facts::mask_kernel_log(text).text;
  const std::string again = cbit::facts::mask_kernel_log(log).text;
  require(again.size() <= log.size() && cbit::facts::mask_kernel_log(again).text == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  read(bytes);
  mask(bytes);
  return 0;
}
