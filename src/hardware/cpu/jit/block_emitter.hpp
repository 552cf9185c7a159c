// Writes the code of one block: what all operations share. The files emit_*.cpp have the operations.
//
// Everything that is rare (a miss of the TLB, a device, a fault, the counter used up) is out of line, behind
// the block: there the State is made right, a function of the interpreter is called, and the code goes on or
// comes back to the interpreter. So what generated code means is what the interpreter's functions mean.
#pragma once

#include <asmjit/x86.h>

#include <atomic>
#include <functional>
#include <optional>
#include <vector>

#include "cpu/code_path.hpp"
#include "cpu/jit/handlers.hpp"
#include "cpu/jit/register_cache.hpp"
#include "cpu/state.hpp"

namespace cbit::cpu::jit {

// Pieces that all blocks share, by their addresses.
struct SharedCode {
  const void* enter = nullptr;        // called from C++: (State*, code) -> the operation to go on with
  const void* leave = nullptr;        // RAX: the operation; ends `enter`
  const void* leave_block = nullptr;  // RAX: a CodeBlock, to be interpreted
  // RAX: a CodeBlock, whose exit of that number has no code to go on with
  std::array<const void*, Translation::exits_max> unlinked_exits{};
  // Not nullptr: where it is not zero, no block begins (Standstill::wanted()).
  const std::atomic<std::uint32_t>* wanted = nullptr;
};

// The flags, and MXCSR, as far as the block knows them. The two words are slots of the register cache.
struct KnownFlags {
  std::optional<FlagKind> kind;  // nullopt: what State::flags.kind says
  bool kind_is_stored = true;
  bool floats = false;  // MXCSR is the guest's, whose exceptions are all masked
};

// What a loop keeps from turn to turn.
struct LoopState {
  RegisterCache::Snapshot registers;
  bool floats = false;
};

inline constexpr std::size_t offset_flags = offsetof(State, flags);
inline constexpr Slot slot_flag_a = static_cast<Slot>(offset_flags + offsetof(Flags, a));
inline constexpr Slot slot_flag_b = static_cast<Slot>(offset_flags + offsetof(Flags, b));

class BlockEmitter {
 public:
  BlockEmitter(Assembler& as, const SharedCode& shared) : as{as}, cache{as}, shared_{&shared} {}

  Assembler& as;
  RegisterCache cache;
  KnownFlags flags;

  void begin(const isa::Op& op) {
    op_ = &op;
    cache.begin_operation();
  }
  [[nodiscard]] const isa::Op& op() const { return *op_; }

  // The start of the path: asks whether its first block may begin. A path that is a loop keeps in registers,
  // from turn to turn, what `loop` says, which loop_end() of an emission without it has told.
  void enter(const PathStep& first, const LoopState* loop);
  // Where the path went back to its start; nullopt: it is no loop.
  [[nodiscard]] const std::optional<LoopState>& loop_end() const { return loop_end_; }
  // Whether the last block has come to its exit onward; then the next one begins, if it may, with what is in
  // registers.
  [[nodiscard]] bool goes_on() const { return goes_on_; }
  void go_on_with(const PathStep& next);
  // Whatever the operation does, by the interpreter's function.
  void call_handler(Handler handler);
  // The code out of line; after the last operation of all.
  void finish();

  // --- Values. `bytes` is 1, 2, 4 or 8; a narrow value lies in the low bits of its register.
  // The operation's immediate operand, in full, and as the host's instructions take it at that width; of 8
  // bytes that is only where it fits.
  [[nodiscard]] asmjit::Imm immediate() const;
  [[nodiscard]] asmjit::Imm immediate_at(unsigned bytes) const;
  [[nodiscard]] bool immediate_fits() const;
  // dst becomes what is in `from`, by the rules for registers of that size.
  void put(Slot dst, Gp from, unsigned bytes);
  void sign_extend(Gp to, Gp from, unsigned bytes);
  // How a value of `bytes` becomes one of `result`; of one size, it is moved.
  struct Extension {
    std::uint8_t bytes = 0;
    std::uint8_t result = 0;
    bool is_signed = false;
  };
  // `from`: a register, or memory, of that many bytes.
  void extend(Gp to, const asmjit::Operand& from, Extension extension);

  // --- Flags: what the operation sets. Registers hold values of `bytes`.
  void set_flags_of_difference(Gp a, Gp b, unsigned bytes);
  void set_flags_of_difference_with_immediate(Gp a, unsigned bytes);
  void set_flags_of_sum(Gp sum, Gp addend, unsigned bytes);
  void set_flags_of_sum_with_immediate(Gp sum, unsigned bytes);
  void set_flags_of_logic(Gp result, unsigned bytes);
  // RCX: all six in their places.
  void set_flags_to_image();
  // `others`: RCX, CF, AF and OF in their places.
  void set_flags_of_result(Gp result, unsigned bytes);
  void flags_are_unknown() { flags = {.floats = flags.floats}; }
  void store_flag_kind();
  // The host's CF becomes the guest's; takes RAX.
  void carry_to_host();
  // The host's condition that holds where `cond` does; takes RAX. What the flags are must be known, or of
  // a comparison; else the interpreter is asked.
  [[nodiscard]] Cond test(Cond cond);

