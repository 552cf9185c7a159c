// The cipher through OpenSSL's AES-128-ECB: for hosts without an implementation of their own, and the
// reference that the others are compared with.
#include <openssl/evp.h>

#include <optional>

#include "crypt/implementations.hpp"

namespace cbit::crypt::portable {

namespace {

unsigned char* octets(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* octets(const std::byte* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }

// AES-128-ECB in one direction. A context belongs to one thread, and to set a key costs more than many
// blocks, so it remembers its key.
class Ecb {
 public:
  explicit Ecb(bool inverse) : context_{EVP_CIPHER_CTX_new()} {
    CBIT_ASSERT(context_ != nullptr);
    const int set =
        EVP_CipherInit_ex(context_, EVP_aes_128_ecb(), nullptr, nullptr, nullptr, inverse ? 0 : 1);
    CBIT_ASSERT(set == 1);
    EVP_CIPHER_CTX_set_padding(context_, 0);
  }
  ~Ecb() { EVP_CIPHER_CTX_free(context_); }
  Ecb(const Ecb&) = delete;
  Ecb& operator=(const Ecb&) = delete;

  void set_key(const Key128& key) {
    if (key_ == key) return;
    const int set = EVP_CipherInit_ex(context_, nullptr, nullptr, octets(key.data()), nullptr, -1);
    CBIT_ASSERT(set == 1);
    key_ = key;
  }

  void transform(ByteSpan data) {
    unsigned char* const bytes = octets(data.data());
    const int size = static_cast<int>(data.size());
    int done = 0;
    const int updated = EVP_CipherUpdate(context_, bytes, &done, bytes, size);
    CBIT_ASSERT(updated == 1 && done == size);
  }

 private:
  EVP_CIPHER_CTX* context_;
  std::optional<Key128> key_;
};

void whiten(ConstByteSpan in, ByteSpan out, const Whitening& whitening) {
  const Block* tweak = whitening.blocks;
  for (std::size_t at = 0; at < in.size(); at += cipher_block_size) {
    store(out, at, load<Block>(in, at) ^ whitening.page ^ *tweak++);
  }
}

template <bool inverse>
void transform(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  thread_local Ecb ecb{inverse};
  ecb.set_key(key.rounds.encrypt[0]);
  for_each_page_run<inverse>(key, address, in, out, [](const PageRun& run) {
    whiten(run.in, run.out, run.before);
    ecb.transform(run.out);
    whiten(run.out, run.out, run.after);
  });
}

}  // namespace

bool available() { return true; }

void encrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<false>(key, address, in, out);
}

void decrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<true>(key, address, in, out);
}

}  // namespace cbit::crypt::portable
