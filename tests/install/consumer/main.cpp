// A driver's receive path on an SEV guest, by the installed library alone: the device's bytes arrive.
#include <cbit/sandbox.hpp>
#include <cstdio>
#include <vector>

int main() {
  cbit::Sandbox box{{.platform = cbit::Platform::sev}};
  const auto nic = box.add_device({.name = "nic"});
  const std::vector<std::byte> packet(1500, std::byte{0x5a});
  const auto buffer = box.kmalloc(packet.size());
  const auto dma = box.dma_map_single(nic, buffer, packet.size(), cbit::DmaDirection::from_device);
  if (box.dma_mapping_failed(nic, dma)) return 1;
  const bool arrived = box.device_write(nic, dma, packet);
  box.dma_unmap_single(nic, dma, packet.size(), cbit::DmaDirection::from_device);

  const bool same = box.read(buffer, packet.size()) == packet;
  const bool hidden = box.host_view(buffer, packet.size()) != packet;
  for (const auto& problem : box.problems()) std::printf("%s\n", problem.title.c_str());
  std::printf("arrived %d, same %d, hidden %d\n", arrived, same, hidden);
  return arrived && same && hidden && box.problems().empty() ? 0 : 1;
}
