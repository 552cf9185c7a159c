#include "guest/junit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <pugixml.hpp>
#include <sstream>

#include "base/safe_text.hpp"

namespace cbit::guest {
namespace {

using pugi::xml_node;

void set(xml_node node, const char* name, std::string_view value) {
  node.append_attribute(name).set_value(safe_line(value).c_str());
}

// What the elements of a suite, or of all, come to.
struct Tally {
  unsigned tests = 0, failures = 0, errors = 0, skipped = 0;

  void write_to(xml_node node) const {
    node.append_attribute("tests").set_value(tests);
    node.append_attribute("failures").set_value(failures);
    node.append_attribute("errors").set_value(errors);
    node.append_attribute("skipped").set_value(skipped);
  }
};

// One <testsuite>, written as long as it lives.
class Suite {
 public:
  Suite(xml_node root, Tally& all, std::string name)
      : node_{root.append_child("testsuite")}, all_{&all}, name_{std::move(name)} {
    set(node_, "name", name_);
  }
  Suite(const Suite&) = delete;
  Suite& operator=(const Suite&) = delete;
  ~Suite() {
    tally_.write_to(node_);
    all_->tests += tally_.tests;
    all_->failures += tally_.failures;
    all_->errors += tally_.errors;
    all_->skipped += tally_.skipped;
  }

  xml_node add_case(std::string_view name) {
    ++tally_.tests;
    xml_node node = node_.append_child("testcase");
    set(node, "classname", name_);
    set(node, "name", name);
    return node;
  }
  void fail(xml_node test, std::string_view why) { add(test, "failure", why, tally_.failures); }
  void break_off(xml_node test, std::string_view why) { add(test, "error", why, tally_.errors); }
  void skip(xml_node test, std::string_view why) { add(test, "skipped", why, tally_.skipped); }

 private:
  static void add(xml_node test, const char* how, std::string_view why, unsigned& counted) {
    ++counted;
    set(test.append_child(how), "message", why);
  }

  xml_node node_;
  Tally* all_;
  std::string name_;
  Tally tally_;
};

void add_case(Suite& suite, const KtapTest& test) {
  xml_node node = suite.add_case(test.name);
  switch (test.outcome) {
    case TestOutcome::passed: break;
    case TestOutcome::failed: suite.fail(node, test.reason); break;
    case TestOutcome::skipped: suite.skip(node, test.reason); break;
    case TestOutcome::failed_as_expected: suite.skip(node, "expected to fail: " + test.reason); break;
  }
  if (!test.notes.empty()) node.append_child("system-out").text().set(safe_text(test.notes).c_str());
}

void add_suites(xml_node root, Tally& all, const std::string& name, const std::vector<KtapTest>& tests,
                std::uint64_t missing) {
  if (missing != 0 || std::ranges::any_of(tests, counts_itself)) {
    Suite suite{root, all, name};
    for (const KtapTest& test : tests)
      if (counts_itself(test)) add_case(suite, test);
    if (missing != 0)
      suite.break_off(suite.add_case("what did not end"),
                      fmt::format("{} tests were planned and did not end", missing));
  }
  for (const KtapTest& test : tests)
    add_suites(root, all, fmt::format("{}/{}", name, test.name), test.tests, test.missing);
}

void add_run(xml_node root, Tally& all, const JunitRun& run) {
  Suite suite{root, all, "cbit"};
  xml_node node = suite.add_case(run.name);
  set(node, "time", fmt::format("{:.3f}", run.seconds));
  if (run.error) suite.break_off(node, *run.error);
}

}  // namespace

std::string to_junit(const JunitRun& run, const KtapResults& results) {
  pugi::xml_document document;
  xml_node root = document.append_child("testsuites");
  Tally all;
  add_run(root, all, run);
  add_suites(root, all, "guest", results.tests, results.missing);
  all.write_to(root);
  std::ostringstream out;
  document.save(out, "  ");
  return out.str();
}

}  // namespace cbit::guest
