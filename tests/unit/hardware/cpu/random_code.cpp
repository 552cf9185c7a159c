#include "random_code.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "isa/table.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace cbit::test {
namespace {

using isa::DecodeStatus;
using isa::Instruction;
using isa::OperandKind;
using isa::Row;

template <class Range>
auto& pick(Random& random, const Range& from) {
  return from[random() % from.size()];
}
bool chance(Random& random, unsigned percent) { return random() % 100 < percent; }

constexpr std::uint8_t operand_size_prefix = 0x66;
constexpr std::uint8_t address_size_prefix = 0x67;
constexpr std::uint8_t lock_prefix = 0xf0;
constexpr std::uint8_t repeat_prefix = 0xf3;
constexpr std::uint8_t repeat_not_prefix = 0xf2;
constexpr std::array<std::uint8_t, 4> segment_prefixes{0x26, 0x2e, 0x36, 0x3e};

std::vector<std::uint8_t> start_of(const Encoding& encoding) {
  std::vector<std::uint8_t> bytes = encoding.prefixes;
  if (encoding.rex != 0) bytes.push_back(encoding.rex);
  bytes.insert(bytes.end(), encoding.opcode.begin(), encoding.opcode.end());
  return bytes;
}

bool has_relative_operand(const Instruction& instruction) {
  return instruction.operands[0].kind == OperandKind::relative;
}

bool has_prefix(const Encoding& encoding, std::uint8_t prefix) {
  return std::ranges::find(encoding.prefixes, prefix) != encoding.prefixes.end();
}

bool instruction_has_repeat(const Encoding& encoding) {
  return has_prefix(encoding, repeat_prefix) || has_prefix(encoding, repeat_not_prefix);
}

bool is_any_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// What the manuals leave open, or describe differently for AMD's and Intel's processors.
bool is_ambiguous(const Row& row, const Instruction& instruction, const Encoding& encoding) {
  // A 16-bit operand size of near branches.
  if (has_relative_operand(instruction) && has_prefix(encoding, operand_size_prefix)) return true;
  // Targets are not in the area, where a branch may fault before or behind its target.
  if (is_any_of(row.mnemonic, {"jmp", "call", "ret"}) && !has_relative_operand(instruction)) return true;
  // With F3 these are LZCNT and TZCNT, where the processor has them.
  if (is_any_of(row.mnemonic, {"bsf", "bsr"}) && has_prefix(encoding, repeat_prefix)) return true;
  // A repeat prefix changes their condition, which no manual says.
  if (is_any_of(row.mnemonic, {"loope", "loopne"}) && instruction_has_repeat(encoding)) return true;
  // Whether the upper half of a register survives a comparison that fails is told nowhere.
  if (row.mnemonic == "cmpxchg" && instruction.operands[0].is_general() && instruction.operands[0].bytes == 4)
    return true;
  // What happens at addresses of bytes that are not selected depends on the processor.
  if (is_any_of(row.mnemonic, {"maskmovq", "maskmovdqu"})) return true;
  if (row.mnemonic == "bswap" && instruction.operands[0].bytes == 2) return true;
  return false;
}

bool is_shift(const Row& row) {
  return is_any_of(row.mnemonic, {"shl", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd"});
}
bool is_rotate(const Row& row) { return is_any_of(row.mnemonic, {"rol", "ror", "rcl", "rcr"}); }

// The flags of a shift by an immediate count can be told better than by the row. By 1, OF is defined.
std::uint32_t undefined_by(const Row& row, const Instruction& instruction) {
  if (!is_shift(row)) return row.undefined;
  const isa::Operand& count = instruction.operands[instruction.operand_count - 1u];
  const unsigned bytes = instruction.operands[0].bytes;
  if (count.kind != OperandKind::immediate) return row.undefined;
  const auto masked = static_cast<unsigned>(count.value) & (bytes == 8 ? 63 : 31);
  if (masked == 0) return 0;
  std::uint32_t undefined = row.undefined;
  if (masked == 1) undefined &= ~isa::flag_of;
  if (masked < 8 * bytes || is_rotate(row)) undefined &= ~isa::flag_cf;
  return undefined;
}

// Results, not only flags, are undefined: words shifted double by more than their width.
bool has_undefined_result(const Row& row, const Instruction& instruction) {
  if (!is_any_of(row.mnemonic, {"shld", "shrd"}) || instruction.operands[0].bytes != 2) return false;
  const isa::Operand& count = instruction.operands[2];
  return count.kind != OperandKind::immediate || (count.value & 31) > 16;
}

// Zydis's masks are by EFLAGS' bit numbers.
void set_flag_use(isa::Mode mode, RandomInstruction& to) {
  ZydisDecoder decoder;
  if (mode.is_64())
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  else
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
  ZydisDecodedInstruction decoded;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  // What is only a NOP without MPX or CET uses no flags.
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, to.bytes.data(), to.bytes.size(), &decoded, operands)))
    return;
  to.reads = decoded.cpu_flags->tested & isa::status_flags;
  to.defines = (decoded.cpu_flags->modified | decoded.cpu_flags->set_0 | decoded.cpu_flags->set_1) &
               isa::status_flags & ~to.undefined;
  // With a count of zero nothing is defined.
  const bool counted = is_shift(*to.row) || to.row->trial == isa::Trial::repeat;
  if (counted || to.row->mnemonic == "cmpxchg8b" || to.row->mnemonic == "cmpxchg16b") to.defines = 0;
}

}  // namespace

