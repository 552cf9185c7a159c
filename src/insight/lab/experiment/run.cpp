#include "lab/experiment/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/format.hpp"
#include "watch/event_names.hpp"

namespace cbit::lab {
namespace {

// An Error of the machine or of a device, with the place in the file that asked for it.
template <class T>
OrError<T> at_place(OrError<T> result, const Experiment& experiment, Place place) {
  if (result) return result;
  return error_at(experiment.name, place, result.error().message, result.error().hint);
}

// Steps that no CPU and no device of the machine takes part in.
constexpr std::string_view outlive_guest[] = {"expect", "host-read", "host-write", "copy-frame"};

}  // namespace

tl::unexpected<StepTrouble> trouble_in_step(std::string reason) {
  return tl::unexpected{StepTrouble{std::move(reason)}};
}

std::string describe(const Fault& fault) {
  return fmt::format("{} ({}) at {:#x}", watch::stable_name(fault.kind), to_string(fault.kind),
                     fault.address);
}

// ---- buffers ----------------------------------------------------------------------------------------------

PhysAddr Run::Buffer::phys(std::uint64_t offset) const {
  const std::uint64_t from_first_frame = first_offset + offset;
  return frames[from_first_frame / page_size] + from_first_frame % page_size;
}

void Run::Buffer::written(std::uint64_t offset, ConstByteSpan bytes) {
  if (offset >= now.size()) return;
  const std::size_t size = std::min<std::size_t>(bytes.size(), now.size() - offset);
  for (std::size_t i = 0; i < size; ++i) before[offset + i] = std::exchange(now[offset + i], bytes[i]);
}

void Run::begin_shadow(Buffer& buffer, std::uint64_t bytes) {
  // What nobody wrote is equal to nothing that anybody sees.
  constexpr std::uint64_t seed = 0x6e6f'7468'696e'6721;
  buffer.now = buffer.before = pattern_bytes(bytes, seed);
  buffer.exists = true;
}

Result<void, StepTrouble> Run::adopt(Buffer& buffer, paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes) {
  buffer.at = at;
  buffer.first_offset = at.page_offset();
  for (std::uint64_t done = 0; done < buffer.first_offset + bytes; done += page_size) {
    const auto translation = cpu.translate(at.page() + done, paging::Intent::read);
    if (!translation) return trouble_in_step(describe(translation.error()));
    buffer.frames.push_back(translation->phys);
  }
  begin_shadow(buffer, bytes);
  return {};
}

Result<Run::Buffer*, StepTrouble> Run::live_buffer(std::size_t id) {
  Buffer& found = buffer(id);
  if (!found.exists)
    return trouble_in_step("the buffer does not exist: the step that makes it failed, or it was freed");
  if (found.owner != nullptr) CBIT_TRY(found.owner->locate(found));
  return &found;
}

Result<Run::Mapping*, StepTrouble> Run::made_mapping(std::size_t id) {
  Mapping& found = mapping(id);
  if (!found.made) return trouble_in_step("the mapping does not exist: the step that makes it failed");
  return &found;
}

Result<void> Run::each_frame(
    const Buffer& buffer, Range range,
    const std::function<Result<void>(PhysAddr, std::uint64_t, std::uint64_t)>& visit) {
  for (std::uint64_t done = 0; done < range.bytes;) {
    const std::uint64_t offset = range.offset + done;
    const std::uint64_t bytes = std::min(range.bytes - done, buffer.run_length(offset));
    CBIT_TRY(visit(buffer.phys(offset), done, bytes));
    done += bytes;
  }
  return {};
}

// ---- CPUs -------------------------------------------------------------------------------------------------

Result<void, StepTrouble> Run::access(const Lens& lens, std::uint64_t offset,
                                      const std::function<Result<void>(paging::Mmu&, VirtAddr)>& by_cpu,
                                      const std::function<Result<void>(bus::RamBar&)>& by_bus,
                                      const std::function<Result<void>(Owner&)>& by_owner) {
  const bool pages_may_come = lens.window && window(*lens.window).on_fault != nullptr;
  Buffer* const target = pages_may_come ? &buffer(lens.buffer) : CBIT_TRY(live_buffer(lens.buffer));
  if (target->owner != nullptr && !lens.window) {
    const auto done = by_owner(*target->owner);
    return done ? Result<void, StepTrouble>{} : trouble_in_step(describe(done.error()));
  }
  if (target->bar != nullptr && !lens.window) {
    const auto done = by_bus(*target->bar);
    return done ? Result<void, StepTrouble>{} : trouble_in_step(describe(done.error()));
  }
  paging::Mmu* cpu = &kernel().cpu(lens.cpu);
  VirtAddr at = target->at;
  std::string_view site = "driver";
  if (lens.window) {
    Window& through = window(*lens.window);
    if (through.at == VirtAddr{})
      return trouble_in_step("the window does not exist: the step that makes it failed");
    at = through.at;
    cpu = &kernel().cpu(lens.cpu);
    site = "driver";
    if (through.user != nullptr) {
      cpu = &through.user->mmu();
      site = "user";
    }
  }
  const paging::SiteScope scope{*cpu, bed_->tracer().intern(site)};
  auto done = by_cpu(*cpu, at + offset);
  for (std::optional<Fault> last; pages_may_come && !done && last != done.error();) {
    last = done.error();
    if (last->kind != FaultKind::not_present || !window(*lens.window).on_fault(*last)) break;
    done = by_cpu(*cpu, at + offset);
  }
  if (!done) return trouble_in_step(describe(done.error()));
  return {};
}

Result<void, StepTrouble> Run::cpu_read(const Lens& lens, std::uint64_t offset, ByteSpan to) {
  return access(
      lens, offset, [&](paging::Mmu& cpu, VirtAddr at) { return cpu.read(at, to); },
      [&](bus::RamBar& bar) { return bar.read(offset, to); },
      [&](Owner& owner) { return owner.read(offset, to); });
}

Result<void, StepTrouble> Run::cpu_write(const Lens& lens, std::uint64_t offset, ConstByteSpan from) {
  CBIT_TRY(access(
      lens, offset, [&](paging::Mmu& cpu, VirtAddr at) { return cpu.write(at, from); },
      [&](bus::RamBar& bar) { return bar.write(offset, from); },
      [&](Owner& owner) { return owner.write(offset, from); }));
  buffer(lens.buffer).written(offset, from);
  return {};
}

// ---- devices ----------------------------------------------------------------------------------------------

dev::TestDma& Run::hardware(std::size_t id) { return dma_devices_[id]->device.hardware; }

std::vector<Run::Segment> Run::locate(const Mapping& mapping, Range range) {
  std::vector<Segment> found;
  for (std::size_t i = 0; i < mapping.segments.size() && range.bytes != 0; ++i) {
    const Segment& segment = mapping.segments[i];
    const bool last = i + 1 == mapping.segments.size();
    if (range.offset >= segment.bytes && !last) {
      range.offset -= segment.bytes;
      continue;
    }
    const std::uint64_t bytes = last ? range.bytes : std::min(range.bytes, segment.bytes - range.offset);
    found.push_back({segment.at + range.offset, bytes});
    range.bytes -= bytes;
    range.offset = 0;
  }
  return found;
}

Result<void, StepTrouble> Run::device_read(std::size_t device, const Mapping& mapping, Range range,
                                           ByteSpan to) {
  for (const Segment& segment : locate(mapping, range)) {
    const auto got = port(device).read(segment.at, to.first(segment.bytes));
    if (!got) return trouble_in_step(describe(got.error()));
    to = to.subspan(segment.bytes);
  }
  return {};
}

Result<void, StepTrouble> Run::device_write(std::size_t device, const Mapping& mapping,
                                            const MappingName& name, Range range, ConstByteSpan from) {
  ConstByteSpan rest = from;
  for (const Segment& segment : locate(mapping, range)) {
    const auto done = port(device).write(segment.at, rest.first(segment.bytes));
    if (!done) return trouble_in_step(describe(done.error()));
    rest = rest.subspan(segment.bytes);
  }
  std::uint64_t start = 0;  // of the part, in the mapping
  for (const Part& part : name.parts) {
    const std::uint64_t first = std::max(start, range.offset);
    const std::uint64_t end = std::min(start + part.range.bytes, range.offset + range.bytes);
    if (first < end)
      buffer(part.buffer)
          .written(part.range.offset + (first - start), from.subspan(first - range.offset, end - first));
    start += part.range.bytes;
  }
  return {};
}

// ---- the run ----------------------------------------------------------------------------------------------

OrError<std::unique_ptr<Run>> Run::create(const Experiment& experiment, EventSink* sink) {
  std::unique_ptr<Run> run{new Run{experiment}};
  run->bed_ = CBIT_TRY(
      at_place(testbed::Testbed::create(experiment.bed, {sink}), experiment, experiment.machine_place));
  CBIT_TRY(run->add_devices());
  run->bed_->tracer().attach(*run);
  run->bed_->explainer().forget_steps();
  run->boot_conversions_ = run->mm().conversion_cost();
  run->boot_exits_ = run->guest_exits();
  if (kernel::Swiotlb* const pool = run->dma().swiotlb()) run->boot_swiotlb_ = pool->usage();
  return run;
}

Run::~Run() {
  if (bed_ != nullptr) bed_->tracer().detach(*this);
}

OrError<void> Run::add_devices() {
  const auto& devices = experiment_.devices;
  drivers_.resize(devices.size());
  ports_.resize(devices.size());
  dma_devices_.resize(devices.size());
  disks_.resize(devices.size());
  for (std::size_t id = 0; id < devices.size(); ++id)
    CBIT_TRY(at_place(devices[id].install(*this, id), experiment_, devices[id].place));
  return {};
}

OrError<void> Run::install(std::size_t id, const DmaDeviceConfig& config) {
  const testbed::TestDevice added = CBIT_TRY(bed_->add_device(config.device));
  added.driver.seg_boundary_mask = config.seg_boundary_mask;
  install(id, added.driver, &added.hardware.port());
  dma_devices_[id].emplace(DmaDevice{added, nullptr});
  if (config.restricted_pool == 0) return {};
  auto pool = kernel::Swiotlb::create_restricted(mm(), kernel().cc(), experiment_.bed.dma.version,
                                                 config.restricted_pool);
  if (!pool)
    return bad_input(fmt::format("the restricted pool cannot be made: {}", describe(pool.error())),
                     "use a smaller restricted-pool, or more memory");
  bed_->explainer().set_bounce_pool((*pool)->default_pool());
  added.driver.restricted_pool = pool->get();
  dma_devices_[id]->restricted_pool = std::move(*pool);
  return {};
}

OrError<void> Run::install(std::size_t id, const testbed::VirtioDiskConfig& config) {
  disks_[id] = CBIT_TRY(testbed::VirtioDisk::create(*bed_, config));
  install(id, disks_[id]->parent());
  at_end([disk = disks_[id].get()] { disk->remove(); });
  return {};
}

void Run::on_event(const Event& event) {
  if (const auto* mapped = std::get_if<DmaMapped>(&event.payload)) happened_.mapped = *mapped;
  if (const auto* slots = std::get_if<SwiotlbAllocated>(&event.payload)) happened_.slots.push_back(*slots);
  if (const auto* refused = std::get_if<DmaMapFailed>(&event.payload)) happened_.refused = *refused;
}

StepTrouble Run::mapping_trouble() const {
  if (!happened_.refused) return {"DMA_MAPPING_ERROR"};
  return {fmt::format("DMA_MAPPING_ERROR: {}", watch::stable_name(happened_.refused->reason))};
}

void Run::mismatch(Mismatch mismatch) {
  result_.failures.push_back({step_, experiment_.steps[step_].place, std::move(mismatch)});
}

ExperimentResult Run::perform(std::optional<std::size_t> steps, const std::function<void()>& look) {
  const std::size_t end = std::min(steps.value_or(experiment_.steps.size()), experiment_.steps.size());
  for (step_ = 0; step_ < end; ++step_)
    if (!perform_step(experiment_.steps[step_])) break;
  if (step_ == end && look) look();
  finish();
  return std::move(result_);
}

StepResult Run::act(const ExperimentStep& step) {
  if (bed_->machine().hypervisor().terminated() &&
      std::ranges::find(outlive_guest, step.kind) == std::end(outlive_guest))
    return trouble_in_step(std::string{to_string(FaultKind::guest_terminated)});
  StepResult done = step.action(*this);
  bed_->machine().clock().advance(0);  // what the step's time has made due
  return done;
}

// False when the experiment cannot go on.
bool Run::perform_step(const ExperimentStep& step) {
  happened_ = {};
  const StepResult done = act(step);
  result_.steps.push_back(done ? *done : fmt::format("failed: {}", done.error().reason));
  if (done && step.fails) {
    mismatch({step.kind,
              fmt::format("a failure{}", step.fails->empty() ? "" : ": " + *step.fails),
              fmt::format("success: {}", *done),
              {}});
    return false;
  }
  if (done) return true;
  if (step.fails && done.error().reason.find(*step.fails) != std::string::npos) return true;
  const std::string expected =
      step.fails ? fmt::format("a failure with \"{}\"", *step.fails) : std::string{"success"};
  mismatch({step.kind, expected, fmt::format("failure: {}", done.error().reason), {}});
  return false;
}

void Run::finish() {
  // The last that asked is the first: a device may need what was made before it, as its IOMMU.
  for (const auto& release : at_end_ | std::views::reverse) release();
  watch::Explainer& explainer = bed_->explainer();
  explainer.finish();
  result_.causes = explainer.causes();
  result_.decisions = explainer.steps();
  result_.kernel_log = explainer.kernel_log();
  if (!experiment_.causes || !result_.failures.empty()) return;
  std::vector<std::string> found;
  for (const watch::Cause& cause : result_.causes)
    if (std::ranges::find(found, cause.info->name) == found.end()) found.emplace_back(cause.info->name);
  std::vector<std::string> expected = *experiment_.causes;
  std::ranges::sort(found);
  std::ranges::sort(expected);
  if (found == expected) return;
  const auto list = [](const std::vector<std::string>& names) {
    return names.empty() ? std::string{"none"} : fmt::format("{}", fmt::join(names, ", "));
  };
  result_.failures.push_back(
      {std::nullopt, experiment_.causes_place, {"causes at the end", list(expected), list(found), {}}});
}

kernel::ConversionCost Run::conversions() {
  kernel::ConversionCost cost = mm().conversion_cost();
  cost.calls -= boot_conversions_.calls;
  cost.pages -= boot_conversions_.pages;
  cost.large_pages_split -= boot_conversions_.large_pages_split;
  cost.tlb_flushes -= boot_conversions_.tlb_flushes;
  cost.tlb_full_flushes -= boot_conversions_.tlb_full_flushes;
  cost.cache_lines_flushed -= boot_conversions_.cache_lines_flushed;
  cost.hypercalls -= boot_conversions_.hypercalls;
  return cost;
}

std::uint64_t Run::guest_exits() const {
  std::uint64_t exits = 0;
  for (const auto& [reason, count] : bed_->counters().counts().guest_exits) exits += count;
  return exits - boot_exits_;
}

kernel::SwiotlbUsage Run::swiotlb_usage() {
  kernel::Swiotlb* const pool = dma().swiotlb();
  if (pool == nullptr) return {};
  kernel::SwiotlbUsage usage = pool->usage();
  usage.bytes_bounced -= boot_swiotlb_.bytes_bounced;
  usage.bounces -= boot_swiotlb_.bounces;
  return usage;
}

}  // namespace cbit::lab

namespace cbit::lab {

OrError<ExperimentResult> run_experiment(const Experiment& experiment, EventSink* sink) {
  const auto run = CBIT_TRY(Run::create(experiment, sink));
  return run->perform();
}

}  // namespace cbit::lab
