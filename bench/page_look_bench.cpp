// How fast a page is judged from its bytes (watch/page_look.hpp), beside OpenSSL's SHA-256, which reads each
// byte once as a judge must, and memcpy.
//
// Pages come from 4 MiB, as those of a guest come from memory. Dense pages take all tests, others the first.
#include <benchmark/benchmark.h>
#include <openssl/sha.h>

#include <cstring>

#include "base/random.hpp"
#include "watch/page_look.hpp"

namespace cbit {
namespace {

constexpr std::size_t pages = 1024;

enum class Contents { random, text, numbers, zeros };

Bytes contents_of(Contents contents) {
  Bytes bytes(pages * page_size);
  constexpr std::string_view line = "[    0.000000] Linux version 6.1.0 (debian-kernel@lists.debian.org)\n";
  Random random{1};
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    if (contents == Contents::random) store(ByteSpan{bytes}, at, random.next());
    if (contents == Contents::numbers) store(ByteSpan{bytes}, at, random.below(100'000));
    if (contents == Contents::text)
      for (std::size_t i = at; i < at + 8; ++i) bytes[i] = static_cast<std::byte>(line[i % line.size()]);
  }
  return bytes;
}

template <class Judge>
void run(benchmark::State& state, Contents contents, Judge&& judge) {
  const Bytes bytes = contents_of(contents);
  std::size_t page = 0;
  for (auto _ : state) {
    judge(watch::PageBytes{bytes.data() + page * page_size, page_size});
    page = (page + 1) % pages;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(page_size));
}

void look(benchmark::State& state, Contents contents) {
  run(state, contents, [](watch::PageBytes page) { benchmark::DoNotOptimize(watch::look_at(page)); });
}
void sha256_of_a_page(benchmark::State& state) {
  run(state, Contents::random, [](watch::PageBytes page) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(page.data()), page.size(), digest);
    benchmark::DoNotOptimize(digest);
  });
}
void memcpy_of_a_page(benchmark::State& state) {
  alignas(page_size) std::array<std::byte, page_size> copy;
  run(state, Contents::random, [&](watch::PageBytes page) {
    std::memcpy(copy.data(), page.data(), page.size());
    benchmark::DoNotOptimize(copy.data());
    benchmark::ClobberMemory();
  });
}

BENCHMARK_CAPTURE(look, ciphertext, Contents::random);
BENCHMARK_CAPTURE(look, text, Contents::text);
BENCHMARK_CAPTURE(look, numbers, Contents::numbers);
BENCHMARK_CAPTURE(look, zeros, Contents::zeros);
BENCHMARK(sha256_of_a_page);
BENCHMARK(memcpy_of_a_page);

}  // namespace
}  // namespace cbit
