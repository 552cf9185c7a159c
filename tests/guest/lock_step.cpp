// Runs a guest on a machine whose memory is judged by one that really encrypts each access
// (guest/judged_memory.hpp). Beside it goes a machine as `cbit run` has it, with leases: the two shall have
// the same registers, say the same, and hold the same DRAM.
//
//   lock_step EVERY RUN-WORDS...     judges each EVERYth slice of 20 ms of virtual time; 1: all there is
//
// Exit status: 0 all agree until the guest powers itself off, 1 they do not, 2 it could not be tried.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "base/format.hpp"
#include "base/words.hpp"
#include "cli/parse.hpp"
#include "cli/run_request.hpp"
#include "crypt/sha256.hpp"
#include "guest/console.hpp"
#include "guest/judged_memory.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t slice_ns = 20'000'000;
constexpr int differs = 1, failed = 2;

// A machine and what it has said.
struct Side {
  cli::RunRequest request;  // outlives the machine
  std::unique_ptr<guest::Pc> pc;
  std::string said;
  guest::Console console{{.output = [this](std::string_view text) { said += text; }, .input = {}}};

  OrError<void> assemble(const cli::Arguments& arguments, mem::MemoryMaker maker) {
    cli::Streams streams{std::cout, std::cerr};
    request = CBIT_TRY(cli::read_run_request(arguments, streams));
    request.pc.make_memory = maker;
    pc = CBIT_TRY(cli::make_pc(request));
    pc->chipset().com1().set_peer(&console);
    pc->chipset().com2().set_peer(&console);
    return {};
  }
  [[nodiscard]] const mem::Memory& memory() const { return std::as_const(*pc).machine().memory(); }
};

std::string digest_of(const mem::Memory& memory) {
  crypt::Sha256 sum;
  Bytes page(page_size);
  for (const mem::PhysRange& range : memory.ram())
    for (PhysAddr at = range.first; at < range.end(); at += page_size) {
      (void)memory.probe(at, page);
      sum.update(page);
    }
  std::string text;
  for (const std::byte byte : sum.finish()) text += fmt::format("{:02x}", std::to_integer<int>(byte));
  return text;
}

std::optional<PhysAddr> first_different_block(const mem::Memory& one, const mem::Memory& other) {
  Bytes here(page_size), there(page_size);
  for (const mem::PhysRange& range : one.ram())
    for (PhysAddr at = range.first; at < range.end(); at += page_size) {
      (void)one.probe(at, here);
      (void)other.probe(at, there);
      const auto first = std::ranges::mismatch(here, there).in1 - here.begin();
      if (static_cast<std::uint64_t>(first) != page_size)
        return at + align_down(static_cast<std::uint64_t>(first), crypt::cipher_block_size);
    }
  return std::nullopt;
}

// As a processor sees it that uses this key.
std::string block_text(const mem::Memory& memory, PhysAddr at, KeyId key) {
  Bytes block(crypt::cipher_block_size);
  (void)memory.peek(at, block, key);
  return fmt::format("{:016x} {:016x}", load<std::uint64_t>(block, 0), load<std::uint64_t>(block, 8));
}

class LockStep {
 public:
  OrError<void> assemble(const cli::Arguments& arguments) {
    CBIT_TRY(usual_.assemble(arguments, &mem::Memory::create));
    CBIT_TRY(judged_.assemble(arguments, &JudgedMemory::create));
    judge_ = dynamic_cast<JudgedMemory*>(&judged_.pc->machine().memory());
    return {};
  }

  // What differs between what each access found and what an encrypting memory has; nullopt: nothing.
  std::optional<std::string> run(std::uint64_t every) {
    for (std::uint64_t slice = 0;; ++slice) {
      const bool judges = slice % every == 0;
      if (judges && slice != 0) judge_->begin();
      const auto ending = judged_.pc->run((slice + 1) * slice_ns).ending;
      if (judge_->judges()) judge_->compare_dram();
      if (judge_->difference()) return judge_->difference();
      if (auto apart = compare_machines((slice + 1) * slice_ns, ending, judges || ending))
        return "the machine with leases went another way: " + *apart;
      if (ending)
        return ending == guest::Ending::powered_off ? std::nullopt
                                                    : std::optional{std::string{"no power-off"}};
      judge_->pause();
    }
  }

  void tell() const {
    fmt::print("{} accesses judged in {} instructions\n", judge_->accesses(),
               judged_.pc->cpu().instructions());
    fmt::print("DRAM: {}\n", digest_of(judged_.memory()));
  }

 private:
  // The usual machine catches up. Comparing all DRAM takes longer than the slice.
  std::optional<std::string> compare_machines(std::uint64_t until_ns, std::optional<guest::Ending> ending,
                                              bool with_dram) {
    if (usual_.pc->run(until_ns).ending != ending) return "one of them has ended";
    if (auto difference = compare_states(); difference || !with_dram) return difference;
    const auto at = first_different_block(usual_.memory(), *judge_);
    if (!at) return std::nullopt;
    const KeyId key = usual_.memory().history(at->page()).writer_key;
    return fmt::format("DRAM at {} before {} ns: {} and, judged, {} under key {}", *at,
                       usual_.pc->clock().now_ns(), block_text(usual_.memory(), *at, key),
                       block_text(*judge_, *at, key), key);
  }

  [[nodiscard]] std::optional<std::string> compare_states() const {
    const std::uint64_t now = usual_.pc->clock().now_ns();
    if (now != judged_.pc->clock().now_ns()) return fmt::format("clocks differ at {} ns", now);
    const auto here = usual_.pc->cpu().registers(), there = judged_.pc->cpu().registers();
    if (here != there)
      return fmt::format("registers differ at {} ns: RIP {:#x} and {:#x}", now, here.rip, there.rip);
    if (usual_.said != judged_.said) return fmt::format("they say something else before {} ns", now);
    return std::nullopt;
  }

  Side usual_;
  Side judged_;
  JudgedMemory* judge_ = nullptr;
};

int fail(const Error& error) {
  cli::print_error(error, std::cerr);
  return failed;
}

int lock_step(std::uint64_t every, std::span<const std::string_view> words) {
  const auto parsed = cli::parse_command_line(words);
  if (!parsed) return fail(parsed.error());
  LockStep both;
  if (const auto done = both.assemble(parsed->arguments); !done) return fail(done.error());
  const auto difference = both.run(every);
  both.tell();
  if (!difference) return 0;
  fmt::print("they differ: {}\n", *difference);
  return differs;
}

}  // namespace
}  // namespace cbit::test

int main(int argc, char** argv) {
  const auto every = argc > 1 ? cbit::parse_number(argv[1]) : std::nullopt;
  if (!every || *every == 0) {
    fmt::print(stderr, "usage: lock_step EVERY RUN-WORDS...\n");
    return cbit::test::failed;
  }
  std::vector<std::string_view> words{"run"};
  words.insert(words.end(), argv + 2, argv + argc);
  return cbit::test::lock_step(*every, words);
}
