// Random instructions, from the table's rows that mean the same on every processor (isa::Trial).
//
// All encodings of the rows are found by decoding every opcode with every prefix once; a random instruction
// is one of its row's encodings with random operands. Memory operands mostly reach a given area.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "isa/decode.hpp"
#include "isa/feature.hpp"
#include "isa/mode.hpp"
#include "isa/row.hpp"

namespace cbit::test {

using Random = std::mt19937_64;

// The beginning of an instruction, up to its opcode, and what a ModR/M byte behind it has for /reg.
struct Encoding {
  std::vector<std::uint8_t> prefixes;
  std::uint8_t rex = 0;  // 0: none
  std::vector<std::uint8_t> opcode;
  std::uint8_t reg = 0;
  bool memory = false;  // ModR/M names memory
};

struct Candidate {
  const isa::Row* row = nullptr;
  std::vector<Encoding> encodings;
};

struct RandomInstruction {
  std::vector<std::uint8_t> bytes;
  isa::Instruction decoded;
  const isa::Row* row = nullptr;
  std::uint32_t undefined = 0;  // flags, by this instance
  std::uint32_t reads = 0;
  std::uint32_t defines = 0;  // flags, whatever the operands are
};

class RandomCode {
 public:
  // Rows are left out where `accepts` says so.
  RandomCode(isa::Mode mode, const isa::FeatureSet& features, bool (*accepts)(const isa::Row&));

  // Registers that hold addresses of the area when a sequence begins.
  static constexpr std::array<unsigned, 4> pointers{3, 5, 6, 7};

  [[nodiscard]] std::span<const Candidate> candidates() const { return candidates_; }
  // An instruction that reads none of `undefined` flags.
  [[nodiscard]] RandomInstruction next(Random& random, std::uint32_t undefined) const;
  // Branches lead to instructions of the sequence, or behind it.
  struct Sequence {
    std::vector<RandomInstruction> instructions;
    std::uint32_t undefined = 0;         // flags, behind the last instruction
    std::uint32_t undefined_on_way = 0;  // flags, wherever a fault ends it
  };
  [[nodiscard]] Sequence sequence(Random& random, unsigned length) const;

 private:
  void find_encodings(bool (*accepts)(const isa::Row&));
  bool fill(Random& random, const Encoding& encoding, const isa::Row& row, RandomInstruction& to) const;
  void add_operands(Random& random, const Encoding& encoding, std::vector<std::uint8_t>& bytes) const;

  isa::Mode mode_;
  isa::FeatureSet features_;
  isa::Decoder decoder_;
  std::vector<Candidate> candidates_;
};

// The features that the host's processor has: only rows of these can be compared.
[[nodiscard]] isa::FeatureSet host_features();

}  // namespace cbit::test
