#include "facts/masking.hpp"

#include <algorithm>
#include <iterator>

#include "facts/kernel_log.hpp"
#include "facts/text.hpp"

namespace cbit::facts {
namespace {

constexpr std::string_view masked_word = "<masked>";

// Parameters whose values say how memory, DMA and virtualization are set up
// (Documentation/admin-guide/kernel-parameters.txt). A name that ends in '.' or '_' stands for all that begin
// so.
constexpr std::string_view harmless_parameters[] = {"amd_iommu",
                                                    "amd_iommu_",
                                                    "ccp.",
                                                    "cma",
                                                    "coherent_pool",
                                                    "console",
                                                    "crashkernel",
                                                    "default_hugepagesz",
                                                    "disable_mtrr_cleanup",
                                                    "efi",
                                                    "hugepages",
                                                    "hugepagesz",
                                                    "intel_iommu",
                                                    "iomem",
                                                    "iommu",
                                                    "iommu.",
                                                    "ivrs_acpihid",
                                                    "kvm.",
                                                    "kvm_amd.",
                                                    "kvm_intel.",
                                                    "maxcpus",
                                                    "mem",
                                                    "mem_encrypt",
                                                    "memmap",
                                                    "mitigations",
                                                    "nokaslr",
                                                    "nr_cpus",
                                                    "numa",
                                                    "panic",
                                                    "pci",
                                                    "psp.",
                                                    "random.trust_cpu",
                                                    "sev",
                                                    "snp",
                                                    "svm",
                                                    "swiotlb",
                                                    "tsx",
                                                    "tdx",
                                                    "vfio_iommu_type1.",
                                                    "virtio_mmio."};

bool is_harmless(std::string_view name) {
  return std::ranges::any_of(harmless_parameters, [&](std::string_view known) {
    const bool prefix = known.ends_with('.') || known.ends_with('_');
    return prefix ? name.starts_with(known) : name == known;
  });
}

bool is_name(std::string_view text) {
  constexpr std::string_view more = "_.-:";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           more.find(c) != std::string_view::npos;
  });
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0'; }

// The next parameter, as the kernel's next_arg() cuts it: a blank within double quotes does not end it.
std::string_view next_parameter(std::string_view text) {
  bool quoted = false;
  std::size_t end = 0;
  for (; end < text.size() && (quoted || !is_blank(text[end])); ++end)
    if (text[end] == '"') quoted = !quoted;
  return text.substr(0, end);
}

void mask_parameter(Masked& masked, std::string_view parameter) {
  const std::size_t equals = parameter.find('=');
  const std::string_view name = parameter.substr(0, equals);
  const bool has_value = equals != std::string_view::npos;
  if (!is_name(name)) {
    masked.text += masked_word;
    ++masked.values;
  } else if (!has_value || is_harmless(name)) {
    masked.text += parameter;
  } else {
    masked.text += name;
    masked.text += '=';
    masked.text += masked_word;
    ++masked.values;
  }
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_separator(char c) { return c == ':' || c == '-'; }
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// The run's groups of hexadecimal digits have these lengths.
template <std::size_t n>
bool has_groups(std::string_view run, const std::size_t (&lengths)[n]) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto digits = static_cast<std::size_t>(std::ranges::find_if_not(run, is_hex) - run.begin());
    if (digits != lengths[i]) return false;
    run.remove_prefix(digits);
    if (i + 1 < n) {
      if (run.empty()) return false;
      run.remove_prefix(1);
    }
  }
  return run.empty();
}

bool is_identifier(std::string_view run) {
  return has_groups(run, {2, 2, 2, 2, 2, 2}) || has_groups(run, {8, 4, 4, 4, 12}) ||    // MAC, UUID
         has_groups(run, {2, 2, 2, 2, 2, 2, 2, 2}) || has_groups(run, {4, 4, 4, 4}) ||  // EUI-64, GUID
         has_groups(run, {4, 4, 4, 4, 4, 4, 4, 4}) || has_groups(run, {32});            // GID, machine id
}