RandomCode::RandomCode(isa::Mode mode, const isa::FeatureSet& features, bool (*accepts)(const Row&))
    : mode_{mode}, features_{features}, decoder_{features} {
  find_encodings(accepts);
}

namespace {

bool is_prefix(isa::Mode mode, unsigned byte) {
  constexpr std::uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
  return std::ranges::find(prefixes, byte) != std::end(prefixes) || (mode.is_64() && (byte & 0xf0) == 0x40);
}

}  // namespace

void RandomCode::find_encodings(bool (*accepts)(const Row&)) {
  std::map<const Row*, std::vector<Encoding>> found;
  const std::vector<std::vector<std::uint8_t>> prefix_sets{{}, {0x66}, {0xf2}, {0xf3}};
  const std::vector<std::vector<std::uint8_t>> maps{{}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
  unsigned idle_seen = 0;
  const auto try_one = [&](const Encoding& encoding) {
    std::vector<std::uint8_t> bytes = start_of(encoding);
    bytes.push_back(static_cast<std::uint8_t>((encoding.memory ? 0x03 : 0xc1) | encoding.reg << 3));
    bytes.resize(isa::instruction_bytes_max, 0);
    Instruction decoded;
    if (decoder_.decode(mode_, std::as_bytes(std::span{bytes}), decoded) != DecodeStatus::ok) return;
    const Row* row = isa::find_row(decoded);
    if (row == nullptr || row->lower == nullptr || row->trial == isa::Trial::none) return;
    if (!features_.has(row->feature) || !accepts(*row) || is_ambiguous(*row, decoded, encoding)) return;
    // Of prefixes without meaning, one example in eight is enough.
    auto& encodings = found[row];
    const bool idle = !encoding.prefixes.empty() && encoding.prefixes[0] != operand_size_prefix &&
                      encoding.opcode.size() < 3 && row->trial != isa::Trial::repeat;
    if (idle && ++idle_seen % 8 != 0) return;
    encodings.push_back(encoding);
  };
  for (const auto& prefixes : prefix_sets)
    for (const std::uint8_t rex : std::initializer_list<std::uint8_t>{0x00, 0x40, 0x48}) {
      if (rex != 0 && !mode_.is_64()) continue;
      for (const auto& map : maps)
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          if (map.empty() && is_prefix(mode_, opcode)) continue;
          for (unsigned reg_and_memory = 0; reg_and_memory < 16; ++reg_and_memory) {
            Encoding encoding{prefixes, rex, map, static_cast<std::uint8_t>(reg_and_memory >> 1),
                              (reg_and_memory & 1) != 0};
            encoding.opcode.push_back(static_cast<std::uint8_t>(opcode));
            try_one(encoding);
          }
        }
    }
  for (auto& [row, encodings] : found) candidates_.push_back({row, std::move(encodings)});
  // By the table, not by where it lies in memory.
  std::ranges::sort(candidates_, {},
                    [](const Candidate& candidate) { return candidate.row - isa::table().data(); });
}

// ModR/M, SIB, displacement and immediate, as far as the instruction has them; what it has not is cut off.
void RandomCode::add_operands(Random& random, const Encoding& encoding,
                              std::vector<std::uint8_t>& bytes) const {
  const auto push = [&](std::uint64_t value) { bytes.push_back(static_cast<std::uint8_t>(value)); };
  const unsigned pointer = pick(random, pointers);
  const std::uint64_t reg = encoding.reg << 3;
  if (!encoding.memory) {
    push(0xc0 | reg | random() % 8);
  } else if (chance(random, 50)) {
    push(0x40 | reg | pointer);
    push(random());
  } else if (chance(random, 50)) {
    push(0x80 | reg | pointer);
    for (unsigned i = 0; i < 4; ++i) push(i < 2 ? random() % (i == 0 ? 256 : 8) : 0);
  } else if (chance(random, 60)) {
    push(0x44 | reg);
    push(random() % 4 << 6 | random() % 8 << 3 | pointer);
    push(random());
  } else {
    push(random() % 4 << 6 | reg | random() % 8);
  }
  // Immediates: often small, or with all bits alike.
  const std::uint64_t kind = random() % 4;
  while (bytes.size() < isa::instruction_bytes_max)
    push(kind == 0 ? 0 : kind == 1 ? 0xff : kind == 2 ? random() % 70 : random());
}

