// Launching a machine of platform SEV: the commands that a hypervisor gives the secure processor, page by
// page. docs/sev-launch.md; AMD, "SEV API" (55766), 6.2 to 6.6; arch/x86/kvm/svm/sev.c of Linux 6.1.
//
//   INIT, WBINVD on all CPUs, DF_FLUSH, LAUNCH_START, ACTIVATE, LAUNCH_UPDATE_DATA for each page,
//   LAUNCH_MEASURE, LAUNCH_SECRET for each secret, LAUNCH_FINISH
//
// The digest is SHA-256 over the pages in order of address, so whoever has kernel, initrd and command line
// can compute it (launch_digest()), and with the owner's key the measurement.
//
// Errors (input): the firmware refuses a command; the message has its name for the reason.
#pragma once

#include <cstdint>
#include <string>

#include "boot/plan.hpp"
#include "machine/machine.hpp"
#include "spec/sev.hpp"

namespace cbit::boot {

struct SevLaunchOptions {
  spec::SevPolicy policy{{0x1}};  // no debugging, as QEMU has it
  // The owner's certificate and session; empty: none, and the measurement proves nothing.
  ConstByteSpan dh_cert;
  ConstByteSpan session;
};

struct SevLaunchReport {
  std::uint32_t handle = 0;
  unsigned asid = 0;
  spec::SevPolicy policy;
  std::uint64_t pages = 0;
  crypt::Sha256Digest digest{};
  spec::SevMeasurement measurement;
};

// A launch between its measurement and its end, when the owner may put secrets in.
class SevLaunch {
 public:
  // Errors also (usage): a machine without a firmware that launches it.
  static OrError<SevLaunch> begin(machine::Machine& machine, const LoadPlan& plan,
                                  const SevLaunchOptions& options);

  [[nodiscard]] const SevLaunchReport& report() const { return report_; }

  // A packet of the owner's, made for this measurement.
  OrError<void> put_secret(PhysAddr at, ConstByteSpan header, ConstByteSpan data);
  // The guest may run.
  OrError<void> finish();

 private:
  SevLaunch(machine::SevFirmware& firmware, const SevLaunchReport& report)
      : firmware_{&firmware}, report_{report} {}

  machine::SevFirmware* firmware_;
  SevLaunchReport report_;
};

// begin() and finish().
OrError<SevLaunchReport> launch(machine::Machine& machine, const LoadPlan& plan,
                                const SevLaunchOptions& options);

// What LAUNCH_MEASURE will have measured.
[[nodiscard]] crypt::Sha256Digest launch_digest(const LoadPlan& plan);

}  // namespace cbit::boot
