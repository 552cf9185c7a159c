// The kernel's command line (/proc/cmdline), taken apart as lib/cmdline.c's next_arg() does: parameters are
// separated by spaces, double quotes keep spaces together, and `--` ends what is the kernel's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cbit::facts {

struct KernelParameter {
  std::string name;
  std::optional<std::string> value;  // nullopt: without `=`
};

class KernelCommandLine {
 public:
  KernelCommandLine() = default;
  explicit KernelCommandLine(std::string_view text);

  // `-` and `_` are the same in names (parameq()).
  [[nodiscard]] bool has(std::string_view name) const { return last(name) != nullptr; }
  // The last one counts; nullptr: not given.
  [[nodiscard]] const KernelParameter* last(std::string_view name) const;
  // One of the comma-separated words of any `name=` is `word`: iommu=pt,nobypass.
  [[nodiscard]] bool has_word(std::string_view name, std::string_view word) const;
  // "name=value" of the last one, for people; empty when not given.
  [[nodiscard]] std::string shown(std::string_view name) const;

  [[nodiscard]] const std::vector<KernelParameter>& parameters() const { return parameters_; }

 private:
  std::vector<KernelParameter> parameters_;
};

}  // namespace cbit::facts
