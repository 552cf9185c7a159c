// The running kernel: its release, command line, configuration, and the parameters of its KVM modules.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "facts/command_line.hpp"
#include "facts/host_tree.hpp"
#include "spec/linux_release.hpp"

namespace cbit::facts {

// /boot/config-RELEASE: "y", "m" or the text of each CONFIG_ that is set.
using KernelConfigFile = std::map<std::string, std::string, std::less<>>;
[[nodiscard]] KernelConfigFile parse_kernel_config(std::string_view text);

// A module's boolean parameter in sysfs: Y, N, 1, 0. nullopt: none of these.
[[nodiscard]] std::optional<bool> parse_switch(std::string_view text);

inline constexpr std::string_view kvm_amd_parameters = "/sys/module/kvm_amd/parameters/";
inline constexpr std::string_view kvm_intel_parameters = "/sys/module/kvm_intel/parameters/";

struct KernelFacts {
  Read<std::string> release_text = tl::unexpected{Unread::absent};  // /proc/sys/kernel/osrelease
  std::optional<spec::KernelRelease> release;
  Read<KernelCommandLine> command_line = tl::unexpected{Unread::absent};
  Read<KernelConfigFile> config = tl::unexpected{Unread::absent};
  // The words of the parameter files.
  Read<std::string> kvm_amd_sev = tl::unexpected{Unread::absent};
  Read<std::string> kvm_amd_sev_es = tl::unexpected{Unread::absent};
  Read<std::string> kvm_amd_sev_snp = tl::unexpected{Unread::absent};
  Read<std::string> kvm_intel_tdx = tl::unexpected{Unread::absent};

  [[nodiscard]] const KernelCommandLine& line() const;  // empty where it could not be read
  [[nodiscard]] std::optional<std::string_view> configured(std::string_view name) const;
};
[[nodiscard]] KernelFacts read_kernel(const HostTree& tree);

}  // namespace cbit::facts
