#include "guest/drivers.hpp"

#include <algorithm>
#include <iterator>

namespace cbit::guest {
namespace {

struct Row {
  std::string_view kind;
  std::span<const std::string_view> modules;
};

// Linux 7.3, the id tables of drivers/block/virtio_blk.c, drivers/char/virtio_console.c,
// drivers/iommu/virtio-iommu.c, drivers/net/virtio_net.c,
// drivers/net/ethernet/intel/e1000/e1000_main.c, drivers/char/hw_random/virtio-rng.c,
// net/9p/trans_virtio.c, net/vmw_vsock/virtio_transport.c; virtio's find their device through virtio_pci.
// 9p is the file system (fs/9p). drivers/nvme/host/pci.c, drivers/gpu/drm/tiny/bochs.c. sd_mod is for what
// drivers/scsi/virtio_scsi.c finds.
constexpr std::string_view bochs[] = {"bochs"};
constexpr std::string_view blk[] = {"virtio_pci", "virtio_blk"};
constexpr std::string_view console[] = {"virtio_pci", "virtio_console"};
constexpr std::string_view iommu[] = {"virtio_pci", "virtio_iommu"};
constexpr std::string_view net[] = {"virtio_pci", "virtio_net"};
constexpr std::string_view e1000[] = {"e1000"};
constexpr std::string_view nvme[] = {"nvme"};
constexpr std::string_view rng[] = {"virtio_pci", "virtio_rng"};
constexpr std::string_view scsi[] = {"virtio_pci", "virtio_scsi", "sd_mod"};
constexpr std::string_view share[] = {"virtio_pci", "9pnet_virtio", "9p"};
constexpr std::string_view vsock[] = {"virtio_pci", "vmw_vsock_virtio_transport"};
constexpr Row rows[] = {{"bochs-display", bochs}, {"e1000", e1000},       {"nvme", nvme},
                        {"virtio-9p", share},     {"virtio-blk", blk},    {"virtio-console", console},
                        {"virtio-iommu", iommu},  {"virtio-net", net},    {"virtio-rng", rng},
                        {"virtio-scsi", scsi},    {"virtio-vsock", vsock}};

}  // namespace

std::span<const std::string_view> linux_drivers_of(std::string_view kind) {
  const auto* const row = std::ranges::find(rows, kind, &Row::kind);
  return row == std::end(rows) ? std::span<const std::string_view>{} : row->modules;
}

}  // namespace cbit::guest
