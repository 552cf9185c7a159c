// The channel between two ends of the SEV protocol: a guest's owner and the firmware, or two firmwares.
// API, chapters 2.2 (keys), 4.4 and appendix B (packets).
//
//   Z = ECDH(own key, peer's certificate)        KEK, KIK = KDF(master, "sev-kek"), KDF(master, "sev-kik")
//   master = KDF(Z, "sev-master-secret", nonce)  session  = TEK || TIK under KEK, MACs under KIK and TIK
//
// Packets are AES-128-CTR under TEK with a MAC under TIK. Everything is deterministic: nonces and IVs are the
// caller's.
#pragma once

#include <optional>

#include "base/result.hpp"
#include "crypt/ecdh.hpp"
#include "spec/sev.hpp"

namespace cbit::machine {

[[nodiscard]] spec::SevCertificate make_certificate(const crypt::EcdhKey& key);

struct SevTransportKeys {
  crypt::Key128 encryption{};  // TEK
  crypt::Key128 integrity{};   // TIK
};

// Random bytes that one end puts into a session.
struct SevSessionRandom {
  SevTransportKeys keys;
  crypt::Block nonce{};
  crypt::Block iv{};
};

// The end that chooses the keys. Errors: invalid_certificate.
Result<spec::SevSession, spec::SevStatusCode> open_session(const crypt::EcdhKey& own,
                                                           const spec::SevCertificate& peer,
                                                           spec::SevPolicy policy,
                                                           const SevSessionRandom& random);
// The end that is told. Errors: invalid_certificate; bad_measurement when a MAC is wrong: other keys, another
// policy, a changed byte.
Result<SevTransportKeys, spec::SevStatusCode> accept_session(const crypt::EcdhKey& own,
                                                             const spec::SevCertificate& peer,
                                                             spec::SevPolicy policy,
                                                             const spec::SevSession& session);

// HMAC(TIK, 04 || API_MAJOR || API_MINOR || BUILD || POLICY || LD || MNONCE). API, 6.5.
[[nodiscard]] crypt::Sha256Digest launch_measure(const crypt::Key128& integrity,
                                                 const spec::SevVersion& version, spec::SevPolicy policy,
                                                 const crypt::Sha256Digest& launch_digest,
                                                 const crypt::Block& nonce);

struct SevPacket {
  spec::SevPacketHeader header;
  Bytes data;
};
// HMAC(TIK, context || FLAGS || IV || GUEST_LENGTH || TRANS_LENGTH || DATA [|| MEASURE]), DATA encrypted;
// `measure` is that of the launch for secrets, empty for the rest.
[[nodiscard]] SevPacket seal_packet(const SevTransportKeys& keys, spec::SevMacContext context,
                                    const crypt::Block& iv, ConstByteSpan plain, ConstByteSpan measure = {});
// Errors: unsupported for compressed packets; bad_measurement when the MAC is wrong.
Result<Bytes, spec::SevStatusCode> open_packet(const SevTransportKeys& keys, spec::SevMacContext context,
                                               const spec::SevPacketHeader& header, ConstByteSpan data,
                                               ConstByteSpan measure = {});

}  // namespace cbit::machine
