// Where in the sources a module's code was written: the debug information (DWARF) of its file.
//
// elfutils reads it, from these bytes alone: no other file is looked for. Nothing in them is trusted; what
// cannot be read has no line. Threading: that of the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"

struct Dwfl;
struct Dwfl_Module;

namespace cbit::linux {

struct SourceLine {
  std::string function;  // empty: not known
  std::string file;      // without its folder
  int line = 0;          // from 1 on

  friend bool operator==(const SourceLine&, const SourceLine&) = default;
};

class DebugInfo {
 public:
  // A module's file (ET_REL). nullopt: there are no lines in it, or none that can be read.
  static std::optional<DebugInfo> open(Bytes file);

  // Of the instruction at an offset of a section, which is named by its index. The first is in the function
  // that the symbol names; those behind it are in the functions that the compiler has put into it there, each
  // in the one before it. Empty: not known.
  [[nodiscard]] std::vector<SourceLine> lines_at(std::size_t section, std::uint64_t offset) const;

 private:
  struct Close {
    void operator()(Dwfl* dwfl) const;
  };
  struct Code {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    std::uint64_t unit = 0;  // where it is in .debug_info
  };
  DebugInfo() = default;
  [[nodiscard]] bool lay_out();
  [[nodiscard]] bool index_units();

  std::unique_ptr<Bytes> file_;  // relocated in place
  std::unique_ptr<Dwfl, Close> dwfl_;
  Dwfl_Module* module_ = nullptr;
  std::vector<std::optional<std::uint64_t>> sections_;  // where elfutils has laid them
  std::vector<Code> code_;
};

}  // namespace cbit::linux
