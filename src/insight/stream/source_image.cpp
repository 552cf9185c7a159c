#include "stream/source_image.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "stream/process.hpp"
#include "stream/temporary_folder.hpp"

namespace cbit::stream {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view uuid = "6362697d-0000-4000-8000-000000000001";
const std::vector<std::string> environment{"E2FSPROGS_FAKE_TIME=1700000000"};

// A word of a command of debugfs (libss: parse.c).
std::string debugfs_word(std::string_view text) {
  std::string word = "\"";
  for (const char c : text) word += c == '"' ? std::string{"\"\""} : std::string{c};
  return word + '"';
}

// The regular files of a folder, without following links.
OrError<FileDigests> digest_folder(const std::string& folder) {
  FileDigests digests;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator{folder, error};
       entry != fs::recursive_directory_iterator{}; entry.increment(error)) {
    if (error) break;
    if (entry->is_symlink(error) || !entry->is_regular_file(error)) continue;
    digests[fs::relative(entry->path(), folder, error).string()] =
        CBIT_TRY(digest_file(entry->path().string()));
  }
  if (error)
    return bad_input(fmt::format("cannot read the folder {}: {}", folder, error.message()),
                     "name a folder that can be read");
  return digests;
}

// The same files give the same image.
OrError<void> build_image(const std::string& image, const std::string& folder, std::uint64_t bytes) {
  return run_program({"mke2fs", "-q", "-F", "-t", "ext4", "-U", std::string{uuid}, "-E",
                      fmt::format("hash_seed={},root_owner=0:0", uuid), "-d", folder, image,
                      fmt::format("{}k", bytes >> 10)},
                     environment, "e2fsprogs");
}

// Checks the file system, and reads its files back.
OrError<FileDigests> digest_image(const std::string& image) {
  CBIT_TRY(run_program({"e2fsck", "-f", "-n", image}, environment, "e2fsprogs"));
  const TemporaryFolder folder = CBIT_TRY(TemporaryFolder::create());
  const std::string command = fmt::format("rdump / {}", debugfs_word(folder.path()));
  CBIT_TRY(run_program({"debugfs", "-R", command, image}, environment, "e2fsprogs"));
  return digest_folder(folder.path());
}

}  // namespace

OrError<crypt::Sha256Digest> digest_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) return bad_input(fmt::format("cannot read {}", path), "check the path and its permissions");
  crypt::Sha256 hash;
  Bytes buffer(1 << 20);
  while (file) {
    file.read(reinterpret_cast<char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
    hash.update(ConstByteSpan{buffer}.first(static_cast<std::size_t>(file.gcount())));
  }
  if (file.bad()) return bad_input(fmt::format("cannot read {} to its end", path), "check the disk it is on");
  return hash.finish();
}

OrError<SourceImage> SourceImage::open(const SourceOptions& options, const TemporaryFolder& folder) {
  if (!options.image.empty()) return SourceImage{options.image, {}};
  SourceImage source{folder.path() + "/source.img", CBIT_TRY(digest_folder(options.files))};
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
