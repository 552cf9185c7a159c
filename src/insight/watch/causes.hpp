// The catalogue of causes: every reason that cbit can give for a DMA that failed or moved the wrong bytes.
//
// A name is stable: tests, JSON and scripts rely on it. The catalogue holds exactly the causes that the
// explainer can derive (tests/unit/insight/watch/catalogue_test.cpp derives each of them). Everything here is
// immutable and may be used from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "watch/remedies.hpp"

namespace cbit::watch {

struct CauseInfo {
  std::string_view name;     // kebab-case
  std::string_view topic;    // heading in the documentation
  std::string_view title;    // one sentence: what is wrong
  std::string_view meaning;  // why it happens, and what it does to the data
  RemedyList remedies;
  // Words of Linux's message about it, alternatives separated by '|', '#' for a number; may be empty.
  std::string_view linux_says;
  std::string_view source;  // kernel function, specification section
};

// Grouped by topic.
[[nodiscard]] std::span<const CauseInfo> cause_catalogue();
// nullptr when there is none of that name.
[[nodiscard]] const CauseInfo* find_cause(std::string_view name);
[[nodiscard]] std::vector<std::string_view> cause_names();
// The alternatives of what Linux says.
[[nodiscard]] std::vector<std::string_view> messages_of(const CauseInfo& info);
// Whether a message of Linux's is about this cause.
[[nodiscard]] bool is_about(const CauseInfo& info, std::string_view message);
// Linux's words for people: "a" or "b", with the quotes; empty when it says nothing.
[[nodiscard]] std::string linux_words(const CauseInfo& info);
// The catalogue as a Markdown document: docs/causes.md.
[[nodiscard]] std::string catalogue_markdown();

struct Evidence {
  std::string label;
  std::string text;

  friend bool operator==(const Evidence&, const Evidence&) = default;
};

// Which addresses a cause is about.
struct CauseRange {
  enum class Space : std::uint8_t { none, physical, bus };
  Space space = Space::none;
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;

  friend bool operator==(const CauseRange&, const CauseRange&) = default;
};

// A cause that was found in a run: one per cause, device and mapping or run of pages.
struct Cause {
  const CauseInfo* info = nullptr;
  std::string device;  // empty: no device is involved
  CauseRange where;
  std::string kernel_message;      // Linux's words in this run; empty when it said nothing
  std::vector<Evidence> evidence;  // of the first occurrence
  std::vector<Remedy> remedies;    // for the kernel that ran; at least one
  std::uint64_t time_ns = 0;       // first occurrence
  std::uint64_t count = 1;         // occurrences
};

}  // namespace cbit::watch
