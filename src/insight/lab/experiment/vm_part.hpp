// Virtual machines of an experiment: the host's KVM, their VMMs, and what the file knows of them by name.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/kvm/sev_vm.hpp"
#include "lab/experiment/names.hpp"
#include "lab/experiment/run.hpp"
#include "lab/experiment/vm_names.hpp"

namespace cbit::lab {

enum class VmKind : std::uint8_t { plain, sev, sev_es };

// A process that runs a guest, and the guest.
struct Vm {
  std::unique_ptr<kernel::Process> vmm;
  std::unique_ptr<kernel::SevVm> vm;
  VirtAddr ram;  // in the VMM
  VirtAddr heap;
  std::uint64_t bytes = 0;
  std::vector<bool> shared;  // by page of RAM: the guest maps it without the C-bit
  std::optional<machine::SevTransportKeys> owners_keys;  // of a launch with a session
  spec::SevPolicy policy;
  spec::SevMeasurement measurement;
  std::size_t measured_cpus = 0;  // by LAUNCH_UPDATE_VMSA
};

// Guest memory begins at guest-physical 0.
[[nodiscard]] constexpr machine::GuestPhysAddr guest_address(std::uint64_t offset) {
  return machine::GuestPhysAddr{offset};
}

// The host that a guest was sent to.
struct OtherHost {
  std::unique_ptr<testbed::Testbed> bed;
  std::unique_ptr<kernel::Kvm> kvm;
  Vm vm;
};

struct VmPart {
  std::unique_ptr<kernel::Kvm> kvm;
  std::deque<Vm> vms;
  std::deque<OtherHost> others;
};

[[nodiscard]] VmPart& vm_part(Run& run);
// StepTrouble when the step that should have made it failed, or it was destroyed.
Result<Vm*, StepTrouble> live_vm(Run& run, std::size_t id);

// "-EIO: POLICY_FAILURE", "-ENOMEM".
[[nodiscard]] tl::unexpected<StepTrouble> sev_trouble(const kernel::SevError& error);
[[nodiscard]] std::string errno_text(int error);

template <class T>
Result<T, StepTrouble> tried(kernel::SevResult<T> result) {
  if (!result) return sev_trouble(result.error());
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return *std::move(result);
}

}  // namespace cbit::lab
