#include "facts/capture_archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/text.hpp"
#include "facts/rooted_open.hpp"
#include "os/input_file.hpp"

namespace cbit::facts {
namespace {

struct CloseArchive {
  void operator()(archive* a) const { archive_free(a); }
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;
using EntryPtr = std::unique_ptr<archive_entry, CloseArchive>;

constexpr std::size_t path_bytes_max = 1024;
constexpr std::size_t name_bytes_max = 255;  // NAME_MAX
constexpr std::size_t depth_max = 64;
constexpr std::string_view damaged_hint =
    "take an archive that `cbit doctor --capture FILE.tar.zst` made, or a folder";

// ---- packing

tl::unexpected<Error> cannot_pack(archive* a) {
  const char* const why = archive_error_string(a);
  return tl::unexpected{Error{fmt::format("cannot pack the capture: {}", why != nullptr ? why : "no memory"),
                              "free some memory", ExitCode::internal}};
}

la_ssize_t append(archive*, void* out, const void* data, std::size_t bytes) {
  static_cast<std::string*>(out)->append(static_cast<const char*>(data), bytes);
  return static_cast<la_ssize_t>(bytes);
}

void describe_entry(archive_entry* e, const std::string& path, const CaptureEntry& entry) {
  archive_entry_clear(e);
  archive_entry_set_pathname(e, path.c_str());
  switch (entry.kind) {
    case CaptureKind::file:
      archive_entry_set_filetype(e, AE_IFREG);
      archive_entry_set_perm(e, 0644);
      archive_entry_set_size(e, static_cast<la_int64_t>(entry.content.size()));
      break;
    case CaptureKind::folder:
      archive_entry_set_filetype(e, AE_IFDIR);
      archive_entry_set_perm(e, 0755);
      break;
    case CaptureKind::link:
      archive_entry_set_filetype(e, AE_IFLNK);
      archive_entry_set_perm(e, 0777);
      archive_entry_set_symlink(e, entry.content.c_str());
      break;
  }
  archive_entry_set_mtime(e, 0, 0);
}

// ---- reading

tl::unexpected<Error> refuse(const std::string& name, std::string_view path, std::string_view why) {
  return bad_input(fmt::format("{}: {}: {}", name, printable(path), why), std::string{damaged_hint});
}

// A path that stays below the root; "" for the root itself. Errors say what is wrong with it.
Result<std::string, std::string_view> checked_path(std::string_view path) {
  constexpr std::string_view nul{"\0", 1};
  if (path.starts_with('/')) return tl::unexpected{std::string_view{"an absolute path"}};
  if (path.size() > path_bytes_max) return tl::unexpected{std::string_view{"a path that is too long"}};
  if (path.find(nul) != std::string_view::npos) return tl::unexpected{std::string_view{"a path with a NUL"}};
  std::string clean;
  std::size_t depth = 0;
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(part.size() + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return tl::unexpected{std::string_view{"a path that leads out"}};
    if (part.size() > name_bytes_max) return tl::unexpected{std::string_view{"a name that is too long"}};
    if (++depth > depth_max) return tl::unexpected{std::string_view{"a path that is too deep"}};
    clean += clean.empty() ? "" : "/";
    clean += part;
  }
  return clean;
}

// A link's target, as seen from its folder, stays below the root.
bool leads_out(std::string_view link, std::string_view target) {
  if (target.empty() || target.starts_with('/') || target.size() > path_bytes_max) return true;
  auto depth = std::ranges::count(link, '/');
  while (!target.empty()) {
    const std::string_view part = target.substr(0, target.find('/'));
    target.remove_prefix(std::min(part.size() + 1, target.size()));
    if (part == "..") {
      if (--depth < 0) return true;
    } else if (!part.empty() && part != ".") {
      ++depth;
    }
  }
  return false;
}

class Reader {
 public:
  Reader(const std::string& name, const UnpackLimits& limits) : name_{name}, limits_{limits} {}

