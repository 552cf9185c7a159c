// Builds a block: what lowering functions are written in.
//
// The lowering function of a row describes one instruction by operations; the builder knows the mode (address
// and stack sizes, segments), hands out temporaries, and ends the block.
//
// Threading: one thread.
#pragma once

#include <cstdint>

#include "isa/instruction.hpp"
#include "isa/op.hpp"
#include "isa/parameters.hpp"

namespace cbit::isa {

// What the flags come from, as far as the block knows.
enum class FlagSource : std::uint8_t {
  unknown,
  comparison,  // FlagKind::sub8 to sub64
  result,      // FlagKind::add8 to result: word_a is the result
};

struct Address {
  Slot base = slot_zero;
  Slot index = slot_zero;
  std::uint8_t scale = 0;
  bool stack = false;
  std::int32_t disp = 0;
};

enum class AccessKind : std::uint8_t { read, write, modify };

// Vectors of exceptions that code raises by being what it is. APM vol. 2, table 8-1.
inline constexpr std::uint8_t vector_ud = 6;
inline constexpr std::uint8_t vector_nm = 7;
inline constexpr std::uint8_t vector_gp = 13;

class Builder {
 public:
  // `atomic`: processors run at the same time, so what is locked is one access of memory.
  Builder(Mode mode, Block& block, bool atomic = false);

  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] bool is_64() const { return mode_.is_64(); }

  // The next instruction, and the place of the one behind it.
  void begin(const Instruction& instruction, std::uint16_t place);
  [[nodiscard]] std::uint16_t next_place() const { return next_place_; }
  // No further instruction belongs to the block.
  [[nodiscard]] bool ended() const {
    return ended_ || (last_number_ >= 0 && block_->marks.size() > static_cast<std::size_t>(last_number_));
  }
  void end_block() { ended_ = true; }
  // The next instruction is the last: behind it interrupts are looked for.
  void end_after_next() { last_number_ = number_ + 1; }
  // Goes on behind the last instruction if that did not branch; then the passes over the whole block.
  void finish();

  Op& emit(OpCode code);
  // dst = a (code) b, of `bytes`; code is the family's of 8 bits.
  Op& emit(OpCode code, unsigned bytes, Slot dst, Slot a, Slot b = slot_zero);
  Op& emit_imm(OpCode code, unsigned bytes, Slot dst, Slot a, std::uint64_t imm);
  Op& call(Helper helper, std::uint64_t imm = 0);
  void raise(std::uint8_t vector);  // without an error code
  void raise_general_protection();  // #GP(0)

  [[nodiscard]] Slot temp();
  [[nodiscard]] static Slot slot(const Operand& reg);

  // Operands.
  [[nodiscard]] Address address(const Operand& memory, unsigned bytes, AccessKind access);
  // Of what lies `distance` bytes behind it.
  [[nodiscard]] Address address_beyond(const Operand& memory, Slot distance, unsigned bytes,
                                       AccessKind access);
  // The same address, whatever becomes of the accumulator.
  [[nodiscard]] Address fixed(const Address& address);
  // Without segment: LEA.
  [[nodiscard]] Address effective(const Operand& memory);
  void load(unsigned bytes, Slot dst, const Address& from);
  void load_to_modify(unsigned bytes, Slot dst, const Address& from);
  void store(unsigned bytes, const Address& to, Slot from);
  void store_imm(unsigned bytes, const Address& to, std::uint64_t value);
  static void set_address(Op& op, const Address& address);
  // A slot with the operand's value: the register's own, or a temporary.
  [[nodiscard]] Slot read(const Operand& operand, unsigned bytes);
  void write(const Operand& operand, unsigned bytes, Slot from);
  // Calls compute(slot) to change the operand in place.
  template <class Compute>
  void modify(const Operand& operand, unsigned bytes, Compute&& compute) {
    if (operand.is_general()) {
      compute(slot(operand));
      return;
    }
    const Slot value = temp();
    const Address at = address(operand, bytes, AccessKind::modify);
    load_to_modify(bytes, value, at);
    compute(value);
    store(bytes, at, value);
  }
  // Whether the instruction is locked, and that is to be seen to.
  [[nodiscard]] bool is_atomic() const { return locked_; }
  // XCHG is locked by itself.
  [[nodiscard]] bool runs_among_others() const { return atomic_; }
  // A temporary with what memory had before: Helper::atomic.
  [[nodiscard]] Slot atomic(Atomic what, unsigned bytes, const Address& at, Slot a = slot_zero,
                            Slot b = slot_zero);
  void move(unsigned bytes, Slot dst, Slot from) { emit(OpCode::mov_rr_8, bytes, dst, from); }
  void move_imm(unsigned bytes, Slot dst, std::uint64_t value) {
    emit_imm(OpCode::mov_ri_8, bytes, dst, slot_zero, value);
  }
  void lea(unsigned bytes, Slot dst, const Address& from);

