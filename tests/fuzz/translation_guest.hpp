// A guest that an input makes up, on a machine that has nothing but a processor, memory under two keys, one
// device, timers and interrupts. Two with the same plan see the same, whatever runs their code.
//
// 64 pages of memory: its tables, which it may change; handlers that step over what faulted; its code, all of
// it bytes of the input. Behind memory's addresses there are other views of the same pages.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "cpu/cpu.hpp"
#include "cpu/system_space.hpp"
#include "mem/key_table.hpp"
#include "support/fake_interrupts.hpp"

namespace cbit {

// What the input decides, besides the bytes of the code.
struct GuestPlan {
  enum class Mode : std::uint8_t { kernel_64, user_64, kernel_32, user_32, flat_32, real, count };
  enum class OnDevice : std::uint8_t { nothing, interrupt, timer, write_code, stop, count };
  struct Event {
    enum class Kind : std::uint8_t { interrupt, nmi, write_code, write_tables, count };
    std::uint64_t at_ns = 0;
    Kind kind = Kind::interrupt;
    std::uint16_t where = 0;
    std::uint64_t value = 0;
  };

  Mode mode = Mode::kernel_64;
  OnDevice on_device = OnDevice::nothing;
  bool handlers = false;        // an IDT
  bool own_page_fault = false;  // a page fault leads into the code
  bool interrupts = false;      // RFLAGS.IF
  bool keys = false;            // every other page of code is encrypted
  bool caches = false;          // that do not agree: memory gives no leases
  bool open = false;            // the tables are a user's, too
  std::uint16_t start = 0;      // of the input's bytes, in the pages of code
  std::uint16_t entry = 0;
  std::array<std::uint64_t, 16> gpr{};
  std::vector<Event> events;
  std::vector<std::uint64_t> slices_ns;  // of one run() after the other
  Bytes code;

  [[nodiscard]] bool is_64() const { return mode == Mode::kernel_64 || mode == Mode::user_64; }
  [[nodiscard]] bool is_user() const { return mode == Mode::user_64 || mode == Mode::user_32; }
  [[nodiscard]] bool is_long() const { return mode < Mode::flat_32; }
};

class FuzzGuest final : paging::IoSpace {
 public:
  static constexpr std::uint64_t memory_bytes = 64 * page_size;
  static constexpr std::uint64_t page_table = 0x4000;
  static constexpr std::uint64_t code_at = 0x1'0000;
  static constexpr std::uint64_t code_bytes = 4 * page_size;
  static constexpr std::uint64_t data_at = 0x1'4000;
  static constexpr std::uint64_t stack_top = 0x1'a000;
  static constexpr std::uint64_t inner_stack_top = 0x1'c000;
  // Linear addresses behind memory's.
  static constexpr std::uint64_t code_again = 0x4'0000;
  static constexpr std::uint64_t code_by_other_key = 0x4'4000;
  static constexpr std::uint64_t device = 0x4'8000;
  static constexpr std::uint64_t read_only = 0x4'a000;
  static constexpr std::uint64_t no_execute = 0x4'b000;

  FuzzGuest(GuestPlan plan, unsigned runs_before_translation)
      : plan_{std::move(plan)},
        memory_{std::move(*mem::Memory::create(memory_config(plan_), keys(), tracer_))},
        space_{*memory_, *this, 0},
        code_{space_, runs_before_translation},
        cpu_{cpu_config(plan_), {space_, ports_, interrupts_, clock_, code_}},
        timer_{clock_, [this] { interrupts_.raise(timer_vector); }} {
    put_tables();
    put_handlers();
    put_code();
    cpu_.set_registers(first_registers());
    for (const GuestPlan::Event& event : plan_.events)
      clock_.schedule(event.at_ns, [this, event] { happen(event); });
  }

  // What is compared.
  struct Seen {
    cpu::Stop stop = cpu::Stop::deadline;
    std::uint64_t now_ns = 0;
    std::uint64_t instructions = 0;
    cpu::Registers registers;
    cpu::Cpu::ExtendedState extended;
    std::vector<std::uint64_t> others;  // debug registers, MSRs, deliveries, what the device was asked
    friend bool operator==(const Seen&, const Seen&) = default;
  };

