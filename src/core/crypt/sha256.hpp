// SHA-256 of bytes that come in pieces, through OpenSSL.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/bytes.hpp"

namespace cbit::crypt {

using Sha256Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(ConstByteSpan bytes);
  // Once, after the last update().
  [[nodiscard]] Sha256Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

[[nodiscard]] Sha256Digest sha256(ConstByteSpan bytes);

}  // namespace cbit::crypt
