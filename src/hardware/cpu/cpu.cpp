#include "cpu/cpu.hpp"

#include "cpu/core.hpp"

namespace cbit::cpu {

Cpu::Cpu(const Config& config, const Board& board) : core_{std::make_unique<Core>(*this, config, board)} {}
Cpu::~Cpu() = default;

std::uint16_t Cpu::index() const { return core_->config.index; }
const Model& Cpu::model() const { return core_->config.model; }

void Cpu::reset() { core_->reset(); }
Registers Cpu::registers() const { return core_->registers(); }
void Cpu::set_registers(const Registers& registers) { core_->set_registers(registers); }
Cpu::ExtendedState Cpu::extended_state() const {
  ExtendedState state{};
  core_->x87.fxsave(state, true);
  std::memcpy(state.data() + fxsave::mxcsr_at, &core_->mxcsr.raw, 4);
  std::memcpy(state.data() + fxsave::mxcsr_mask_at, &fp::mxcsr_mask, 4);
  std::memcpy(state.data() + fxsave::xmm_at, core_->regs.xmm.data(), sizeof core_->regs.xmm);
  return state;
}

void Cpu::set_extended_state(const ExtendedState& state) {
  core_->x87.fxrstor(state, true);
  std::memcpy(&core_->mxcsr.raw, state.data() + fxsave::mxcsr_at, 4);
  core_->mxcsr.raw &= fp::mxcsr_mask;
  std::memcpy(core_->regs.xmm.data(), state.data() + fxsave::xmm_at, sizeof core_->regs.xmm);
}

DebugRegisters Cpu::debug_registers() const {
  return {core_->sys.breakpoints, core_->sys.dr6, core_->sys.dr7};
}

std::uint64_t& Cpu::gpr(isa::Gpr reg) { return core_->regs.gpr[static_cast<std::size_t>(reg)]; }
std::uint64_t Cpu::rip() const { return core_->current_rip(); }
bool Cpu::halted() const { return core_->halted(); }
bool Cpu::idle() const { return core_->idle(); }

Stop Cpu::run(std::uint64_t until_ns) { return core_->run(until_ns); }
void Cpu::request_stop() { core_->request_stop(); }
Stop Cpu::step(bool hold_interrupts) { return core_->step(hold_interrupts); }
std::uint64_t Cpu::position() const { return core_->position(); }
void Cpu::pause_at(std::uint64_t position) { core_->pause_at(position); }
std::uint64_t Cpu::instructions() const { return core_->instructions(); }
void Cpu::transfer(StateStream& s) { core_->transfer(s); }
void Cpu::signal_raised() {
  core_->kick();
  if (core_->board.supervisor != nullptr) core_->board.supervisor->signal_raised(*this);
}

std::optional<paging::PagingConfig> Cpu::paging() const {
  if (!core_->memory.registers().paging) return std::nullopt;
  return core_->memory.paging_config();
}
isa::Mode Cpu::mode() const { return core_->mode(); }

std::optional<std::pair<PhysAddr, KeyId>> Cpu::translate(VirtAddr at) const {
  const auto place = core_->memory.inspect(at.value());
  if (!place) return std::nullopt;
  return std::pair{place->phys, place->key};
}

bool Cpu::read_memory(VirtAddr from, ByteSpan to) const { return core_->inspect(from, to); }

bool Cpu::write_memory(VirtAddr to, ConstByteSpan from) {
  while (!from.empty()) {
    const auto place = core_->memory.inspect(to.value());
    if (!place) return false;
    const std::size_t part = std::min<std::size_t>(from.size(), page_size - to.page_offset());
    core_->board.code.invalidate(place->phys, part);
    if (!core_->board.memory.write(place->phys, from.first(part), place->key)) return false;
    from = from.subspan(part);
    to += part;
  }
  return true;
}

std::optional<std::uint64_t> Cpu::read_msr(std::uint32_t msr) const { return core_->read_msr(msr); }
bool Cpu::write_msr(std::uint32_t msr, std::uint64_t value) { return core_->write_msr(msr, value); }
std::array<std::uint32_t, 4> Cpu::cpuid(std::uint32_t leaf, std::uint32_t subleaf) const {
  return core_->cpuid(leaf, subleaf);
}

void Cpu::set_probe_sink(ProbeSink* sink) { core_->set_probe_sink(sink); }
void Cpu::add_probe(VirtAddr at) { core_->add_probe(at); }
void Cpu::remove_probe(VirtAddr at) { core_->remove_probe(at); }

void Cpu::add_breakpoint(VirtAddr at) { core_->add_breakpoint(at); }
void Cpu::remove_breakpoint(VirtAddr at) { core_->remove_breakpoint(at); }
void Cpu::set_watches(std::vector<DataWatch> watches) { core_->set_watches(std::move(watches)); }
void Cpu::pass_breakpoint() { core_->pass_breakpoint(); }
std::optional<DebugStop> Cpu::take_debug_stop() { return core_->take_debug_stop(); }

std::vector<Delivery> Cpu::deliveries() const {
  return {core_->deliveries().begin(), core_->deliveries().end()};
}
std::string Cpu::report() const { return core_->report(); }

}  // namespace cbit::cpu
