// Diffie-Hellman on the curve secp384r1 (FIPS 186-4, NIST SP 800-56A), through OpenSSL.
#pragma once

#include <array>
#include <optional>

#include "base/bytes.hpp"

namespace cbit::crypt {

// A coordinate or scalar, big-endian as in the standards.
using P384Number = std::array<std::byte, 48>;

struct P384Point {
  P384Number x{};
  P384Number y{};

  friend bool operator==(const P384Point&, const P384Point&) = default;
};

class EcdhKey {
 public:
  // The private key is made of the seed: the same seed gives the same key.
  explicit EcdhKey(ConstByteSpan seed);

  [[nodiscard]] const P384Point& public_point() const { return public_point_; }
  // The x coordinate of the shared point; nullopt when `peer` is not on the curve.
  [[nodiscard]] std::optional<P384Number> shared_secret(const P384Point& peer) const;

 private:
  P384Number scalar_;
  P384Point public_point_;
};

}  // namespace cbit::crypt
