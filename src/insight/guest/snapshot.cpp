#include "guest/snapshot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/safe_text.hpp"
#include "base/state_stream.hpp"
#include "crypt/sha256.hpp"
#include "os/descriptor.hpp"
#include "os/file_io.hpp"
#include "os/input_file.hpp"
#include "os/output_file.hpp"

namespace cbit::guest {
namespace {

// Raised with each change of what is in a file.
constexpr std::uint32_t version = 1;
constexpr std::array<char, 8> magic{'c', 'b', 'i', 't', 's', 'n', 'a', 'p'};
constexpr std::uint64_t state_offset = page_size;
constexpr std::uint64_t state_bytes_max = 1ull << 30;
constexpr std::size_t facts_max = 256;
constexpr std::size_t fact_bytes_max = 64 << 10;
constexpr std::size_t write_bytes = 1 << 20;

struct Header {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t reserved;
  std::uint64_t state_bytes;
  crypt::Sha256Digest state_digest;
};
static_assert(sizeof(Header) == 56);

std::uint64_t memory_offset(std::uint64_t state_bytes) {
  return align_up(state_offset + state_bytes, page_size);
}

std::uint64_t ram_bytes(const mem::Memory& memory) {
  std::uint64_t bytes = 0;
  for (const mem::PhysRange& range : memory.ram()) bytes += range.bytes;
  return bytes;
}

// ---- writing --------------------------------------------------------------------------------------------

tl::unexpected<Error> cannot_write(const std::string& path) {
  return tl::unexpected<Error>{Error{fmt::format("{}: cannot be written: {}", path, std::strerror(errno)),
                                     "make room for it, or name another place", ExitCode::output_failed}};
}

// A file with holes where nothing is written.
class SparseWriter {
 public:
  SparseWriter(int fd, const std::string& path) : fd_{fd}, path_{&path} {}

  // In ascending order.
  OrError<void> put(std::uint64_t offset, ConstByteSpan bytes) {
    if (offset != at_ + waiting_.size() || waiting_.size() >= write_bytes) CBIT_TRY(flush());
    if (waiting_.empty()) at_ = offset;
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    return {};
  }
  OrError<void> finish(std::uint64_t file_bytes) {
    CBIT_TRY(flush());
    if (os::retry([&] { return ::ftruncate(fd_, static_cast<off_t>(file_bytes)); }) != 0)
      return cannot_write(*path_);
    return {};
  }

 private:
  OrError<void> flush() {
    if (!os::write_at(fd_, at_, waiting_)) return cannot_write(*path_);
    waiting_.clear();
    return {};
  }

  int fd_;
  const std::string* path_;
  std::uint64_t at_ = 0;  // of what waits
  Bytes waiting_;
};

OrError<void> write_memory(SparseWriter& file, const mem::Memory& memory, std::uint64_t offset) {
  const std::vector<PhysAddr> pages = memory.touched_pages();
  auto next = pages.begin();
  std::array<std::byte, page_size> page;
  for (const mem::PhysRange& range : memory.ram()) {
    for (; next != pages.end() && *next < range.end(); ++next) {
      if (!memory.probe(*next, page) || all_zero(page)) continue;
      CBIT_TRY(file.put(offset + (*next - range.first), page));
    }
    offset += range.bytes;
  }
  return {};
}

// ---- reading --------------------------------------------------------------------------------------------

tl::unexpected<Error> no_snapshot(const std::string& path, std::string_view why, const std::string& remedy) {
  return bad_input(fmt::format("{} is no snapshot that cbit can go on from: {}", path, why), remedy);
}

struct OpenSnapshot {
  os::Descriptor file;
  std::uint64_t bytes = 0;
  Bytes state;
};

OrError<OpenSnapshot> open_snapshot(const std::string& path, const std::string& remedy) {
  OpenSnapshot opened;
  opened.file =
      os::Descriptor{os::retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); })};
  if (!opened.file.is_open()) return no_snapshot(path, std::strerror(errno), remedy);
  struct stat info{};
  if (::fstat(opened.file.fd(), &info) != 0 || !S_ISREG(info.st_mode))
    return no_snapshot(path, "it is no regular file", remedy);
  opened.bytes = static_cast<std::uint64_t>(info.st_size);
  Header header{};
  const ByteSpan header_bytes = std::as_writable_bytes(std::span{&header, 1});
  if (opened.bytes < state_offset || !os::read_at(opened.file.fd(), 0, header_bytes))
    return no_snapshot(path, "it is too short", remedy);
  if (header.magic != magic) return no_snapshot(path, "it does not begin as one does", remedy);
  if (header.version != version)
    return no_snapshot(
        path, fmt::format("it is of version {}, and this cbit has version {}", header.version, version),
        remedy);
  if (header.state_bytes > std::min(opened.bytes - state_offset, state_bytes_max))
    return no_snapshot(path, "it is cut short", remedy);
  opened.state.resize(header.state_bytes);
  if (!os::read_at(opened.file.fd(), state_offset, opened.state))
    return no_snapshot(path, "it is cut short", remedy);
  if (crypt::sha256(opened.state) != header.state_digest)
    return no_snapshot(path, "its state is damaged (SHA-256)", remedy);
  return opened;
}

