// The interpreter judges generated code: block by block, before it runs.
#include <cstring>

#include "base/format.hpp"
#include "cpu/core.hpp"
#include "cpu/interpreter.hpp"
#include "cpu/ops_branch.hpp"

namespace cbit::cpu {

// What a rehearsal has changed in memory, so that it can be undone, and found again afterwards.
struct Core::Rehearsal {
  using Store = RehearsedStore;
  std::vector<Store>& stores;  // of the processor, for the next block to use again
  bool given_up = false;
  BlockExit exit;  // that it ended by, if there is no link

  void note_results() {
    for (Store& store : stores) std::memcpy(store.after.data(), store.at, store.bytes);
  }
  void undo() {
    for (auto store = stores.rbegin(); store != stores.rend(); ++store)
      std::memcpy(store->at, store->before.data(), store->bytes);
  }
  [[nodiscard]] const Store* first_difference() const {
    for (const Store& store : stores)
      if (std::memcmp(store.at, store.after.data(), store.bytes) != 0) return &store;
    return nullptr;
  }
};

namespace {

constexpr unsigned in_page(std::uint64_t linear) {
  return static_cast<unsigned>(page_size - (linear & ~page_mask));
}

// Temporaries are no more where a block ends.
std::string difference(const State& expected, const State& found) {
  std::string text;
  const auto compare = [&](std::string_view name, std::uint64_t wanted, std::uint64_t got) {
    if (wanted != got) text += fmt::format("  {}: {:#x} instead of {:#x}\n", name, got, wanted);
  };
  for (unsigned i = 0; i < expected.regs.gpr.size(); ++i)
    compare(fmt::format("register {}", i), expected.regs.gpr[i], found.regs.gpr[i]);
  for (unsigned i = 0; i < expected.regs.xmm.size(); ++i)
    for (unsigned half = 0; half < 2; ++half)
      compare(fmt::format("xmm{} quad {}", i, half), expected.regs.xmm[i].quads[half],
              found.regs.xmm[i].quads[half]);
  compare("page", expected.regs.page, found.regs.page);
  compare("flags", expected.flags.image(), found.flags.image());
  compare("direction", expected.direction, found.direction);
  compare("budget", static_cast<std::uint64_t>(expected.budget), static_cast<std::uint64_t>(found.budget));
  compare("leave", static_cast<std::uint64_t>(expected.leave), static_cast<std::uint64_t>(found.leave));
  compare("rip", expected.rip, found.rip);
  return text;
}

bool is_same(const State& a, const State& b) {
  return a.regs.gpr == b.regs.gpr && a.regs.xmm == b.regs.xmm && a.regs.page == b.regs.page &&
         a.flags.image() == b.flags.image() && a.direction == b.direction && a.budget == b.budget &&
         a.leave == b.leave && a.rip == b.rip;
}

}  // namespace

bool Core::give_up_rehearsal() {
  rehearsal_->given_up = true;
  return false;
}

bool Core::rehearse_load(std::uint64_t linear_at, void* to, unsigned bytes, bool to_modify) {
  const std::byte* const from =
      bytes > in_page(linear_at) || checks_alignment() ? nullptr : direct(data_set_, linear_at, to_modify);
  if (from == nullptr) return give_up_rehearsal();
  std::memcpy(to, from, bytes);
  return true;
}

Loaded Core::rehearse_load(std::uint64_t linear_at, unsigned bytes, bool to_modify) {
  Loaded loaded;
  loaded.ok = rehearse_load(linear_at, &loaded.value, bytes, to_modify);
  return loaded;
}

bool Core::rehearse_store(std::uint64_t linear_at, const void* from, unsigned bytes) {
  std::byte* const to =
      bytes > in_page(linear_at) || checks_alignment() ? nullptr : direct(data_set_, linear_at, true);
  if (to == nullptr) return give_up_rehearsal();
  Rehearsal::Store& store = rehearsal_->stores.emplace_back(Rehearsal::Store{to, bytes, {}, {}});
  std::memcpy(store.before.data(), to, bytes);
  std::memcpy(to, from, bytes);
  return true;
}

// As execute(), one block at a time, or as many as its code goes through: the counter lets no more begin.
void Core::execute_checked() {
  unlinked_exit_ = {};
  while (budget > 0 && !attention_) {
    const isa::Op* op = find_code(false);
    if (op == nullptr) {
      deliver_pending();
      return;
    }
    // The first operation of a block has its address.
    auto* const found = reinterpret_cast<CodeBlock*>(static_cast<std::uintptr_t>(op->imm));
    const std::int64_t left = budget;
    if (left < found->instructions) return execute_rest();
    translate_to_check(*found);
    set_budget(
        std::min(left, std::int64_t{std::max(found->instructions, found->translation.path_instructions)}));
    const std::uint64_t before = instructions();
    run_checked(*found);
    const auto done = static_cast<std::int64_t>(instructions() - before);
    if (!attention_) set_budget(left - done);
    if (leave == Leave::lookup || (leave == Leave::budget && !attention_)) continue;
    after_leave();
    return;
  }
}

// By itself before its first run; with those that it leads to when it would have been translated else.
void Core::translate_to_check(CodeBlock& found) {
  isa::Slot& runs_left = found.ops[0].b;
  if (!found.translation.exists())
    (void)board.code.translate(found);
  else if (runs_left != 0 && --runs_left == 0)
    (void)board.code.translate(found, true);
}

void Core::run_checked(CodeBlock& found) {
  if (!found.translation.exists()) {
    run_block(found.ops);
    return;
  }
  Rehearsal rehearsal{rehearsed_stores_};
  State expected = rehearse(found, rehearsal);
  // It may be only behind the first block that something cannot be done twice.
  if (rehearsal.given_up && budget > found.instructions) {
    set_budget(found.instructions);
    expected = rehearse(found, rehearsal);
  }
  run_block(found.ops);
  board.code.note_judgement(!rehearsal.given_up);
  if (rehearsal.given_up) return;
  if (unlinked_exit_.block != rehearsal.exit.block || unlinked_exit_.number != rehearsal.exit.number ||
      rehearsal.first_difference() != nullptr || !is_same(expected, *this))
    report_difference(expected, rehearsal, found);
}

// What the interpreter makes of the block, and of those behind it as far as the counter lets them begin. All
// is as it was, afterwards.
State Core::rehearse(const CodeBlock& found, Rehearsal& rehearsal) {
  const State before = *this;
  rehearsal.stores.clear();
  rehearsal.given_up = false;
  rehearsal_ = &rehearsal;
  tlb = memory.tlb().entries(TlbSet::closed);
  enter_translation = &ops::enter_interpreted;
  block = &found;
  budget -= found.ops[0].disp;
  interpret(*this, found.ops + 1);
  rehearsal.note_results();
  rehearsal.undo();
  rehearsal_ = nullptr;
  const State expected = *this;
  static_cast<State&>(*this) = before;
  rehearsal.exit = std::exchange(unlinked_exit_, {});
  return expected;
}

void Core::report_difference(const State& expected, const Rehearsal& rehearsal, const CodeBlock& found) {
  std::string text = fmt::format("generated code for {:#x} differs from the interpreter\n{}",
                                 expected.regs.page + found.place(), difference(expected, *this));
  if (const Rehearsal::Store* store = rehearsal.first_difference())
    text += fmt::format("  memory: {} instead of {}\n", to_hex({store->at, store->bytes}),
                        to_hex(std::span{store->after}.first(store->bytes)));
  isa::Block listing;
  for (const isa::Op* op = found.ops; op != found.end; ++op) listing.ops.push_back(*op);
  text += to_text(listing);
  if (board.supervisor != nullptr) board.supervisor->translation_differs(self, text);
}

}  // namespace cbit::cpu
