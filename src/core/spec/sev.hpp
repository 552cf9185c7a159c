// Numbers and structures of the SEV firmware's interface. AMD, "Secure Encrypted Virtualization API" (55766);
// include/linux/psp-sev.h and include/uapi/linux/psp-sev.h of Linux 6.1.
//
// All integers are little-endian, as is every structure here.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.hpp"
#include "base/reg.hpp"
#include "base/result.hpp"
#include "crypt/sha256.hpp"
#include "crypt/xex.hpp"

namespace cbit::spec {

enum class SevStatusCode : std::uint32_t {
  success = 0,
  invalid_platform_state = 1,
  invalid_guest_state = 2,
  invalid_config = 3,
  invalid_length = 4,
  already_owned = 5,
  invalid_certificate = 6,
  policy_failure = 7,
  inactive = 8,
  invalid_address = 9,
  bad_signature = 10,
  bad_measurement = 11,
  asid_owned = 12,
  invalid_asid = 13,
  wbinvd_required = 14,
  dfflush_required = 15,
  invalid_guest = 16,
  invalid_command = 17,
  active = 18,
  hwsev_platform = 19,
  hwsev_unsafe = 20,
  unsupported = 21,
  invalid_param = 22,
  resource_limit = 23,
  secure_data_invalid = 24,
};

// A command's way out with a status that is not success.
[[nodiscard]] inline tl::unexpected<SevStatusCode> refused(SevStatusCode status) {
  return tl::unexpected{status};
}
// "DFFLUSH_REQUIRED".
[[nodiscard]] std::string_view to_string(SevStatusCode status);

enum class SevPlatformState : std::uint8_t { uninit = 0, init = 1, working = 2 };

// GSTATE of the API, as GUEST_STATUS returns it.
enum class SevGuestState : std::uint8_t {
  invalid = 0,
  launching = 1,  // LUPDATE
  secret = 2,     // LSECRET
  running = 3,
  sending = 4,    // SUPDATE
  receiving = 5,  // RUPDATE
  sent = 6,
};
// "running".
[[nodiscard]] std::string_view to_string(SevGuestState state);

struct SevPolicy : Register<SevPolicy, std::uint32_t> {
  using ApiMinor = Field<31, 24, std::uint8_t>;  // at least this version
  using ApiMajor = Field<23, 16, std::uint8_t>;
  using Reserved = Field<15, 6>;
  using Sev = Field<5, 5, bool>;     // may be sent to AMD's SEV platforms only
  using Domain = Field<4, 4, bool>;  // may be sent within its owner's domain only
  using NoSend = Field<3, 3, bool>;
  using Es = Field<2, 2, bool>;
  using NoKeySharing = Field<1, 1, bool>;
  using NoDebug = Field<0, 0, bool>;
};
static_assert(SevPolicy{{0x37'01'00'0d}}.get<SevPolicy::ApiMinor>() == 0x37);
static_assert(SevPolicy{{0x37'01'00'0d}}.get<SevPolicy::Es>());

// The version that this firmware reports.
struct SevVersion {
  std::uint8_t major = 1;
  std::uint8_t minor = 55;
  std::uint8_t build = 8;

  friend bool operator==(const SevVersion&, const SevVersion&) = default;
};

// A Diffie-Hellman certificate (API, appendix C.1). A signature whose usage is `unsigned_usage` is none.
struct SevCertificate {
  struct Signature {
    std::uint32_t usage = 0x1000;
    std::uint32_t algorithm = 0;
    std::array<std::byte, 512> bytes{};
  };
  static constexpr std::uint32_t version_1 = 1;
  static constexpr std::uint32_t pdh_usage = 0x1003;
  static constexpr std::uint32_t ecdh_sha256 = 3;
  static constexpr std::uint32_t curve_p384 = 2;

  std::uint32_t version = version_1;
  std::uint8_t api_major = SevVersion{}.major;
  std::uint8_t api_minor = SevVersion{}.minor;
  std::array<std::byte, 2> reserved{};
  std::uint32_t usage = pdh_usage;
  std::uint32_t algorithm = ecdh_sha256;
  std::uint32_t curve = curve_p384;
  std::array<std::byte, 72> x{};  // little-endian
  std::array<std::byte, 72> y{};
  std::array<std::byte, 880> reserved_key{};
  std::array<Signature, 2> signatures{};
};
static_assert(sizeof(SevCertificate) == 2084);

// What travels with LAUNCH_START, SEND_START and RECEIVE_START.
struct SevSession {
  crypt::Block nonce{};
  std::array<std::byte, 32> wrapped_keys{};  // TEK || TIK under KEK
  crypt::Block wrap_iv{};
  crypt::Sha256Digest wrap_mac{};
  crypt::Sha256Digest policy_mac{};
};
static_assert(sizeof(SevSession) == 128);

// In front of every packet of LAUNCH_SECRET, SEND_UPDATE and RECEIVE_UPDATE.
struct SevPacketHeader {
  struct Flags : Register<Flags, std::uint32_t> {
    using Compressed = Field<0, 0, bool>;
  };
  Flags flags;
  crypt::Block iv{};
  crypt::Sha256Digest mac{};
};
static_assert(sizeof(SevPacketHeader) == 52);

// LAUNCH_MEASURE's answer.
struct SevMeasurement {
  crypt::Sha256Digest measure{};
  crypt::Block nonce{};
};
static_assert(sizeof(SevMeasurement) == 48);

// The first byte of what a MAC covers.
enum class SevMacContext : std::uint8_t { secret = 1, data = 2, vmsa = 3, measure = 4 };

// Longest packet of LAUNCH_SECRET, SEND_UPDATE and RECEIVE_UPDATE.
inline constexpr std::uint32_t sev_packet_bytes_max = 16 * 1024;
// Trusted memory region that SEV-ES needs: size and alignment.
inline constexpr std::uint64_t sev_tmr_bytes = 1 << 20;

}  // namespace cbit::spec
