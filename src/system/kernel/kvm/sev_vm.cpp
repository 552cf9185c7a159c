// The VM, its ASID, its pinned memory, and what its CPU reaches.
#include "kernel/kvm/sev_vm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace cbit::kernel {

// ---- the VM ---------------------------------------------------------------------------------------------

SevVm::SevVm(Kvm& kvm, Process& vmm, paging::PageTable npt, SiteId site)
    : kvm_{&kvm}, vmm_{&vmm}, npt_{std::move(npt)}, site_{site} {}

Result<std::unique_ptr<SevVm>, int> SevVm::create(Kvm& kvm, Process& vmm, std::string_view name) {
  Kernel& kernel = kvm.kernel();
  machine::Machine& machine = kernel.machine();
  PageAllocator& pages = kernel.mm().page_allocator();
  paging::PageTable::Source source{.allocate = [&pages]() -> Result<PhysAddr> {
                                     if (const auto page = pages.allocate(1)) return *page;
                                     return fault(FaultKind::no_memory, 0);
                                   },
                                   .release = [&pages](PhysAddr page) { pages.free(page, 1); }};
  const mem::KeySelector host_bit = kernel.cc().has(CcAttr::mem_encrypt) ? 1 : 0;
  auto npt = paging::PageTable::create(machine.memory(), machine.paging(), host_bit, std::move(source),
                                       {{AgentKind::cpu, 0}, no_key, machine.tracer().intern("kvm_mmu")});
  if (!npt) return tl::unexpected{ENOMEM};
  return std::unique_ptr<SevVm>{new SevVm{kvm, vmm, std::move(*npt), machine.tracer().intern(name)}};
}

SevVm::~SevVm() {
  if (active_) {
    kvm_->wbinvd_on_all_cpus();
    for (const Region& region : regions_) unpin_memory(region.pages);
    unbind_asid();
    kvm_->sev_asid_free(asid_);
  }
  for (const PhysAddr vmsa : vmsas_) kvm_->kernel().mm().page_allocator().free(vmsa, 1);
}

Result<void, int> SevVm::set_user_memory_region(machine::GuestPhysAddr gpa, std::uint64_t bytes,
                                                VirtAddr uaddr) {
  if (bytes == 0 || bytes % page_size != 0 || !gpa.is_aligned(page_size) || !uaddr.is_aligned(page_size) ||
      gpa + bytes < gpa)
    return tl::unexpected{EINVAL};
  for (const Slot& slot : slots_)
    if (gpa < slot.gpa + slot.bytes && slot.gpa < gpa + bytes) return tl::unexpected{EEXIST};
  slots_.push_back({gpa, bytes, uaddr});
  return {};
}

