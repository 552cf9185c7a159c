#include "linux/unpack.hpp"

#include <archive.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "linux/parts.hpp"

namespace cbit::linux {
namespace {

constexpr std::uint64_t piece_bytes = 1 << 20;
// More than kernels shrink by, so that a stated size reserves no more than the file's own warrants.
constexpr std::uint64_t expansion_max = 16;

// lib/decompress.c: compressed_formats. All but gzip, which has its size inside, are followed by the size of
// the kernel in 4 bytes (scripts/Makefile.lib: size_append). libarchive starts a program for LZO, which is
// not for us.
struct Codec {
  std::string_view name;
  std::array<unsigned char, 2> magic;
  int (*support)(archive*);
  bool size_appended;
};
constexpr Codec codecs[] = {
    {"gzip", {0x1f, 0x8b}, archive_read_support_filter_gzip, false},
    {"bzip2", {0x42, 0x5a}, archive_read_support_filter_bzip2, true},
    {"LZMA", {0x5d, 0x00}, archive_read_support_filter_lzma, true},
    {"XZ", {0xfd, 0x37}, archive_read_support_filter_xz, true},
    {"LZO", {0x89, 0x4c}, nullptr, true},
    {"LZ4", {0x02, 0x21}, archive_read_support_filter_lz4, true},
    {"zstd", {0x28, 0xb5}, archive_read_support_filter_zstd, true},
};
constexpr Codec gzip_codec = codecs[0];

const Codec* find_codec(ConstByteSpan payload) {
  for (const Codec& codec : codecs)
    if (payload.size() >= 2 && std::to_integer<unsigned>(payload[0]) == codec.magic[0] &&
        std::to_integer<unsigned>(payload[1]) == codec.magic[1])
      return &codec;
  return nullptr;
}

struct FreeArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Reader = std::unique_ptr<archive, FreeArchive>;

tl::unexpected<Error> damaged(std::string_view name, const Codec& codec, std::string_view why) {
  return bad_input(fmt::format("{}: its {} data cannot be unpacked: {}", name, codec.name, why),
                   "the file is damaged: get it again");
}

tl::unexpected<Error> refusal(archive* reader, std::string_view name, const Codec& codec) {
  const char* const why = archive_error_string(reader);
  return damaged(name, codec, why != nullptr ? why : "out of memory");
}

OrError<Reader> open_stream(ConstByteSpan stream, const Codec& codec, std::string_view name) {
  Reader reader{archive_read_new()};
  archive_entry* entry = nullptr;
  if (reader == nullptr || codec.support(reader.get()) < ARCHIVE_WARN ||
      archive_read_support_format_raw(reader.get()) != ARCHIVE_OK ||
      archive_read_open_memory(reader.get(), stream.data(), stream.size()) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK)
    return refusal(reader.get(), name, codec);
  if (archive_filter_count(reader.get()) < 2) return damaged(name, codec, "it has no valid header");
  return reader;
}

// Grows with what comes, because the size that a damaged file states may be anything; `expected` only saves
// moving what has come.
OrError<Bytes> unpack(ConstByteSpan stream, const Codec& codec, std::uint64_t bytes_max,
                      std::string_view name, std::uint64_t expected = 0) {
  const Reader reader = CBIT_TRY(open_stream(stream, codec, name));
  Bytes unpacked;
  unpacked.reserve(std::min({expected + 2 * piece_bytes, bytes_max, stream.size() * expansion_max}));
  for (std::uint64_t filled = 0;;) {
    unpacked.resize(filled + piece_bytes);
    const la_ssize_t got = archive_read_data(reader.get(), unpacked.data() + filled, piece_bytes);
    if (got < 0) return refusal(reader.get(), name, codec);
    filled += static_cast<std::uint64_t>(got);
    if (filled > bytes_max) return damaged(name, codec, fmt::format("it has more than {} bytes", bytes_max));
    if (got == 0) {
      unpacked.resize(filled);
      return unpacked;
    }
  }
}

}  // namespace

OrError<Bytes> unpack_payload(ConstByteSpan payload, std::string_view name) {
  constexpr std::string_view elf_magic =
      "\x7f"
      "ELF";
  if (as_text(payload).starts_with(elf_magic)) return Bytes(payload.begin(), payload.end());
  const Codec* const codec = find_codec(payload);
  if (codec == nullptr)
    return bad_input(fmt::format("{}: its kernel is compressed in a way that is not known", name),
                     "give the vmlinux that it was made of");
  if (codec->support == nullptr)
    return bad_input(
        fmt::format("{}: its kernel is compressed with {}, which is not supported", name, codec->name),
        "give the vmlinux that it was made of, or build with another CONFIG_KERNEL_* compression");
  if (!codec->size_appended) return unpack(payload, *codec, unpacked_bytes_max, name);
  const auto size = load_part<std::uint32_t>(payload, payload.size() - sizeof(std::uint32_t));
  if (!size) return damaged(name, *codec, "it is cut off");
  Bytes unpacked =
      CBIT_TRY(unpack(payload.first(payload.size() - sizeof *size), *codec, unpacked_bytes_max, name, *size));
  if (unpacked.size() != *size)
    return damaged(name, *codec, fmt::format("it has {} bytes and should have {}", unpacked.size(), *size));
  return unpacked;
}

OrError<Bytes> unpack_gzip(ConstByteSpan stream, std::uint64_t bytes_max, std::string_view name) {
  return unpack(stream, gzip_codec, bytes_max, name);
}

}  // namespace cbit::linux
