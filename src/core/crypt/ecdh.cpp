#include "crypt/ecdh.hpp"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include <algorithm>
#include <memory>

#include "base/assert.hpp"
#include "crypt/sha256.hpp"

namespace cbit::crypt {
namespace {

template <auto release>
struct Release {
  void operator()(auto* object) const { release(object); }
};
using Group = std::unique_ptr<EC_GROUP, Release<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Release<EC_POINT_free>>;
using Number = std::unique_ptr<BIGNUM, Release<BN_free>>;

Group p384() { return Group{EC_GROUP_new_by_curve_name(NID_secp384r1)}; }

Number to_number(const P384Number& bytes) {
  return Number{BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                          static_cast<int>(bytes.size()), nullptr)};
}

P384Number to_bytes(const BIGNUM& number) {
  P384Number bytes{};
  CBIT_ASSERT(BN_bn2binpad(&number, reinterpret_cast<unsigned char*>(bytes.data()),
                           static_cast<int>(bytes.size())) == static_cast<int>(bytes.size()));
  return bytes;
}

P384Point to_bytes(const EC_GROUP& group, const EC_POINT& point) {
  const Number x{BN_new()};
  const Number y{BN_new()};
  CBIT_ASSERT(EC_POINT_get_affine_coordinates(&group, &point, x.get(), y.get(), nullptr) == 1);
  return {to_bytes(*x), to_bytes(*y)};
}

// 384 bits of the seed, reduced to 1 .. order - 1.
P384Number scalar_of(const EC_GROUP& group, ConstByteSpan seed) {
  P384Number bits{};
  std::byte counter{1};
  Bytes input{seed.begin(), seed.end()};
  input.push_back(std::byte{0});
  for (std::size_t done = 0; done < bits.size(); counter = std::byte{2}) {
    input.back() = counter;
    const Sha256Digest digest = sha256(input);
    const std::size_t take = std::min(digest.size(), bits.size() - done);
    std::copy_n(digest.begin(), take, bits.begin() + static_cast<std::ptrdiff_t>(done));
    done += take;
  }
  const Number scalar = to_number(bits);
  const Number limit{BN_dup(EC_GROUP_get0_order(&group))};
  const std::unique_ptr<BN_CTX, Release<BN_CTX_free>> context{BN_CTX_new()};
  CBIT_ASSERT(BN_sub_word(limit.get(), 1) == 1);
  CBIT_ASSERT(BN_mod(scalar.get(), scalar.get(), limit.get(), context.get()) == 1);
  CBIT_ASSERT(BN_add_word(scalar.get(), 1) == 1);
  return to_bytes(*scalar);
}

}  // namespace

EcdhKey::EcdhKey(ConstByteSpan seed) {
  const Group group = p384();
  scalar_ = scalar_of(*group, seed);
  const Number scalar = to_number(scalar_);
  const Point point{EC_POINT_new(group.get())};
  CBIT_ASSERT(EC_POINT_mul(group.get(), point.get(), scalar.get(), nullptr, nullptr, nullptr) == 1);
  public_point_ = to_bytes(*group, *point);
}

std::optional<P384Number> EcdhKey::shared_secret(const P384Point& peer) const {
  const Group group = p384();
  const Number x = to_number(peer.x);
  const Number y = to_number(peer.y);
  const Point point{EC_POINT_new(group.get())};
  // Refuses coordinates that do not satisfy the curve's equation; the curve has no small subgroups.
  if (EC_POINT_set_affine_coordinates(group.get(), point.get(), x.get(), y.get(), nullptr) != 1)
    return std::nullopt;
  const Number scalar = to_number(scalar_);
  const Point shared{EC_POINT_new(group.get())};
  CBIT_ASSERT(EC_POINT_mul(group.get(), shared.get(), nullptr, point.get(), scalar.get(), nullptr) == 1);
  return to_bytes(*group, *shared).x;
}

}  // namespace cbit::crypt
