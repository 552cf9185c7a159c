// Lines of the sources of modules that run, as far as the user has their files with debug information.
//
// The kernel lays out a module's sections as it likes. Where one is, a function of it tells, which the
// running module and the file know by the same name. Threading: that of the machine.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cbit/addr.hpp"
#include "linux/debug_info.hpp"

namespace cbit::linux {

struct Module;

class SourceLines {
 public:
  // `file` is that of the module of this name. Nothing is known of a file without debug information.
  void add(std::string_view module, ConstByteSpan file);

  // "driver.c:67", with the functions that are inlined there: "driver.c:67 (run at engine.h:42, writeq at
  // io.h:93)"; empty: not known.
  [[nodiscard]] std::string text_at(const Module& module, VirtAddr ip) const;

 private:
  // One in each section of code.
  struct Landmark {
    std::string function;
    std::size_t section = 0;
    std::uint64_t offset = 0;  // of the function
    std::uint64_t section_bytes = 0;
  };
  struct File {
    DebugInfo info;
    std::vector<Landmark> landmarks;
  };
  static std::vector<Landmark> landmarks_of(ConstByteSpan file);

  std::map<std::string, File, std::less<>> files_;
};

}  // namespace cbit::linux
