#include "guest/kernel_cache.hpp"

#include <algorithm>
#include <vector>

#include "base/state_stream.hpp"
#include "crypt/sha256.hpp"
#include "os/file_io.hpp"
#include "os/input_file.hpp"
#include "os/output_file.hpp"

namespace cbit::guest {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t file_bytes_max = 256 << 20;
constexpr std::size_t build_bytes_max = 256;
constexpr std::size_t digest_bytes = sizeof(crypt::Sha256Digest);

std::string digest_of(ConstByteSpan bytes) { return to_hex(crypt::sha256(bytes)); }

// Empty: there is none that is whole.
Bytes read_kept(const fs::path& path) {
  const auto file =
      os::InputFile::open(path, {.what = "what a kernel's file tells", .bytes_max = file_bytes_max});
  if (!file || file->bytes() <= digest_bytes) return {};
  Bytes bytes(file->bytes());
  if (!os::read_at(file->fd(), 0, bytes)) return {};
  const auto digest = crypt::sha256(ConstByteSpan{bytes}.subspan(digest_bytes));
  return std::ranges::equal(digest, ConstByteSpan{bytes}.first(digest_bytes)) ? std::move(bytes) : Bytes{};
}

}  // namespace

OrError<std::unique_ptr<linux::Kernel>> KernelCache::open(const Bytes& file, std::string_view name,
                                                          linux::SourceLines lines) const {
  if (folder_.empty() || build_.empty() || linux::is_elf(file))
    return linux::Kernel::open(file, name, std::move(lines));
  const fs::path kept = folder_ / digest_of(file);
  if (auto kernel = load(kept, std::move(lines))) return kernel;
  auto kernel = CBIT_TRY(linux::Kernel::open(file, name, std::move(lines)));
  save(kept, *kernel);
  return kernel;
}

// The lines are taken only if there is a kernel that they belong to.
std::unique_ptr<linux::Kernel> KernelCache::load(const fs::path& kept, linux::SourceLines&& lines) const {
  const Bytes bytes = read_kept(kept);
  if (bytes.empty()) return nullptr;
  StateStream s{ConstByteSpan{bytes}.subspan(digest_bytes)};
  std::string build;
  s.text(build, build_bytes_max);
  if (build != build_) return nullptr;
  auto kernel = linux::Kernel::load(s, std::move(lines));
  std::error_code ignored;
  if (kernel) fs::last_write_time(kept, fs::file_time_type::clock::now(), ignored);
  return kernel;
}

void KernelCache::save(const fs::path& kept, linux::Kernel& kernel) const {
  StateStream s;
  std::string build = build_;
  s.text(build, build_bytes_max);
  kernel.save(s);
  if (!s.good() || s.bytes().size() > file_bytes_max - digest_bytes) return;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) return;
  auto file = os::NewFile::create(kept);
  if (!file || !os::write_at(file->fd(), 0, crypt::sha256(s.bytes())) ||
      !os::write_at(file->fd(), digest_bytes, s.bytes()) || !file->commit())
    return;
  remove_oldest();
}

void KernelCache::remove_oldest() const {
  struct Kept {
    fs::file_time_type used;
    fs::path path;
  };
  std::vector<Kept> files;
  std::error_code error;
  for (fs::directory_iterator at{folder_, error}, end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const fs::file_time_type used = fs::last_write_time(at->path(), gone);
    if (!gone && at->path().filename().string().size() == 2 * digest_bytes)
      files.push_back({used, at->path()});
  }
  std::ranges::sort(files, std::ranges::greater{}, &Kept::used);
  for (std::size_t i = files_max; i < files.size(); ++i) fs::remove(files[i].path, error);
}

}  // namespace cbit::guest
