// What the doctor says of the version of Linux that stands for the host's kernel.
#pragma once

#include <optional>
#include <string>

#include "spec/linux_release.hpp"

namespace cbit::doctor {

// Whose rules are taken for this kernel's, and what the next version that is modelled does otherwise; nothing
// where the kernel is of the model's own series, or has no number.
[[nodiscard]] std::optional<std::string> model_note(const std::optional<spec::KernelRelease>& release);

}  // namespace cbit::doctor