  OrError<Capture> read(std::string_view bytes) {
    const ArchivePtr a{archive_read_new()};
    archive_read_support_format_tar(a.get());
    archive_read_support_filter_zstd(a.get());
    archive_read_support_filter_gzip(a.get());
    if (archive_read_open_memory(a.get(), bytes.data(), bytes.size()) != ARCHIVE_OK)
      return no_archive(a.get());
    for (;;) {
      archive_entry* e = nullptr;
      const int status = archive_read_next_header(a.get(), &e);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return no_archive(a.get());
      CBIT_TRY(take(a.get(), e));
    }
    if (capture_.empty()) return bad_input(fmt::format("{} is empty", name_), std::string{damaged_hint});
    CBIT_TRY(check_parents());
    return std::move(capture_);
  }

 private:
  tl::unexpected<Error> no_archive(archive* a) const {
    const char* const why = archive_error_string(a);
    return bad_input(fmt::format("{} is no tar archive, or it is damaged: {}", name_,
                                 printable(why != nullptr ? why : "it ends early")),
                     std::string{damaged_hint});
  }

  OrError<void> take(archive* a, archive_entry* e) {
    const char* const raw = archive_entry_pathname(e);
    const std::string_view shown = raw != nullptr ? raw : "";
    if (raw == nullptr) return refuse(name_, "an entry", "has no name");
    const auto path = checked_path(shown);
    if (!path) return refuse(name_, shown, path.error());
    if (capture_.size() >= limits_.entries) return refuse(name_, shown, "too many entries");
    CaptureEntry entry = CBIT_TRY(entry_of(a, e, *path));
    if (path->empty()) return {};  // "./"
    const auto [at, added] = capture_.emplace(*path, std::move(entry));
    const bool folder_again =
        !added && at->second.kind == CaptureKind::folder && archive_entry_filetype(e) == AE_IFDIR;
    if (!added && !folder_again) return refuse(name_, shown, "comes twice");
    return {};
  }

  OrError<CaptureEntry> entry_of(archive* a, archive_entry* e, const std::string& path) {
    if (archive_entry_hardlink(e) != nullptr) return refuse(name_, path, "a hard link");
    switch (archive_entry_filetype(e)) {
      case AE_IFDIR: return CaptureEntry{CaptureKind::folder, {}, 0};
      case AE_IFREG: {
        if (path.empty()) return refuse(name_, ".", "a file without a name");
        return CaptureEntry{CaptureKind::file, CBIT_TRY(content_of(a, path)), 0};
      }
      case AE_IFLNK: {
        const char* const target = archive_entry_symlink(e);
        if (path.empty() || target == nullptr || leads_out(path, target))
          return refuse(name_, path, "a link that leads out");
        return CaptureEntry{CaptureKind::link, target, 0};
      }
      default: return refuse(name_, path, "neither a file, a folder nor a link");
    }
  }

  // What is really there counts, not the size that the header claims.
  OrError<std::string> content_of(archive* a, const std::string& path) {
    std::string content;
    for (;;) {
      const void* block = nullptr;
      std::size_t bytes = 0;
      la_int64_t offset = 0;
      const int status = archive_read_data_block(a, &block, &bytes, &offset);
      if (status == ARCHIVE_EOF) return content;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return no_archive(a);
      // A sparse file has holes: the block does not follow the last one.
      if (offset != static_cast<la_int64_t>(content.size())) return refuse(name_, path, "a sparse file");
      total_ += bytes;
      if (content.size() + bytes > limits_.file_bytes || total_ > limits_.total_bytes)
        return refuse(name_, path, "more bytes than a capture holds");
      content.append(static_cast<const char*>(block), bytes);
    }
  }

  // Every folder on the way to an entry is one, and not a link or a file.
  OrError<void> check_parents() const {
    for (const auto& [path, entry] : capture_)
      for (std::size_t slash = path.find('/'); slash != std::string::npos;
           slash = path.find('/', slash + 1)) {
        const auto parent = capture_.find(std::string_view{path}.substr(0, slash));
        if (parent != capture_.end() && parent->second.kind != CaptureKind::folder)
          return refuse(name_, path, "lies below what is no folder");
      }
    return {};
  }