  // Runs for so long; asleep, until something wakes it.
  Seen run(std::uint64_t ns) {
    const std::uint64_t until = clock_.now_ns() + ns;
    Seen seen{.stop = cpu_.run(until)};
    if (seen.stop == cpu::Stop::halted && clock_.now_ns() < until)
      clock_.advance(std::min(clock_.next_deadline().value_or(until), until) - clock_.now_ns());
    seen.now_ns = clock_.now_ns();
    seen.instructions = cpu_.instructions();
    seen.registers = cpu_.registers();
    seen.extended = cpu_.extended_state();
    seen.others = others();
    return seen;
  }
  // As it is stored, page by page, under the key that each belongs to, and the key.
  [[nodiscard]] Bytes memory() const {
    Bytes all(memory_bytes + memory_bytes / page_size);
    for (std::uint64_t page = 0; page < memory_bytes / page_size; ++page) {
      const PhysAddr at{page * page_size};
      const KeyId owner = memory_->history(at).owner;
      (void)memory_->peek(at, std::span{all}.subspan(at.value(), page_size), owner);
      all[memory_bytes + page] = std::byte(owner);
    }
    return all;
  }
  [[nodiscard]] const cpu::CodeCacheStats& stats() const { return code_.stats(); }
  [[nodiscard]] const cpu::Cpu& processor() const { return cpu_; }

 private:
  static constexpr KeyId key = 1;
  static constexpr std::uint64_t c_bit = 1ull << 47;
  static constexpr std::uint64_t pml4 = 0x1000, pdpt = 0x2000, pd = 0x3000;
  static constexpr std::uint64_t gdt = 0x5000, idt = 0x6000, tss = 0x7000, handlers_at = 0x8000;
  static constexpr std::uint64_t registers_at = 0x1000'0000;
  static constexpr std::uint8_t timer_vector = 0x40;
  static constexpr std::uint8_t nothing_here = 0xf4;  // HLT

  // Keys are the same for all guests, and take long to make.
  static mem::KeyTable& keys() {
    static mem::KeyTable table = [] {
      mem::KeyTable made{1, crypt::CipherMode::xex};
      made.set_derived(key, "key");
      return made;
    }();
    return table;
  }
  static mem::MemoryConfig memory_config(const GuestPlan& plan) {
    return {.ram = {{PhysAddr{0}, memory_bytes}},
            .cache = plan.caches ? mem::CacheModel::bite : mem::CacheModel::coherent};
  }
  static cpu::Cpu::Config cpu_config(const GuestPlan& plan) {
    cpu::Cpu::Config config{.model = cpu::default_model()};
    if (plan.keys) config.view = {.layout = mem::KeyLayout::amd(47), .encrypted_key = key};
    return config;
  }

  void write(std::uint64_t at, ConstByteSpan bytes, KeyId under, AgentKind by) {
    (void)memory_->write(PhysAddr{at}, bytes, {.agent = {by, 0}, .key = under});
  }
  template <class T>
  void store(std::uint64_t at, const T& value) {
    write(at, std::as_bytes(std::span{&value, 1}), no_key, AgentKind::loader);
  }
  [[nodiscard]] KeyId key_of_code(std::uint64_t page) const {
    return plan_.keys && page % 2 != 0 ? key : no_key;
  }

