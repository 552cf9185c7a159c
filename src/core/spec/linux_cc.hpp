// What Linux asks about confidential computing: cc_platform_has(). include/linux/cc_platform.h.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace cbit::spec {

// Without the CC_ATTR_ prefix.
enum class CcAttr : std::uint8_t {
  mem_encrypt,
  host_mem_encrypt,
  guest_mem_encrypt,
  guest_state_encrypt,
  guest_unroll_string_io,
  guest_sev_snp,
};

class CcAttrs {
 public:
  constexpr CcAttrs(std::initializer_list<CcAttr> attrs) {
    for (const CcAttr attr : attrs) bits_ |= bit(attr);
  }
  [[nodiscard]] constexpr bool has(CcAttr attr) const { return (bits_ & bit(attr)) != 0; }

 private:
  static constexpr unsigned bit(CcAttr attr) { return 1u << static_cast<unsigned>(attr); }

  unsigned bits_ = 0;
};

}  // namespace cbit::spec
