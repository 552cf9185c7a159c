// A processor from inside: all of its state, and what instructions and events do to it. Cpu is its face.
//
// Helpers (cpu/helpers.hpp) are functions on a Core; the files core_*.cpp have its own functions by subject.
// Threading: as cpu/cpu.hpp says.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/state_stream.hpp"
#include "cpu/address_space.hpp"
#include "cpu/code_cache.hpp"
#include "cpu/cpu.hpp"
#include "cpu/fp/sse.hpp"
#include "cpu/fp/x87.hpp"
#include "cpu/jump_cache.hpp"
#include "cpu/memory_access.hpp"
#include "cpu/standstill.hpp"
#include "cpu/state.hpp"
#include "isa/lower.hpp"

namespace cbit::cpu {

// What a helper did.
enum class Outcome : std::uint8_t {
  next,   // the instruction goes on
  fault,  // it is undone: Core::raise() was called, or the instruction is to be retried
  leave,  // straight-line code ends; State::rip says where to go on
};

// Vectors: APM vol. 2, table 8-1.
namespace vector {
inline constexpr std::uint8_t de = 0;
inline constexpr std::uint8_t db = 1;
inline constexpr std::uint8_t nmi = 2;
inline constexpr std::uint8_t bp = 3;
inline constexpr std::uint8_t of = 4;
inline constexpr std::uint8_t br = 5;
inline constexpr std::uint8_t ud = 6;
inline constexpr std::uint8_t nm = 7;
inline constexpr std::uint8_t df = 8;
inline constexpr std::uint8_t ts = 10;
inline constexpr std::uint8_t np = 11;
inline constexpr std::uint8_t ss = 12;
inline constexpr std::uint8_t gp = 13;
inline constexpr std::uint8_t pf = 14;
inline constexpr std::uint8_t mf = 16;
inline constexpr std::uint8_t ac = 17;
inline constexpr std::uint8_t xf = 19;
inline constexpr std::uint8_t vc = 29;
}  // namespace vector

// Where an event comes from decides what IDT entry it may use, and the EXT bit of what goes wrong then.
enum class EventKind : std::uint8_t { exception, software, external };

struct Event {
  std::uint8_t vector = 0;
  EventKind kind = EventKind::exception;
  bool has_error = false;
  bool resume = false;  // RF in the saved flags: a fault, to be restarted
  std::uint32_t error = 0;
  std::uint64_t address = 0;  // CR2 of #PF
};

// A descriptor of code, data or a system segment in a table.
struct Descriptor {
  std::uint16_t selector = 0;
  SegmentAttributes attributes;
  std::uint32_t limit = 0;
  std::uint64_t base = 0;
  std::uint64_t raw = 0;      // its first 8 bytes
  std::uint64_t address = 0;  // where it lies
};

struct SystemRegisters {
  std::uint64_t cr0 = 0;
  std::uint64_t cr2 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;
  std::uint64_t xcr0 = 1;
  std::uint64_t flags = 0;                  // RFLAGS without status flags and DF
  std::array<SegmentRegister, 6> segments;  // bases: RegisterFile::segment_base
  SegmentRegister ldtr;
  SegmentRegister tr;
  TableRegister gdtr;
  TableRegister idtr;
  unsigned cpl = 0;

  std::array<std::uint64_t, 4> breakpoints{};
  std::uint64_t dr6 = 0;
  std::uint64_t dr7 = 0;

  std::uint64_t star = 0;
  std::uint64_t lstar = 0;
  std::uint64_t cstar = 0;
  std::uint64_t sfmask = 0;
  std::uint64_t kernel_gs_base = 0;
  std::uint64_t sysenter_cs = 0;
  std::uint64_t sysenter_esp = 0;
  std::uint64_t sysenter_eip = 0;
  std::uint64_t pat = 0;
  std::uint64_t tsc_aux = 0;

  void transfer(StateStream& s);
};

class Core final : public State, public mem::LeaseHolder, public CodeCache::User {
 public:
  Core(Cpu& self, const Cpu::Config& config, const Cpu::Board& board);
  ~Core() override;
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  Cpu& self;
  const Cpu::Config config;
  const Cpu::Board board;
  SystemRegisters sys;
  fp::X87 x87;
  AddressSpace memory;

