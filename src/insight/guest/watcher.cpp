#include "guest/watcher.hpp"

#include <fmt/ranges.h>

#include "base/format.hpp"
#include "guest/monitor/known_kernel.hpp"
#include "linux/unwind.hpp"
#include "spec/linux_release.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::guest {
namespace {

watch::ExplainerContext context_of(Pc& pc, const linux::Kernel& kernel) {
  machine::Machine& machine = pc.machine();
  const machine::PlatformTraits& traits = machine.traits();
  const auto release = spec::parse_release(kernel.release());
  return {.platform = std::string{to_string(machine.config().platform)},
          .layout = machine.paging().view.layout,
          .is_guest = traits.cc.has(spec::CcAttr::guest_mem_encrypt),
          .is_sme = traits.cc.has(spec::CcAttr::host_mem_encrypt),
          .swiotlb_can_grow = spec::has_dynamic_swiotlb(spec::nearest_version(release)),
          .ram = pc.usable_ram(),
          .asked = {.kernel = release}};
}

Watcher::CauseKey key_of(const watch::Cause& cause) { return {cause.info, cause.device, cause.time_ns}; }

}  // namespace

Watcher::Watcher(Pc& pc, const linux::Kernel& kernel)
    : pc_{&pc},
      memory_{pc},
      kernel_{&kernel},
      explainer_{pc.machine().tracer(), context_of(pc, kernel)},
      traffic_{pc.machine().tracer()},
      given_{pc.machine().tracer()} {
  for (EventSink* const sink : sinks()) pc.machine().tracer().attach(*sink);
  pc.set_probe_sink(this);
  probes_.reset(new linux::Probes{kernel, pc.machine().tracer(), *this, *this});  // the bases are private
}

Watcher::~Watcher() {
  probes_.reset();
  pc_->set_probe_sink(nullptr);
  for (EventSink* const sink : sinks()) pc_->machine().tracer().detach(*sink);
}

void Watcher::check_progress() { probes_->check_progress(view(), pc_->clock().now_ns()); }

WatchReport Watcher::finish() {
  probes_->finish();
  ended_ = true;
  Exposure found = exposure();
  // The guest's devices are in use as long as it runs.
  explainer_.finish(watch::Ending::in_flight);
  history_.finish(pc_->clock().now_ns());
  WatchReport told = report();
  told.exposure = std::move(found);
  return told;
}

Exposure Watcher::exposure() {
  if (probes_->running() == nullptr || !probes_->sees_all_mappings()) return {};
  Exposure found = find_exposure(pc_->machine().memory(), pc_->guest_key(), given_, kernel_found_ns_);
  for (const Exposure::Place& place : found.places)
    pc_->machine().tracer().emit(
        {}, PrivateBytesShared{place.twin.at, place.twin.private_at, place.twin.bytes, place.writer});
  return found;
}

WatchReport Watcher::report() const {
  return {.platform = std::string{to_string(pc_->machine().config().platform)},
          .is_encrypted = pc_->guest_key() != no_key,
          .kernel = std::string{kernel_->release()},
          .found = probes_->running() != nullptr,
          .lacks = kernel_->lacks(),
          .not_watched = probes_->missing(),
          .lost_calls = probes_->lost_calls(),
          .pools = pools_,
          .counts = counters_.counts(),
          .told = told_.judge(pc_->machine().memory(), pc_->guest_key()),
          .devices = traffic_.by_device(),
          .callers = traffic_.by_caller(),
          .causes = causes()};
}

std::string Watcher::name_of(VirtAddr at) const {
  const linux::RunningKernel* const kernel = probes_->running();
  return kernel != nullptr && kernel->locate(at) ? kernel->describe(at) : std::string{};
}

std::optional<std::string> Watcher::dma_text(std::size_t mappings_max) const {
  std::string text = to_dma_text(report());
  std::size_t active = 0;
  const Tracer& tracer = pc_->machine().tracer();
  explainer_.mappings().for_each_active([&](const watch::Mapping& mapping) {
    if (active++ >= mappings_max) return;
    const DmaMapped& call = mapping.call;
    const SiteId by = probes_->mapped_by(call.device, call.dma);
    text += fmt::format("{}  {:<14} {:>8} bytes of {:<14} {:<13} {:<8} {}\n", tracer.name(call.device),
                        fmt::format("{}", call.dma), call.bytes, fmt::format("{}", call.phys),
                        to_string(call.direction), to_string(call.path), by == 0 ? "" : tracer.name(by));
  });
  if (active > mappings_max) text += fmt::format("... and {} more\n", active - mappings_max);
  return text + fmt::format("{} mappings are active\n", active);
}

