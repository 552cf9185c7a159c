// A forger that tells always the same.
#pragma once

#include "dev/forger.hpp"

namespace cbit::dev {

struct Liar final : Forger {
  explicit Liar(Returned what, bool tells_twice = false) : lie{what}, twice{tells_twice} {}
  bool forge(Returned& told) override {
    honest = told;
    told = lie;
    return twice;
  }
  Returned lie;
  bool twice;
  Returned honest{};  // what the device would have said
};

}  // namespace cbit::dev