  const std::string& name_;
  const UnpackLimits& limits_;
  Capture capture_;
  std::uint64_t total_ = 0;
};

// ---- writing the tree

tl::unexpected<Error> no_room(const std::string& path, std::string_view why) {
  return tl::unexpected{Error{fmt::format("cannot unpack the capture into {}: {}", path, why),
                              "TMPDIR names the folder for temporary files; it needs room and rights",
                              ExitCode::output_failed}};
}

bool write_file(const std::string& path, const std::string& content) {
  const OpenFile out{
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  if (!out.is_open()) return false;
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t n =
        os::retry([&] { return ::write(out.fd(), content.data() + done, content.size() - done); });
    if (n < 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

// `capture` has been checked: its paths stay below, and no parent of an entry is a link.
OrError<void> write_tree(const Capture& capture, const std::string& root) {
  for (const auto& [path, entry] : capture) {
    const std::filesystem::path at = std::filesystem::path{root} / path;
    std::error_code error;
    std::filesystem::create_directories(entry.kind == CaptureKind::folder ? at : at.parent_path(), error);
    if (error) return no_room(root, error.message());
    const bool written =
        entry.kind == CaptureKind::folder ||
        (entry.kind == CaptureKind::link && ::symlink(entry.content.c_str(), at.c_str()) == 0) ||
        (entry.kind == CaptureKind::file && write_file(at, entry.content));
    if (!written) return no_room(root, std::strerror(errno));
  }
  return {};
}

// Where the tree lies: "" or, where somebody packed the folder and not what is in it, "/FOLDER".
OrError<std::string> tree_in(const Capture& capture, const std::string& file) {
  if (capture.contains("cbit/capture.json")) return std::string{};
  const std::string& first = capture.begin()->first;
  const std::string top = first.substr(0, first.find('/'));
  if (capture.contains(top + "/cbit/capture.json")) return "/" + top;
  return bad_input(fmt::format("{} is no capture: it has no cbit/capture.json", file),
                   std::string{damaged_hint});
}

}  // namespace

OrError<std::string> pack_capture(const Capture& capture) {
  std::string bytes;
  const ArchivePtr a{archive_write_new()};
  const EntryPtr e{archive_entry_new()};
  if (a == nullptr || e == nullptr) return cannot_pack(a.get());
  constexpr int whole_blocks = 1;  // the archive ends where its content does
  if (archive_write_set_format_pax_restricted(a.get()) != ARCHIVE_OK ||
      archive_write_add_filter_zstd(a.get()) != ARCHIVE_OK ||
      archive_write_set_bytes_in_last_block(a.get(), whole_blocks) != ARCHIVE_OK ||
      archive_write_open(a.get(), &bytes, nullptr, append, nullptr) != ARCHIVE_OK)
    return cannot_pack(a.get());
  for (const auto& [path, entry] : capture) {
    describe_entry(e.get(), path, entry);
    if (archive_write_header(a.get(), e.get()) != ARCHIVE_OK) return cannot_pack(a.get());
    const bool has_data = entry.kind == CaptureKind::file && !entry.content.empty();
    if (has_data && archive_write_data(a.get(), entry.content.data(), entry.content.size()) !=
                        static_cast<la_ssize_t>(entry.content.size()))
      return cannot_pack(a.get());
  }
  if (archive_write_close(a.get()) != ARCHIVE_OK) return cannot_pack(a.get());
  return bytes;
}

OrError<Capture> read_archive(std::string_view archive, const std::string& name, const UnpackLimits& limits) {
  return Reader{name, limits}.read(archive);
}

OrError<UnpackedCapture> UnpackedCapture::open(const std::string& file, const UnpackLimits& limits) {
  const std::string bytes = CBIT_TRY(
      os::read_input(file, {.what = "a capture", .remedy = damaged_hint, .bytes_max = limits.total_bytes}));
  const Capture capture = CBIT_TRY(read_archive(bytes, file, limits));
  std::string below = CBIT_TRY(tree_in(capture, file));
  UnpackedCapture unpacked{CBIT_TRY(os::TemporaryFolder::create("cbit-capture"))};
  CBIT_TRY(write_tree(capture, unpacked.folder_.path()));
  unpacked.below_ = std::move(below);
  return unpacked;
}

bool is_archive(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && !error;
}

OrError<OpenedTree> OpenedTree::open(const std::string& root) {
  if (!is_archive(root)) return OpenedTree{std::nullopt, CBIT_TRY(HostTree::open(root))};
  UnpackedCapture archive = CBIT_TRY(UnpackedCapture::open(root));
  HostTree tree = CBIT_TRY(HostTree::open(archive.root()));
  return OpenedTree{std::move(archive), std::move(tree)};
}

}  // namespace cbit::facts