  // --- Floats: between these, the host computes by the guest's MXCSR and collects its flags there. Where the
  // guest wants exceptions, the operation is the interpreter's. The host's flags stay at the end.
  void begin_floats();
  void end_floats();

  // --- Memory: the operation's address, or another, to RAX.
  void address_to_rax() { address_to(asmjit::x86::rax); }
  void address_to_slot(Slot dst);
  enum class Access : std::uint8_t { read, write };
  // Leads to memory's bytes, or out of line to `slowly`, which does the access and returns to behind it.
  // Takes RCX and RDX.
  enum class Slow : std::uint8_t { load, load_to_modify, store, store_alone, load_128, store_128 };
  // dst = the bytes at RAX.
  void load_to(Slot dst, Extension extension, Slow slow = Slow::load);
  // RAX = zero-extended bytes at RAX.
  void load(unsigned bytes, Slow slow = Slow::load);
  void store(unsigned bytes, Gp value, Slow slow);
  void store_immediate(unsigned bytes, Slow slow);
  void load_128(Slot to);
  void store_128(Slot from);

  // --- Ends.
  // The register file, the flags and all are right for the next block.
  void store_everything();
  // To the operation's exit of that number.
  void go_to_exit(unsigned number);
  // Everything is stored now, or by branch(), on its two ways. Moves: the host's flags stay.
  void store_before_branch();
  // To the block's exit of that number, whatever is to be stored for that.
  void leave_by(unsigned exit);
  // If the host's condition holds, to the second exit, else to the first.
  void branch(Cond host);
  // To the code at RAX if it is known, which takes RCX and RDX; else by the interpreter's function for the
  // whole operation. Everything is stored.
  void find_code(Handler otherwise);
  // RCX: the jump cache's entry for RAX, or out of line.
  void probe_jump_cache(Handler otherwise);
  void jump_by_cache_entry();

 private:
  struct Cold {
    asmjit::Label from;
    const CodeBlock* block;
    std::function<void()> emit;
  };
  template <class Emit>
  void cold(asmjit::Label from, Emit&& emit) {
    colds_.push_back({from, block_, std::forward<Emit>(emit)});
  }
  // Out of line: the State becomes right, as far as `snapshot` says it is not.
  void settle(const RegisterCache::Snapshot& snapshot, const KnownFlags& known);
  void unsettle(const RegisterCache::Snapshot& snapshot, const KnownFlags& known);
  // Where no block is to begin; takes RCX.
  void leave_for_others(asmjit::Label to);
  void load_guest_mxcsr(const isa::Op& op);
  void call(const void* function);
  // With the State and the operation; of an access, also with the address in RAX.
  void call_for(const isa::Op& op, const void* function);
  void call_slowly(const isa::Op& op, const void* function);
  void leave_with_rax() { as.jmp(reinterpret_cast<std::uint64_t>(shared_->leave)); }
  void call_handler_and_leave(const isa::Op& op, Handler handler);
  void probe_tlb(unsigned bytes, Access access, asmjit::Label miss, bool aligned);
  void address_to(Gp to);
  // `behind`: what is done with the value in RAX before the code goes on.
  void slow_load(asmjit::Label miss, asmjit::Label resume, Slow slow, unsigned bytes,
                 const RegisterCache::Snapshot& snapshot, std::function<void()> behind);
  void slow_store(asmjit::Label miss, asmjit::Label resume, Slow slow, unsigned bytes,
                  std::function<void()> argument);
  void leave_if_zero(Gp ok);
  void slow_128(Slow slow, Slot slot, asmjit::Label miss, asmjit::Label resume);
  void store_flag_b_immediate(unsigned bytes);
  void set_flag_kind(FlagKind kind) { flags = {kind, false, flags.floats}; }
  [[nodiscard]] Cond ask_interpreter(Cond cond, bool of_comparison_first);
  [[nodiscard]] Cond test_image_bit(unsigned bit, Cond cond);
  // Of the block that begins, from what is in registers; it is block_.
  void count_instructions();
  void jump_by_exit(unsigned number);
  void jump_if_stale(const CodeBlock& block, asmjit::Label to);
  [[nodiscard]] bool leads_back(unsigned exit) const;
  void go_back(unsigned exit);

  const CodeBlock* first_ = nullptr;  // of the path
  const CodeBlock* block_ = nullptr;  // of which the operations are
  std::optional<unsigned> onward_;    // its exit to the next block of the path
  bool goes_on_ = false;
  const SharedCode* shared_;
  const isa::Op* op_ = nullptr;
  std::vector<Cold> colds_;
  asmjit::Label loop_start_;
  const LoopState* loop_ = nullptr;
  std::optional<LoopState> loop_end_;
};

// Registers by width.
[[nodiscard]] inline Gp narrow(Gp reg, unsigned bytes) {
  switch (bytes) {
    case 1: return reg.r8();
    case 2: return reg.r16();
    case 4: return reg.r32();
    default: return reg.r64();
  }
}

}  // namespace cbit::cpu::jit
