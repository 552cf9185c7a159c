#include "boot/initramfs/archive.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/archive_handles.hpp"

namespace cbit::boot {
namespace {

bool is_inside_root(std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos) return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

la_ssize_t append_packed(archive*, void* to, const void* bytes, std::size_t size) {
  const auto* const first = static_cast<const std::byte*>(bytes);
  auto* const packed = static_cast<Bytes*>(to);
  packed->insert(packed->end(), first, first + size);
  return static_cast<la_ssize_t>(size);
}

tl::unexpected<Error> not_packed(archive* a, std::string_view path) {
  return bad_input(fmt::format("cannot put {} into the initramfs: {}", path, archive_trouble(a)));
}

}  // namespace

OrError<void> InitramfsArchive::add(std::string_view path, Node node) {
  if (!is_inside_root(path))
    return bad_input(fmt::format("'{}' is no path in an initramfs", path),
                     "write it from the root without a slash in front, and without . or ..");
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    const auto above = nodes_.try_emplace(std::string{path.substr(0, slash)}, Node{0755, Folder{}}).first;
    if (!std::holds_alternative<Folder>(above->second.what))
      return bad_input(
          fmt::format("{} cannot be in the initramfs: {} is no folder there", path, above->first));
  }
  const bool folder = std::holds_alternative<Folder>(node.what);
  const auto [at, added] = nodes_.try_emplace(std::string{path}, std::move(node));
  if (added || (folder && std::holds_alternative<Folder>(at->second.what))) return {};
  return bad_input(fmt::format("the initramfs would have {} twice", path), "give one of them another name");
}

OrError<void> InitramfsArchive::add_folder(std::string_view path, unsigned mode) {
  return add(path, {mode, Folder{}});
}

OrError<void> InitramfsArchive::add_file(std::string_view path, Bytes contents, unsigned mode) {
  return add(path, {mode, File{std::move(contents)}});
}

OrError<void> InitramfsArchive::add_link(std::string_view path, std::string_view target) {
  return add(path, {0777, Link{std::string{target}}});
}

OrError<void> InitramfsArchive::add_character_device(std::string_view path, unsigned major, unsigned minor,
                                                     unsigned mode) {
  return add(path, {mode, CharacterDevice{major, minor}});
}

OrError<Bytes> InitramfsArchive::pack() const {
  Bytes packed;
  const ArchiveHandle a{archive_write_new()};
  const EntryHandle e{archive_entry_new()};
  archive_write_set_format_cpio_newc(a.get());
  archive_write_set_bytes_per_block(a.get(), 0);
  archive_write_open(a.get(), &packed, nullptr, append_packed, nullptr);
  la_int64_t inode = 1;
  for (const auto& [path, node] : nodes_) {
    archive_entry_clear(e.get());
    archive_entry_set_pathname(e.get(), path.c_str());
    archive_entry_set_perm(e.get(), static_cast<__LA_MODE_T>(node.mode));
    archive_entry_set_mtime(e.get(), 0, 0);
    archive_entry_set_ino64(e.get(), inode++);
    archive_entry_set_nlink(e.get(), 1);
    ConstByteSpan contents;
    if (std::holds_alternative<Folder>(node.what)) {
      archive_entry_set_filetype(e.get(), AE_IFDIR);
    } else if (const auto* file = std::get_if<File>(&node.what)) {
      archive_entry_set_filetype(e.get(), AE_IFREG);
      contents = file->contents;
    } else if (const auto* link = std::get_if<Link>(&node.what)) {
      archive_entry_set_filetype(e.get(), AE_IFLNK);
      archive_entry_set_symlink(e.get(), link->target.c_str());
    } else {
      const auto& device = std::get<CharacterDevice>(node.what);
      archive_entry_set_filetype(e.get(), AE_IFCHR);
      archive_entry_set_rdevmajor(e.get(), device.major);
      archive_entry_set_rdevminor(e.get(), device.minor);
    }
    archive_entry_set_size(e.get(), static_cast<la_int64_t>(contents.size()));
    if (archive_write_header(a.get(), e.get()) != ARCHIVE_OK) return not_packed(a.get(), path);
    if (!contents.empty() && archive_write_data(a.get(), contents.data(), contents.size()) !=
                                 static_cast<la_ssize_t>(contents.size()))
      return not_packed(a.get(), path);
  }
  if (archive_write_close(a.get()) != ARCHIVE_OK) return not_packed(a.get(), "its end");
  return packed;
}

}  // namespace cbit::boot
