// Three kinds of trouble, three mechanisms.
//
//  Fault     the guest or a device did it: a value of the machine, carried up by CBIT_TRY.
//  Error     the user did it (file, option, configuration): a message and a remedy, printed once by the
//            command line, which ends with the error's exit code.
//  CBIT_ASSERT (base/assert.hpp) we did it.
//
// Exceptions do not cross a room's boundary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace cbit {

enum class FaultKind : std::uint8_t {
  not_present,         // page-table walk: P=0
  protection,          // W, U or NX forbids it
  reserved_bit,        // page-table entry with a reserved bit set
  non_canonical,       // virtual address is not canonical: #GP
  no_memory,           // the physical address decodes to neither RAM nor MMIO (master abort)
  rmp_violation,       // SNP: the RMP forbids the access (RMP_PAGE_FAULT, #PF with bit 31)
  private_mmio,        // MMIO reached with the encryption bit set
  td_integrity,        // TDX: TD-private line with a foreign owner (poison, #MC)
  conversion_refused,  // the hypervisor does not honour a page-state change (TDX MapGPA)
  iommu_not_present,   // IO_PAGE_FAULT: no translation
  iommu_protection,    // IO_PAGE_FAULT: IR or IW clear
  iommu_reserved_bit,  // IO_PAGE_FAULT: malformed entry
  iommu_no_domain,     // the device table has no translation for the requester
  address_width,       // the device cannot drive this many address bits
  device_protocol,     // the driver gave the device something its specification forbids
  bus_master_off,      // PCI: the driver has not let the device reach memory (pci_set_master)
  guest_terminated,    // the guest has ended itself: sev_es_terminate()
};

[[nodiscard]] std::string_view to_string(FaultKind kind);

// What went wrong at which address. The address space depends on the kind: virtual for page faults,
// bus address for IOMMU faults, physical for the rest.
struct Fault {
  FaultKind kind{};
  std::uint64_t address = 0;
  bool write = false;

  friend bool operator==(const Fault&, const Fault&) = default;
};

// Exit codes of the command (docs/errors.md). The low numbers are left to a guest's own command.
enum class ExitCode : int {
  ok = 0,
  check_failed = 1,
  usage = 64,
  bad_input = 65,
  internal = 70,
  no_memory = 71,
  output_failed = 74,
  timeout = 124,
  machine_died = 125,
};

struct Error {
  std::string message;  // names the thing that is wrong
  std::string hint;     // what to do about it; may be empty
  ExitCode code = ExitCode::bad_input;
};

template <class T, class E = Fault>
using Result = tl::expected<T, E>;

template <class T>
using OrError = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> usage_error(std::string message, std::string hint = {}) {
  return tl::unexpected<Error>{Error{std::move(message), std::move(hint), ExitCode::usage}};
}
[[nodiscard]] inline tl::unexpected<Error> bad_input(std::string message, std::string hint = {}) {
  return tl::unexpected<Error>{Error{std::move(message), std::move(hint), ExitCode::bad_input}};
}
[[nodiscard]] inline tl::unexpected<Fault> fault(FaultKind kind, std::uint64_t address, bool write = false) {
  return tl::unexpected<Fault>{Fault{kind, address, write}};
}

namespace detail {
template <class T, class E>
constexpr T unwrap(tl::expected<T, E>&& result) {
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}
}  // namespace detail

}  // namespace cbit

// Evaluates to the value of `expr`, or returns its error from the enclosing function.
#define CBIT_TRY(...)                                           \
  ({                                                            \
    auto cbit_result_ = (__VA_ARGS__);                          \
    if (!cbit_result_) [[unlikely]]                             \
      return ::tl::unexpected{std::move(cbit_result_).error()}; \
    ::cbit::detail::unwrap(std::move(cbit_result_));            \
  })
