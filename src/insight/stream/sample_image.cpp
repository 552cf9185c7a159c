#include "stream/sample_image.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "stream/process.hpp"

namespace cbit::stream {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view uuid = "6362697d-0000-4000-8000-000000000001";
// mke2fs and its relatives live where an ordinary user's PATH does not look.
const std::vector<std::string> environment{"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                           "E2FSPROGS_FAKE_TIME=1700000000"};

}  // namespace

OrError<TemporaryFolder> TemporaryFolder::create() {
  std::error_code error;
  std::string pattern = (fs::temp_directory_path(error) / "cbit-XXXXXX").string();
  if (error || mkdtemp(pattern.data()) == nullptr)
    return bad_input("cannot create a temporary folder", "set TMPDIR to a folder that can be written to");
  return TemporaryFolder{pattern};
}

TemporaryFolder::TemporaryFolder(TemporaryFolder&& other) noexcept : path_{std::exchange(other.path_, {})} {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

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

OrError<void> build_image(const std::string& image, const std::string& folder, std::uint64_t bytes) {
  return run_program({"mke2fs", "-q", "-F", "-t", "ext4", "-U", std::string{uuid}, "-E",
                      fmt::format("hash_seed={},root_owner=0:0", uuid), "-d", folder, image,
                      fmt::format("{}k", bytes >> 10)},
                     environment, "e2fsprogs");
}

OrError<FileDigests> digest_image(const std::string& image) {
  CBIT_TRY(run_program({"e2fsck", "-f", "-n", image}, environment, "e2fsprogs"));
  const TemporaryFolder folder = CBIT_TRY(TemporaryFolder::create());
  CBIT_TRY(run_program({"debugfs", "-R", fmt::format("rdump / {}", folder.path()), image}, environment,
                       "e2fsprogs"));
  return digest_folder(folder.path());
}

}  // namespace cbit::stream
