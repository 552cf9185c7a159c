// `cbit table linux-versions`: the same call of a driver under each version of Linux that the model knows,
// each on a machine of its own.
#include <fmt/format.h>

#include <algorithm>

#include "explain/cause_names.hpp"
#include "explain/explain.hpp"
#include "explain/tables/tables.hpp"

namespace cbit::explain {
namespace {

struct VersionRow {
  std::string_view machine;
  std::string_view call;
  Platform platform{};
  MapKind map = MapKind::streaming;
  unsigned mask = 64, coherent_mask = 64;
  IommuMode iommu = IommuMode::none;
  DmaAttrs attrs = {};
  KernelVersion since = KernelVersion::v6_1;  // before, Linux does not have what the row asks for
  std::uint64_t offset = 0, size = 4096;
  bool untrusted = false, trusted = false, noforce = false;
};

constexpr auto known_versions = values_of(kernel_version_words);
constexpr IommuMode behind_iommu = IommuMode::translated;

constexpr VersionRow version_rows[] = {
    {"plain", "dma_map_single", Platform::plain},
    {.machine = "plain",
     .call = "... of pages said to be shared",
     .platform = Platform::plain,
     .attrs = dma_attr::cc_shared,
     .since = KernelVersion::v7_2},
    {.machine = "plain, IOMMU, untrusted device",
     .call = "dma_map_resource of a register",
     .platform = Platform::plain,
     .map = MapKind::resource,
     .iommu = behind_iommu,
     .offset = 64,
     .size = 4,
     .untrusted = true},
    {"SME", "dma_map_single, masks 64/64", Platform::sme},
    {"SME", "dma_map_single, masks 64/44", Platform::sme, MapKind::streaming, 64, 44},
    {"SME", "dma_map_single, masks 32/64", Platform::sme, MapKind::streaming, 32, 64},
    {"SME", "dma_alloc_coherent, masks 32/32", Platform::sme, MapKind::coherent, 32, 32},
    {"SME", "dma_map_resource", Platform::sme, MapKind::resource},
    {"SME, IOMMU", "dma_map_single", Platform::sme, MapKind::streaming, 64, 64, behind_iommu},
    {"SME, IOMMU", "dma_alloc_coherent, masks 32/32", Platform::sme, MapKind::coherent, 32, 32, behind_iommu},
    {"SME, IOMMU", "dma_map_resource", Platform::sme, MapKind::resource, 64, 64, behind_iommu},
    {"SEV", "dma_map_single", Platform::sev},
    {.machine = "SEV",
     .call = "... that may not bounce",
     .platform = Platform::sev,
     .attrs = dma_attr::require_coherent,
     .since = KernelVersion::v7_2},
    {"SEV", "dma_alloc_coherent", Platform::sev, MapKind::coherent},
    {"SEV", "dma_map_resource", Platform::sev, MapKind::resource},
    {"SEV", "ibv_reg_mr", Platform::sev, MapKind::user_mr},
    {.machine = "SEV, swiotlb=noforce", .call = "dma_map_single", .platform = Platform::sev, .noforce = true},
    {"SEV, virtual IOMMU", "dma_map_single", Platform::sev, MapKind::streaming, 64, 64, behind_iommu},
    {"SEV, virtual IOMMU", "dma_alloc_coherent", Platform::sev, MapKind::coherent, 64, 64, behind_iommu},
    {"TDX", "dma_map_single", Platform::tdx},
    {"TDX", "dma_map_resource", Platform::tdx, MapKind::resource},
    {.machine = "SNP, accepted device",
     .call = "dma_map_single",
     .platform = Platform::sev_snp,
     .since = KernelVersion::next,
     .trusted = true},
    {.machine = "SNP, accepted device",
     .call = "dma_alloc_coherent",
     .platform = Platform::sev_snp,
     .map = MapKind::coherent,
     .since = KernelVersion::next,
     .trusted = true},
};

ExplainOptions options_for(const VersionRow& row, KernelVersion version, std::uint64_t seed) {
  ExplainOptions options{.map = row.map, .size = row.size, .offset = row.offset, .attrs = row.attrs};
  options.bed.machine.platform = row.platform;
  options.bed.machine.memory_bytes = 512ull << 20;
  options.bed.machine.seed = seed;
  options.bed.dma.version = version;
  options.bed.dma.iommu = row.iommu;
  options.bed.dma.swiotlb.slots = 1024;
  options.bed.dma.swiotlb.no_force = row.noforce;
  options.device.mask_bits = row.mask;
  options.device.coherent_mask_bits = row.coherent_mask;
  options.device.untrusted = row.untrusted;
  options.device.trusted = row.trusted;
  return options;
}

// "bounced", "in place, C=1", "IOMMU, C=0: wrong bytes", "fails, and says so".
std::string result_of(const Explanation& done) {
  if (done.path == DmaPath::error) {
    const bool said = std::ranges::any_of(done.kernel_log, [](const std::string& text) {
      return text.find("overflow (mask") != std::string::npos;
    });
    return said ? "fails, and says so" : "fails";
  }
  std::string text = done.path == DmaPath::swiotlb ? "bounced"
                     : done.path == DmaPath::iommu ? "IOMMU"
                                                   : "in place";
  const Platform platform = done.options.bed.machine.platform;
  if (done.path != DmaPath::swiotlb && is_encrypted(platform))
    text += done.encryption_bit ? ", encrypted" : ", unencrypted";
  if (done.verdict == Verdict::broken) text += ": wrong bytes";
  if (done.verdict == Verdict::fails) text += ": not reached";
  return text;
}

OrError<std::vector<std::string>> line_of(const VersionRow& row, std::span<const KernelVersion> versions,
                                          std::uint64_t seed) {
  std::vector<std::string> line{std::string{row.machine}, std::string{row.call}};
  CauseNames causes;
  for (const KernelVersion version : versions) {
    if (version < row.since) {
      line.emplace_back("-");
      continue;
    }
    const Explanation done = CBIT_TRY(explain(options_for(row, version, seed)));
    line.push_back(result_of(done));
    causes.add(done.causes);
  }
  line.push_back(causes.text());
  return line;
}

OrError<Table> make_linux_versions_table(const TableRequest& request) {
  std::vector<KernelVersion> versions{std::begin(known_versions), std::end(known_versions)};
  std::erase_if(versions, [&](KernelVersion version) { return !request.wants(version); });
  Table table{.columns = {"machine", "call"}};
  for (const KernelVersion version : versions) table.columns.emplace_back(to_string(version));
  table.columns.emplace_back("causes");
  for (const VersionRow& row : version_rows)
    if (request.wants(row.platform)) table.rows.push_back(CBIT_TRY(line_of(row, versions, request.seed)));
  std::string read_in = "The rules were read in Linux";
  for (const auto& [release, version] : kernel_version_baselines)
    read_in += fmt::format("{} {}", version == KernelVersion::v6_1 ? "" : ",", release);
  table.notes = {
      read_in + ".",
      "(un)encrypted: what the device's access selects, by its address, the IOMMU's entry or the guest's "
      "trust in the device. Masks are streaming/coherent.",
      "-: that version has no such attribute, or no such device."};
  return table;
}

}  // namespace

TableSpec linux_versions_table() {
  return {.name = "linux-versions",
          .title = "What changed for a driver under memory encryption, from Linux 6.1 to 7.3",
          .platforms = each_once(version_rows, &VersionRow::platform),
          .versions = {std::begin(known_versions), std::end(known_versions)},
          .make = make_linux_versions_table};
}

}  // namespace cbit::explain
