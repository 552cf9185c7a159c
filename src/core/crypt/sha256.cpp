#include "crypt/sha256.hpp"

#include <openssl/evp.h>

#include "base/assert.hpp"

namespace cbit::crypt {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() = default;
  ~Context() { EVP_MD_CTX_free(md); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256::Sha256() : context_{std::make_unique<Context>()} {
  CBIT_ASSERT(EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(ConstByteSpan bytes) {
  CBIT_ASSERT(EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest{};
  CBIT_ASSERT(EVP_DigestFinal_ex(context_->md, reinterpret_cast<unsigned char*>(digest.data()), nullptr) ==
              1);
  return digest;
}

Sha256Digest sha256(ConstByteSpan bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace cbit::crypt
