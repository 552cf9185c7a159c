// What can be plugged into a board, by name: the one table that the model kernel's testbeds, experiments and
// a real Linux plug devices from. A device comes as it is, for a direct driver, or behind a PCI function.
//
// Threading: one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "bus/pci/pci_bus.hpp"
#include "dev/display/bochs_display.hpp"
#include "dev/e1000/e1000.hpp"
#include "dev/nvme/controller.hpp"
#include "dev/test_dma.hpp"
#include "dev/virtio/virtio_9p.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "dev/virtio/virtio_console.hpp"
#include "dev/virtio/virtio_iommu.hpp"
#include "dev/virtio/virtio_net.hpp"
#include "dev/virtio/virtio_rng.hpp"
#include "dev/virtio/virtio_scsi.hpp"
#include "dev/virtio/virtio_vsock.hpp"

namespace cbit::machine {

struct TestDmaOptions {
  unsigned address_bits = 64;   // 1 to 64
  KeyId trusted_with = no_key;  // bus::DmaPortConfig
};
struct DiskOptions {
  dev::VirtioBlkOptions device;
  dev::BlockBackend* disk = nullptr;  // outlives the device
};
struct NvmeDiskOptions {
  dev::NvmeOptions device;            // without a serial number: that of its place
  dev::BlockBackend* disk = nullptr;  // outlives the device
};
struct ScsiDiskOptions {
  dev::VirtioScsiOptions device;
  dev::BlockBackend* disk = nullptr;  // outlives the device
};
struct ShareOptions {
  dev::Virtio9pOptions device;
  const dev::SharedFolder* folder = nullptr;  // outlives the device
};

// What a device may be told; the alternative is that of its kind.
using DeviceOptions = std::variant<TestDmaOptions, DiskOptions, NvmeDiskOptions, ScsiDiskOptions,
                                   ShareOptions, dev::VirtioRngOptions, dev::VirtioNetOptions,
                                   dev::VirtioConsoleOptions, dev::VirtioIommuOptions,
                                   dev::VirtioVsockOptions, dev::E1000Options, dev::BochsDisplayOptions>;

// Where the options of a disk have its backend; nullptr: the device is no disk.
[[nodiscard]] dev::BlockBackend** backend_of(DeviceOptions& options);

// Where a device is plugged: its name in events, and its number on the bus.
struct DevicePlace {
  std::string name;
  RequesterId requester = 0;
};

// A device that is no PCI function (yet).
class PluggedDevice {
 public:
  explicit PluggedDevice(std::unique_ptr<dev::VirtioDevice> device) : device_{std::move(device)} {}
  explicit PluggedDevice(std::unique_ptr<dev::TestDma> device) : device_{std::move(device)} {}
  explicit PluggedDevice(std::unique_ptr<dev::Nvme> device) : device_{std::move(device)} {}
  explicit PluggedDevice(std::unique_ptr<bus::PciFunction> function) : device_{std::move(function)} {}

  // As what it is: dev::TestDma, dev::Nvme, or a virtio device of the kind that was asked for. Others are
  // functions.
  template <class Device>
  [[nodiscard]] std::unique_ptr<Device> take() && {
    if constexpr (!std::is_base_of_v<dev::VirtioDevice, Device>)
      return std::get<std::unique_ptr<Device>>(std::move(device_));
    else
      return std::unique_ptr<Device>{
          static_cast<Device*>(std::get<std::unique_ptr<dev::VirtioDevice>>(device_).release())};
  }
  // Behind a function, with the kind's identity.
  [[nodiscard]] std::unique_ptr<bus::PciFunction> take_function() &&;

 private:
  std::variant<std::unique_ptr<dev::VirtioDevice>, std::unique_ptr<dev::TestDma>, std::unique_ptr<dev::Nvme>,
               std::unique_ptr<bus::PciFunction>>
      device_;
};

// An option that is written as text: `name=value`.
struct DeviceOption {
  std::string_view name;
  std::string_view values;  // for people: "on|off", "1..64"
  std::string_view what;
  OrError<void> (*set)(DeviceOptions& options, std::string_view value);
};

struct DeviceKind {
  std::string_view name;
  std::string_view what;
  bus::PciIdentity identity;  // as it is without options
  DeviceOptions defaults;
  std::span<const DeviceOption> options;
  OrError<PluggedDevice> (*make)(bus::SystemBus& bus, Clock* clock, const DevicePlace& place,
                                 const DeviceOptions& options);
};

[[nodiscard]] std::span<const DeviceKind> device_kinds();
// Errors (usage): no device has this name; the hint lists those that there are.
OrError<const DeviceKind*> find_device_kind(std::string_view name);

// "KIND[,OPTION=VALUE]...", as on a command line. A disk's backend, a shared folder and a network
// are set afterwards.
// Errors (usage): an unknown kind or option, a value that is none; each names what there is.
struct DeviceRequest {
  const DeviceKind* kind = nullptr;
  DeviceOptions options;
};
OrError<DeviceRequest> parse_device(std::string_view text);
// Of a network device: what it is connected to, which outlives it. Of another one, nothing.
void connect(DeviceRequest& request, dev::NetBackend& network);
// Of a socket device, likewise.
void connect(DeviceRequest& request, dev::VsockBackend& sockets);
// Network devices that were given no address of their own get the first of QEMU's that none of them has:
// 52:54:00:12:34:56, then :57 (qemu_macaddr_default_if_unset()).
void give_addresses(std::span<DeviceRequest* const> devices);
// nullopt: no network device, or one without an address yet.
[[nodiscard]] std::optional<dev::MacAddress> address_of(const DeviceRequest& device);

// A device of the table, which stands for itself. `options` are those of its kind.
// Errors (usage): what the device's create() says of its options.
template <class Device>
OrError<std::unique_ptr<Device>> plug(bus::SystemBus& bus, std::string_view kind, const DevicePlace& place,
                                      const DeviceOptions& options) {
  const DeviceKind* const found = CBIT_TRY(find_device_kind(kind));
  return CBIT_TRY(found->make(bus, nullptr, place, options)).template take<Device>();
}

// The device as a function of the bus at the place's device number, which is free. `clock`: the machine's.
// The function is the caller's, and ends before the bus.
// Errors (usage): as above; a slot that is taken.
OrError<std::unique_ptr<bus::PciFunction>> plug_pci(bus::PciBus& pci, bus::SystemBus& bus, Clock& clock,
                                                    const DeviceRequest& request, const DevicePlace& place);

}  // namespace cbit::machine
