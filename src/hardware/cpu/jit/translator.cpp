#include "cpu/jit/translator.hpp"

#include <algorithm>

#include "cpu/jit/forms.hpp"

namespace cbit::cpu::jit {
namespace {

// More than the code of any block: 64 instructions.
constexpr std::size_t block_bytes_max = 256u << 10;

class Failure final : public asmjit::ErrorHandler {
 public:
  void handleError(asmjit::Error, const char*, asmjit::BaseEmitter*) override { happened_ = true; }
  [[nodiscard]] bool happened() const { return happened_; }

 private:
  bool happened_ = false;
};

FormTable make_table() {
  FormTable table;
  add_moves(table);
  add_arithmetic(table);
  add_shifts(table);
  add_branches(table);
  return table;
}

bool is_vector(Slot slot) { return slot >= isa::slot_of_xmm(0); }
bool is_high_byte(Slot slot) { return slot % 8 != 0; }

// Registers of the host stand for whole general registers.
bool has_code(const isa::Op& op, const Form& form) {
  if (form.emit == nullptr || is_high_byte(op.dst) || is_high_byte(op.a) || is_high_byte(op.b)) return false;
  return is_vector(op.dst) == form.vector_dst && is_vector(op.a) == form.vector_a && !is_vector(op.b);
}

void emit_operations(BlockEmitter& emitter, const CodeBlock& block) {
  for (const isa::Op* op = block.ops + 1; op != block.exits; ++op) {
    const Form& form = form_table()[op->code];
    emitter.begin(*op);
    if (has_code(*op, form))
      form.emit(emitter, *op, form);
    else if (!emit_vector(emitter, *op))
      emitter.call_handler(handler_of(*op));
  }
}

void emit(BlockEmitter& emitter, const CodePath& path, const LoopState* loop) {
  emitter.enter(path.front(), loop);
  emit_operations(emitter, *path.front().block);
  for (std::size_t i = 1; i < path.size() && emitter.goes_on(); ++i) {
    emitter.go_on_with(path[i]);
    emit_operations(emitter, *path[i].block);
  }
  emitter.finish();
}

bool may_loop(const CodePath& path) {
  const CodeBlock& last = *path.back().block;
  return std::any_of(static_cast<const isa::Op*>(last.exits), last.end,
                     [&](const isa::Op& exit) { return leads_to(exit, *path.front().block); });
}

const std::byte* address_of(const asmjit::CodeHolder& code, asmjit::Label label, const std::byte* base) {
  return base + code.labelOffsetFromBase(label);
}

// LAHF and SAHF are the only instructions used that not every x86-64 processor has.
bool is_host_known() {
#if defined(__x86_64__)
  return asmjit::CpuInfo::host().hasFeature(asmjit::CpuFeatures::X86::kLAHFSAHF);
#else
  return false;
#endif
}

constexpr x86::Gp saved[] = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14, x86::r15};
// With them and a return address, to 16 bytes.
constexpr int stack_for_alignment = 8;

void emit_enter(x86::Assembler& as) {
  for (const x86::Gp& reg : saved) as.push(reg);
  as.sub(x86::rsp, stack_for_alignment);
  as.mov(reg_state, x86::rdi);
  as.mov(reg_budget, in_state(offsetof(State, budget), 8));
  as.mov(reg_tlb, in_state(offsetof(State, tlb), 8));
  as.jmp(x86::rsi);
}

void emit_leave(x86::Assembler& as) {
  as.mov(in_state(offsetof(State, budget), 8), reg_budget);
  as.add(x86::rsp, stack_for_alignment);
  for (auto reg = std::rbegin(saved); reg != std::rend(saved); ++reg) as.pop(*reg);
  as.ret();
}

// To the operation that the block's exit is linked to, or to the exit itself.
void emit_unlinked_exit(x86::Assembler& as, unsigned number) {
  as.mov(in_state(offsetof(State, block), 8), x86::rax);
  as.mov(x86::rax, x86::Mem{x86::rax, offsetof(CodeBlock, exits)});
  as.mov(x86::rax,
         x86::Mem{x86::rax, static_cast<std::int32_t>(number * sizeof(isa::Op) + offsetof(isa::Op, imm))});
}

}  // namespace

