// Machine code to a block of operations: decoding, the checks that a row asks for, lowering.
//
// Threading: const functions may run in parallel.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.hpp"
#include "isa/decode.hpp"
#include "isa/op.hpp"
#include "isa/row.hpp"

namespace cbit::isa {

// Code to lower: from `place`, a distance from a page's first byte, on. As far as the page goes, and beyond
// it only where a first instruction needs that.
struct Code {
  Mode mode;
  std::uint16_t place = 0;
  ConstByteSpan bytes;
};

// A block has at most as many.
inline constexpr std::size_t block_instructions_max = 64;

class Lowerer {
 public:
  struct Options {
    FeatureSet features;
    // Exit codes (Row::exit) whose instructions raise #VC: a guest with encrypted state.
    std::vector<std::uint16_t> intercepts;
    // Processors run at the same time: LOCK and XCHG mean what they say.
    bool atomic = false;
  };
  explicit Lowerer(const Options& options);

  // Says of a place whether a block shall begin there, with Helper::probe.
  using Probed = std::function<bool(std::uint16_t place)>;

  // False: the first instruction needs bytes of the next page. Instructions that are none, or not allowed,
  // are lowered to what raises their exception, so a block always has one.
  [[nodiscard]] bool lower(const Code& code, Block& to, const Probed& probed = {}) const;

  [[nodiscard]] const Decoder& decoder() const { return decoder_; }
  [[nodiscard]] const FeatureSet& features() const { return options_.features; }

 private:
  Options options_;
  Decoder decoder_;
};

}  // namespace cbit::isa