  void put_tables() {
    constexpr std::uint64_t all = 7;  // present, writable, a user's
    store(pml4, pdpt | all);
    store(pdpt, pd | all);
    store(pd, page_table | all);
    const auto map = [&](std::uint64_t linear, std::uint64_t entry) {
      store(page_table + linear / page_size * 8, entry);
    };
    for (std::uint64_t at = 0; at < memory_bytes; at += page_size)
      map(at, at | (at >= code_at || plan_.open ? 7 : 3));
    for (std::uint64_t page = 0; page < code_bytes / page_size; ++page) {
      const std::uint64_t at = code_at + page * page_size;
      const std::uint64_t bit = key_of_code(page) != no_key ? c_bit : 0;
      map(at, at | bit | all);
      map(code_again + page * page_size, at | bit | all);
      map(code_by_other_key + page * page_size, at | (plan_.keys ? bit ^ c_bit : 0) | all);
    }
    map(device, registers_at | all);
    map(read_only, data_at | 5);
    map(no_execute, data_at | all | 1ull << 63);
    // As in the CpuBox of the processor's own tests.
    const std::uint64_t descriptors[] = {0,
                                         0x00af'9b00'0000'ffff,  // 08: code, 64 bits
                                         0x00cf'9300'0000'ffff,  // 10: data
                                         0x00cf'fb00'0000'ffff,  // 1b: a user's code, 32 bits
                                         0x00cf'f300'0000'ffff,  // 23: a user's data
                                         0x00af'fb00'0000'ffff,  // 2b: a user's code, 64 bits
                                         0x0000'8900'7000'0fff,  // 30: TSS, available
                                         0,
                                         0x00cf'9b00'0000'ffff};  // 40: code, 32 bits
    store(gdt, descriptors);
    store(tss + 4, inner_stack_top);
  }

  // Each steps over a byte of what faulted; interrupts return to where they were.
  void put_handlers() {
    if (plan_.mode == GuestPlan::Mode::real) return put_real_handlers();
    constexpr std::uint8_t step[] = {0x48, 0xff, 0x04, 0x24, 0x48, 0xcf};  // inc qword [rsp]; iretq
    constexpr std::uint8_t step_with_error[] = {0x48, 0x83, 0xc4, 0x08, 0x48,
                                                0xff, 0x04, 0x24, 0x48, 0xcf};  // add rsp, 8 before it
    constexpr std::uint8_t leave[] = {0x48, 0xcf};
    constexpr std::uint32_t with_error = 0x2'7d00;
    for (unsigned vector = 0; vector < 256; ++vector) {
      const std::uint64_t at = handlers_at + 16 * vector;
      const bool traps = vector == 1 || vector == 3 || vector == 4 || vector >= 32;
      if (traps)
        store(at, leave);
      else if (vector < 32 && (with_error >> vector & 1) != 0)
        store(at, step_with_error);
      else
        store(at, step);
      put_gate(vector, vector == 14 && plan_.own_page_fault ? code_at + plan_.start : at);
    }
  }
  void put_gate(unsigned vector, std::uint64_t handler) {
    constexpr std::uint64_t code_64 = 0x08, dpl_3_interrupt_gate = 0xee00;
    store(idt + 16 * vector,
          (handler & 0xffff) | code_64 << 16 | dpl_3_interrupt_gate << 32 | (handler & 0xffff'0000) << 32);
    store(idt + 16 * vector + 8, std::uint64_t{0});
  }
  void put_real_handlers() {
    // push bp; mov bp, sp; inc word [bp + 2]; pop bp; iret
    constexpr std::uint8_t step[] = {0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d, 0xcf};
    store(handlers_at, step);
    for (unsigned vector = 0; vector < 256; ++vector)
      store(4 * vector, static_cast<std::uint32_t>(handlers_at) << 12);  // segment 0800, offset 0
  }

  void put_code() {
    Bytes bytes(code_bytes, std::byte{nothing_here});
    const std::size_t room = code_bytes - plan_.start;
    std::copy_n(plan_.code.begin(), std::min(room, plan_.code.size()), bytes.begin() + plan_.start);
    for (std::uint64_t page = 0; page < code_bytes / page_size; ++page)
      write(code_at + page * page_size, std::span{bytes}.subspan(page * page_size, page_size),
            key_of_code(page), AgentKind::loader);
  }

  [[nodiscard]] cpu::Registers first_registers() const {
    using Mode = GuestPlan::Mode;
    cpu::Registers r;
    r.cr0 = 0x8005'0033;
    r.cr3 = pml4;
    r.cr4 = cpu::cr4::physical_address_extension | cpu::cr4::page_global | cpu::cr4::osfxsr |
            cpu::cr4::osxmmexcpt | cpu::cr4::fsgsbase;
    r.efer = cpu::efer::long_mode_enable | cpu::efer::long_mode_active | cpu::efer::no_execute |
             cpu::efer::syscall;
    if (!plan_.is_long()) {
      r.cr0 &= ~cpu::cr0::paging;
      r.efer = 0;
    }
    const bool user = plan_.is_user();
    for (auto& segment : r.segments) segment = cpu::flat_data(user ? 0x23 : 0x10);
    auto& cs = r.segment(isa::Segment::cs);
    cs = plan_.is_64() ? cpu::flat_code_64(user ? 0x2b : 0x08) : cpu::flat_code_32(user ? 0x1b : 0x40);
    if (user)
      for (auto& segment : r.segments) segment.attributes.raw |= 0x60;
    r.gdtr = {gdt, 0x47};
    r.idtr = {idt, static_cast<std::uint16_t>(plan_.handlers && plan_.is_long() ? 0xfff : 0)};
    r.tr = {0x30, cpu::SegmentAttributes{{0x8b}}, 0xfff, tss};
    r.gpr = plan_.gpr;
    r[isa::Gpr::rsp] = stack_top;
    r.rip = code_at + plan_.entry;
    r.rflags |= plan_.interrupts ? cpu::rflags::interrupt : 0;
    if (plan_.mode == Mode::real) make_real(r);
    if (!plan_.is_64())
      for (std::uint64_t& reg : r.gpr) reg &= 0xffff'ffff;
    return r;
  }
  void make_real(cpu::Registers& r) const {
    const auto segment = [](std::uint64_t base, std::uint16_t attributes) {
      return cpu::SegmentRegister{static_cast<std::uint16_t>(base >> 4), {{attributes}}, 0xffff, base};
    };
    r.cr0 = 0x10;
    for (auto& which : r.segments) which = segment(data_at, 0x93);
    r.segment(isa::Segment::cs) = segment(code_at, 0x9b);
    r.segment(isa::Segment::es) = segment(code_at, 0x93);
    r[isa::Gpr::rsp] = stack_top - data_at;
    r.rip = plan_.entry;
    r.idtr = {0, static_cast<std::uint16_t>(plan_.handlers ? 0x3ff : 0)};
  }

  [[nodiscard]] std::vector<std::uint64_t> others() const {
    std::vector<std::uint64_t> seen = device_log_;
    const cpu::DebugRegisters debug = cpu_.debug_registers();
    seen.insert(seen.end(), debug.breakpoints.begin(), debug.breakpoints.end());
    seen.insert(seen.end(), {debug.status, debug.control});
    constexpr std::uint32_t efer = 0xc000'0080, tsc_aux = 0xc000'0103, pat = 0x277, tsc = 0x10;
    for (std::uint32_t msr = efer; msr <= tsc_aux; ++msr) seen.push_back(cpu_.read_msr(msr).value_or(0));
    for (const std::uint32_t msr : {pat, tsc}) seen.push_back(cpu_.read_msr(msr).value_or(0));
    for (const cpu::Delivery& one : cpu_.deliveries())
      seen.insert(seen.end(), {one.instructions, one.rip, one.cr2, one.error, one.vector, one.external});
    for (const std::uint8_t vector : interrupts_.acknowledged) seen.push_back(vector);
    return seen;
  }

  void happen(const GuestPlan::Event& event) {
    using Kind = GuestPlan::Event::Kind;
    switch (event.kind) {
      case Kind::interrupt: return interrupts_.raise(static_cast<std::uint8_t>(32 + event.where % 224));
      case Kind::nmi: return interrupts_.raise_nmi();
      case Kind::write_code: return write_code(event.where, event.value);
      case Kind::write_tables:
        return write(page_table + event.where % 80 * 8, as_bytes(event.value), no_key, AgentKind::device);
      case Kind::count: return;
    }
  }
  static ConstByteSpan as_bytes(const std::uint64_t& value) { return std::as_bytes(std::span{&value, 1}); }
  // Up to eight bytes of one page.
  void write_code(std::uint64_t where, std::uint64_t value) {
    where %= code_bytes;
    const std::uint64_t bytes = std::min<std::uint64_t>(1 + value % 8, page_size - where % page_size);
    write(code_at + where, as_bytes(value).first(bytes), key_of_code(where / page_size), AgentKind::device);
  }

  void accessed() {
    using OnDevice = GuestPlan::OnDevice;
    switch (plan_.on_device) {
      case OnDevice::interrupt: return interrupts_.raise(timer_vector + 1);
      case OnDevice::timer: return timer_.start(clock_.now_ns() + device_log_.size() % 64);
      case OnDevice::write_code: return write_code(plan_.start + device_log_.size() % 32, clock_.now_ns());
      case OnDevice::stop: return cpu_.request_stop();
      case OnDevice::nothing:
      case OnDevice::count: return;
    }
  }
  Result<void> note(PhysAddr at, std::size_t bytes, std::uint64_t value) {
    const bool is_there = at.page() == PhysAddr{registers_at};
    device_log_.insert(device_log_.end(), {at.value(), bytes, value, clock_.now_ns()});
    if (!is_there) return fault(FaultKind::no_memory, at.value());
    accessed();
    return {};
  }
  Result<void> io_read(PhysAddr from, ByteSpan to) override {
    std::ranges::fill(to, static_cast<std::byte>(device_log_.size()));
    return note(from, to.size(), 0);
  }
  Result<void> io_write(PhysAddr to, ConstByteSpan from) override {
    std::uint64_t value = 0;
    std::memcpy(&value, from.data(), std::min(from.size(), sizeof value));
    return note(to, from.size(), value + 1);
  }

  GuestPlan plan_;
  Clock clock_;
  Tracer tracer_{clock_};
  std::unique_ptr<mem::Memory> memory_;
  cpu::SystemSpace space_;
  bus::PortSpace ports_;
  test::FakeInterrupts interrupts_;
  std::vector<std::uint64_t> device_log_;
  cpu::CodeCache code_;
  cpu::Cpu cpu_;
  Timer timer_;
};

}  // namespace cbit
