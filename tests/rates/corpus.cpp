#include "corpus.hpp"

#include <fmt/format.h>
#include <link.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/assert.hpp"
#include "base/random.hpp"

namespace cbit::rates {
namespace {

constexpr std::size_t corpus_bytes = std::size_t{4} << 20;

void append_file(Bytes& to, const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  const auto bytes = std::as_bytes(std::span{text});
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_text(Bytes& to, std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Bytes repository_text() {
  std::set<std::filesystem::path> files;
  for (const std::string_view folder : {"docs", "src", "include", "tests", "tools", "schema"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator{folder})
      if (entry.is_regular_file() && entry.path().string().find("corpus/") == std::string::npos)
        files.insert(entry.path());
  Bytes bytes;
  for (const auto& file : files) append_file(bytes, file);
  return bytes;
}

Bytes shared_libraries() {
  std::set<std::string> names;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* set) {
        if (*info->dlpi_name == '/') static_cast<std::set<std::string>*>(set)->insert(info->dlpi_name);
        return 0;
      },
      &names);
  Bytes bytes;
  for (const std::string& name : names) append_file(bytes, name);
  return bytes;
}

Bytes kernel_log() {
  Random random{1};
  Bytes bytes;
  for (int line = 0; bytes.size() < corpus_bytes; ++line)
    append_text(bytes,
                fmt::format("[{:5}.{:06}] nvme {:04x}:00:{:02x}.0: overflow {:#014x}+{} of DMA mask {:x} "
                            "bus limit 0\n",
                            line / 10, random.below(1'000'000), random.below(4), random.below(32),
                            random.next() >> 16, random.below(65536), ~0ull >> random.below(32)));
  return bytes;
}

Bytes heap() {
  Random random{2};
  Bytes bytes(corpus_bytes);
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    const std::uint64_t words[] = {0,
                                   0x55d0'c000'0000 + random.below(65536) * 16,
                                   random.below(256),
                                   random.below(3) | random.below(64) << 32,
                                   0x7f12'0000'0000 + random.below(1 << 24),
                                   random.below(5) != 0 ? 0 : random.next()};
    store(ByteSpan{bytes}, at, words[random.below(std::size(words))]);
  }
  return bytes;
}

Bytes samples() {
  Random random{3};
  Bytes bytes(corpus_bytes);
  std::int64_t level = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 2) {
    level = (level + static_cast<std::int64_t>(random.below(401)) - 200) * 199 / 200;
    store(ByteSpan{bytes}, at,
          static_cast<std::int16_t>(level + static_cast<std::int64_t>(random.below(31))));
  }
  return bytes;
}

template <int level>
Bytes by_zlib(const Bytes& plain) {
  uLongf size = compressBound(plain.size());
  Bytes out(size);
  CBIT_ASSERT(compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                        reinterpret_cast<const Bytef*>(plain.data()), plain.size(), level) == Z_OK);
  out.resize(size);
  return out;
}

template <int level>
Bytes by_zstd(const Bytes& plain) {
  Bytes out(ZSTD_compressBound(plain.size()));
  const std::size_t size = ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), level);
  CBIT_ASSERT(ZSTD_isError(size) == 0);
  out.resize(size);
  return out;
}

Bytes by_lz4(const Bytes& plain) {
  Bytes out(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(plain.size()))));
  const int size =
      LZ4_compress_default(reinterpret_cast<const char*>(plain.data()), reinterpret_cast<char*>(out.data()),
                           static_cast<int>(plain.size()), static_cast<int>(out.size()));
  CBIT_ASSERT(size > 0);
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Bytes by_xz(const Bytes& plain) {
  Bytes out(lzma_stream_buffer_bound(plain.size()));
  std::size_t size = 0;
  CBIT_ASSERT(lzma_easy_buffer_encode(
                  6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(plain.data()),
                  plain.size(), reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()) == LZMA_OK);
  out.resize(size);
  return out;
}

}  // namespace

std::vector<Corpus> plain_corpora() {
  return {{"text", repository_text()},
          {"libraries", shared_libraries()},
          {"log", kernel_log()},
          {"heap", heap()},
          {"samples", samples()}};
}

std::vector<Compressor> compressors() {
  // LZMA's range coder leaves nothing that these tests could see, and LZ4 so much that it is not dense.
  return {{"zlib -1", by_zlib<1>, 0.97, 0.3}, {"zlib -6", by_zlib<6>, 0.97, 0.3},
          {"zstd -3", by_zstd<3>, 0.97, 0.3}, {"zstd -19", by_zstd<19>, 1, 0.6},
          {"lz4", by_lz4, 0.05, 0.05},        {"xz -6", by_xz, 1, 1}};
}

}  // namespace cbit::rates
