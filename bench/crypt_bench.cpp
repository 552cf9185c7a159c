// Throughput of every implementation of the memory encryption engine that this CPU can run, beside OpenSSL's
// AES-128-XTS used as dm-crypt would use it: one initialization vector per page.
//
// Addresses go through 16 MiB of physical pages; the two buffers are page-aligned, as those of the machine's
// DRAM are, and stay in the first-level cache: the figures are those of the cipher, not of this host's
// memory.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <string>

#include "crypt/xex.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t seed = 1;
constexpr std::uint64_t address_limit = std::uint64_t{16} << 20;

alignas(page_size) std::array<std::byte, page_size> source;
alignas(page_size) std::array<std::byte, page_size> target;

void run_cipher(benchmark::State& state, const crypt::CipherImplementation& implementation, bool inverse,
                std::size_t size) {
  const auto tweaks = std::make_shared<const crypt::TweakTable>(seed);
  const crypt::Cipher cipher{crypt::derive_key(seed, "bench"), tweaks, crypt::CipherMode::xex,
                             implementation};
  const ConstByteSpan in = std::span{source}.first(size);
  const ByteSpan out = std::span{target}.first(size);
  std::uint64_t offset = 0;
  for (auto _ : state) {
    const PhysAddr address{0x1'0000'0000 + offset};
    inverse ? cipher.decrypt(address, in, out) : cipher.encrypt(address, in, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
    offset = (offset + size) % address_limit;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
}

void run_xts(benchmark::State& state, bool inverse, std::size_t size) {
  unsigned char keys[32];
  for (std::size_t i = 0; i < sizeof keys; ++i) keys[i] = static_cast<unsigned char>(i);
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  CBIT_ASSERT(EVP_CipherInit_ex(context, EVP_aes_128_xts(), nullptr, keys, nullptr, inverse ? 0 : 1));
  const auto* const in = reinterpret_cast<const unsigned char*>(source.data());
  auto* const out = reinterpret_cast<unsigned char*>(target.data());
  std::uint64_t sector[2] = {};
  for (auto _ : state) {
    int done = 0;
    EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, reinterpret_cast<const unsigned char*>(sector), -1);
    EVP_CipherUpdate(context, out, &done, in, static_cast<int>(size));
    benchmark::DoNotOptimize(out);
    benchmark::ClobberMemory();
    ++sector[0];
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
  EVP_CIPHER_CTX_free(context);
}

bool register_all() {
  for (const std::size_t size : {std::size_t{4096}, std::size_t{64}, std::size_t{16}}) {
    for (const bool inverse : {false, true}) {
      const std::string suffix = (inverse ? "/decrypt/" : "/encrypt/") + std::to_string(size);
      for (const crypt::CipherImplementation& cipher : crypt::cipher_implementations()) {
        if (!cipher.available()) continue;
        const auto run = [&cipher, inverse, size](benchmark::State& s) {
          run_cipher(s, cipher, inverse, size);
        };
        benchmark::RegisterBenchmark((std::string{cipher.name} + suffix).c_str(), run);
      }
      benchmark::RegisterBenchmark(("openssl-xts" + suffix).c_str(),
                                   [inverse, size](benchmark::State& s) { run_xts(s, inverse, size); });
    }
  }
  return true;
}

[[maybe_unused]] const bool registered = register_all();

}  // namespace
}  // namespace cbit