  // --- core_run.cpp: time, and the way from block to block.
  void reset();
  Stop run(std::uint64_t until_ns);
  Stop step(bool hold_interrupts);
  // run() comes back to look at everything before the next block.
  void kick();
  void request_stop();
  [[nodiscard]] std::uint64_t instructions() const;
  [[nodiscard]] std::uint64_t position() const;
  void pause_at(std::uint64_t position) { pause_at_ = position; }
  // Executed before the operation's instruction, while its block runs.
  [[nodiscard]] std::uint64_t instructions_before(const isa::Op& op) const;
  // Brings the machine's clock up to the operation's instruction; deadlines may be called.
  void sync_clock(const isa::Op& op);
  // A device was used: deadlines may have changed.
  void after_device();
  void halt();
  void unblock_nmi() { nmi_blocked_ = false; }
  [[nodiscard]] bool is_kicked() const { return attention_; }
  [[nodiscard]] bool halted() const { return halted_; }
  [[nodiscard]] bool idle() const { return (halted_ || waits_for_startup_) && !attention_; }
  [[nodiscard]] bool is_shut_down() const { return shut_down_; }
  // Of the instruction that executes, while one reaches beyond straight-line code; of the next one otherwise.
  [[nodiscard]] std::uint64_t current_rip() const {
    return current_op_ != nullptr ? rip_of(*current_op_) : rip;
  }
  [[nodiscard]] std::uint64_t rip_of(const isa::Op& op) const {
    return (regs.page + block->marks[op.instruction].place) & rip_mask;
  }
  [[nodiscard]] std::uint64_t next_rip(const isa::Op& op) const;
  // RIP becomes the instruction's, and nothing from it on counts as executed.
  void stop_at(const isa::Op& op);
  // RIP becomes the next instruction's (or another's), and the instruction counts.
  Outcome leave_to(const isa::Op& op, std::uint64_t rip);
  // Whether the next operation is to follow: what an instruction has raised is looked at behind it.
  [[nodiscard]] bool goes_on_behind(const isa::Op& op) { return !attention_ || stays_in_instruction(op); }
  Outcome leave_behind(const isa::Op& op) { return leave_to(op, next_rip(op)); }
  // Interrupts are not looked at before the next instruction has been executed.
  void shadow_interrupts(const isa::Op& op);
  // Nor are this instruction's traps taken before the next has been executed.
  void shadow_traps(const isa::Op& op);
  // SYSCALL and SYSRET step by the flags that they leave: KVM, arch/x86/kvm/emulate.c, em_syscall().
  void step_by_new_flags();
  // Data breakpoints that wait for a trap join the one that the instruction is.
  void join_held_traps() {
    if (data_hits_ != 0) report_in_dr6(std::exchange(data_hits_, 0));
  }
  // B0 to B3 are those of this #DB; the other bits stay until software clears them. APM vol. 2, 13.1.1.3.
  void report_in_dr6(std::uint64_t conditions) { sys.dr6 = (sys.dr6 & ~0xfull) | conditions; }
  [[nodiscard]] bool interrupt_pending() const { return board.interrupts.signals().any(); }
  [[nodiscard]] const isa::Op* unlinked(const isa::Op* exit);
  // The block that was just entered.
  [[nodiscard]] bool translate_block();
  Outcome take_probe(const isa::Op& op);
  void set_probe_sink(ProbeSink* sink) { probe_sink_ = sink; }
  void add_probe(VirtAddr at);
  void remove_probe(VirtAddr at);

  // --- core_threads.cpp: among others on threads of the host. Elsewhere a processor is always alone.
  // Alone as long as this lives; see cpu/standstill.hpp for what is to be looked up anew behind it.
  class Alone {
   public:
    explicit Alone(Core& core, bool wanted = true) : core_{wanted && core.joined_ ? &core : nullptr} {
      if (core_ != nullptr && core_->alone_++ == 0) core_->lock_others();
    }
    ~Alone() {
      if (core_ != nullptr && --core_->alone_ == 0) core_->board.others->unlock();
    }
    Alone(const Alone&) = delete;
    Alone& operator=(const Alone&) = delete;

   private:
    Core* core_;
  };
  // As long as this lives its thread executes among others, where there are any.
  class Joined {
   public:
    explicit Joined(Core& core) : core_{&core} {
      if (core.board.others != nullptr) core.join_others();
    }
    ~Joined() {
      if (core_->joined_) core_->leave_others();
    }
    Joined(const Joined&) = delete;
    Joined& operator=(const Joined&) = delete;

