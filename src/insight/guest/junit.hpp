// Results of tests as JUnit's XML, which CI services read.
//
// The format has no owner; this is what Jenkins' and GitLab's readers have in common: <testsuites> of
// <testsuite> of <testcase>, with <failure>, <error> or <skipped> in a test that did not pass.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "guest/ktap.hpp"

namespace cbit::guest {

// The run itself is the first test: what it ended with, if not well.
struct JunitRun {
  std::string name;                  // "Linux 6.1.0-56-cloud-amd64, sev"
  std::optional<std::string> error;  // "Kernel panic - not syncing: ..."
  double seconds = 0;                // of virtual time
};

// Tests that hold others become suites, named by their path. What is no XML 1.0 is shown as escapes.
[[nodiscard]] std::string to_junit(const JunitRun& run, const KtapResults& results);

}  // namespace cbit::guest
