#include "boot/kernel_source/debian_kernel.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "boot/files.hpp"
#include "boot/kernel_source/deb.hpp"
#include "crypt/sha256.hpp"
#include "os/cleanup.hpp"
#include "os/program.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;
using Stanza = std::map<std::string, std::string, std::less<>>;

constexpr std::string_view instead = "or give a kernel: cbit run /boot/vmlinuz-... (any bzImage or vmlinux)";
constexpr std::uint64_t package_bytes_max = 2ull << 30;
constexpr std::uint64_t origin_bytes_max = 4096;

tl::unexpected<Error> no_kernel_to_be_had(std::string_view why, std::string_view remedy) {
  return bad_input(fmt::format("Debian's kernel cannot be had: {}", why),
                   fmt::format("{}, {}", remedy, instead));
}

// The last line that is not blank: where apt says what went wrong.
std::string_view last_line(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  const std::size_t line = text.rfind('\n');
  return line == std::string_view::npos ? text : text.substr(line + 1);
}

std::string field(const Stanza& stanza, std::string_view name) {
  const auto found = stanza.find(name);
  return found != stanza.end() ? found->second : std::string{};
}

// Locks the folder against other processes until the end of its life.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder)
      : fd_{open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)} {
    while (fd_ >= 0 && flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] bool held() const { return fd_ >= 0; }

 private:
  int fd_;
};

// In the cache, so that what is complete is put in its place by a rename; gone with its owner, also when a
// signal ends the program.
class FetchFolder {
 public:
  explicit FetchFolder(fs::path path)
      : path_{std::move(path)}, cleanup_{os::Cleanup::folder(path_.string())} {}
  FetchFolder(const FetchFolder&) = delete;
  FetchFolder& operator=(const FetchFolder&) = delete;
  ~FetchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  os::Cleanup cleanup_;
};

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at{folder, error}, end; !error && at != end; at.increment(error))
    found.push_back(at->path());
  std::ranges::sort(found);
  return found;
}

// boot/vmlinuz-RELEASE; lib/modules/RELEASE/vmlinuz since Debian's 7.x.
std::optional<fs::path> image_in(const fs::path& root) {
  for (const fs::path& path : entries_of(root / "boot"))
    if (path.filename().string().starts_with("vmlinuz-")) return path;
  for (const fs::path& path : entries_of(root / "lib/modules"))
    if (fs::exists(path / "vmlinuz")) return path / "vmlinuz";
  return std::nullopt;
}

std::optional<fs::path> modules_in(const fs::path& root) {
  for (const fs::path& path : entries_of(root / "lib/modules"))
    if (fs::is_directory(path)) return path;
  return std::nullopt;
}

OrError<std::string> hash_of(const fs::path& path) {
  return to_hex(crypt::sha256(CBIT_TRY(read_file(path, package_bytes_max))));
}

// nullopt: it is not there, or not as it was written.
std::optional<DebianKernel> cached_kernel(const fs::path& root) {
  const auto origin = read_file(root / "origin", origin_bytes_max);
  if (!origin) return std::nullopt;
  const Stanza stanza = parse_stanza({reinterpret_cast<const char*>(origin->data()), origin->size()});
  const auto image = image_in(root);
  const auto modules = modules_in(root);
  if (!image || !modules) return std::nullopt;
  const auto hash = hash_of(*image);
  if (!hash || *hash != field(stanza, "Image-SHA256")) return std::nullopt;
  return DebianKernel{.release = modules->filename().string(),
                      .image = *image,
                      .modules = *modules,
                      .origin = field(stanza, "Packages")};
}

