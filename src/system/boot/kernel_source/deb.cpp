#include "boot/kernel_source/deb.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <fstream>

#include "boot/archive_handles.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;

// The archive inside: what it reads is the current entry of the archive outside.
struct Inner {
  archive* outside;
  std::array<std::byte, 1 << 16> part;
};

la_ssize_t read_outside(archive* a, void* from, const void** bytes) {
  auto* const inner = static_cast<Inner*>(from);
  *bytes = inner->part.data();
  const la_ssize_t now = archive_read_data(inner->outside, inner->part.data(), inner->part.size());
  if (now < 0) archive_set_error(a, EIO, "%s", archive_error_string(inner->outside));
  return now;
}

tl::unexpected<Error> damaged(const fs::path& package, std::string_view why) {
  return bad_input(fmt::format("cannot unpack {}: {}", package.filename().string(), why),
                   "get the package again (remove the cache folder), and look for space on the disk");
}

// "./boot/vmlinuz" → "boot/vmlinuz"; empty: not below the root.
std::string_view inside(const char* name) {
  std::string_view path = name != nullptr ? name : "";
  if (path.starts_with("./")) path.remove_prefix(2);
  if (path.starts_with('/')) return {};
  for (const fs::path& part : fs::path{path})
    if (part == "..") return {};
  return path;
}

OrError<void> write_entry(archive* a, const fs::path& path, const fs::path& package) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream file{path, std::ios::binary};
  std::array<char, 1 << 16> part;
  la_ssize_t now = 0;
  while (file && (now = archive_read_data(a, part.data(), part.size())) > 0) file.write(part.data(), now);
  if (now < 0) return damaged(package, archive_trouble(a));
  file.close();
  if (!file) return damaged(package, fmt::format("{} cannot be written", path.string()));
  return {};
}

OrError<void> extract_data(archive* outside, const fs::path& package, const fs::path& to,
                           const std::function<bool(std::string_view)>& wanted) {
  Inner inner{outside, {}};
  const ArchiveHandle a{archive_read_new()};
  archive_read_support_filter_all(a.get());
  archive_read_support_format_tar(a.get());
  if (archive_read_open(a.get(), &inner, nullptr, read_outside, nullptr) != ARCHIVE_OK)
    return damaged(package, archive_trouble(a.get()));
  archive_entry* e = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(a.get(), &e)) == ARCHIVE_OK) {
    const std::string_view path = inside(archive_entry_pathname(e));
    const bool regular = archive_entry_filetype(e) == AE_IFREG && archive_entry_hardlink(e) == nullptr;
    if (regular && !path.empty() && wanted(path)) CBIT_TRY(write_entry(a.get(), to / path, package));
  }
  if (status != ARCHIVE_EOF) return damaged(package, archive_trouble(a.get()));
  return {};
}

}  // namespace

OrError<void> extract_deb(const fs::path& package, const fs::path& to,
                          const std::function<bool(std::string_view)>& wanted) {
  constexpr std::size_t block_bytes = 1 << 16;
  const ArchiveHandle a{archive_read_new()};
  archive_read_support_format_ar(a.get());
  if (archive_read_open_filename(a.get(), package.c_str(), block_bytes) != ARCHIVE_OK)
    return damaged(package, archive_trouble(a.get()));
  archive_entry* e = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(a.get(), &e)) == ARCHIVE_OK)
    if (std::string_view{archive_entry_pathname(e)}.starts_with("data.tar"))
      return extract_data(a.get(), package, to, wanted);
  return damaged(package, status == ARCHIVE_EOF ? "it has no data.tar" : archive_trouble(a.get()));
}

}  // namespace cbit::boot
