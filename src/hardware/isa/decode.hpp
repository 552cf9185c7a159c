// Bytes to instructions: the one place that knows the decoder library (Zydis).
//
// Threading: const functions may run in parallel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "isa/feature.hpp"
#include "isa/instruction.hpp"
#include "isa/mode.hpp"

namespace cbit::isa {

inline constexpr std::size_t instruction_bytes_max = 15;  // APM vol. 3, 1.1

enum class DecodeStatus : std::uint8_t {
  ok,
  need_more,  // the bytes end before the instruction does
  invalid,    // #UD
  too_long,   // more than 15 bytes: #GP(0)
};

class Decoder {
 public:
  // Encodings that mean one thing with a feature and another without (LZCNT, TZCNT, WBNOINVD) follow
  // `features`.
  explicit Decoder(const FeatureSet& features);

  [[nodiscard]] DecodeStatus decode(Mode mode, ConstByteSpan bytes, Instruction& to) const;

 private:
  struct Library;
  std::shared_ptr<const Library> library_;
};

struct Disassembled {
  std::string text;        // "add rax, rbx"; "(bad)" where there is no instruction
  std::size_t length = 1;  // in bytes
};
// `at` is where the bytes stand, for relative operands.
[[nodiscard]] Disassembled disassemble(Mode mode, ConstByteSpan bytes, std::uint64_t at);

// Mnemonics by number: [0, mnemonic_count()).
[[nodiscard]] std::uint16_t mnemonic_count();
[[nodiscard]] std::string_view mnemonic_name(std::uint16_t mnemonic);

}  // namespace cbit::isa
