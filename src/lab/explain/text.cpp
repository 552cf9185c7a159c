#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/format.hpp"
#include "lab/explain/map_strategy.hpp"
#include "lab/matrix.hpp"
#include "watch/report.hpp"

namespace cbit {
namespace {

constexpr std::size_t bytes_shown = 16;

std::string headline(const Explanation& e) {
  const ExplainOptions& o = e.options;
  const MachineConfig& machine = o.bed.machine;
  std::string text = fmt::format("{}, {} MiB, {} CPU{}", to_string(machine.platform),
                                 machine.memory_bytes >> 20, machine.cpus, machine.cpus == 1 ? "" : "s");
  if (is_encrypted(machine.platform) && machine.platform != Platform::pef)
    text += fmt::format(", {} {}", machine.platform == Platform::tdx ? "shared bit" : "C-bit", machine.c_bit);
  text += fmt::format(", Linux {}, IOMMU {}\n", to_string(o.bed.dma.version), to_string(o.bed.dma.iommu));
  text += fmt::format("device {}: mask {} bits, coherent mask {} bits\n", o.device.name, o.device.mask_bits,
                      o.device.coherent_mask_bits);
  text += fmt::format("{} {}, {} bytes at {}\n", to_string(o.map), to_string(o.effective_direction()), o.size,
                      e.buffer);
  return text;
}

std::string hexdump(const Bytes& bytes) {
  const std::size_t n = std::min(bytes.size(), bytes_shown);
  std::string hex, ascii;
  for (std::size_t i = 0; i < n; ++i) {
    const auto c = std::to_integer<unsigned char>(bytes[i]);
    hex += fmt::format("{:02x}{}", c, i % 4 == 3 ? " " : "");
    ascii += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '.';
  }
  return fmt::format("{:<36} |{}|", hex, ascii);
}

std::string sight_line(std::string_view who, const Sight& sight, std::string_view what) {
  if (sight.bytes.empty())
    return fmt::format("  {:<8}{:<11}{:<57} {}\n", who, to_string(sight.sees), "", what);
  return fmt::format("  {:<8}{:<11}{:<57} {}\n", who, to_string(sight.sees), hexdump(sight.bytes), what);
}

std::string mapping(const Explanation& e) {
  if (!e.dma_address) return "  no DMA address: the mapping failed\n";
  std::string text = fmt::format("  DMA address {:#x}, path {}", e.dma_address->value(), to_string(e.path));
  text += e.encryption_bit ? ", encrypted access" : ", unencrypted access";
  if (e.bounced)
    text += fmt::format(", bounced ({} of {} slots in use, {} areas, {} bytes copied)", e.swiotlb.io_tlb_used,
                        e.swiotlb.io_tlb_nslabs, e.swiotlb.areas, e.swiotlb.bytes_bounced);
  return text + '\n';
}

}  // namespace

std::string to_text(const Explanation& e, TextStyle style) {
  const ReportStyle report{.colour = style.colour};
  std::string text = headline(e) + "\nPath\n" + render_steps(e.steps, report) + "\nMapping\n" + mapping(e);
  text +=
      fmt::format("\nWho sees what (first {} bytes)\n", std::min<std::uint64_t>(bytes_shown, e.options.size));
  text += sight_line("CPU", e.cpu, info_of(e.options.map).cpu_view);
  text += sight_line("device", e.device, "at the DMA address");
  text += sight_line("host", e.host, "the buffer, from outside");
  if (e.bounced) text += sight_line("host", e.pool, "the bounce slots, while mapped");
  if (e.device_fault)
    text += fmt::format("\nThe device's access was refused: {} at {:#x}\n", to_string(e.device_fault->kind),
                        e.device_fault->address);
  text += fmt::format("\nVerdict: {}\n", to_string(e.verdict));
  if (!e.causes.empty()) text += "\nCauses\n" + render_causes(e.causes, report);
  return text;
}

}  // namespace cbit
