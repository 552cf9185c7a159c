#include "spec/sev.hpp"

namespace cbit::spec {

std::string_view to_string(SevStatusCode status) {
  static constexpr std::string_view names[] = {"SUCCESS",
                                               "INVALID_PLATFORM_STATE",
                                               "INVALID_GUEST_STATE",
                                               "INVALID_CONFIG",
                                               "INVALID_LEN",
                                               "ALREADY_OWNED",
                                               "INVALID_CERTIFICATE",
                                               "POLICY_FAILURE",
                                               "INACTIVE",
                                               "INVALID_ADDRESS",
                                               "BAD_SIGNATURE",
                                               "BAD_MEASUREMENT",
                                               "ASID_OWNED",
                                               "INVALID_ASID",
                                               "WBINVD_REQUIRED",
                                               "DFFLUSH_REQUIRED",
                                               "INVALID_GUEST",
                                               "INVALID_COMMAND",
                                               "ACTIVE",
                                               "HWSEV_RET_PLATFORM",
                                               "HWSEV_RET_UNSAFE",
                                               "UNSUPPORTED",
                                               "INVALID_PARAM",
                                               "RESOURCE_LIMIT",
                                               "SECURE_DATA_INVALID"};
  const auto number = static_cast<std::size_t>(status);
  return number < std::size(names) ? names[number] : "?";
}

std::string_view to_string(SevGuestState state) {
  switch (state) {
    case SevGuestState::invalid: return "invalid";
    case SevGuestState::launching: return "launching";
    case SevGuestState::secret: return "secret";
    case SevGuestState::running: return "running";
    case SevGuestState::sending: return "sending";
    case SevGuestState::receiving: return "receiving";
    case SevGuestState::sent: return "sent";
  }
  return "?";
}

}  // namespace cbit::spec
