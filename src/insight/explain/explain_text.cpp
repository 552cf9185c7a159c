#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/format.hpp"
#include "explain/matrix.hpp"
#include "watch/report.hpp"

namespace cbit::explain {
namespace {

constexpr std::size_t bytes_shown = 16;

// The top of the 52-bit physical address.
std::string key_id_bits(const machine::MachineConfig& machine) {
  return fmt::format("51:{}", 52 - machine.key_id_bits);
}

std::string feature_names(std::uint64_t features) {
  constexpr std::pair<std::uint64_t, std::string_view> names[] = {
      {spec::virtio_feature::version_1, "VERSION_1"},
      {spec::virtio_feature::access_platform, "ACCESS_PLATFORM"},
      {spec::virtio_feature::ring_packed, "RING_PACKED"},
      {spec::virtio_feature::indirect_desc, "INDIRECT_DESC"},
      {spec::virtio_feature::event_idx, "EVENT_IDX"},
  };
  std::string text;
  for (const auto& [bit, name] : names)
    if ((features & bit) != 0) text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
  return text.empty() ? "nothing of ring and transport" : text;
}

std::string device_line(const Explanation& e) {
  const ExplainOptions& o = e.options;
  if (e.virtio) return fmt::format("virtio disk: offers {}\n", feature_names(e.virtio->offered));
  return fmt::format("device {}: mask {} bits, coherent mask {} bits\n", o.device.name, o.device.mask_bits,
                     o.device.coherent_mask_bits);
}

std::string headline(const Explanation& e) {
  const ExplainOptions& o = e.options;
  const machine::MachineConfig& machine = o.bed.machine;
  std::string text = fmt::format("{}, {} MiB, {} CPU{}", to_string(machine.platform),
                                 machine.memory_bytes >> 20, machine.cpus, machine.cpus == 1 ? "" : "s");
  if (const std::string_view bit = key_bit_name(machine::traits_of(machine.platform).key_selection);
      !bit.empty())
    text += fmt::format(", {} {}", bit, machine.c_bit);
  text += fmt::format(", Linux {}, IOMMU {}\n", to_string(o.bed.dma.version), to_string(o.bed.dma.iommu));
  text += device_line(e);
  text += fmt::format("{} {}, {} bytes at {}", to_string(o.map), to_string(o.effective_direction()), o.size,
                      e.buffer);
  if (o.key_id) text += fmt::format(", an application's memory of KeyID {}", *o.key_id);
  text += '\n';
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
  if (!e.dma_address)
    return fmt::format("  no DMA address: {}\n",
                       e.virtio && e.virtio->probe ? "no driver is bound" : "the mapping failed");
  std::string text = fmt::format("  DMA address {:#x}, path {}", e.dma_address->value(), to_string(e.path));
  text += e.encryption_bit ? ", encrypted access" : ", unencrypted access";
  if (e.carried_key_id)
    text += fmt::format(", KeyID {} {}", e.carried_key_id->id,
                        e.carried_key_id->in_iommu_entry
                            ? std::string{"in the IOMMU's entry"}
                            : fmt::format("in bits {} of the address", key_id_bits(e.options.bed.machine)));
  if (e.bounced && e.virtio)
    text += fmt::format(", bounced ({} bytes copied)", e.swiotlb.bytes_bounced);
  else if (e.bounced)
    text += fmt::format(", bounced ({} of {} slots in use, {} areas, {} bytes copied)", e.swiotlb.io_tlb_used,
                        e.swiotlb.io_tlb_nslabs, e.swiotlb.areas, e.swiotlb.bytes_bounced);
  return text + '\n';
}

std::string_view cpu_view(const ExplainOptions& options) {
  if (options.key_id && options.map != MapKind::user_mr) return "the buffer, as the application reads it";
  return info_of(options.map).cpu_view;
}

std::string negotiation(const VirtioFacts& virtio) {
  std::string text =
      fmt::format("  the driver accepts {}; status {:#04x}\n", feature_names(virtio.accepted), virtio.status);
  if (virtio.probe)
    return text + fmt::format("  no driver is bound: {}\n", kernel::errno_name(*virtio.probe));
  text += virtio.uses_dma_api
              ? "  the driver uses the DMA API"
              : "  the driver does not use the DMA API: descriptors hold guest-physical addresses";
  return text + fmt::format("; {} ring at {}\n",
                            (virtio.accepted & spec::virtio_feature::ring_packed) != 0 ? "packed" : "split",
                            *virtio.ring);
}

std::string request(const VirtioFacts& virtio) {
  if (virtio.probe) return {};
  std::string text = "\nRequest\n  ";
  text +=
      virtio.request_reached ? "the device found it in the ring" : "the device found no request in the ring";
  if (virtio.request) text += fmt::format("; the driver got {}", kernel::errno_name(*virtio.request));
  return text + fmt::format("\n  exits: {}, bounces: {}, accesses translated by an IOMMU: {}\n", virtio.exits,
                            virtio.bounces, virtio.translated);
}

std::string_view device_view(const Explanation& e) {
  if (!e.virtio) return "at the DMA address";
  return e.virtio->request_reached ? "the request's data, on the disk" : "at the buffer's address";
}

std::string sights(const Explanation& e) {
  const bool virtio = e.virtio.has_value();
  std::string text = sight_line("CPU", e.cpu, cpu_view(e.options));
  text += sight_line("device", e.device, device_view(e));
  text += sight_line("host", e.host, "the buffer, from outside");
  if (e.bounced && !virtio) text += sight_line("host", e.pool, "the bounce slots, while mapped");
  if (virtio && e.virtio->ring) {
    text += sight_line("device", e.virtio->ring_device, "the ring");
    text += sight_line("host", e.virtio->ring_host, "the ring, from outside");
  }
  return text;
}

}  // namespace

std::string to_text(const Explanation& e, TextStyle style) {
  const watch::ReportStyle report{.colour = style.colour};
  std::string text = headline(e) + "\nPath\n" + watch::render_steps(e.steps, report);
  if (e.virtio) text += "\nNegotiation\n" + negotiation(*e.virtio);
  text += "\nMapping\n" + mapping(e);
  text +=
      fmt::format("\nWho sees what (first {} bytes)\n", std::min<std::uint64_t>(bytes_shown, e.options.size));
  text += sights(e);
  if (e.virtio) text += request(*e.virtio);
  if (e.device_fault)
    text += fmt::format("\nThe device's access was refused: {} at {:#x}\n", to_string(e.device_fault->kind),
                        e.device_fault->address);
  text += fmt::format("\nVerdict: {}\n", to_string(e.verdict));
  if (!e.causes.empty()) text += "\nCauses\n" + watch::render_causes(e.causes, report);
  return text;
}

}  // namespace cbit::explain
