#include "crypt/mac.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "base/assert.hpp"

namespace cbit::crypt {
namespace {

const unsigned char* raw(ConstByteSpan bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

}  // namespace

Sha256Digest hmac_sha256(ConstByteSpan key, std::initializer_list<ConstByteSpan> parts) {
  Bytes message;
  for (const ConstByteSpan part : parts) message.insert(message.end(), part.begin(), part.end());
  Sha256Digest mac{};
  unsigned length = 0;
  CBIT_ASSERT(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), raw(message), message.size(),
                   reinterpret_cast<unsigned char*>(mac.data()), &length) != nullptr);
  CBIT_ASSERT(length == mac.size());
  return mac;
}

bool equal_in_constant_time(ConstByteSpan a, ConstByteSpan b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Bytes aes128_ctr(const Key128& key, const Block& iv, ConstByteSpan bytes) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher{EVP_CIPHER_CTX_new(),
                                                                               &EVP_CIPHER_CTX_free};
  CBIT_ASSERT(EVP_EncryptInit_ex(cipher.get(), EVP_aes_128_ctr(), nullptr, raw(key), raw(iv)) == 1);
  Bytes out(bytes.size());
  int length = 0;
  CBIT_ASSERT(EVP_EncryptUpdate(cipher.get(), reinterpret_cast<unsigned char*>(out.data()), &length,
                                raw(bytes), static_cast<int>(bytes.size())) == 1);
  return out;
}

Key128 sp800_108_key(ConstByteSpan key, std::string_view label, ConstByteSpan context) {
  const std::uint32_t i = 1;
  const std::uint32_t bits = 128;
  constexpr std::byte separator{0};
  const Sha256Digest block = hmac_sha256(
      key, {bytes_of(i), std::as_bytes(std::span{label}), bytes_of(separator), context, bytes_of(bits)});
  Key128 derived;
  std::copy_n(block.begin(), derived.size(), derived.begin());
  return derived;
}

}  // namespace cbit::crypt
