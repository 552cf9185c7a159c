// What stands below a guest: the hypervisor, on POWER the ultravisor. A guest leaves for it (exit), and asks
// it to make pages shared or private: KVM_HC_MAP_GPA_RANGE, SNP's page-state change, TDX's MapGPA, POWER's
// UV_SHARE_PAGE. Whoever asks (the model kernel, a CPU's hypercall) comes here.
//
// A page's state is the hypervisor's on SNP, TDX and POWER, and changes here. KVM_HC_MAP_GPA_RANGE only tells
// it what the guest's page tables have: on SEV there is no other state, and on SNP that of the RMP is for PSC
// to change. Each request is one PageStateRequest event.
//
// Sources: Linux, Documentation/virt/kvm/x86/hypercalls.rst (KVM_HC_MAP_GPA_RANGE); GHCB specification
// (56421), SNP Page State Change; TDX GHCI (348551), TDG.VP.VMCALL<MapGPA>; Linux,
// Documentation/powerpc/ultravisor.rst.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/state_stream.hpp"
#include "base/trace.hpp"
#include "cbit/platform.hpp"
#include "mem/key_layout.hpp"
#include "mem/memory.hpp"

namespace cbit::machine {

class Hypervisor {
 public:
  // `memory` and `tracer` outlive it. `view` is how the guest's CPUs see memory.
  Hypervisor(Platform platform, const mem::KeyView& view, mem::Memory& memory, Tracer& tracer)
      : platform_{platform}, view_{view}, memory_{&memory}, tracer_{&tracer} {}

  // The guest left, for what the event's name says; it takes as long as a hypercall.
  void exit(Agent agent, std::string_view reason, std::uint64_t argument);

  struct PageState {
    std::string_view call;  // as PageStateRequest has it
    mem::PhysRange range;   // page-aligned, in RAM
    bool encrypted = false;
    SiteId site = 0;
  };
  void note_page_state(Agent agent, const PageState& told);
  // Faults: what POWER's zeroing of the pages meets.
  Result<void> change_page_state(Agent agent, const PageState& wanted);

  // The guest asked to be ended, in the words of the GHCB protocol: reason set and reason.
  void terminate(Agent agent, std::uint8_t reason_set, std::uint8_t reason);
  [[nodiscard]] bool terminated() const { return terminated_; }
  void transfer(StateStream& s) { s(terminated_); }

 private:
  Platform platform_;
  mem::KeyView view_;
  mem::Memory* memory_;
  Tracer* tracer_;
  bool terminated_ = false;
};

}  // namespace cbit::machine