std::string Watcher::modules_text(std::size_t lines_max) const {
  const linux::RunningKernel* const kernel = probes_->running();
  return kernel != nullptr ? guest::modules_text(kernel->modules(), lines_max) : std::string{};
}

std::optional<KernelForDump> Watcher::for_dump() const {
  const linux::RunningKernel* const kernel = probes_->running();
  return kernel != nullptr ? kernel_for_dump(*kernel, memory_) : std::nullopt;
}

// A cause shows while the kernel is at what leads to it: a call of the DMA API, a write to a register. What
// shows at the end has no such place.
void Watcher::on_event(const Event&) {
  if (ended_) return;
  const std::vector<watch::Cause>& causes = explainer_.causes();
  if (causes.size() > causes_seen_) {
    const std::string callers = describe_callers();
    for (std::size_t i = causes_seen_; i < causes.size(); ++i) callers_.emplace(key_of(causes[i]), callers);
  }
  causes_seen_ = causes.size();  // neighbours become one
}

std::string Watcher::describe_callers() const {
  const linux::RunningKernel* const kernel = probes_ ? probes_->running() : nullptr;
  if (kernel == nullptr) return {};
  constexpr std::size_t frames_max = 24, named_max = 3;
  std::vector<std::string> of_modules, all;
  std::vector<linux::Frame> frames = linux::unwind(view(), *kernel, frames_max);
  frames.front().called = probes_->is_behind_call();
  for (const linux::Frame& frame : frames) {
    const auto place = kernel->locate(frame.called ? frame.ip - 1 : frame.ip);
    if (!place) break;
    all.push_back(kernel->describe_with_line(frame.ip, frame.called));
    if (!place->module.empty()) of_modules.push_back(all.back());
  }
  // The driver's own functions, where a driver is among the callers.
  std::vector<std::string>& named = of_modules.empty() ? all : of_modules;
  if (named.size() > named_max) named.resize(named_max);
  return fmt::format("{}", fmt::join(named, ", called by "));
}

// For what shows at the end, when the kernel is nowhere near it.
SiteId Watcher::mapped_by(const watch::Cause& cause) const {
  if (cause.device.empty() || cause.where.space != watch::CauseRange::Space::bus) return 0;
  return probes_->mapped_by(pc_->machine().tracer().intern(cause.device), DmaAddr{cause.where.first});
}

std::vector<watch::Cause> Watcher::causes() const {
  std::vector<watch::Cause> causes = explainer_.causes();
  for (watch::Cause& cause : causes) {
    const auto callers = callers_.find(key_of(cause));
    if (callers != callers_.end() && !callers->second.empty())
      cause.evidence.push_back({"the kernel was in", callers->second});
    else if (const SiteId by = mapped_by(cause); by != 0)
      cause.evidence.push_back({"mapped by", std::string{pc_->machine().tracer().name(by)}});
  }
  return causes;
}

void Watcher::on_probe(cpu::Cpu&, VirtAddr) { probes_->on_execute(view()); }

bool Watcher::is_ram(PhysAddr at) const { return pc_->machine().memory().contains(at, 1); }

// A mapping has the right to read or to write, or both.
std::optional<linux::Observer::IommuLeaf> Watcher::iommu_leaf(RequesterId requester, DmaAddr at) const {
  const iommu::AmdIommu* const iommu = pc_->amd_iommu();
  if (iommu == nullptr) return std::nullopt;
  auto leaf = iommu->peek(requester, at, false);
  if (!leaf) leaf = iommu->peek(requester, at, true);
  if (!leaf || !leaf->translated) return std::nullopt;
  return IommuLeaf{leaf->phys, leaf->encrypted};
}

void Watcher::pool_found(PhysAddr first, std::uint64_t bytes) {
  pools_.push_back({first, bytes});
  explainer_.set_bounce_pool(pools_.back());
}

linux::CpuView Watcher::view() const {
  constexpr std::uint32_t msr_gs_base = 0xc000'0101, msr_kernel_gs_base = 0xc000'0102;
  const cpu::Cpu& cpu = pc_->cpu();
  const cpu::Registers registers = cpu.registers();
  return {.number = cpu.index(),
          .rip = registers.rip,
          .gpr = registers.gpr,
          .rflags = registers.rflags,
          .gs_base = cpu.read_msr(msr_gs_base).value_or(0),
          .kernel_gs_base = cpu.read_msr(msr_kernel_gs_base).value_or(0),
          .memory = &memory_};
}

}  // namespace cbit::guest
