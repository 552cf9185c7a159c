// PCONFIG with any RAX, any address, and any bytes behind it. The input is a list of executions.
//
// Held: nothing crashes; what must be #GP by the SDM is #GP, above all a reserved bit; a status other than
// success, and an exception, leave the key table as it was; success changes the view of its own KeyID at
// most, and none with KeyID 0.
#include <bit>

#include "fuzz_input.hpp"
#include "mktme_board.hpp"

namespace cbit {
namespace {

constexpr unsigned executions_max = 24;
constexpr std::uint64_t room = 2 * page_size;

class HostileRing0 {
 public:
  explicit HostileRing0(MktmeBoard& board) : board_{&board} {
    at_ = *board.kernel().mm().alloc_pages(room / page_size);
  }
  ~HostileRing0() { board_->kernel().mm().free_pages(at_, room / page_size); }
  HostileRing0(const HostileRing0&) = delete;
  HostileRing0& operator=(const HostileRing0&) = delete;

  void execute(FuzzInput& input) {
    const machine::KeyProgram program = structure(input);
    // Rarely unaligned, rarely nowhere.
    const std::uint8_t where = input.byte();
    VirtAddr rbx = at_ + machine::key_program_alignment * (where % 16);
    if (where >= 0xf0) rbx = rbx + 1 + where % 8;
    if (where == 0xef) rbx = VirtAddr{0xffff'0000'0000'0000};
    const std::uint64_t rax =
        input.below(16) == 0 ? input.take<std::uint64_t>() : machine::pconfig_key_program;
    paging::Mmu& cpu = board_->kernel().cpu(0);
    const bool stored = cpu.store(rbx, program).has_value();
    require(stored == (where != 0xef));

    const auto before = board_->views();
    const auto result = board_->tme().pconfig(cpu, rax, rbx);
    const auto after = board_->views();
    const bool must_fault = rax != machine::pconfig_key_program ||
                            !rbx.is_aligned(machine::key_program_alignment) || !stored ||
                            has_reserved_bits(program);
    require(result.has_value() != must_fault);
    if (!result && stored) require(result.error() == machine::general_protection);
    if (result && *result == machine::PconfigStatus::success) {
      require(program.key_id != 0 && program.key_id <= MktmeBoard::key_ids);
      require((program.control & 0xff) <= 3 && (program.control >> 8) == machine::tme_aes_xts_128);
    }
    for (unsigned id = 0; id <= MktmeBoard::key_ids; ++id) {
      const bool its_own = result && *result == machine::PconfigStatus::success && program.key_id == id;
      require(its_own || before[id] == after[id]);
    }
  }

 private:
  // Near what is legal, so that single fields decide; or bytes without meaning.
  static machine::KeyProgram structure(FuzzInput& input) {
    if (input.below(8) == 0) return input.take<machine::KeyProgram>();
    machine::KeyProgram program;
    program.key_id = input.below(MktmeBoard::key_ids + 3);
    program.control = input.below(6) | std::uint32_t{1} << 8;
    switch (input.below(6)) {
      case 0: program.control ^= std::uint32_t{1} << input.below(32); break;
      case 1: program.reserved[input.below(58)] = input.byte(); break;
      case 2: program.key_id = input.take<std::uint16_t>(); break;
      default: break;
    }
    program.key_1[input.below(64)] = input.byte();
    program.key_2[input.below(64)] = input.byte();
    return program;
  }
  static bool has_reserved_bits(const machine::KeyProgram& program) {
    for (const std::uint8_t byte : program.reserved)
      if (byte != 0) return true;
    return program.control >> 24 != 0;
  }

  MktmeBoard* board_;
  VirtAddr at_;
};

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::MktmeBoard board;
  cbit::FuzzInput input{data, size};
  cbit::HostileRing0 ring_0{board};
  for (unsigned i = 0; i < cbit::executions_max && !input.empty(); ++i) ring_0.execute(input);
  return 0;
}
