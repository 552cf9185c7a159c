// What the tests compare the engine with: OpenSSL's AES-128-ECB on one block, and hex text as blocks.
#pragma once

#include <openssl/evp.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "crypt/xex.hpp"

namespace cbit::crypt {

inline Block aes_ecb(const Key128& key, const Block& in, bool encrypt) {
  const auto octets = [](const auto& bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); };
  Block out;
  int size = 0;
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  EVP_CipherInit_ex(context, EVP_aes_128_ecb(), nullptr, octets(key), nullptr, encrypt ? 1 : 0);
  EVP_CIPHER_CTX_set_padding(context, 0);
  EVP_CipherUpdate(context, reinterpret_cast<unsigned char*>(out.data()), &size, octets(in), sizeof in);
  EVP_CIPHER_CTX_free(context);
  return out;
}

inline Block block_of(std::string_view hex) {
  Block block{};
  for (std::size_t i = 0; i < block.size(); ++i) {
    const std::string digits{hex.substr(2 * i, 2)};
    block[i] = static_cast<std::byte>(std::strtoul(digits.c_str(), nullptr, 16));
  }
  return block;
}

inline Block block_at(ConstByteSpan bytes, std::size_t index) {
  return load<Block>(bytes, index * cipher_block_size);
}

}  // namespace cbit::crypt
