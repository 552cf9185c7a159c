// The cipher through OpenSSL's AES-128-ECB: for hosts without an implementation of their own, and the reference
// that the others are compared with.
#include <openssl/evp.h>

#include <optional>

#include "crypt/implementations.hpp"

namespace cbit::portable {

namespace {

unsigned char* octets(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* octets(const std::byte* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }

// AES-128-ECB in one direction. A context belongs to one thread, and to set a key costs more than many blocks,
// so it remembers its key.
class Ecb {
 public:
  explicit Ecb(bool inverse) : context_{EVP_CIPHER_CTX_new()} {
    CBIT_ASSERT(context_ != nullptr);
    CBIT_ASSERT(EVP_CipherInit_ex(context_, EVP_aes_128_ecb(), nullptr, nullptr, nullptr, inverse ? 0 : 1));
    CBIT_ASSERT(EVP_CIPHER_CTX_set_padding(context_, 0));
  }
  ~Ecb() { EVP_CIPHER_CTX_free(context_); }
  Ecb(const Ecb&) = delete;
  Ecb& operator=(const Ecb&) = delete;

  void set_key(const Key128& key) {
    if (key_ == key) return;
    CBIT_ASSERT(EVP_CipherInit_ex(context_, nullptr, nullptr, octets(key.data()), nullptr, -1));
    key_ = key;
  }

  void transform(ByteSpan data) {
    int done = 0;
    CBIT_ASSERT(EVP_CipherUpdate(context_, octets(data.data()), &done, octets(data.data()),
                                 static_cast<int>(data.size())));
    CBIT_ASSERT(static_cast<std::size_t>(done) == data.size());
  }

 private:
  EVP_CIPHER_CTX* context_;
  std::optional<Key128> key_;
};

void whiten(ConstByteSpan in, ByteSpan out, const Whitening& whitening) {
  for (std::size_t i = 0; i < whitening.blocks.size(); ++i) {
    const std::size_t at = i * cipher_block_size;
    store(out, at, load<Block>(in, at) ^ whitening.page ^ whitening.blocks[i]);
  }
}

template <bool inverse>
void transform(const RoundKeys& keys, const TweakTable& tweaks, CipherMode mode, PhysAddr address, ConstByteSpan in,
               ByteSpan out) {
  thread_local Ecb ecb{inverse};
  ecb.set_key(keys.encrypt[0]);
  for_each_page_run<inverse>(tweaks, mode, address, in, out, [](const PageRun& run) {
    whiten(run.in, run.out, run.before);
    ecb.transform(run.out);
    whiten(run.out, run.out, run.after);
  });
}

}  // namespace

bool available() { return true; }

void encrypt(const RoundKeys& keys, const TweakTable& tweaks, CipherMode mode, PhysAddr address, ConstByteSpan in,
             ByteSpan out) {
  transform<false>(keys, tweaks, mode, address, in, out);
}

void decrypt(const RoundKeys& keys, const TweakTable& tweaks, CipherMode mode, PhysAddr address, ConstByteSpan in,
             ByteSpan out) {
  transform<true>(keys, tweaks, mode, address, in, out);
}

}  // namespace cbit::portable
