#include "lab/experiment/vm_part.hpp"

#include <fmt/format.h>

#include <cerrno>

namespace cbit::lab {

VmPart& vm_part(Run& run) {
  VmPart& part = run.part<VmPart>();
  if (part.kvm == nullptr) {
    part.kvm = std::make_unique<kernel::Kvm>(run.kernel());
    // Guests end before their VMMs, and both before the kernel.
    run.at_end([&part] {
      for (Vm& vm : part.vms) {
        vm.vm.reset();
        vm.vmm.reset();
      }
      for (OtherHost& other : part.others) {
        other.vm.vm.reset();
        other.vm.vmm.reset();
        other.kvm.reset();
      }
      part.kvm.reset();
    });
  }
  return part;
}

Result<Vm*, StepTrouble> live_vm(Run& run, std::size_t id) {
  VmPart& part = vm_part(run);
  if (id >= part.vms.size() || part.vms[id].vm == nullptr)
    return trouble_in_step("the virtual machine does not exist: the step that makes it failed, or it ended");
  return &part.vms[id];
}

std::string errno_text(int error) {
  switch (error) {
    case EIO: return "-EIO";
    case ENOMEM: return "-ENOMEM";
    case EFAULT: return "-EFAULT";
    case EBUSY: return "-EBUSY";
    case EEXIST: return "-EEXIST";
    case EINVAL: return "-EINVAL";
    case ENOTTY: return "-ENOTTY";
    default: return fmt::format("-{}", error);
  }
}

tl::unexpected<StepTrouble> sev_trouble(const kernel::SevError& error) {
  if (error.firmware == spec::SevStatusCode::success) return trouble_in_step(errno_text(error.error));
  return trouble_in_step(fmt::format("{}: {} ({})", errno_text(error.error), to_string(error.firmware),
                                     static_cast<unsigned>(error.firmware)));
}

}  // namespace cbit::lab
