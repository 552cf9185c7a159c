#include "guest/pc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "boot/kernel_file.hpp"
#include "boot/load.hpp"
#include "chipset/pc_map.hpp"
#include "spec/mtrr.hpp"

namespace cbit::guest {
namespace {

machine::MachineConfig machine_config(const PcConfig& config) {
  const machine::PlatformTraits& traits = machine::traits_of(config.platform);
  machine::MachineConfig machine{.platform = config.platform,
                                 .c_bit = c_bit,
                                 .memory_bytes = config.memory_bytes,
                                 .cpus = config.cpus,
                                 .virtual_machine = traits.may_be_virtual_machine,
                                 .seed = config.seed,
                                 .make_memory = config.make_memory};
  if (traits.launched_by_firmware) machine.key_source = machine::GuestKeySource::firmware;
  return machine;
}

chipset::PcConfig chipset_config(const PcConfig& config) {
  chipset::PcConfig chipset;
  chipset.cpus = config.cpus;
  const std::uint64_t low = std::min(config.memory_bytes, machine::pci_hole.value());
  chipset.rtc = {.start_seconds = config.start_seconds,
                 .memory_below_4g_bytes = low,
                 .memory_above_4g_bytes = config.memory_bytes - low};
  chipset.debug_exit = chipset.test_ports = config.test_ports;
  return chipset;
}

// A SEV guest sees SEV alone, a host SME: sme_enable() of arch/x86/mm/mem_encrypt_identity.c looks for SYSCFG
// and at the hypervisor bit, which must be clear for SME.
cpu::Model cpu_model(const PcConfig& config) {
  cpu::Model model = cpu::default_model();
  model.encryption.c_bit = c_bit;
  const machine::PlatformTraits& traits = machine::traits_of(config.platform);
  model.encryption.sev = model.encryption.active_sev = traits.cc.has(spec::CcAttr::guest_mem_encrypt);
  model.encryption.sme = model.encryption.smee = traits.cc.has(spec::CcAttr::host_mem_encrypt);
  model.hypervisor = traits.may_be_virtual_machine;
  if (config.kvm_interface) model.hypervisor_leaves = KvmInterface::leaves();
  return model;
}

cpu::SegmentRegister segment_of(const boot::SegmentState& from) {
  return {from.selector, cpu::SegmentAttributes{{from.attributes}}, from.limit, from.base};
}

cpu::TableRegister table_of(const boot::TableState& from) { return {from.base, from.limit}; }

// As SeaBIOS leaves them (src/fw/mtrr.c, mtrr_setup()): without them Linux has no PAT, and without PAT a SEV
// guest of KVM does not boot.
void set_memory_types(cpu::Cpu& cpu) {
  namespace mtrr = spec::mtrr;
  const auto set = [&cpu](std::uint32_t msr, std::uint64_t value) {
    const bool done = cpu.write_msr(msr, value);
    CBIT_ASSERT(done);
  };
  constexpr unsigned fixed_4k = 8;
  set(mtrr::msr_fixed_64k_00000, mtrr::eight(mtrr::Type::write_back));
  set(mtrr::msr_fixed_16k_80000, mtrr::eight(mtrr::Type::write_back));
  set(mtrr::msr_fixed_16k_a0000, mtrr::eight(mtrr::Type::uncacheable));
  for (unsigned i = 0; i < fixed_4k; ++i)
    set(mtrr::msr_fixed_4k_c0000 + i, mtrr::eight(mtrr::Type::write_protect));
  constexpr std::uint64_t four_gib = 1ull << 32;
  const std::uint64_t addresses = (1ull << cpu.model().phys_bits) - 1;
  const std::uint64_t hole_bytes = four_gib - machine::pci_hole.value();
  set(mtrr::msr_base(0), machine::pci_hole.value() | static_cast<std::uint64_t>(mtrr::Type::uncacheable));
  set(mtrr::msr_mask(0), (~(hole_bytes - 1) & addresses) | mtrr::mask_valid);
  set(mtrr::msr_default_type,
      mtrr::default_enable | mtrr::default_enable_fixed | static_cast<std::uint64_t>(mtrr::Type::write_back));
}

// drivers/iommu/amd allocates its tables as ordinary memory, which is private in such a guest, and the IOMMU
// is the host's: it would read ciphertext.
OrError<void> check_iommu(const PcConfig& config) {
  if (!config.amd_iommu || !machine::traits_of(config.platform).cc.has(spec::CcAttr::guest_mem_encrypt))
    return {};
  return usage_error(
      fmt::format("a guest of platform {} cannot have an AMD IOMMU: its tables would lie in the guest's "
                  "private memory, for which the IOMMU has no key",
                  to_string(config.platform)),
      "leave the IOMMU away, or use platform plain or sme");
}

}  // namespace

OrError<std::unique_ptr<Pc>> Pc::create(const PcConfig& config) {
  if (config.cpus < 1 || config.cpus > cpus_max)
    return usage_error(fmt::format("{} processors are out of range", config.cpus),
                       fmt::format("use 1 to {}", cpus_max));
  CBIT_TRY(check_iommu(config));
  auto machine = CBIT_TRY(machine::Machine::create(machine_config(config)));
  return std::unique_ptr<Pc>{new Pc{config, std::move(machine)}};
}

// On threads all are one to memory: who writes takes the page from another writer, and from each other they
// would take pages of the kernel's at every write.
Pc::Socket::Socket(Pc& pc, std::uint16_t number)
    : space{pc.machine_->memory(), pc.machine_->bus(), pc.crew_ ? std::uint16_t{0} : number},
      cpu{{.index = number,
           .cpus = static_cast<std::uint16_t>(pc.config_.cpus),
           .bootstrap = number == 0,
           .model = cpu_model(pc.config_),
           .view = pc.machine_->paging().view,
           .seed = pc.config_.seed + number,
           .check_translations = pc.config_.check_translations},
          {.memory = space,
           .ports = pc.ports_,
           .interrupts = pc.chipset_.lapic(number),
           .clock = pc.machine_->clock(),
           .code = pc.code_,
           .supervisor = &pc,
           .others = pc.crew_ ? &pc.crew_->others() : nullptr}} {}

Pc::Pc(const PcConfig& config, std::unique_ptr<machine::Machine> machine)
    : config_{config},
      machine_{std::move(machine)},
      chipset_{machine_->clock(), *this, chipset_config(config)},
      pci_{chipset_, machine_->bus(), ports_},
      code_space_{machine_->memory(), machine_->bus(), 0},
      code_{code_space_, config.translate_after, cpu::CodeCache::translation_bytes_max,
            config.threads ? &crew_.emplace(machine_->clock()).others() : nullptr},
      turns_{machine_->clock()} {
  for (unsigned number = 0; number < config.cpus; ++number) {
    cpu::Cpu& cpu = cpus_.emplace_back(*this, static_cast<std::uint16_t>(number)).cpu;
    turns_.add(cpu);
    if (crew_) crew_->add(cpu);
  }
  machine_->clock().ignore_charges();
  if (config.kvm_interface) kvm_.emplace(*machine_);
  chipset_.attach(machine_->bus(), ports_);
  if (config.amd_iommu) {
    iommu_.emplace(chipset_, machine_->bus());
    pci_.bus().plug(chipset::pc_map::iommu_device, *iommu_);
  }
  for (Socket& socket : cpus_) set_memory_types(socket.cpu);
  leave_as_firmware_does();
}

// Serial ports at eight bits, and the timer's interrupt on, from the next tick: SeaBIOS, src/hw/pic.c,
// pic_reset(), and src/clock.c, clock_setup().
void Pc::leave_as_firmware_does() {
  constexpr std::uint32_t eight_bits = 3;
  for (chipset::Uart* port : {&chipset_.com1(), &chipset_.com2()})
    port->write(chipset::Uart::line_control, 1, eight_bits);
  constexpr std::uint32_t icw1 = 0x11, icw3_slave_at_2 = 0x04, icw4 = 0x01;
  constexpr std::uint32_t all_but_timer_and_cascade = 0xff & ~0x05u;
  bus::PioRegion& pic = chipset_.pic().master_ports();
  pic.write(0, 1, icw1);
  for (const std::uint32_t value :
       {std::uint32_t{chipset::pc_map::pic_master_vectors}, icw3_slave_at_2, icw4, all_but_timer_and_cascade})
    pic.write(1, 1, value);
}

OrError<bus::PciFunction*> Pc::plug(const machine::DeviceRequest& request, unsigned slot) {
  const machine::DevicePlace place{fmt::format("0000:00:{:02x}.0", slot), spec::pci_requester(0, slot, 0)};
  const bool is_iommu = std::holds_alternative<dev::VirtioIommuOptions>(request.options);
  if (is_iommu && machine_->bus().iommu() != nullptr)
    return usage_error(fmt::format("{}: the machine has an IOMMU already", place.name),
                       "leave one of them away");
  cards_.push_back(
      CBIT_TRY(machine::plug_pci(pci_.bus(), machine_->bus(), machine_->clock(), request, place)));
  if (is_iommu) virtio_iommu_ = place.requester;
  return cards_.back().get();
}

OrError<void> Pc::load(const boot::BootImage& image) {
  pci_.assign_resources();
  const boot::Board board = boot::board_of(*machine_, description());
  const boot::LoadPlan plan = CBIT_TRY(boot::plan_image(board, image));
  CBIT_TRY(put_into_memory(plan));
  protocol_ = plan.protocol;
  for (const boot::MapEntry& entry : plan.memory_map)
    if (entry.type == spec::E820Type::ram) usable_ram_.push_back({entry.first, entry.bytes});
  enter(plan.entry);
  return {};
}

boot::PcDescription Pc::description() const {
  boot::PcDescription pc{.cpus = config_.cpus, .virtio_iommu = virtio_iommu_};
  if (!iommu_) return pc;
  pc.amd_iommu = {.function = chipset::AmdIommuFunction::requester,
                  .capability = static_cast<std::uint16_t>(iommu_->capability()),
                  .registers = chipset::pc_map::iommu_base,
                  .features = iommu::amd_iommu_features.raw,
                  .ioapic = chipset::pc_map::ioapic_requester};
  return pc;
}

OrError<void> Pc::put_into_memory(const boot::LoadPlan& plan) {
  if (!machine_->traits().launched_by_firmware) return boot::load_plain(*machine_, plan);
  launch_ = CBIT_TRY(boot::launch(*machine_, plan, {}));
  return {};
}

void Pc::enter(const boot::EntryState& state) {
  using isa::Gpr;
  using isa::Segment;
  cpu::Registers registers = cpu(0).registers();
  const std::pair<Gpr, std::uint64_t> values[] = {
      {Gpr::rax, state.rax}, {Gpr::rbx, state.rbx}, {Gpr::rcx, state.rcx}, {Gpr::rdx, state.rdx},
      {Gpr::rsi, state.rsi}, {Gpr::rdi, state.rdi}, {Gpr::rbp, state.rbp}, {Gpr::rsp, state.rsp},
      {Gpr::r8, state.r8},   {Gpr::r9, state.r9},   {Gpr::r10, state.r10}, {Gpr::r11, state.r11},
      {Gpr::r12, state.r12}, {Gpr::r13, state.r13}, {Gpr::r14, state.r14}, {Gpr::r15, state.r15}};
  for (const auto& [reg, value] : values) registers[reg] = value;
  const std::pair<Segment, const boot::SegmentState*> segments[] = {
      {Segment::cs, &state.cs}, {Segment::ds, &state.ds}, {Segment::es, &state.es},
      {Segment::fs, &state.fs}, {Segment::gs, &state.gs}, {Segment::ss, &state.ss}};
  for (const auto& [segment, value] : segments) registers.segment(segment) = segment_of(*value);
  registers.ldtr = segment_of(state.ldtr);
  registers.tr = segment_of(state.tr);
  registers.gdtr = table_of(state.gdtr);
  registers.idtr = table_of(state.idtr);
  registers.rip = state.rip;
  registers.rflags = state.rflags;
  registers.cr0 = state.cr0;
  registers.cr3 = state.cr3.value();
  registers.cr4 = state.cr4;
  registers.efer = state.efer;
  cpu(0).set_registers(registers);
}

Pc::Progress Pc::run(std::uint64_t until_ns, bool stop_when_idle) {
  while (!ending_ && clock().now_ns() < until_ns) {
    const cpu::Stop stop = crew_ ? crew_->run(until_ns) : turns_.run(until_ns);
    if (std::exchange(pause_requested_, false) && !ending_) return {.paused = true};
    switch (stop) {
      case cpu::Stop::deadline:
      case cpu::Stop::requested: break;
      case cpu::Stop::debugger: return {.debugger = true};
      case cpu::Stop::shutdown: end(Ending::shutdown); break;
      case cpu::Stop::halted:
        if (stop_when_idle && can_wake()) return {.idle = true};
        sleep(until_ns);
        break;
    }
  }
  if (ending_) chipset_.flush();
  return {.ending = ending_};
}

void Pc::request_pause() {
  pause_requested_ = true;
  request_stop();
}

void Pc::request_stop() {
  if (crew_)
    crew_->request_stop();
  else
    turns_.request_stop();
}

bool Pc::step(cpu::Cpu& cpu, bool hold_interrupts, std::uint64_t until_ns) {
  constexpr std::uint64_t look_ns = 1000;
  const bool woken = cpu.idle();
  while (!ending_ && cpu.idle()) {
    const std::uint64_t now = clock().now_ns();
    if (now >= until_ns) return false;
    const Progress done = run(std::min(until_ns, now + look_ns), true);
    if (done.paused) pause_requested_ = true;  // run() is to say so
    if (done.debugger || done.paused) return true;
    if (done.idle) sleep(until_ns);
  }
  if (!ending_ && cpu.step(hold_interrupts && !woken) == cpu::Stop::shutdown) end(Ending::shutdown);
  return true;
}

// Nothing here raises an NMI but another processor.
bool Pc::can_wake() const {
  return std::ranges::any_of(cpus_, [](const Socket& socket) {
    return socket.cpu.halted() && (socket.cpu.registers().rflags & cpu::rflags::interrupt) != 0;
  });
}

void Pc::set_probe_sink(cpu::ProbeSink* sink) {
  for (Socket& socket : cpus_) socket.cpu.set_probe_sink(sink);
}

void Pc::add_probe(VirtAddr at) {
  for (Socket& socket : cpus_) socket.cpu.add_probe(at);
}

void Pc::remove_probe(VirtAddr at) {
  for (Socket& socket : cpus_) socket.cpu.remove_probe(at);
}

std::uint64_t Pc::instructions() const {
  std::uint64_t sum = 0;
  for (const Socket& socket : cpus_) sum += socket.cpu.instructions();
  return sum;
}

void Pc::sleep(std::uint64_t until_ns) {
  const auto next = clock().next_deadline();
  if (!next || !can_wake()) return end(Ending::hung);
  const std::uint64_t now = clock().now_ns();
  clock().advance(std::max(std::min(*next, until_ns), now) - now);
}

// ---- what the guest asks of the machine -----------------------------------------------------------------

void Pc::end(Ending ending) {
  if (!ending_) ending_ = ending;
  request_stop();
}

void Pc::reset(chipset::ResetKind) { end(Ending::reset); }

void Pc::power_off() { end(Ending::powered_off); }

void Pc::exit(std::uint32_t status) {
  exit_status_ = status;
  end(Ending::exited);
}

// ---- what only the machine can answer -------------------------------------------------------------------

bool Pc::vmmcall(cpu::Cpu& by) {
  if (kvm_) kvm_->hypercall(by);
  return kvm_.has_value();
}

void Pc::flush_caches(cpu::Cpu&) { machine_->memory().flush_all(); }

void Pc::flush_line(cpu::Cpu&, PhysAddr at) {
  machine_->memory().flush(PhysAddr{align_down(at.value(), cache_line_size)}, cache_line_size);
}

std::optional<std::uint64_t> Pc::read_msr(cpu::Cpu&, std::uint32_t msr) {
  if (const auto value = kvm_ ? kvm_->read_msr(msr) : std::nullopt) return value;
  unknown_msrs_.insert(msr);
  return std::nullopt;
}

bool Pc::write_msr(cpu::Cpu&, std::uint32_t msr, std::uint64_t value) {
  if (kvm_ && kvm_->write_msr(msr, value)) return true;
  unknown_msrs_.insert(msr);
  return false;
}

void Pc::missing_instruction(cpu::Cpu&, std::string_view name) { missing_.emplace(name); }

void Pc::signal_raised(cpu::Cpu& at) {
  if (crew_)
    crew_->signal_raised(at);
  else
    turns_.signal_raised(at);
}

void Pc::spin_wait(cpu::Cpu&) {
  if (crew_)
    cpu::Crew::spin_wait();
  else
    turns_.spin_wait();
}

void Pc::refused(cpu::Cpu& by, const Fault& fault) {
  ++refused_;
  machine_->tracer().emit({AgentKind::cpu, by.index()}, AccessFault{fault});
}

void Pc::translation_differs(cpu::Cpu&, const std::string& what) {
  if (!difference_.empty()) return;
  difference_ = what;
  end(Ending::differed);
}

}  // namespace cbit::guest
