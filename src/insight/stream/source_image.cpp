#include "stream/source_image.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "os/input_file.hpp"
#include "os/program.hpp"

namespace cbit::stream {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view uuid = "6362697d-0000-4000-8000-000000000001";
const std::vector<std::string> environment{"E2FSPROGS_FAKE_TIME=1700000000"};

std::string name_of(const std::string& path) { return fs::path{path}.filename().string(); }
std::string folder_of(const std::string& path) { return fs::absolute(path).parent_path().string(); }

// The regular files of a folder, without following links; they have at most `bytes_max` in all.
OrError<FileDigests> digest_folder(const std::string& folder, std::uint64_t bytes_max) {
  FileDigests digests;
  std::error_code error;
  std::uint64_t bytes = 0;
  for (auto entry = fs::recursive_directory_iterator{folder, error};
       entry != fs::recursive_directory_iterator{}; entry.increment(error)) {
    if (error) break;
    if (entry->is_symlink(error) || !entry->is_regular_file(error)) continue;
    bytes += entry->file_size(error);
    if (bytes > bytes_max)
      return bad_input(fmt::format("the files of {} have more than {} MiB", folder, bytes_max >> 20),
                       "name a smaller folder with --files, or use a larger --image-size");
    digests[fs::relative(entry->path(), folder, error).string()] =
        CBIT_TRY(digest_file(entry->path().string(), bytes_max));
  }
  if (error)
    return bad_input(fmt::format("cannot read the folder {}: {}", folder, error.message()),
                     "name a folder that can be read");
  return digests;
}

OrError<void> run_tool(std::vector<std::string> words, std::string folder) {
  const std::string line = fmt::format("{}", fmt::join(words, " "));
  const os::ProgramEnd end = CBIT_TRY(os::run_program({.words = std::move(words),
                                                       .environment = environment,
                                                       .folder = std::move(folder),
                                                       .package = "e2fsprogs"}));
  if (end.fate == os::ProgramFate::too_slow)
    return bad_input(fmt::format("{} did not end within ten minutes", line), "use a smaller image");
  if (!end.succeeded())
    return bad_input(fmt::format("{} failed", line), "make room in TMPDIR, or run it by hand to see why");
  return {};
}

// The same files give the same image. File names reach the tools as words or as the folder that they run in,
// never within a line of theirs.
OrError<void> build_image(const std::string& image, const std::string& folder, std::uint64_t bytes) {
  return run_tool({"mke2fs", "-q", "-F", "-t", "ext4", "-U", std::string{uuid}, "-E",
                   fmt::format("hash_seed={},root_owner=0:0", uuid), "-d", fs::absolute(folder).string(),
                   name_of(image), fmt::format("{}k", bytes >> 10)},
                  folder_of(image));
}

// Checks the file system, and reads its files back.
OrError<FileDigests> digest_image(const std::string& image) {
  const os::TemporaryFolder folder = CBIT_TRY(os::TemporaryFolder::create("cbit-files"));
  const std::string link = folder.path() + "/image", files = folder.path() + "/files";
  std::error_code error;
  fs::create_symlink(fs::absolute(image), link, error);
  if (!error) fs::create_directory(files, error);
  if (error) return bad_input(fmt::format("cannot use {}: {}", folder.path(), error.message()), "set TMPDIR");
  CBIT_TRY(run_tool({"e2fsck", "-f", "-n", "image"}, folder.path()));
  CBIT_TRY(run_tool({"debugfs", "-R", "rdump / files", "image"}, folder.path()));
  return digest_folder(files, image_bytes_max);
}

}  // namespace

OrError<crypt::Sha256Digest> digest_file(const std::string& path, std::uint64_t bytes_max) {
  os::InputFile file = CBIT_TRY(os::InputFile::open(
      path, {.what = "what is put into the image", .remedy = "check the path", .bytes_max = bytes_max}));
  crypt::Sha256 hash;
  Bytes buffer(1 << 20);
  for (;;) {
    const std::size_t n = CBIT_TRY(file.read(buffer));
    if (n == 0) return hash.finish();
    hash.update(ConstByteSpan{buffer}.first(n));
  }
}

OrError<SourceImage> SourceImage::open(const SourceOptions& options, const os::TemporaryFolder& folder) {
  if (!options.image.empty()) return SourceImage{options.image, {}};
  SourceImage source{folder.path() + "/source.img", CBIT_TRY(digest_folder(options.files, options.bytes))};
  CBIT_TRY(build_image(source.path(), options.files, options.bytes));
  return source;
}

OrError<FilesFound> SourceImage::find_files_in(const std::string& image) const {
  if (files_.empty()) return FilesFound{};
  const FileDigests found = CBIT_TRY(digest_image(image));
  FilesFound result{.total = files_.size()};
  for (const auto& [name, digest] : files_) {
    const auto there = found.find(name);
    if (there != found.end() && there->second == digest) ++result.equal;
  }
  return result;
}

}  // namespace cbit::stream