std::string_view words_or_none(const std::string& value) {
  return value.empty() ? "none" : std::string_view{value};
}

// The first that differs.
OrError<void> compare(const SnapshotFacts& there, const SnapshotFacts& here, const std::string& path,
                      const std::string& remedy) {
  const auto differs = [&](const std::string& name, std::string_view one, std::string_view other) {
    return bad_input(fmt::format("{} is the snapshot of another machine: {} was {}, and is {}", path,
                                 safe_line(name), safe_line(one), safe_line(other)),
                     remedy);
  };
  for (const SnapshotFact& fact : here) {
    const auto old = std::ranges::find(there, fact.name, &SnapshotFact::name);
    if (old == there.end()) return differs(fact.name, "not there", fact.value);
    if (old->value != fact.value)
      return differs(fact.name, words_or_none(old->value), words_or_none(fact.value));
  }
  for (const SnapshotFact& fact : there)
    if (std::ranges::find(here, fact.name, &SnapshotFact::name) == here.end())
      return differs(fact.name, fact.value, "not there");
  return {};
}

}  // namespace

void SnapshotFact::transfer(StateStream& s) {
  s.text(name, fact_bytes_max);
  s.text(value, fact_bytes_max);
}

bool snapshot_exists(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0;
}

OrError<void> save_snapshot(Pc& pc, SnapshotFacts facts, const std::string& path) {
  StateStream s;
  s.section("facts", [&] { s.list(facts, facts_max); });
  s(pc);
  if (!s.good())
    return usage_error(fmt::format("this machine cannot be saved: {}", s.trouble()),
                       "leave --snapshot away, or the device that this is about");
  os::NewFile file = CBIT_TRY(os::NewFile::create(path));
  // Before there are keys in it; what it replaces may have had another mode.
  if (::fchmod(file.fd(), S_IRUSR | S_IWUSR) != 0) return cannot_write(path);
  SparseWriter writer{file.fd(), path};
  const Header header{magic, version, 0, s.bytes().size(), crypt::sha256(s.bytes())};
  CBIT_TRY(writer.put(0, bytes_of(header)));
  CBIT_TRY(writer.put(state_offset, s.bytes()));
  const mem::Memory& memory = pc.machine().memory();
  const std::uint64_t offset = memory_offset(s.bytes().size());
  CBIT_TRY(write_memory(writer, memory, offset));
  CBIT_TRY(writer.finish(offset + ram_bytes(memory)));
  return file.commit();
}

OrError<void> load_snapshot(Pc& pc, const SnapshotFacts& facts, const std::string& path,
                            const std::string& remedy) {
  const OpenSnapshot opened = CBIT_TRY(open_snapshot(path, remedy));
  StateStream s{opened.state};
  SnapshotFacts there;
  s.section("facts", [&] { s.list(there, facts_max); });
  if (!s.good()) return no_snapshot(path, s.trouble(), remedy);
  CBIT_TRY(compare(there, facts, path, remedy));
  mem::Memory& memory = pc.machine().memory();
  const std::uint64_t offset = memory_offset(opened.state.size());
  if (opened.bytes != offset + ram_bytes(memory)) return no_snapshot(path, "it is cut short", remedy);
  s(pc);
  s.finish();
  if (!s.good()) return no_snapshot(path, s.trouble(), remedy);
  return memory.map_dram(opened.file.fd(), offset);
}

}  // namespace cbit::guest
