// What the SEV protocol is made of, through OpenSSL: HMAC-SHA-256, AES-128 in counter mode, and the key
// derivation of NIST SP 800-108 in counter mode.
#pragma once

#include <initializer_list>
#include <string_view>

#include "base/bytes.hpp"
#include "crypt/sha256.hpp"
#include "crypt/xex.hpp"

namespace cbit::crypt {

// HMAC-SHA-256 (RFC 2104) of the parts, one after the other.
[[nodiscard]] Sha256Digest hmac_sha256(ConstByteSpan key, std::initializer_list<ConstByteSpan> parts);

// Takes as long whether they differ in the first byte or in the last. Spans of unequal size are not equal.
[[nodiscard]] bool equal_in_constant_time(ConstByteSpan a, ConstByteSpan b);

// AES-128-CTR: encryption and decryption are the same. The block `iv` is a big-endian counter.
[[nodiscard]] Bytes aes128_ctr(const Key128& key, const Block& iv, ConstByteSpan bytes);

// The first block of KDF(key, label, context) with HMAC-SHA-256, as the SEV API derives its 128-bit keys:
// HMAC(key, i = 1 || label || 00 || context || L = 128), i and L 32 bits little-endian.
[[nodiscard]] Key128 sp800_108_key(ConstByteSpan key, std::string_view label, ConstByteSpan context = {});

}  // namespace cbit::crypt
