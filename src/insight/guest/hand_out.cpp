#include "guest/hand_out.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "cbit/addr.hpp"
#include "os/temporary_folder.hpp"

namespace cbit::guest {
namespace {

// The mark that the archive is complete, and behind it the archive.
constexpr std::string_view mark = "complete";
constexpr std::uint64_t archive_at = 1 << 16;

// tar(5), POSIX ustar: blocks of 512 bytes; a header has the size of what follows it in octal digits; a block
// of zeros behind the last one, and another.
constexpr std::uint64_t tar_block = 512;
constexpr std::size_t tar_size_at = 124, tar_size_digits = 11;

tl::unexpected<Error> not_handed_out(std::string why, std::string hint) {
  return tl::unexpected{
      Error{"the guest handed nothing out: " + std::move(why), std::move(hint), ExitCode::output_failed}};
}

}  // namespace

OrError<HandOut> HandOut::create(std::uint64_t bytes_max) {
  const auto folder = CBIT_TRY(os::TemporaryFolder::create("cbit-out"));
  return HandOut{CBIT_TRY(
      dev::DiskImage::create(folder.path() + "/disk", archive_at + align_up(bytes_max, archive_at)))};
}

std::string HandOut::setup_script() { return "mkdir -p /mnt/out\n"; }

std::string HandOut::finish_script() {
  return fmt::format(R"(for disk in /sys/block/vd*; do
  serial=$(cat "$disk/serial")
  [ "$serial" = {} ] || continue
  disk=/dev/${{disk##*/}}
  tar -C /mnt/out -cf - . | dd of="$disk" bs={} seek=1 conv=fsync 2> /dev/null &&
    echo {} | dd of="$disk" conv=fsync 2> /dev/null
done
)",
                     serial, archive_at, mark);
}

OrError<std::uint64_t> HandOut::end_of_archive() const {
  std::uint64_t at = archive_at;
  while (at <= disk_->bytes() - 2 * tar_block) {
    std::array<std::byte, tar_block> header;
    CBIT_TRY(disk_->read(at, header));
    at += tar_block;
    if (all_zero(header)) return at + tar_block;
    const char* const digits = reinterpret_cast<const char*>(header.data()) + tar_size_at;
    std::uint64_t bytes = 0;
    const auto [end, error] = std::from_chars(digits, digits + tar_size_digits, bytes, 8);
    if (error != std::errc{} || end != digits + tar_size_digits || bytes > disk_->bytes()) break;
    at += align_up(bytes, tar_block);
  }
  return not_handed_out("what it wrote is no tar archive", "it is what the guest's init does at its end");
}

OrError<void> HandOut::write_to(std::ostream& out) const {
  std::array<std::byte, tar_block> first;
  CBIT_TRY(disk_->read(0, first));
  if (!std::ranges::equal(std::as_bytes(std::span{mark}), std::span{first}.first(mark.size())))
    return not_handed_out(
        "it ended before, or left more than there is room for",
        fmt::format("/mnt/out takes {} MiB, as much as --memory", (disk_->bytes() - archive_at) >> 20));
  const std::uint64_t end = CBIT_TRY(end_of_archive());
  Bytes part;
  for (std::uint64_t at = archive_at; at < end; at += part.size()) {
    part.resize(std::min(end - at, archive_at));
    CBIT_TRY(disk_->read(at, part));
    out.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
  }
  return {};
}

}  // namespace cbit::guest
