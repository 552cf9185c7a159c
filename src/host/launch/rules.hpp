// What is wrong with a guest's configuration, for a guest whose memory is encrypted.
//
// One table of rules serves `cbit launch` on its own plan and `cbit launch --check` on somebody else's. A
// rule's name is stable. Where the reason is a cause of the catalogue (watch/causes.hpp) the rule has that
// name, and its texts are the cause's. docs/launch-check.md is the table as a document.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "facts/guest_support.hpp"
#include "launch/guest_config.hpp"

namespace cbit::launch {

enum class Severity : std::uint8_t {
  note,     // works; the reader should know
  warning,  // works, but not as well, as safely or as completely as it seems
  error,    // QEMU refuses it, the guest does not start, or the device does not work in it
};
[[nodiscard]] std::string_view to_string(Severity severity);

struct RuleInfo {
  std::string_view name;  // kebab-case
  Severity severity = Severity::error;
  std::string_view topic;
  std::string_view title;           // one sentence: what is wrong
  std::string_view why;             // what happens, and the reason
  std::string_view remedy;          // in QEMU's language
  std::string_view libvirt_remedy;  // empty: libvirt has no word for it, or never writes such an option
  std::string_view kata_remedy;     // empty: Kata's configuration has no word for it
  std::string_view source;          // QEMU's or Linux's function, manual section
};

// Grouped by topic.
[[nodiscard]] std::span<const RuleInfo> rule_table();
// nullptr when there is none of that name.
[[nodiscard]] const RuleInfo* find_rule(std::string_view name);
// The table as a Markdown document: docs/launch-check.md.
[[nodiscard]] std::string rules_markdown();

struct Finding {
  const RuleInfo* rule = nullptr;
  std::string where;   // the option as it was written, or libvirt's element; empty: an option is missing
  std::string detail;  // this configuration's values; may be empty
  std::string write;   // the text to write: options, XML, TOML; empty: the remedy is none of them
  [[nodiscard]] std::string_view remedy(GuestLanguage language) const;
};

struct QemuVersion {
  unsigned release = 0;  // 7 of 7.2
  unsigned update = 0;   // 2 of 7.2
  friend auto operator<=>(const QemuVersion&, const QemuVersion&) = default;
};

enum class Protection : std::uint8_t { none, sev, sev_es, sev_snp, tdx };
[[nodiscard]] std::string_view to_string(Protection protection);

// What the options ask for: confidential-guest-support= (or memory-encryption=) and the object it names.
[[nodiscard]] Protection protection_of(const QemuCommand& command);

struct Firmware;
struct IgvmFile;

struct JudgeContext {
  const facts::GuestSupport* host = nullptr;  // nullptr: the host is not known, and nothing is said about it
  std::optional<QemuVersion> qemu;            // nullopt: some QEMU from 6.0 on
  bool encrypted = true;                      // false: the guest shall not be encrypted (--no-encryption)
  // How the images that the guest boots from are read; nullptr: they are not looked at.
  OrError<Firmware> (*read_firmware)(const std::string& path) = nullptr;
  OrError<IgvmFile> (*read_igvm)(const std::string& path) = nullptr;
};

// Errors first, each kind in the order of the options.
[[nodiscard]] std::vector<Finding> judge(const GuestConfig& config, const JudgeContext& context);

}  // namespace cbit::launch
