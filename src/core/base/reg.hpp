// Registers and hardware-defined words whose fields are written as in the manual: high bit first.
//
//   struct SevStatus : Register<SevStatus, std::uint64_t> {
//     using Sev = Field<0, 0, bool>;
//   };
//   SevStatus{{0b101}}.get<SevStatus::Sev>()
#pragma once

#include <concepts>

namespace cbit {

template <class Self, std::unsigned_integral Raw>
struct Register {
  Raw raw = 0;

  template <unsigned Hi, unsigned Lo = Hi, class T = Raw>
  struct Field {
    static_assert(Hi >= Lo && Hi < 8 * sizeof(Raw), "write fields as in the manual: high bit first");
    using Value = T;
    static constexpr Raw mask = static_cast<Raw>((Raw{1} << (Hi - Lo) << 1) - 1);
    static constexpr unsigned shift = Lo;
  };

  template <class F>
  [[nodiscard]] constexpr typename F::Value get() const {
    return static_cast<typename F::Value>(raw >> F::shift & F::mask);
  }
  template <class F>
  [[nodiscard]] constexpr Self with(typename F::Value value) const {
    return Self{{static_cast<Raw>((raw & ~(F::mask << F::shift)) |
                                  ((static_cast<Raw>(value) & F::mask) << F::shift))}};
  }
};

}  // namespace cbit
