// Results of tests in what a guest prints: KTAP, as kselftest, KUnit and programs with TAP print it.
//
// Lines that are not KTAP are allowed anywhere and change nothing. Tests nest by the columns that they are
// indented by, two blanks each or kselftest's "# ". A result counts only behind a version line.
//
// Source: Documentation/dev-tools/ktap.rst of Linux 6.1.
//
// Memory is bounded: `tests_max` tests are kept, later ones are only counted; of each `notes_max` characters
// of what was printed before its result. Threading: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cbit::guest {

enum class TestOutcome : std::uint8_t {
  passed,
  failed,
  skipped,             // by SKIP
  failed_as_expected,  // "not ok" with a directive that says so
};

struct KtapTest {
  std::string name;  // its description; without one its number
  TestOutcome outcome = TestOutcome::passed;
  std::string reason;           // behind the directive, or behind "#" where there is none
  std::string notes;            // lines printed before the result
  std::uint64_t missing = 0;    // tests within it that were planned and never ended
  std::vector<KtapTest> tests;  // within it
};

// Tests that have no tests within them; one that fails although all within it pass counts as well.
struct KtapCounts {
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  std::uint64_t skipped = 0;
  std::uint64_t missing = 0;

  [[nodiscard]] bool any() const { return passed + failed + skipped + missing != 0; }
  [[nodiscard]] bool good() const { return failed + missing == 0; }
  KtapCounts& operator+=(const KtapCounts& more);
};

// Whether a test is one of these.
[[nodiscard]] bool counts_itself(const KtapTest& test);

struct KtapResults {
  std::vector<KtapTest> tests;
  std::uint64_t missing = 0;  // planned around these, or around what never ended
  KtapCounts counts;          // of all, also of those that were not kept

  KtapResults& operator+=(KtapResults more);
};

class KtapReader {
 public:
  static constexpr std::size_t tests_max = 100'000, depth_max = 16, notes_max = 8192;
  static constexpr std::uint64_t plan_max = 1'000'000'000;  // a larger one is taken for noise

  // A line without its end; a stamp of the kernel's log may be before it.
  void read(std::string_view line);
  // No more lines are to come; once.
  [[nodiscard]] KtapResults finish();

 private:
  // The tests of one column, while they come.
  struct Group {
    std::size_t column = 0;
    std::uint64_t planned = 0;
    std::uint64_t ended = 0;
    std::uint64_t missing = 0;  // in groups within it whose own test did not end
    std::vector<KtapTest> tests;
  };

  Group& group_at(std::size_t column);
  void begin(std::size_t column);
  void add_result(std::size_t column, KtapTest test);
  void read_note(std::size_t column, std::string_view text, std::string_view line);
  void add_note(std::string_view line);
  // Takes out what is indented by more, as one.
  Group close_beyond(std::size_t column);
  Group close_innermost(Group within);

  std::vector<Group> open_;  // columns ascend
  KtapResults results_;
  std::string notes_;
  std::size_t kept_ = 0;
};

}  // namespace cbit::guest