// Files of sysfs and procfs whose whole content is an identifier.
constexpr std::string_view identifier_files[] = {"product_serial",
                                                 "product_uuid",
                                                 "board_serial",
                                                 "board_asset_tag",
                                                 "chassis_serial",
                                                 "chassis_asset_tag",
                                                 "serial",
                                                 "serial_number",
                                                 "wwid",
                                                 "wwn",
                                                 "eui",
                                                 "nguid",
                                                 "uuid",
                                                 "unique_id",
                                                 "node_guid",
                                                 "sys_image_guid",
                                                 "node_desc",
                                                 "machine-id",
                                                 "hostname",
                                                 "domainname",
                                                 "vpd_pg80",
                                                 "vpd_pg83",
                                                 "subsysnqn",
                                                 "hostnqn",
                                                 "hostid"};

// Quoted values of a kernel's configuration: names of keys, hosts and folders of who built it.
Masked mask_configuration(std::string_view text) {
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    const std::size_t quote = line.find("=\"");
    const bool has_text = quote != std::string_view::npos && line.size() > quote + sizeof("=\"\"") - 1;
    masked.text += has_text ? line.substr(0, quote) : line;
    if (has_text) {
      masked.text += "=\"<masked>\"";
      ++masked.values;
    }
    masked.text += '\n';
  }
  return masked;
}

// The capabilities alone: names and numbers of processes, users and groups are nobody's business.
Masked keep_capabilities(std::string_view text) {
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    if (line.starts_with("Cap")) {
      masked.text += line;
      masked.text += '\n';
    } else if (!line.empty()) {
      ++masked.values;
    }
  }
  return masked;
}

// Without the lines that tell where the kernel lies in memory, which KASLR
// keeps secret.
Masked hide_kernel(std::string_view text) {
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    if (line.find(" : Kernel ") != std::string_view::npos)
      ++masked.values;
    else {
      masked.text += line;
      masked.text += '\n';
    }
  }
  return masked;
}

}  // namespace

Masked mask_command_line(std::string_view line) {
  Masked masked;
  while (!line.empty()) {
    if (is_blank(line.front())) {
      masked.text += line.front() == '\0' ? ' ' : line.front();
      line.remove_prefix(1);
      continue;
    }
    const std::string_view parameter = next_parameter(line);
    if (parameter == "--") {
      masked.text += "-- <masked>\n";
      ++masked.values;
      return masked;
    }
    mask_parameter(masked, parameter);
    line.remove_prefix(parameter.size());
  }
  return masked;
}

Masked mask_identifiers(std::string_view text) {
  Masked masked;
  masked.text.reserve(text.size());
  while (!text.empty()) {
    const bool starts = is_hex(text.front()) && (masked.text.empty() || !is_word(masked.text.back()));
    if (!starts) {
      masked.text += text.front();
      text.remove_prefix(1);
      continue;
    }
    auto end = static_cast<std::size_t>(
        std::ranges::find_if_not(text, [](char c) { return is_hex(c) || is_separator(c); }) - text.begin());
    while (is_separator(text[end - 1])) --end;
    const std::string_view run = text.substr(0, end);
    const bool whole = end == text.size() || !is_word(text[end]);
    if (whole && is_identifier(run)) {
      std::ranges::transform(run, std::back_inserter(masked.text),
                             [](char c) { return is_hex(c) ? 'x' : c; });
      ++masked.values;
    } else {
      masked.text += run;
    }
    text.remove_prefix(end);
  }
  return masked;
}

Masked mask_file(std::string_view path, std::string_view text) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (path == "/proc/cmdline") return mask_command_line(text);
  if (path == "/proc/self/status") return keep_capabilities(text);
  if (path == "/proc/iomem") return hide_kernel(text);
  if (path.starts_with("/boot/config-")) return mask_configuration(text);
  const bool link_address = name == "address" && path.find("/net/") != std::string_view::npos;
  if (link_address || std::ranges::find(identifier_files, name) != std::end(identifier_files))
    return {std::string{masked_word} + '\n', 1};
  return mask_identifiers(text);
}

Masked mask_kernel_log(std::string_view log) {
  const std::string kept = lines_that_matter(log);
  std::string text;
  std::size_t builders = 0;
  for (const std::string_view line : lines_of(kept)) {
    // "Linux version 6.1.0 (user@host) (gcc ...)"
    const std::size_t open = line.find(" (");
    const bool names_builder = line.find("Linux version ") < open && open != std::string_view::npos;
    text += names_builder ? std::string{line.substr(0, open)} + " (<masked>)" : std::string{line};
    text += '\n';
    builders += names_builder ? 1 : 0;
  }
  Masked masked = mask_identifiers(text);
  masked.values += builders;
  return masked;
}

}  // namespace cbit::facts