bool RandomCode::fill(Random& random, const Encoding& encoding, const Row& row, RandomInstruction& to) const {
  std::vector<std::uint8_t> bytes;
  if (has(row.rules, isa::Rule::lockable) && chance(random, 3)) bytes.push_back(lock_prefix);
  if (chance(random, 3)) bytes.push_back(address_size_prefix);
  if (chance(random, 3)) bytes.push_back(pick(random, segment_prefixes));
  Encoding varied = encoding;
  if (varied.rex != 0) varied.rex = static_cast<std::uint8_t>(varied.rex | random() % 8);
  // Pointers are not among the registers that REX.B gives.
  if (varied.memory && chance(random, 90)) varied.rex = static_cast<std::uint8_t>(varied.rex & ~1);
  if (chance(random, 50)) varied.reg = static_cast<std::uint8_t>(random() % 8);
  const std::vector<std::uint8_t> start = start_of(varied);
  bytes.insert(bytes.end(), start.begin(), start.end());
  add_operands(random, varied, bytes);

  if (decoder_.decode(mode_, std::as_bytes(std::span{bytes}), to.decoded) != DecodeStatus::ok) return false;
  if (isa::find_row(to.decoded) != &row || is_ambiguous(row, to.decoded, varied)) return false;
  if (has_undefined_result(row, to.decoded)) return false;
  bytes.resize(to.decoded.length);
  to.bytes = std::move(bytes);
  to.row = &row;
  to.undefined = undefined_by(row, to.decoded);
  set_flag_use(mode_, to);
  return true;
}

RandomInstruction RandomCode::next(Random& random, std::uint32_t undefined) const {
  for (;;) {
    const Candidate& candidate = pick(random, candidates_);
    const Encoding& encoding = pick(random, candidate.encodings);
    RandomInstruction instruction;
    if (!fill(random, encoding, *candidate.row, instruction)) continue;
    if ((instruction.reads & undefined) != 0) continue;
    return instruction;
  }
}

namespace {

void set_distance(RandomInstruction& branch, std::uint32_t distance) {
  // Prefixes make a short branch as long as a near one; near forms of Jcc, CALL and JMP are other opcodes.
  const std::uint8_t opcode = branch.decoded.opcode;
  const bool is_near = (opcode & 0xf0) == 0x80 || opcode == 0xe8 || opcode == 0xe9;
  const std::size_t width = is_near ? 4 : 1;
  for (std::size_t byte = 0; byte < width; ++byte)
    branch.bytes[branch.bytes.size() - width + byte] = static_cast<std::uint8_t>(distance >> (8 * byte));
}

}  // namespace

// Branches lead forward, over some instructions. Where one lands, what was undefined at the branch still is.
RandomCode::Sequence RandomCode::sequence(Random& random, unsigned length) const {
  Sequence result;
  auto& instructions = result.instructions;
  std::vector<std::size_t> targets;
  std::vector<std::uint32_t> undefined_at(length + 1, 0);
  for (unsigned i = 0; i < length; ++i) {
    result.undefined |= undefined_at[i];
    RandomInstruction instruction = next(random, result.undefined);
    result.undefined = (result.undefined & ~instruction.defines) | instruction.undefined;
    result.undefined_on_way |= instruction.undefined;
    const bool branches = has_relative_operand(instruction.decoded);
    targets.push_back(branches ? i + 1 + random() % (length - i) : 0);
    undefined_at[targets.back()] |= branches ? result.undefined : 0;
    instructions.push_back(std::move(instruction));
  }
  result.undefined |= undefined_at[length];
  for (std::size_t i = 0; i < length; ++i) {
    if (targets[i] == 0) continue;
    std::uint32_t distance = 0;
    for (std::size_t over = i + 1; over < targets[i]; ++over)
      distance += static_cast<std::uint32_t>(instructions[over].bytes.size());
    set_distance(instructions[i], distance);
  }
  return result;
}

isa::FeatureSet host_features() {
  isa::FeatureSet features;
#if defined(__x86_64__)
  for (const isa::FeatureInfo& info : isa::feature_table()) {
    if (info.in == isa::CpuidRegister::none) continue;
    std::array<unsigned, 4> leaf{};
    if (__get_cpuid_count(info.leaf, info.subleaf, &leaf[0], &leaf[1], &leaf[2], &leaf[3]) == 0) continue;
    const auto which = static_cast<std::size_t>(info.in) - static_cast<std::size_t>(isa::CpuidRegister::eax);
    if ((leaf[which] >> info.bit & 1) != 0) features.add(info.feature);
  }
#endif
  return features;
}

}  // namespace cbit::test