// Errors: it cannot be started, or does not come to an end. How it ended is in its status.
OrError<os::ProgramEnd> ask_apt(const DebianKernelOptions& options, const std::vector<std::string>& words,
                                const fs::path& folder) {
  constexpr std::size_t stream_bytes_max = 16 << 20;
  auto answer = os::run_program({.words = words,
                                 .environment = {"LC_ALL=C"},
                                 .folder = folder.string(),
                                 .package = "apt",
                                 .time_max = options.timeout,
                                 .output_max = stream_bytes_max,
                                 .errors_max = stream_bytes_max});
  if (!answer) return no_kernel_to_be_had(answer.error().message, "run this on Debian or Ubuntu");
  switch (answer->fate) {
    case os::ProgramFate::exited: return std::move(*answer);
    case os::ProgramFate::killed:
    case os::ProgramFate::too_much: break;
    case os::ProgramFate::too_slow:
      return no_kernel_to_be_had(
          fmt::format("{} had not ended after {} s", words.front(),
                      std::chrono::duration_cast<std::chrono::seconds>(options.timeout).count()),
          "see whether apt works by hand");
  }
  return no_kernel_to_be_had(fmt::format("{} did not end as it should", words.front()),
                             "see whether apt works by hand");
}

OrError<Stanza> show(const DebianKernelOptions& options, const std::string& package, const fs::path& folder) {
  const os::ProgramEnd answer =
      CBIT_TRY(ask_apt(options, {options.apt_cache, "show", "--no-all-versions", package}, folder));
  Stanza stanza = parse_stanza(answer.output);
  if (answer.status != 0 || field(stanza, "SHA256").empty() || field(stanza, "Version").empty())
    return no_kernel_to_be_had(fmt::format("apt knows no package {}", package),
                               "run `apt-get update` as root if its lists are old or missing");
  return stanza;
}

struct Part {
  std::string package;
  std::string version;
  std::string sha256;
};

// The package and what it consists of.
OrError<std::vector<Part>> parts_of(const DebianKernelOptions& options, const fs::path& folder) {
  constexpr std::size_t parts_max = 8;
  std::vector<std::string> names{options.package};
  std::vector<Part> parts;
  for (std::size_t i = 0; i < names.size() && i < parts_max; ++i) {
    const Stanza stanza = CBIT_TRY(show(options, names[i], folder));
    parts.push_back({names[i], field(stanza, "Version"), field(stanza, "SHA256")});
    for (std::string& name : kernel_parts(field(stanza, "Depends")))
      if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  return parts;
}

void tell(const DebianKernelOptions& options, std::string_view what, const Part& part) {
  if (options.on_progress) options.on_progress(fmt::format("{} {}", what, part.package));
}

OrError<fs::path> download(const DebianKernelOptions& options, const Part& part, const fs::path& folder) {
  tell(options, "downloading", part);
  std::error_code error;
  fs::create_directories(folder, error);
  const os::ProgramEnd answer = CBIT_TRY(
      ask_apt(options,
              {options.apt_get, "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=30", "-o",
               "Acquire::https::Timeout=30", "download", fmt::format("{}={}", part.package, part.version)},
              folder));
  const std::vector<fs::path> files = entries_of(folder);
  if (answer.status != 0 || files.size() != 1)
    return no_kernel_to_be_had(
        fmt::format("apt-get download {}: {}", part.package, last_line(answer.errors)),
        "look after the network; if apt's lists are older than the archive, run `apt-get update` as root");
  if (const std::string hash = CBIT_TRY(hash_of(files.front())); hash != part.sha256)
    return no_kernel_to_be_had(fmt::format("{} is not what apt's lists promise: SHA-256 {} instead of {}",
                                           files.front().filename().string(), hash, part.sha256),
                               "fetch again later");
  return files.front();
}

bool belongs_to_kernel(std::string_view path) {
  return path.starts_with("boot/") || path.starts_with("lib/modules/") ||
         path.starts_with("usr/lib/modules/");
}

// usr/lib/modules where the package has it is lib/modules here.
void unite_usr(const fs::path& root) {
  std::error_code ignored;
  if (!fs::exists(root / "usr/lib/modules")) return;
  fs::create_directories(root / "lib", ignored);
  fs::rename(root / "usr/lib/modules", root / "lib/modules", ignored);
  fs::remove_all(root / "usr", ignored);
}

OrError<void> write_origin(const fs::path& root, std::span<const Part> parts) {
  std::string packages;
  for (const Part& part : parts)
    packages += fmt::format("{}{} {}", packages.empty() ? "" : ", ", part.package, part.version);
  const auto image = image_in(root);
  if (!image || !modules_in(root))
    return no_kernel_to_be_had(fmt::format("{} hold no kernel with modules", packages),
                               "name another package");
  std::ofstream file{root / "origin"};
  file << "Packages: " << packages << "\nImage-SHA256: " << CBIT_TRY(hash_of(*image)) << '\n';
  file.close();
  if (!file) return no_kernel_to_be_had("the cache cannot be written", "make space");
  return {};
}

OrError<void> fetch(const DebianKernelOptions& options, const fs::path& kernels, const fs::path& final_root) {
  const FetchFolder work{kernels / ".fetch"};
  std::error_code error;
  fs::remove_all(work.path(), error);  // of one that was interrupted
  fs::create_directories(work.path() / "root", error);
  if (error)
    return no_kernel_to_be_had(fmt::format("{}: {}", work.path().string(), error.message()),
                               "set XDG_CACHE_HOME to a folder that can be written");
  const std::vector<Part> parts = CBIT_TRY(parts_of(options, work.path()));
  for (const Part& part : parts) {
    const fs::path package = CBIT_TRY(download(options, part, work.path() / part.package));
    tell(options, "unpacking", part);
    CBIT_TRY(extract_deb(package, work.path() / "root", belongs_to_kernel));
    fs::remove(package, error);
  }
  unite_usr(work.path() / "root");
  CBIT_TRY(write_origin(work.path() / "root", parts));
  fs::remove_all(final_root, error);
  fs::rename(work.path() / "root", final_root, error);
  if (error) return no_kernel_to_be_had(error.message(), "look after the cache folder");
  return {};
}

}  // namespace

