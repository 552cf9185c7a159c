#include "machine/sev/sev_session.hpp"

#include <algorithm>

#include "crypt/mac.hpp"

namespace cbit::machine {
namespace {

using Coordinate = std::array<std::byte, 72>;

Coordinate to_certificate(const crypt::P384Number& number) {
  Coordinate out{};
  std::ranges::reverse_copy(number, out.begin());
  return out;
}

// nullopt: longer than the curve's numbers.
std::optional<crypt::P384Number> from_certificate(const Coordinate& coordinate) {
  crypt::P384Number number;
  const auto end = coordinate.begin() + number.size();
  if (std::any_of(end, coordinate.end(), [](std::byte b) { return b != std::byte{0}; })) return std::nullopt;
  std::reverse_copy(coordinate.begin(), end, number.begin());
  return number;
}

// sev_cert_sanity_check of a DH certificate, and the curve.
std::optional<crypt::P384Point> point_of(const spec::SevCertificate& certificate) {
  if (certificate.version != spec::SevCertificate::version_1 ||
      certificate.usage != spec::SevCertificate::pdh_usage ||
      certificate.algorithm != spec::SevCertificate::ecdh_sha256 ||
      certificate.curve != spec::SevCertificate::curve_p384)
    return std::nullopt;
  const auto x = from_certificate(certificate.x);
  const auto y = from_certificate(certificate.y);
  return x && y ? std::optional{crypt::P384Point{*x, *y}} : std::nullopt;
}

struct WrappingKeys {
  crypt::Key128 encryption;  // KEK
  crypt::Key128 integrity;   // KIK
};

Result<WrappingKeys, spec::SevStatusCode> wrapping_keys(const crypt::EcdhKey& own,
                                                        const spec::SevCertificate& peer,
                                                        const crypt::Block& nonce) {
  const auto point = point_of(peer);
  const auto shared = point ? own.shared_secret(*point) : std::nullopt;
  if (!shared) return spec::refused(spec::SevStatusCode::invalid_certificate);
  const crypt::Key128 master = crypt::sp800_108_key(*shared, "sev-master-secret", nonce);
  return WrappingKeys{crypt::sp800_108_key(master, "sev-kek"), crypt::sp800_108_key(master, "sev-kik")};
}

crypt::Sha256Digest packet_mac(const crypt::Key128& integrity, spec::SevMacContext context,
                               const spec::SevPacketHeader& header, ConstByteSpan data,
                               ConstByteSpan measure) {
  const auto length = static_cast<std::uint32_t>(data.size());  // nothing is compressed: both lengths
  return crypt::hmac_sha256(integrity, {bytes_of(context), bytes_of(header.flags), header.iv,
                                        bytes_of(length), bytes_of(length), data, measure});
}

}  // namespace

spec::SevCertificate make_certificate(const crypt::EcdhKey& key) {
  spec::SevCertificate certificate;
  certificate.x = to_certificate(key.public_point().x);
  certificate.y = to_certificate(key.public_point().y);
  return certificate;
}

Result<spec::SevSession, spec::SevStatusCode> open_session(const crypt::EcdhKey& own,
                                                           const spec::SevCertificate& peer,
                                                           spec::SevPolicy policy,
                                                           const SevSessionRandom& random) {
  const WrappingKeys wrapping = CBIT_TRY(wrapping_keys(own, peer, random.nonce));
  spec::SevSession session{.nonce = random.nonce, .wrap_iv = random.iv};
  Bytes keys{random.keys.encryption.begin(), random.keys.encryption.end()};
  keys.insert(keys.end(), random.keys.integrity.begin(), random.keys.integrity.end());
  std::ranges::copy(crypt::aes128_ctr(wrapping.encryption, random.iv, keys), session.wrapped_keys.begin());
  session.wrap_mac = crypt::hmac_sha256(wrapping.integrity, {session.wrapped_keys});
  session.policy_mac = crypt::hmac_sha256(random.keys.integrity, {bytes_of(policy.raw)});
  return session;
}

Result<SevTransportKeys, spec::SevStatusCode> accept_session(const crypt::EcdhKey& own,
                                                             const spec::SevCertificate& peer,
                                                             spec::SevPolicy policy,
                                                             const spec::SevSession& session) {
  const WrappingKeys wrapping = CBIT_TRY(wrapping_keys(own, peer, session.nonce));
  if (!crypt::equal_in_constant_time(crypt::hmac_sha256(wrapping.integrity, {session.wrapped_keys}),
                                     session.wrap_mac))
    return spec::refused(spec::SevStatusCode::bad_measurement);
  const Bytes keys = crypt::aes128_ctr(wrapping.encryption, session.wrap_iv, session.wrapped_keys);
  SevTransportKeys transport;
  std::copy_n(keys.begin(), transport.encryption.size(), transport.encryption.begin());
  std::copy_n(keys.begin() + static_cast<std::ptrdiff_t>(transport.encryption.size()),
              transport.integrity.size(), transport.integrity.begin());
  if (!crypt::equal_in_constant_time(crypt::hmac_sha256(transport.integrity, {bytes_of(policy.raw)}),
                                     session.policy_mac))
    return spec::refused(spec::SevStatusCode::bad_measurement);
  return transport;
}

crypt::Sha256Digest launch_measure(const crypt::Key128& integrity, const spec::SevVersion& version,
                                   spec::SevPolicy policy, const crypt::Sha256Digest& launch_digest,
                                   const crypt::Block& nonce) {
  return crypt::hmac_sha256(
      integrity, {bytes_of(spec::SevMacContext::measure), bytes_of(version.major), bytes_of(version.minor),
                  bytes_of(version.build), bytes_of(policy.raw), launch_digest, nonce});
}

SevPacket seal_packet(const SevTransportKeys& keys, spec::SevMacContext context, const crypt::Block& iv,
                      ConstByteSpan plain, ConstByteSpan measure) {
  SevPacket packet{.header = {.iv = iv}, .data = crypt::aes128_ctr(keys.encryption, iv, plain)};
  packet.header.mac = packet_mac(keys.integrity, context, packet.header, packet.data, measure);
  return packet;
}

Result<Bytes, spec::SevStatusCode> open_packet(const SevTransportKeys& keys, spec::SevMacContext context,
                                               const spec::SevPacketHeader& header, ConstByteSpan data,
                                               ConstByteSpan measure) {
  if (!crypt::equal_in_constant_time(packet_mac(keys.integrity, context, header, data, measure), header.mac))
    return spec::refused(spec::SevStatusCode::bad_measurement);
  if (header.flags.get<spec::SevPacketHeader::Flags::Compressed>())
    return spec::refused(spec::SevStatusCode::unsupported);
  return crypt::aes128_ctr(keys.encryption, header.iv, data);
}

}  // namespace cbit::machine