  // The stack, whatever its width. push() stores before it moves the stack pointer.
  void push(unsigned bytes, Slot from);
  void push_imm(unsigned bytes, std::uint64_t value);
  // What lies `distance` above the top; drop() follows when nothing can fault any more.
  void load_top(unsigned bytes, Slot dst, std::int32_t distance = 0);
  void drop(std::int32_t bytes);
  void set_stack_pointer(Slot from);
  // An operand on the stack at rSP's or rBP's value, a temporary.
  [[nodiscard]] Address stack_at(Slot pointer, unsigned bytes) {
    return stack_address(pointer, bytes, AccessKind::read);
  }
  // PUSHA and POPA.
  void push_block(unsigned bytes, Slot old_pointer);
  void pop_block(unsigned bytes);

  // Ends: places are distances from the page.
  void jump_to(std::int64_t place);
  void jump_if(Cond cond, std::int64_t place);
  void branch(const Op& op, std::int64_t place);  // falls through, or leads to `place`
  void jump_indirect(Slot to);
  void call_to(std::int64_t place);  // in 64-bit mode, as the two that follow
  void call_indirect(Slot to);
  void return_near(std::int32_t extra);
  // Falls through to a place where interrupts are looked for.
  void look_for_interrupts() { ended_ = true; }
  // dst8 = condition; dst = condition ? a : dst
  void set_if(Cond cond, Slot dst);
  void move_if(Cond cond, unsigned bytes, Slot dst, Slot a);
  [[nodiscard]] std::int64_t target(const Operand& relative) const { return next_place_ + relative.value; }
  // dst = test is zero ? a : dst, all of 64 bits.
  void select_if_zero(Slot dst, Slot test, Slot a);
  // The slot itself if it has no more than `bytes`.
  [[nodiscard]] Slot zero_extended(Slot from, unsigned bytes);
  // RIP as a value: place's, in as many bits as the operand size has.
  [[nodiscard]] Slot rip_of(std::int64_t place, unsigned bytes);

 private:
  [[nodiscard]] Address address_64(const Operand& memory);
  [[nodiscard]] Address address_segmented(const Operand& memory, unsigned bytes, AccessKind access);
  [[nodiscard]] Address in_segment(Slot offset, Segment segment, unsigned bytes, AccessKind access);
  [[nodiscard]] Address stack_address(Slot pointer, unsigned bytes, AccessKind access);
  void zero_extend_16(Slot at);
  void add_displacement(Address& address, std::int64_t value);
  void exit_to(std::int64_t place);
  bool fuse_with_comparison(Cond cond, std::int64_t place);
  [[nodiscard]] bool near(std::int64_t place) const;

  Mode mode_;
  Block* block_;
  unsigned address_bytes_ = 8;
  std::uint16_t next_place_ = 0;
  std::uint8_t number_ = 0;  // of the instruction
  std::uint8_t temps_ = 0;
  int last_number_ = -1;
  bool atomic_ = false;
  bool locked_ = false;
  bool ended_ = false;
  bool branched_ = false;
  FlagSource flags_ = FlagSource::unknown;
};

}  // namespace cbit::isa
