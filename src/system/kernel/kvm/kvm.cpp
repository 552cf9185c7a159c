#include "kernel/kvm/kvm.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "base/cost.hpp"

namespace cbit::kernel {

SevResult<void> issued(spec::SevStatusCode status) {
  if (status != spec::SevStatusCode::success) return tl::unexpected{SevError{EIO, status}};
  return {};
}

Kvm::Kvm(Kernel& kernel) : kernel_{&kernel} {
  const machine::SevFirmware* const firmware = kernel.machine().sev_firmware();
  if (firmware == nullptr) return;
  capability_ = firmware->capability();
  asids_.resize(capability_.asids + 1);
  reclaim_.resize(capability_.asids + 1);
  const bool usable = capability_.min_sev_asid <= capability_.asids;
  message(fmt::format("SEV {} (ASIDs {} - {})", usable ? "enabled" : "unusable", capability_.min_sev_asid,
                      capability_.asids));
  message(fmt::format("SEV-ES {} (ASIDs {} - {})", capability_.min_sev_asid > 1 ? "enabled" : "disabled",
                      capability_.min_sev_asid > 1 ? 1 : 0, capability_.min_sev_asid - 1));
}

Kvm::~Kvm() {
  if (capability_.asids != 0) static_cast<void>(sev_flush_asids(1, capability_.asids));
  if (tmr_) {
    static_cast<void>(firmware().shutdown());
    kernel_->mm().page_allocator().free(*tmr_, spec::sev_tmr_bytes / page_size);
  }
}

void Kvm::message(std::string text) {
  Tracer& tracer = kernel_->machine().tracer();
  if (tracer.enabled()) tracer.emit({AgentKind::cpu, 0}, KernelMessage{std::move(text)});
}

// ---- ASIDs ----------------------------------------------------------------------------------------------

int Kvm::sev_flush_asids(unsigned min_asid, unsigned max_asid) {
  bool waiting = false;
  for (unsigned asid = min_asid; asid <= max_asid; ++asid) waiting = waiting || reclaim_[asid];
  if (!waiting) return -EBUSY;
  wbinvd_on_all_cpus();
  const auto flushed = issued(firmware().df_flush());
  if (flushed) return 0;
  message(fmt::format("SEV: DF_FLUSH failed, ret={}, error={:#x}", -flushed.error().error,
                      static_cast<unsigned>(flushed.error().firmware)));
  return -flushed.error().error;
}

// All that wait are reclaimed, of both ranges.
bool Kvm::sev_recycle_asids(unsigned min_asid, unsigned max_asid) {
  if (sev_flush_asids(min_asid, max_asid) != 0) return false;
  for (std::size_t asid = 0; asid < asids_.size(); ++asid)
    if (reclaim_[asid]) asids_[asid] = reclaim_[asid] = false;
  return true;
}

Result<unsigned, int> Kvm::sev_asid_new(bool es) {
  const unsigned first = es ? 1 : capability_.min_sev_asid;
  const unsigned last = es ? capability_.min_sev_asid - 1 : capability_.asids;
  if (first > last) return tl::unexpected{ENOTTY};
  for (bool retry = true;; retry = false) {
    for (unsigned asid = first; asid <= last; ++asid) {
      if (asids_[asid]) continue;
      asids_[asid] = true;
      return asid;
    }
    if (!retry || !sev_recycle_asids(first, last)) return tl::unexpected{EBUSY};
  }
}

void Kvm::sev_asid_free(unsigned asid) { reclaim_[asid] = true; }

// ---- the platform ---------------------------------------------------------------------------------------

SevResult<void> Kvm::sev_platform_init() {
  machine::SevFirmware::PlatformStatus status;
  CBIT_TRY(issued(firmware().platform_status(status)));
  if (status.state != spec::SevPlatformState::uninit) return {};
  machine::SevFirmware::Init request;
  if (capability_.min_sev_asid > 1 && !tmr_)
    tmr_ = kernel_->mm().page_allocator().allocate(spec::sev_tmr_bytes / page_size, ~std::uint64_t{0},
                                                   spec::sev_tmr_bytes / page_size);
  if (tmr_) request = {.es = true, .tmr_address = PtePhys{tmr_->value()}, .tmr_len = spec::sev_tmr_bytes};
  CBIT_TRY(issued(firmware().init(request)));
  wbinvd_on_all_cpus();
  CBIT_TRY(issued(firmware().df_flush()));
  const spec::SevVersion version;
  message(fmt::format("ccp: SEV API:{}.{} build:{}", version.major, version.minor, version.build));
  return {};
}

void Kvm::wbinvd_on_all_cpus() {
  kernel_->machine().memory().flush_all();
  for (unsigned cpu = 0; cpu < kernel_->mm().cpu_count(); ++cpu) firmware().wbinvd_executed(cpu);
  kernel_->machine().tracer().emit({AgentKind::cpu, 0}, Flush{FlushKind::wbinvd, 1, 0}, cost::wbinvd_ns);
}

void Kvm::sev_clflush_pages(std::span<const PhysAddr> pages) {
  machine::Machine& machine = kernel_->machine();
  if (machine.config().cache == mem::CacheModel::coherent) return;
  const std::uint64_t lines = pages.size() * (page_size / cache_line_size);
  for (const PhysAddr page : pages) machine.memory().flush(page, page_size);
  machine.tracer().emit({AgentKind::cpu, 0}, Flush{FlushKind::clflush, lines, 0},
                        lines * cost::clflush_line_ns);
}

Result<void, int> Kvm::snp_enable() {
  const bool before_6_10 = kernel_->dma().config().version < KernelVersion::v6_10;
  if (kernel_->dma().effective_iommu() != IommuMode::translated) {
    message(before_6_10
                ? "AMD-Vi: SNP: IOMMU is disabled or configured in passthrough mode, SNP cannot be supported"
                : "AMD-Vi: SNP: IOMMU disabled or configured in passthrough mode, SNP cannot be supported.");
    return tl::unexpected{EINVAL};
  }
  if (!kernel_->machine().config().rmp) return tl::unexpected{EINVAL};
  message(before_6_10 ? "AMD-Vi: SNP enabled" : "AMD-Vi: IOMMU SNP support enabled.");
  return {};
}

}  // namespace cbit::kernel