const FormTable& form_table() {
  static const FormTable table = make_table();
  return table;
}

std::unique_ptr<Translator> Translator::create(std::size_t bytes, const std::atomic<std::uint32_t>* wanted) {
  if (!is_host_known()) return nullptr;
  auto memory = CodeMemory::create(bytes);
  if (memory == nullptr) return nullptr;
  std::unique_ptr<Translator> translator{new Translator{std::move(memory)}};
  translator->shared_.wanted = wanted;
  return translator->emit_shared_code() ? std::move(translator) : nullptr;
}

bool Translator::place(asmjit::CodeHolder& code) {
  if (code.flatten() != asmjit::kErrorOk || code.resolveUnresolvedLinks() != asmjit::kErrorOk) return false;
  if (code.codeSize() > memory_->left()) return false;
  const auto base = reinterpret_cast<std::uintptr_t>(memory_->next());
  if (code.relocateToBase(base) != asmjit::kErrorOk) return false;
  const auto to = memory_->take(code.codeSize());
  return code.copyFlattenedData(to.data(), to.size()) == asmjit::kErrorOk;
}

bool Translator::emit_shared_code() {
  const std::byte* const base = memory_->next();
  asmjit::CodeHolder code;
  Failure failure;
  (void)code.init(asmjit::Environment::host(), reinterpret_cast<std::uintptr_t>(base));
  code.setErrorHandler(&failure);
  x86::Assembler as{&code};
  const asmjit::Label enter = as.newLabel();
  const asmjit::Label leave = as.newLabel();
  const asmjit::Label leave_block = as.newLabel();
  const std::array unlinked_exits{as.newLabel(), as.newLabel()};
  static_assert(std::tuple_size_v<decltype(unlinked_exits)> == Translation::exits_max);
  as.bind(enter);
  emit_enter(as);
  for (unsigned i = 0; i < Translation::exits_max; ++i) {
    as.bind(unlinked_exits[i]);
    emit_unlinked_exit(as, i);
    as.jmp(leave);
  }
  as.bind(leave_block);
  as.mov(x86::rax, x86::Mem{x86::rax, offsetof(CodeBlock, ops)});
  as.bind(leave);
  emit_leave(as);
  if (!place(code) || failure.happened()) return false;
  shared_.enter = address_of(code, enter, base);
  shared_.leave = address_of(code, leave, base);
  shared_.leave_block = address_of(code, leave_block, base);
  for (unsigned i = 0; i < Translation::exits_max; ++i)
    shared_.unlinked_exits[i] = address_of(code, unlinked_exits[i], base);
  shared_bytes_ = memory_->used();
  return true;
}

// What a loop keeps in registers is known when it has been emitted without.
std::optional<LoopState> Translator::loop_of(const CodePath& path) const {
  asmjit::CodeHolder code;
  (void)code.init(asmjit::Environment::host());
  x86::Assembler as{&code};
  BlockEmitter emitter{as, shared_};
  emit(emitter, path, nullptr);
  return emitter.loop_end();
}

Translator::Result Translator::translate(const CodePath& path) {
  if (memory_->left() < block_bytes_max) return Result::full;
  const auto loop = may_loop(path) ? loop_of(path) : std::nullopt;
  const std::byte* const base = memory_->next();
  asmjit::CodeHolder code;
  Failure failure;
  (void)code.init(asmjit::Environment::host(), reinterpret_cast<std::uintptr_t>(base));
  code.setErrorHandler(&failure);
  x86::Assembler as{&code};
  BlockEmitter emitter{as, shared_};
  emit(emitter, path, loop ? &*loop : nullptr);
  if (!place(code) || failure.happened()) return Result::refused;
  Translation& to = path.front().block->translation;
  to.entry = base;
  to.path_instructions = instructions_of(path);
  return Result::done;
}

void Translator::clear() { memory_->cut_to(shared_bytes_); }

}  // namespace cbit::cpu::jit