// CS:IP leads to the reset vector. Offsets of struct sev_es_save_area.
Bytes reset_save_area() {
  Bytes save(page_size);
  store(save, 0x158, std::uint64_t{0x6000'0010});  // CR0
  store(save, 0x170, std::uint64_t{0x2});          // RFLAGS
  store(save, 0x178, std::uint64_t{0xfff0});       // RIP
  return save;
}

crypt::Sha256Digest launch_digest(ConstByteSpan image, std::size_t cpus) {
  crypt::Sha256 digest;
  digest.update(image);
  for (std::size_t i = 0; i < cpus; ++i) digest.update(reset_save_area());
  return digest.finish();
}

Result<void, int> SevVm::create_vcpu() {
  if (es_active_) {
    const auto page = kvm_->kernel().mm().page_allocator().allocate(1);
    if (!page) return tl::unexpected{ENOMEM};
    const Bytes save = reset_save_area();
    const auto [phys, key] = kvm_->kernel().machine().paging().view.resolve(page_pa(*page));
    static_cast<void>(kvm_->kernel().machine().memory().write(phys, save, {{AgentKind::cpu, 0}, key, site_}));
    vmsas_.push_back(*page);
  }
  ++vcpus_;
  return {};
}

SevResult<void> SevVm::guest_init(bool es) {
  if (vcpus_ != 0) return sev_error(EINVAL);
  if (active_) return sev_error(EBUSY);
  const auto asid = kvm_->sev_asid_new(es);
  if (!asid) {
    if (asid.error() == EBUSY)
      kvm_->kernel().machine().tracer().emit(
          {AgentKind::cpu, 0},
          KeyRequestRefused{es ? "KVM_SEV_ES_INIT" : "KVM_SEV_INIT", EBUSY, "asid-exhausted"});
    return sev_error(asid.error());
  }
  if (const auto initialized = kvm_->sev_platform_init(); !initialized) {
    kvm_->sev_asid_free(*asid);
    return initialized;
  }
  asid_ = *asid;
  active_ = true;
  es_active_ = es;
  return {};
}

void SevVm::unbind_asid() {
  if (handle_ == 0) return;
  static_cast<void>(firmware().deactivate(handle_));
  static_cast<void>(firmware().decommission(handle_));
  handle_ = 0;
}

PtePhys SevVm::page_pa(PhysAddr page) const {
  const mem::KeySelector host_bit = kvm_->kernel().cc().has(CcAttr::mem_encrypt) ? 1 : 0;
  return kvm_->kernel().machine().paging().view.layout.join(page, host_bit);
}

// ---- pinned memory --------------------------------------------------------------------------------------

Result<std::vector<PhysAddr>, int> SevVm::pin_memory(VirtAddr uaddr, std::uint64_t len, bool write) {
  if (len == 0 || uaddr + len < uaddr) return tl::unexpected{EINVAL};
  const std::uint64_t pages = (uaddr + (len - 1)).page_number() - uaddr.page_number() + 1;
  if (pages > std::numeric_limits<std::int32_t>::max()) return tl::unexpected{EINVAL};
  const std::uint64_t locked = pages_locked_ + pages;
  const std::uint64_t limit = vmm_->limits().memlock_bytes / page_size;
  if (locked > limit && !vmm_->limits().cap_ipc_lock) {
    kvm_->message(fmt::format("SEV: {} locked pages exceed the lock limit of {}.", locked, limit));
    return tl::unexpected{ENOMEM};
  }
  auto pinned = vmm_->pin_user_pages(uaddr.page(), pages, write);
  if (!pinned) {
    kvm_->message(fmt::format("SEV: Failure locking {} pages.", pages));
    return tl::unexpected{ENOMEM};
  }
  pages_locked_ = locked;
  return pinned;
}

void SevVm::unpin_memory(std::span<const PhysAddr> pages) {
  vmm_->unpin_user_pages(pages, true);
  pages_locked_ -= pages.size();
}

void SevVm::report(const Region& region, bool registered, int error) {
  const std::uint64_t pages = (region.uaddr.page_offset() + region.size + page_size - 1) / page_size;
  kvm_->kernel().machine().tracer().emit(
      {AgentKind::cpu, 0},
      RegionPinned{region.uaddr, pages, pages_locked_, registered, static_cast<std::uint32_t>(error)});
}

Result<void, int> SevVm::mem_enc_register_region(VirtAddr uaddr, std::uint64_t size) {
  if (!active_) return tl::unexpected{ENOTTY};
  Region region{uaddr, size, {}};
  auto pages = pin_memory(uaddr, size, false);
  if (!pages) {
    report(region, true, pages.error());
    return tl::unexpected{pages.error()};
  }
  region.pages = std::move(*pages);
  // The guest may change the attribute of these pages: nothing may linger in caches under the host's view.
  kvm_->sev_clflush_pages(region.pages);
  report(region, true, 0);
  regions_.push_back(std::move(region));
  return {};
}

Result<void, int> SevVm::mem_enc_unregister_region(VirtAddr uaddr, std::uint64_t size) {
  if (!active_) return tl::unexpected{ENOTTY};
  const auto found = std::ranges::find_if(
      regions_, [&](const Region& region) { return region.uaddr == uaddr && region.size == size; });
  if (found == regions_.end()) return tl::unexpected{EINVAL};
  kvm_->wbinvd_on_all_cpus();
  unpin_memory(found->pages);
  report(*found, false, 0);
  regions_.erase(found);
  return {};
}

// ---- the guest's accesses -------------------------------------------------------------------------------

machine::NestedMemory SevVm::nested_memory() {
  const machine::GuestKind kind = es_active_ ? machine::GuestKind::sev_es
                                  : active_  ? machine::GuestKind::sev
                                             : machine::GuestKind::plain;
  return machine::NestedMemory{kvm_->kernel().machine(),
                               {.kind = kind, .asid = asid_, .ncr3 = npt_.cr3(), .site = site_}};
}

const SevVm::Slot* SevVm::slot_of(machine::GuestPhysAddr at) const {
  const auto found = std::ranges::find_if(
      slots_, [&](const Slot& slot) { return at >= slot.gpa && at < slot.gpa + slot.bytes; });
  return found == slots_.end() ? nullptr : &*found;
}

// kvm_mmu_page_fault(): the frame that the VMM has there, with the host's own C-bit.
Result<void> SevVm::resolve(machine::GuestPhysAddr page) {
  const Slot* const slot = slot_of(page);
  if (slot == nullptr) return fault(FaultKind::no_memory, page.value());
  const auto frames = vmm_->pin_user_pages(slot->uaddr + (page - slot->gpa), 1, true);
  if (!frames) return fault(FaultKind::no_memory, page.value());
  vmm_->unpin_user_pages(*frames, true);
  return remap(page, frames->front());
}

Result<void> SevVm::remap(machine::GuestPhysAddr page, PhysAddr frame) {
  const mem::KeySelector host_bit = kvm_->kernel().cc().has(CcAttr::mem_encrypt) ? 1 : 0;
  CBIT_TRY(npt_.map({.at = VirtAddr{page.value()},
                     .phys = frame,
                     .bytes = page_size,
                     .flags = {.user = true},
                     .selector = host_bit,
                     .largest = paging::PageLevel::size_4k}));
  return {};
}

Result<PhysAddr> SevVm::frame(machine::GuestPhysAddr page) {
  auto place = nested_memory().locate(page.page(), paging::Intent::read, false);
  if (!place && place.error().kind == FaultKind::not_present) {
    CBIT_TRY(resolve(page.page()));
    place = nested_memory().locate(page.page(), paging::Intent::read, false);
  }
  if (!place) return tl::unexpected{place.error()};
  return place->phys;
}

Result<void> SevVm::read(machine::GuestPhysAddr from, ByteSpan to, bool encrypted) {
  for (machine::GuestPhysAddr page = from.page(); page < from + to.size(); page += page_size)
    CBIT_TRY(frame(page));
  return nested_memory().read(from, to, encrypted);
}

Result<void> SevVm::write(machine::GuestPhysAddr to, ConstByteSpan from, bool encrypted) {
  for (machine::GuestPhysAddr page = to.page(); page < to + from.size(); page += page_size)
    CBIT_TRY(frame(page));
  return nested_memory().write(to, from, encrypted);
}

}  // namespace cbit::kernel
