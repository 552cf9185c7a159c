#include "facts/kernel.hpp"

#include "base/text.hpp"

namespace cbit::facts {
namespace {

constexpr std::uint64_t config_bytes_max = 4 << 20;

Read<std::string> read_word(const HostTree& tree, std::string_view folder, std::string_view name) {
  return tree.read(std::string{folder} + std::string{name}).map([](const std::string& text) {
    return printable(text);
  });
}

}  // namespace

KernelConfigFile parse_kernel_config(std::string_view text) {
  KernelConfigFile config;
  for (const std::string_view line : lines_of(text)) {
    const std::size_t equals = line.find('=');
    if (line.starts_with("CONFIG_") && equals != std::string_view::npos)
      config.insert_or_assign(std::string{line.substr(7, equals - 7)}, printable(line.substr(equals + 1)));
  }
  return config;
}

std::optional<bool> parse_switch(std::string_view text) {
  text = trimmed(text);
  if (text == "Y" || text == "y" || text == "1") return true;
  if (text == "N" || text == "n" || text == "0") return false;
  return std::nullopt;
}

const KernelCommandLine& KernelFacts::line() const {
  static const KernelCommandLine none;
  return command_line ? *command_line : none;
}

std::optional<std::string_view> KernelFacts::configured(std::string_view name) const {
  if (!config) return std::nullopt;
  const auto found = config->find(name);
  return found == config->end() ? std::nullopt : std::optional<std::string_view>{found->second};
}

KernelFacts read_kernel(const HostTree& tree) {
  KernelFacts kernel;
  kernel.release_text =
      tree.read("/proc/sys/kernel/osrelease").map([](const std::string& text) { return printable(text); });
  if (kernel.release_text) {
    kernel.release = spec::parse_release(*kernel.release_text);
    if (kernel.release_text->find('/') == std::string::npos)
      kernel.config =
          tree.read("/boot/config-" + *kernel.release_text, config_bytes_max).map(parse_kernel_config);
  }
  kernel.command_line =
      tree.read("/proc/cmdline").map([](const std::string& text) { return KernelCommandLine{text}; });
  kernel.kvm_amd_sev = read_word(tree, kvm_amd_parameters, "sev");
  kernel.kvm_amd_sev_es = read_word(tree, kvm_amd_parameters, "sev_es");
  kernel.kvm_amd_sev_snp = read_word(tree, kvm_amd_parameters, "sev_snp");
  kernel.kvm_intel_tdx = read_word(tree, kvm_intel_parameters, "tdx");
  return kernel;
}

}  // namespace cbit::facts