OrError<fs::path> user_cache() {
  const auto from = [](const char* variable) -> fs::path {
    const char* const value = std::getenv(variable);
    return value != nullptr ? value : "";
  };
  // XDG Base Directory Specification: relative paths are to be ignored.
  if (const fs::path cache = from("XDG_CACHE_HOME"); cache.is_absolute()) return cache / "cbit";
  if (const fs::path home = from("HOME"); home.is_absolute()) return home / ".cache/cbit";
  return usage_error("there is no folder for a cache: neither XDG_CACHE_HOME nor HOME is set",
                     "set XDG_CACHE_HOME");
}

Stanza parse_stanza(std::string_view text) {
  Stanza stanza;
  while (!text.empty() && text.front() != '\n') {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t colon = line.find(": ");
    if (colon != std::string_view::npos && line.front() != ' ')
      stanza.emplace(line.substr(0, colon), line.substr(colon + 2));
  }
  return stanza;
}

std::vector<std::string> kernel_parts(std::string_view depends) {
  std::vector<std::string> parts;
  while (!depends.empty()) {
    const std::size_t comma = std::min(depends.find(','), depends.size());
    std::string_view name = depends.substr(0, comma);
    depends.remove_prefix(std::min(comma + 1, depends.size()));
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    name = name.substr(0, name.find_first_of(" |(:"));
    for (const std::string_view kind : {"linux-image-", "linux-binary-", "linux-modules-"})
      if (name.starts_with(kind)) parts.emplace_back(name);
  }
  return parts;
}

OrError<DebianKernel> find_debian_kernel(const DebianKernelOptions& options) {
  const fs::path kernels = options.cache / "kernels";
  const fs::path root = kernels / options.package;
  if (!options.refresh)
    if (auto cached = cached_kernel(root)) return *cached;
  std::error_code error;
  fs::create_directories(kernels, error);
  const FolderLock lock{kernels};
  if (error || !lock.held())
    return no_kernel_to_be_had(fmt::format("{} cannot be written", kernels.string()),
                               "set XDG_CACHE_HOME to a folder that can be written");
  // Another process may have been faster.
  if (!options.refresh)
    if (auto cached = cached_kernel(root)) return *cached;
  CBIT_TRY(fetch(options, kernels, root));
  auto fetched = cached_kernel(root);
  if (!fetched) return no_kernel_to_be_had("the cache changed meanwhile", "try again");
  fetched->fetched = true;
  return *fetched;
}

}  // namespace cbit::boot
