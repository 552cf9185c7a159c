#include "machine/sev/sev_session.hpp"

#include <algorithm>

#include "crypt/mac.hpp"

namespace cbit {
namespace {

using Coordinate = std::array<std::byte, 72>;

Coordinate to_certificate(const P384Number& number) {
  Coordinate out{};
  std::ranges::reverse_copy(number, out.begin());
  return out;
}

// nullopt: longer than the curve's numbers.
std::optional<P384Number> from_certificate(const Coordinate& coordinate) {
  P384Number number;
  const auto end = coordinate.begin() + number.size();
  if (std::any_of(end, coordinate.end(), [](std::byte b) { return b != std::byte{0}; })) return std::nullopt;
  std::reverse_copy(coordinate.begin(), end, number.begin());
  return number;
}

// sev_cert_sanity_check of a DH certificate, and the curve.
std::optional<P384Point> point_of(const SevCertificate& certificate) {
  if (certificate.version != SevCertificate::version_1 || certificate.usage != SevCertificate::pdh_usage ||
      certificate.algorithm != SevCertificate::ecdh_sha256 || certificate.curve != SevCertificate::curve_p384)
    return std::nullopt;
  const auto x = from_certificate(certificate.x);
  const auto y = from_certificate(certificate.y);
  return x && y ? std::optional{P384Point{*x, *y}} : std::nullopt;
}

struct WrappingKeys {
  Key128 encryption;  // KEK
  Key128 integrity;   // KIK
};

Result<WrappingKeys, SevStatusCode> wrapping_keys(const EcdhKey& own, const SevCertificate& peer,
                                                  const Block& nonce) {
  const auto point = point_of(peer);
  const auto shared = point ? own.shared_secret(*point) : std::nullopt;
  if (!shared) return refused(SevStatusCode::invalid_certificate);
  const Key128 master = sp800_108_key(*shared, "sev-master-secret", nonce);
  return WrappingKeys{sp800_108_key(master, "sev-kek"), sp800_108_key(master, "sev-kik")};
}

Sha256Digest packet_mac(const Key128& integrity, SevMacContext context, const SevPacketHeader& header,
                        ConstByteSpan data, ConstByteSpan measure) {
  const auto length = static_cast<std::uint32_t>(data.size());  // nothing is compressed: both lengths
  return hmac_sha256(integrity, {bytes_of(context), bytes_of(header.flags), header.iv, bytes_of(length),
                                 bytes_of(length), data, measure});
}

}  // namespace

SevCertificate make_certificate(const EcdhKey& key) {
  SevCertificate certificate;
  certificate.x = to_certificate(key.public_point().x);
  certificate.y = to_certificate(key.public_point().y);
  return certificate;
}

Result<SevSession, SevStatusCode> open_session(const EcdhKey& own, const SevCertificate& peer,
                                               SevPolicy policy, const SevSessionRandom& random) {
  const WrappingKeys wrapping = CBIT_TRY(wrapping_keys(own, peer, random.nonce));
  SevSession session{.nonce = random.nonce, .wrap_iv = random.iv};
  Bytes keys{random.keys.encryption.begin(), random.keys.encryption.end()};
  keys.insert(keys.end(), random.keys.integrity.begin(), random.keys.integrity.end());
  std::ranges::copy(aes128_ctr(wrapping.encryption, random.iv, keys), session.wrapped_keys.begin());
  session.wrap_mac = hmac_sha256(wrapping.integrity, {session.wrapped_keys});
  session.policy_mac = hmac_sha256(random.keys.integrity, {bytes_of(policy.raw)});
  return session;
}

Result<SevTransportKeys, SevStatusCode> accept_session(const EcdhKey& own, const SevCertificate& peer,
                                                       SevPolicy policy, const SevSession& session) {
  const WrappingKeys wrapping = CBIT_TRY(wrapping_keys(own, peer, session.nonce));
  if (!equal_in_constant_time(hmac_sha256(wrapping.integrity, {session.wrapped_keys}), session.wrap_mac))
    return refused(SevStatusCode::bad_measurement);
  const Bytes keys = aes128_ctr(wrapping.encryption, session.wrap_iv, session.wrapped_keys);
  SevTransportKeys transport;
  std::copy_n(keys.begin(), transport.encryption.size(), transport.encryption.begin());
  std::copy_n(keys.begin() + static_cast<std::ptrdiff_t>(transport.encryption.size()),
              transport.integrity.size(), transport.integrity.begin());
  if (!equal_in_constant_time(hmac_sha256(transport.integrity, {bytes_of(policy.raw)}), session.policy_mac))
    return refused(SevStatusCode::bad_measurement);
  return transport;
}

Sha256Digest launch_measure(const Key128& integrity, const SevVersion& version, SevPolicy policy,
                            const Sha256Digest& launch_digest, const Block& nonce) {
  return hmac_sha256(integrity,
                     {bytes_of(SevMacContext::measure), bytes_of(version.major), bytes_of(version.minor),
                      bytes_of(version.build), bytes_of(policy.raw), launch_digest, nonce});
}

SevPacket seal_packet(const SevTransportKeys& keys, SevMacContext context, const Block& iv,
                      ConstByteSpan plain, ConstByteSpan measure) {
  SevPacket packet{.header = {.iv = iv}, .data = aes128_ctr(keys.encryption, iv, plain)};
  packet.header.mac = packet_mac(keys.integrity, context, packet.header, packet.data, measure);
  return packet;
}

Result<Bytes, SevStatusCode> open_packet(const SevTransportKeys& keys, SevMacContext context,
                                         const SevPacketHeader& header, ConstByteSpan data,
                                         ConstByteSpan measure) {
  if (!equal_in_constant_time(packet_mac(keys.integrity, context, header, data, measure), header.mac))
    return refused(SevStatusCode::bad_measurement);
  if (header.flags.get<SevPacketHeader::Flags::Compressed>()) return refused(SevStatusCode::unsupported);
  return aes128_ctr(keys.encryption, header.iv, data);
}

}  // namespace cbit