   private:
    Core* core_;
  };
  // Others may be executing now.
  [[nodiscard]] bool is_among_others() const { return joined_ && alone_ == 0; }
  // Host bytes of an access that lies in one page and is known to be allowed; nullptr: look for it.
  [[nodiscard]] std::byte* known_bytes(TlbSet set, std::uint64_t linear, unsigned bytes, bool write);
  // What comes behind happens behind what was before, as others see it. The host orders the rest.
  void order_accesses() const {
    if (joined_) std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  // Alone until release_others(), in the instruction that goes on with a store.
  void hold_others();
  [[nodiscard]] bool holds_others() const { return holds_others_; }
  void release_others() {
    if (holds_others_) [[unlikely]]
      do_release_others();
  }

  // --- core_debug.cpp: what a debugger stops for.
  void add_breakpoint(VirtAddr at);
  void remove_breakpoint(VirtAddr at) { breakpoints_.erase(at.value()); }
  void set_watches(std::vector<DataWatch> watches);
  void pass_breakpoint() { passed_at_ = position(); }
  [[nodiscard]] std::optional<DebugStop> take_debug_stop() { return std::exchange(debug_stop_, {}); }

  // --- core_memory.cpp: accesses that fast paths do not do. False: State::leave says why.
  [[nodiscard]] bool read(TlbSet set, std::uint64_t linear, void* to, unsigned bytes, bool stack = false);
  [[nodiscard]] bool write(TlbSet set, std::uint64_t linear, const void* from, unsigned bytes,
                           bool stack = false);
  // Whether a write there would succeed.
  [[nodiscard]] bool probe_write(TlbSet set, std::uint64_t linear, unsigned bytes, bool stack = false);
  template <class T>
  [[nodiscard]] std::optional<T> read(TlbSet set, std::uint64_t linear, bool stack = false) {
    T value;
    if (!read(set, linear, &value, sizeof value, stack)) return std::nullopt;
    return value;
  }
  // What instructions access; and what the processor accesses by itself, as the supervisor.
  [[nodiscard]] TlbSet data_set() const { return data_set_; }
  [[nodiscard]] TlbSet system_set() const {
    return memory.registers().smap ? TlbSet::kernel : TlbSet::kernel_open;
  }
  // The operation that accesses follow from, for the time and the RIP that others see.
  void set_current(const isa::Op& op) { current_op_ = &op; }
  // Alignment checks and data breakpoints; false: #AC was raised.
  [[nodiscard]] bool check_access(std::uint64_t linear, unsigned bytes, bool write);
  // Host bytes of [linear, its page's end) if they may be used at once; nullptr otherwise, without a fault.
  [[nodiscard]] std::byte* direct(TlbSet set, std::uint64_t linear, bool write);
  // Likewise, of a whole page whose every byte the caller writes now if it gets them.
  [[nodiscard]] std::byte* direct_to_overwrite(TlbSet set, std::uint64_t linear);
  // Likewise of what is read and what is written, also where their translations displace each other.
  struct DirectPair {
    const std::byte* source;
    std::byte* target;
  };
  [[nodiscard]] std::optional<DirectPair> direct_pair(TlbSet set, std::uint64_t from, std::uint64_t to);
  void revoke(PhysAddr page) override;
  void code_written(PhysAddr, std::uint64_t) override {}
  void forget_blocks() override;

  // --- core_check.cpp: the interpreter judges generated code. It does each block first, as a rehearsal,
  // whose stores are undone; where it meets more than memory and registers, it gives the block up.
  [[nodiscard]] bool rehearses() const { return rehearsal_ != nullptr; }
  [[nodiscard]] Loaded rehearse_load(std::uint64_t linear, unsigned bytes, bool to_modify);
  [[nodiscard]] bool rehearse_load(std::uint64_t linear, void* to, unsigned bytes, bool to_modify);
  [[nodiscard]] bool rehearse_store(std::uint64_t linear, const void* from, unsigned bytes);
  bool give_up_rehearsal();  // false

  // --- core_events.cpp: exceptions and interrupts.
  Outcome raise(std::uint8_t vector);
  Outcome raise(std::uint8_t vector, std::uint32_t error);
  // The same, as the result of a function whose true is success.
  template <class... Error>
  [[nodiscard]] bool refuse(std::uint8_t vector, Error... error) {
    (void)raise(vector, error...);
    return false;
  }
  void raise_memory_fault(const MemoryFault& fault, bool stack);
  void deliver_pending();
  void deliver(const Event& event);
  // An interrupt by the instruction at `at`; its handler returns to `next`. If there is no way to the
  // handler, the fault is the instruction's.
  void deliver_software(const Event& event, std::uint64_t at, std::uint64_t next);
  [[nodiscard]] const std::deque<Delivery>& deliveries() const { return deliveries_; }

  // --- core_segments.cpp
  [[nodiscard]] SegmentRegister segment(isa::Segment which) const;
  [[nodiscard]] std::uint16_t selector(isa::Segment which) const {
    return sys.segments[static_cast<std::size_t>(which)].selector;
  }
  void set_segment(isa::Segment which, const SegmentRegister& value);
  void load_code_segment(const Descriptor& descriptor, unsigned rpl);
  // nullopt: a fault was raised, with this vector and the selector for an error code.
  [[nodiscard]] std::optional<Descriptor> descriptor_at(std::uint16_t selector, std::uint8_t fault_vector,
                                                        std::uint32_t external = 0);
  // Without faults for a bad selector: LAR, LSL, VERR, VERW. False: a page fault was raised.
  [[nodiscard]] bool look_up(std::uint16_t selector, std::optional<Descriptor>& to);
  [[nodiscard]] bool mark_accessed(Descriptor& descriptor);
  [[nodiscard]] bool load_data_segment(isa::Segment which, std::uint16_t selector);
  [[nodiscard]] bool load_ldt(std::uint16_t selector);
  [[nodiscard]] bool load_task(std::uint16_t selector);
  // The stack that a task state has for a privilege level (or an IST entry); nullopt: a fault was raised.
  struct StackPointer {
    std::uint64_t rsp = 0;
    std::uint16_t ss = 0;
  };
  [[nodiscard]] std::optional<StackPointer> stack_for(unsigned cpl, unsigned ist, std::uint32_t external);
  // Checks [offset, offset + bytes) against the segment, outside of 64-bit mode.
  [[nodiscard]] bool check_limit(isa::Segment which, std::uint32_t offset, unsigned bytes, bool write);
  // The linear address of an offset in a segment, as the mode has it.
  [[nodiscard]] std::uint64_t linear(isa::Segment which, std::uint64_t offset) const;

  // --- core_control.cpp: modes, and the registers that make them.
  [[nodiscard]] isa::Mode mode() const { return mode_; }
  [[nodiscard]] bool long_mode() const { return (sys.efer & efer::long_mode_active) != 0; }
  [[nodiscard]] bool protected_mode() const { return (sys.cr0 & cr0::protection) != 0; }
  // After any change of what they depend on.
  void update_mode();
  void update_data_set();  // how accesses are judged
  void update_paging();
  void set_cpl(unsigned cpl);
  // CR0.AM and RFLAGS.AC, at CPL 3.
  [[nodiscard]] bool checks_alignment() const;
  [[nodiscard]] std::uint64_t read_flags() const;
  void write_flags(std::uint64_t value, std::uint64_t mask);
  [[nodiscard]] bool write_cr0(std::uint64_t value);  // false: #GP(0)
  [[nodiscard]] bool write_cr3(std::uint64_t value);
  [[nodiscard]] bool write_cr4(std::uint64_t value);
  [[nodiscard]] bool write_efer(std::uint64_t value);
  [[nodiscard]] bool is_canonical_address(std::uint64_t linear) const;
  void flush_translations(bool global_too);
  void flush_page(std::uint64_t linear);
  void forget_jumps();

  // --- cpuid.cpp, msr.cpp
  [[nodiscard]] std::array<std::uint32_t, 4> cpuid(std::uint32_t leaf, std::uint32_t subleaf) const;
  [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr);
  [[nodiscard]] bool write_msr(std::uint32_t msr, std::uint64_t value);
  [[nodiscard]] std::uint64_t tsc() const;
  [[nodiscard]] bool may_use_port(std::uint16_t port, unsigned bytes);
  [[nodiscard]] std::uint32_t read_port(const isa::Op& op, std::uint16_t port, unsigned bytes);
  void write_port(const isa::Op& op, std::uint16_t port, unsigned bytes, std::uint32_t value);
  void set_tsc(std::uint64_t value);
  [[nodiscard]] std::uint64_t kept_msr(std::uint32_t msr) const;
  void keep_msr(std::uint32_t msr, std::uint64_t value);
  [[nodiscard]] std::uint64_t random();

  [[nodiscard]] Registers registers() const;
  void set_registers(const Registers& registers);
  void transfer(StateStream& s);
  [[nodiscard]] std::string report() const;
  [[nodiscard]] bool inspect(VirtAddr from, ByteSpan to);

 private:
  // core_threads.cpp
  void lock_others();
  void do_release_others();
  void join_others();
  void leave_others();
  // Between blocks; what was known of code may have gone.
  void let_others();
  void clean_code();
  void advance_shared_clock(std::uint64_t passed_ns);
  [[nodiscard]] const isa::Op* known_code_at_rip(bool one_step);
  void set_inside(bool inside) {
    if (joined_) board.others->set_inside(config.index, inside);
  }

  // core_run.cpp
  Stop run_to_stop();
  std::optional<Stop> attend();
  void execute();
  void execute_one();
  void execute_rest();
  void run_alone(const isa::Op* op);
  void run_block(const isa::Op* op);
  void leave_block();
  void after_leave();
  bool stays_in_instruction(const isa::Op& op);
  [[nodiscard]] bool take_signals();
  void take_init();
  void take_startup(std::uint8_t start_vector);
  [[nodiscard]] bool in_shadow() const { return instructions() < shadow_end_; }
  [[nodiscard]] bool must_step() const;
  void advance_clock();
  void pass_time(std::uint64_t ns) {
    if (joined_)
      advance_shared_clock(ns);
    else
      board.clock.advance(ns);
  }
  void set_budget(std::int64_t instructions);
  [[nodiscard]] const isa::Op* find_code(bool one_step);
  [[nodiscard]] const isa::Op* look_for_code(bool one_step);
  // `second`: where a block that crosses goes on.
  [[nodiscard]] CodeBlock* decode(const CodeTlb::Entry& page, std::uint64_t linear_at, isa::Mode mode,
                                  CodeTlb::Entry& second);
  [[nodiscard]] bool second_page_of(std::uint64_t linear_at, CodeTlb::Entry& to);
  [[nodiscard]] bool read_code(const CodeTlb::Entry& page, std::uint64_t offset, ByteSpan to);
  void deliver_step();
  [[nodiscard]] bool hits_breakpoint(std::uint64_t rip_at);
  void take_traps(bool trap_flag);

  // core_check.cpp
  struct Rehearsal;
  struct RehearsedStore {
    std::byte* at;
    unsigned bytes;
    std::array<std::byte, sizeof(isa::Xmm)> before;
    std::array<std::byte, sizeof(isa::Xmm)> after;
  };
  void execute_checked();
  void translate_to_check(CodeBlock& block);
  void run_checked(CodeBlock& block);
  [[nodiscard]] State rehearse(const CodeBlock& block, Rehearsal& rehearsal);
  void report_difference(const State& expected, const Rehearsal& rehearsal, const CodeBlock& block);

  // core_memory.cpp
  struct Piece {
    TlbInfo info;
    PhysAddr at;
    unsigned bytes = 0;
  };
  [[nodiscard]] bool goes_beyond_4g(std::uint64_t linear, unsigned bytes) const;
  [[nodiscard]] bool pieces_of(TlbSet set, std::uint64_t linear, unsigned bytes, bool write, bool stack,
                               std::array<Piece, 2>& to);
  [[nodiscard]] bool reads_a_device(const std::array<Piece, 2>& pieces) const;
  [[nodiscard]] bool changes_running_code(const std::array<Piece, 2>& pieces) const;
  [[nodiscard]] bool runs_alone() const { return block == nullptr || block->mode.get<isa::Mode::OneStep>(); }
  void read_piece(const Piece& piece, std::byte* to);
  void write_piece(const Piece& piece, const std::byte* from);
  [[nodiscard]] Accessed<const TlbInfo*> writable_page(TlbSet set, std::uint64_t linear);
  void slow_access(PhysAddr at, ByteSpan to, KeyId key);
  void slow_access(PhysAddr at, ConstByteSpan from, KeyId key);
  // False: it is none.
  bool before_device(PhysAddr at, std::uint64_t bytes);
  void note_data_access(std::uint64_t linear, unsigned bytes, bool write);

  // core_debug.cpp
  [[nodiscard]] bool breaks_at(VirtAddr at) const;
  [[nodiscard]] bool may_break_at(std::uint16_t place) const { return breakpoint_places_.test(place); }
  [[nodiscard]] const DataWatch* watch_of(std::uint64_t linear, unsigned bytes, bool write) const;
  // False: the instruction is to be done once more, on its own.
  [[nodiscard]] bool note_watched_access(std::uint64_t linear, unsigned bytes, bool write);

  // core_events.cpp
  [[nodiscard]] bool try_deliver(const Event& event);
  [[nodiscard]] bool deliver_long(const Event& event);
  [[nodiscard]] bool deliver_protected(const Event& event);
  [[nodiscard]] bool deliver_real(const Event& event);
  [[nodiscard]] bool enter_handler_64(const Event& event, Descriptor& code, unsigned new_cpl, unsigned ist,
                                      std::uint64_t handler, bool masks);
  [[nodiscard]] bool enter_handler_32(const Event& event, std::uint64_t gate, const Descriptor& code);
  [[nodiscard]] std::optional<Event> combined(const Event& first, const Event& second) const;
  void note_delivery(const Event& event);
  void count_delivery(const Event& event);

  void transfer_straight_line_state(StateStream& s);
  void transfer_kept_msrs(StateStream& s);
  void forget_what_follows();
  void select_jumps();
  void remember_jump(const JumpEntry& entry, const CodeTlb::Entry& page, const CodeTlb::Entry& second);

  isa::Lowerer lowerer_;
  isa::Mode mode_;
  std::array<JumpCache, 2> jump_caches_;  // by Mode::NotKernel
  TlbSet data_set_ = TlbSet::kernel_open;

  Event pending_;                        // while State::leave is fault
  const isa::Op* current_op_ = nullptr;  // of `block`; nullptr: none runs
  BlockExit unlinked_exit_;              // to be linked with the next block that is found
  std::uint64_t unlinked_page_ = 0;
  isa::Block lowered_;

  std::uint64_t until_ns_ = 0;
  std::uint64_t pause_at_ = never;
  std::uint64_t passed_at_ = never;  // where a breakpoint does not count
  std::uint64_t delivered_count_ = 0;
  std::uint64_t counted_ = 0;  // instructions up to the last set_budget()
  std::int64_t granted_ = 0;
  std::int64_t withheld_ = 0;  // of the budget, by kick()
  std::uint64_t clocked_ = 0;  // instructions that the clock knows of
  std::uint64_t shadow_end_ = 0;
  std::uint64_t traps_held_at_ = 0;  // instructions, with the one whose traps wait
  bool attention_ = false;           // look at everything before the next block
  bool halted_ = false;
  bool waits_for_startup_ = false;
  bool shut_down_ = false;
  bool stop_requested_ = false;
  bool nmi_blocked_ = false;
  bool delivered_ = false;       // an event, by the instruction that was stepped
  bool step_is_due_ = false;     // before the next instruction
  std::uint64_t data_hits_ = 0;  // DR6 bits of data breakpoints

  bool joined_ = false;        // its thread executes among others
  bool holds_others_ = false;  // hold_others()
  unsigned alone_ = 0;         // Alones that live
  std::uint64_t own_ns_ = 0;   // among others: how far this one has come, or the clock if that is more

  Rehearsal* rehearsal_ = nullptr;
  std::vector<RehearsedStore> rehearsed_stores_;
  TickCounter tsc_;
  std::unordered_map<std::uint32_t, std::uint64_t> kept_msrs_;
  std::uint64_t random_state_ = 0;

  ProbeSink* probe_sink_ = nullptr;
  std::unordered_set<std::uint64_t> probes_;
  std::deque<Delivery> deliveries_;

  std::unordered_set<std::uint64_t> breakpoints_;
  std::bitset<page_size> breakpoint_places_;  // in any page; they stay
  std::vector<DataWatch> watches_;
  std::optional<DebugStop> debug_stop_;
  bool stepping_ = false;
  bool holds_interrupts_ = false;

  friend class Cpu;
};

[[nodiscard]] inline Core& core_of(State& s) { return static_cast<Core&>(s); }

}  // namespace cbit::cpu
