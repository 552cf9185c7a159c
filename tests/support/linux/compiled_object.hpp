// What the compiler of this host makes of a piece of C: relocatable, with debug information, as a module is.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace cbit::test {

// A register that is written through two functions which the compiler puts into their callers, one of which
// is in a section of its own. Lines that matter say who has them.
inline constexpr std::string_view inlining_source = R"(
#define INLINE static inline __attribute__((always_inline))
#define FUNCTION __attribute__((noinline))
volatile int port;
INLINE void put(int value) {
  port = value; /* put */
}
INLINE void start(int value) {
  put(value); /* start */
}
FUNCTION void probe(int value) {
  start(value); /* probe */
}
static FUNCTION int same(int value) {
  return value + port; /* same */
}
FUNCTION __attribute__((section(".init.text"))) int setup(int value) {
  probe(value); /* setup */
  start(value + 1); /* setup again */
  return same(value) + same(port);
}
)";

// Counted from 1; 0: there is none.
inline int line_of(std::string_view source, std::string_view mark) {
  const auto at = source.find(mark);
  return at == source.npos ? 0 : 1 + static_cast<int>(std::count(source.begin(), source.begin() + at, '\n'));
}

// A folder that is gone with it.
class CompiledObject {
 public:
  CompiledObject(std::string_view compiler, std::string_view flags, std::string_view source) {
    std::string pattern = (std::filesystem::temp_directory_path() / "cbit-object-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) return;
    folder_ = pattern;
    std::ofstream{folder_ / "driver.c"} << source;
    const std::string words =
        std::string{compiler} + " -c driver.c -o driver.o -O2 -fno-asynchronous-unwind-tables ";
    if (std::system(
            ("cd '" + folder_.string() + "' && " + words + std::string{flags} + " 2> /dev/null").c_str()) !=
        0)
      return;
    std::ifstream in{path(), std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    const auto* const first = reinterpret_cast<const std::byte*>(text.data());
    bytes_.assign(first, first + text.size());
  }
  ~CompiledObject() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  CompiledObject(const CompiledObject&) = delete;
  CompiledObject& operator=(const CompiledObject&) = delete;

  // Empty: there is no such compiler, or it does not know the flags.
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] std::filesystem::path path() const { return folder_ / "driver.o"; }

 private:
  std::filesystem::path folder_;
  Bytes bytes_;
};

}  // namespace cbit::test
