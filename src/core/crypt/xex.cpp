#include "crypt/xex.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "crypt/implementations.hpp"

namespace cbit::crypt {

namespace {

constexpr CipherImplementation implementations[] = {
    {"portable", portable::available, portable::encrypt, portable::decrypt},
#if defined(__x86_64__)
    {"aes-ni", aes_ni::available, aes_ni::encrypt, aes_ni::decrypt},
    {"vaes-avx2", vaes_avx2::available, vaes_avx2::encrypt, vaes_avx2::decrypt},
    {"vaes-avx512", vaes_avx512::available, vaes_avx512::encrypt, vaes_avx512::decrypt},
#endif
};

}  // namespace

TweakTable::TweakTable(std::uint64_t seed) {
  for (unsigned bit = 4; bit < 64; ++bit) {
    Slice& slice = slices_[(bit - 4) / 8];
    const std::size_t weight = std::size_t{1} << (bit - 4) % 8;
    const Block constant = derive_key(seed, "tweak " + std::to_string(bit));
    for (std::size_t i = 0; i < weight; ++i) slice[weight + i] = slice[i] ^ constant;
  }
}

std::span<const CipherImplementation> cipher_implementations() { return implementations; }

const CipherImplementation& best_cipher() {
  const char* const wanted = std::getenv("CBIT_CIPHER");
  const CipherImplementation* best = nullptr;
  for (const CipherImplementation& candidate : implementations) {
    if (!candidate.available()) continue;
    if (wanted != nullptr && candidate.name == wanted) return candidate;
    best = &candidate;
  }
  return *best;
}

Cipher::Cipher(const Key128& key, std::shared_ptr<const TweakTable> tweaks, CipherMode mode,
               const CipherImplementation& implementation)
    : key_{expand_key(key), std::move(tweaks), mode}, implementation_{&implementation} {
  CBIT_ASSERT(key_.tweaks != nullptr && implementation.available());
}

Key128 derive_key(std::uint64_t seed, std::string_view label) {
  std::array<unsigned char, 32> digest;
  const auto* const text = reinterpret_cast<const unsigned char*>(label.data());
  const auto* const made = HMAC(EVP_sha256(), &seed, sizeof seed, text, label.size(), digest.data(), nullptr);
  CBIT_ASSERT(made != nullptr);
  Key128 key;
  std::memcpy(key.data(), digest.data(), key.size());
  return key;
}

}  // namespace cbit::crypt
