#include "machine/slots.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <iterator>

#include "base/format.hpp"
#include "base/text.hpp"
#include "base/words.hpp"
#include "dev/display/bochs_display_pci.hpp"
#include "dev/e1000/e1000_pci.hpp"
#include "dev/nvme/nvme_pci.hpp"
#include "dev/test_dma_pci.hpp"
#include "dev/virtio/virtio_pci.hpp"

namespace cbit::machine {
namespace {

OrError<bool> parse_switch(std::string_view value) {
  if (value == "on") return true;
  if (value == "off") return false;
  return usage_error(fmt::format("{:?} is neither on nor off", value));
}

OrError<std::uint64_t> parse_count(std::string_view value, std::uint64_t first, std::uint64_t last) {
  std::uint64_t number = 0;
  const auto [end, trouble] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (trouble != std::errc{} || end != value.data() + value.size() || number < first || number > last)
    return usage_error(fmt::format("{:?} is no number from {} to {}", value, first, last));
  return number;
}

// Of a virtio device; nullptr: it is none.
dev::VirtioOptions* virtio_of(DeviceOptions& options) {
  return std::visit(
      [](auto& one) -> dev::VirtioOptions* {
        if constexpr (requires { one.device.virtio; })
          return &one.device.virtio;
        else if constexpr (requires { one.virtio; })
          return &one.virtio;
        else
          return nullptr;
      },
      options);
}

// Of a network device; nullptr: it is none.
dev::NetOptions* net_of(DeviceOptions& options) {
  return std::visit(
      [](auto& one) -> dev::NetOptions* {
        if constexpr (requires { one.net; })
          return &one.net;
        else
          return nullptr;
      },
      options);
}

template <bool dev::VirtioOptions::* field>
OrError<void> set_virtio(DeviceOptions& options, std::string_view value) {
  virtio_of(options)->*field = CBIT_TRY(parse_switch(value));
  return {};
}

OrError<void> set_address_bits(DeviceOptions& options, std::string_view value) {
  std::get<TestDmaOptions>(options).address_bits = static_cast<unsigned>(CBIT_TRY(parse_count(value, 1, 64)));
  return {};
}
template <class Disk>
OrError<void> set_serial(DeviceOptions& options, std::string_view value) {
  std::get<Disk>(options).device.serial = value;
  return {};
}
template <auto field, std::uint64_t first, std::uint64_t last>
OrError<void> set_nvme(DeviceOptions& options, std::string_view value) {
  auto& place = std::get<NvmeDiskOptions>(options).device.*field;
  place = static_cast<std::decay_t<decltype(place)>>(CBIT_TRY(parse_count(value, first, last)));
  return {};
}
OrError<void> set_tag(DeviceOptions& options, std::string_view value) {
  std::get<ShareOptions>(options).device.tag = value;
  return {};
}
OrError<void> set_mac(DeviceOptions& options, std::string_view value) {
  const auto mac = dev::parse_mac(value);
  if (!mac) return usage_error(fmt::format("{:?} is no address of one station", value));
  net_of(options)->mac = *mac;
  return {};
}
OrError<void> set_seed(DeviceOptions& options, std::string_view value) {
  std::get<dev::VirtioRngOptions>(options).seed = CBIT_TRY(parse_count(value, 0, ~std::uint64_t{0}));
  return {};
}
OrError<void> set_guest_cid(DeviceOptions& options, std::string_view value) {
  std::get<dev::VirtioVsockOptions>(options).guest_cid =
      CBIT_TRY(parse_count(value, spec::vsock_cid::guest_first, spec::vsock_cid::guest_last));
  return {};
}
OrError<void> set_vram(DeviceOptions& options, std::string_view value) {
  const auto bytes = parse_size(value);
  if (!bytes || !std::has_single_bit(*bytes) || *bytes < spec::bochs_display::vram_bytes_min ||
      *bytes > spec::bochs_display::vram_bytes_max)
    return usage_error(fmt::format("{:?} is no power of two from 4M to 256M", value));
  std::get<dev::BochsDisplayOptions>(options).vram_bytes = *bytes;
  return {};
}
OrError<void> add_port(DeviceOptions& options, std::string_view value) {
  std::get<dev::VirtioConsoleOptions>(options).ports.push_back({.name = std::string{value}});
  return {};
}

constexpr DeviceOption options_of_virtio[] = {
    {"access-platform", "on|off", "offers VIRTIO_F_ACCESS_PLATFORM",
     set_virtio<&dev::VirtioOptions::iommu_platform>},
    {"legacy", "on|off", "has the interface before virtio 1.0 alone",
     set_virtio<&dev::VirtioOptions::legacy>},
    {"transitional", "on|off", "has it besides the modern one",
     set_virtio<&dev::VirtioOptions::transitional>},
    {"packed", "on|off", "offers the packed ring", set_virtio<&dev::VirtioOptions::packed>}};

// A virtio device's options, and those of its kind.
template <class... Own>
constexpr auto with_own(const Own&... own) {
  std::array<DeviceOption, std::size(options_of_virtio) + sizeof...(own)> all{};
  std::ranges::copy(options_of_virtio, all.begin());
  std::size_t at = std::size(options_of_virtio);
  ((all[at++] = own), ...);
  return all;
}

constexpr DeviceOption options_of_test_dma[] = {
    {"address-bits", "1..64", "address lines that the device drives", set_address_bits}};
constexpr auto options_of_disk =
    with_own(DeviceOption{"serial", "TEXT", "at most 20 bytes", set_serial<DiskOptions>});
constexpr auto options_of_scsi =
    with_own(DeviceOption{"serial", "TEXT", "at most 20 bytes", set_serial<ScsiDiskOptions>});
constexpr DeviceOption options_of_nvme[] = {
    {"serial", "TEXT", "1 to 20 bytes", set_serial<NvmeDiskOptions>},
    {"max_ioqpairs", "1..1024", "pairs of I/O queues",
     set_nvme<&dev::NvmeOptions::max_ioqpairs, 1, dev::Nvme::io_queue_pairs_max>},
    {"mdts", "0..20", "a transfer is at most 2^N pages of 4 KiB; 0: no limit",
     set_nvme<&dev::NvmeOptions::mdts, 0, dev::Nvme::mdts_max>},
    {"logical_block_size", "512..4096", "bytes of a block",
     set_nvme<&dev::NvmeOptions::logical_block_size, 512, 4096>}};
constexpr auto options_of_share =
    with_own(DeviceOption{"tag", "TEXT", "what it is mounted by, at most 32 bytes", set_tag});
constexpr auto options_of_rng = with_own(DeviceOption{"seed", "NUMBER", "of the entropy", set_seed});
constexpr DeviceOption mac_option{"mac", "XX:XX:XX:XX:XX:XX", "its address", set_mac};
constexpr auto options_of_net = with_own(mac_option);
constexpr DeviceOption options_of_e1000[] = {mac_option};
constexpr DeviceOption options_of_bochs_display[] = {
    {"vgamem", "4M..256M", "video memory, a power of two", set_vram}};
constexpr auto options_of_console =
    with_own(DeviceOption{"port", "NAME", "adds a port with a name; may be repeated", add_port});

constexpr auto options_of_vsock =
    with_own(DeviceOption{"guest-cid", "3..4294967294", "the guest's address", set_guest_cid});

OrError<PluggedDevice> make_test_dma(bus::SystemBus& bus, Clock* clock, const DevicePlace& place,
                                     const DeviceOptions& options) {
  const auto& [address_bits, trusted_with] = std::get<TestDmaOptions>(options);
  const bus::DmaPortConfig port{.device = place.name,
                                .requester = place.requester,
                                .address_bits = address_bits,
                                .trusted_with = trusted_with};
  return PluggedDevice{std::make_unique<dev::TestDma>(bus, port, clock)};
}

OrError<PluggedDevice> make_e1000(bus::SystemBus& bus, Clock* clock, const DevicePlace& place,
                                  const DeviceOptions& options) {
  auto device = std::make_unique<dev::E1000>(
      bus, bus::DmaPortConfig{.device = place.name, .requester = place.requester},
      std::get<dev::E1000Options>(options), clock);
  return PluggedDevice{std::make_unique<dev::E1000Pci>(std::move(device))};
}

OrError<PluggedDevice> make_bochs_display(bus::SystemBus&, Clock*, const DevicePlace&,
                                          const DeviceOptions& options) {
  return PluggedDevice{std::make_unique<dev::BochsDisplayPci>(
      std::make_unique<dev::BochsDisplay>(std::get<dev::BochsDisplayOptions>(options)))};
}

// A disk behind virtio.
template <class Device, class Disk>
OrError<PluggedDevice> make_disk(bus::SystemBus& bus, Clock*, const DevicePlace& place,
                                 const DeviceOptions& options) {
  const auto& [device, disk] = std::get<Disk>(options);
  if (disk == nullptr) return usage_error(fmt::format("the disk {} has no image", place.name));
  return PluggedDevice{
      CBIT_TRY(Device::create(bus, {.device = place.name, .requester = place.requester}, *disk, device))};
}

OrError<PluggedDevice> make_nvme(bus::SystemBus& bus, Clock*, const DevicePlace& place,
                                 const DeviceOptions& options) {
  auto [device, disk] = std::get<NvmeDiskOptions>(options);
  if (disk == nullptr) return usage_error(fmt::format("the disk {} has no image", place.name));
  // Linux takes two of one number for two ways to one disk.
  if (device.serial.empty()) device.serial = place.name.substr(0, dev::nvme_serial_bytes);
  return PluggedDevice{
      CBIT_TRY(dev::Nvme::create(bus, {.device = place.name, .requester = place.requester}, *disk, device))};
}

OrError<PluggedDevice> make_share(bus::SystemBus& bus, Clock*, const DevicePlace& place,
                                  const DeviceOptions& options) {
  const auto& [device, folder] = std::get<ShareOptions>(options);
  if (folder == nullptr) return usage_error(fmt::format("{} has no folder to share", place.name));
  return PluggedDevice{CBIT_TRY(
      dev::Virtio9p::create(bus, {.device = place.name, .requester = place.requester}, *folder, device))};
}

template <class Device, class Options>
OrError<PluggedDevice> make_virtio(bus::SystemBus& bus, Clock*, const DevicePlace& place,
                                   const DeviceOptions& options) {
  return PluggedDevice{CBIT_TRY(
      Device::create(bus, {.device = place.name, .requester = place.requester}, std::get<Options>(options)))};
}

const DeviceKind kinds[] = {
    {"bochs-display", "a display with a frame buffer; `cbit run --display bochs` plugs it in",
     dev::BochsDisplayPci::identity, dev::BochsDisplayOptions{}, options_of_bochs_display,
     make_bochs_display},
    {"e1000", "Intel's 82540EM: a network device of plain PCI, with 32 address lines",
     dev::E1000Pci::identity, dev::E1000Options{}, options_of_e1000, make_e1000},
    {"nvme", "a disk, behind an NVMe controller", dev::NvmePci::identity, NvmeDiskOptions{}, options_of_nvme,
     make_nvme},
    {"test-dma", "a device that does the DMA it is told to (docs/test-device.md)", dev::TestDmaPci::identity,
     TestDmaOptions{}, options_of_test_dma, make_test_dma},
    {"virtio-9p", "a folder of the host's, to read", dev::virtio_pci_identity(spec::virtio_id_9p, false),
     ShareOptions{}, options_of_share, make_share},
    {"virtio-blk", "a disk", dev::virtio_pci_identity(spec::virtio_id_block, false), DiskOptions{},
     options_of_disk, make_disk<dev::VirtioBlk, DiskOptions>},
    {"virtio-console", "a terminal, or several ports with names",
     dev::virtio_pci_identity(spec::virtio_id_console, false), dev::VirtioConsoleOptions{},
     options_of_console, make_virtio<dev::VirtioConsole, dev::VirtioConsoleOptions>},
    {"virtio-iommu", "an IOMMU in front of all devices",
     dev::virtio_pci_identity(spec::virtio_id_iommu, false), dev::VirtioIommuOptions{}, options_of_virtio,
     make_virtio<dev::VirtioIommu, dev::VirtioIommuOptions>},
    {"virtio-net", "a network device; `cbit run --net` connects it",
     dev::virtio_pci_identity(dev::virtio_id_net, false), dev::VirtioNetOptions{.queue_size = 256},
     options_of_net, make_virtio<dev::VirtioNet, dev::VirtioNetOptions>},
    {"virtio-rng", "a source of entropy with a seed", dev::virtio_pci_identity(dev::virtio_id_rng, false),
     dev::VirtioRngOptions{}, options_of_rng, make_virtio<dev::VirtioRng, dev::VirtioRngOptions>},
    {"virtio-scsi", "a SCSI host with a disk", dev::virtio_pci_identity(spec::virtio_id_scsi, false),
     ScsiDiskOptions{}, options_of_scsi, make_disk<dev::VirtioScsi, ScsiDiskOptions>},
    {"virtio-vsock", "sockets between guest and host; `cbit run --vsock` connects it",
     dev::virtio_pci_identity(spec::virtio_id_vsock, false), dev::VirtioVsockOptions{}, options_of_vsock,
     make_virtio<dev::VirtioVsock, dev::VirtioVsockOptions>},
};

// The remedy for a word that names none of the rows.
template <class Row>
std::string one_of(std::span<const Row> rows, std::string_view word) {
  std::vector<std::string_view> names;
  for (const Row& row : rows) names.push_back(row.name);
  return did_you_mean(word, names, fmt::format("there are {}", fmt::join(names, ", ")));
}

std::pair<std::string_view, std::string_view> cut(std::string_view text, char at) {
  const std::size_t place = text.find(at);
  if (place == std::string_view::npos) return {text, {}};
  return {text.substr(0, place), text.substr(place + 1)};
}

OrError<void> set_option(const DeviceKind& kind, DeviceOptions& options, std::string_view text) {
  const auto [name, value] = cut(text, '=');
  const auto found = std::ranges::find(kind.options, name, &DeviceOption::name);
  if (found == kind.options.end())
    return usage_error(fmt::format("{} has no option {:?}", kind.name, name), one_of(kind.options, name));
  if (const auto set = found->set(options, value); !set)
    return usage_error(fmt::format("{}: {}: {}", kind.name, name, set.error().message),
                       fmt::format("use {}={}", name, found->values));
  return {};
}

// What people ask for and is left out on purpose, with the reason. Linux' virtballoon_validate() takes
// ACCESS_PLATFORM back, without which virtio_features_ok() refuses a device in an encrypted guest; libvirt is
// told <memballoon model='none'/>.
constexpr std::pair<std::string_view, std::string_view> left_out[] = {
    {"virtio-balloon",
     "leave it away: in an encrypted guest Linux' driver takes ACCESS_PLATFORM back and refuses the device "
     "(cause flag-not-acked), and in others there is nobody here to give memory to"},
};

}  // namespace

std::span<const DeviceKind> device_kinds() { return kinds; }

OrError<const DeviceKind*> find_device_kind(std::string_view name) {
  const auto* const found = std::ranges::find(kinds, name, &DeviceKind::name);
  if (found != std::end(kinds)) return found;
  const bool is_pci = name.ends_with("-pci");  // as QEMU has it
  for (const auto& [word, why] : left_out)
    if (name.substr(0, name.size() - (is_pci ? 4 : 0)) == word)
      return usage_error(fmt::format("there is no device {:?}, by rule", name), std::string{why});
  return usage_error(fmt::format("there is no device {:?}", name),
                     one_of(std::span<const DeviceKind>{kinds}, name));
}

OrError<DeviceRequest> parse_device(std::string_view text) {
  auto [name, rest] = cut(text, ',');
  DeviceRequest request{.kind = CBIT_TRY(find_device_kind(name)), .options = {}};
  request.options = request.kind->defaults;
  while (!rest.empty()) {
    const auto [option, others] = cut(rest, ',');
    CBIT_TRY(set_option(*request.kind, request.options, option));
    rest = others;
  }
  return request;
}

dev::BlockBackend** backend_of(DeviceOptions& options) {
  return std::visit(
      [](auto& one) -> dev::BlockBackend** {
        if constexpr (requires { one.disk; })
          return &one.disk;
        else
          return nullptr;
      },
      options);
}

void connect(DeviceRequest& request, dev::NetBackend& network) {
  if (dev::NetOptions* const options = net_of(request.options)) options->network = &network;
}

void connect(DeviceRequest& request, dev::VsockBackend& sockets) {
  if (auto* const options = std::get_if<dev::VirtioVsockOptions>(&request.options))
    options->sockets = &sockets;
}

std::optional<dev::MacAddress> address_of(const DeviceRequest& device) {
  DeviceOptions options = device.options;
  const dev::NetOptions* const net = net_of(options);
  return net == nullptr ? std::nullopt : net->mac;
}

void give_addresses(std::span<DeviceRequest* const> devices) {
  const auto is_taken = [&](const dev::MacAddress& mac) {
    return std::ranges::any_of(devices, [&](const DeviceRequest* one) { return address_of(*one) == mac; });
  };
  dev::MacAddress next = dev::default_mac;
  for (DeviceRequest* const device : devices) {
    dev::NetOptions* const net = net_of(device->options);
    if (net == nullptr || net->mac) continue;
    while (is_taken(next)) ++next.back();
    net->mac = next;
  }
}

std::unique_ptr<bus::PciFunction> PluggedDevice::take_function() && {
  if (auto* const nvme = std::get_if<std::unique_ptr<dev::Nvme>>(&device_))
    return std::make_unique<dev::NvmePci>(std::move(*nvme));
  if (auto* const test_dma = std::get_if<std::unique_ptr<dev::TestDma>>(&device_))
    return std::make_unique<dev::TestDmaPci>(std::move(*test_dma));
  if (auto* const function = std::get_if<std::unique_ptr<bus::PciFunction>>(&device_))
    return std::move(*function);
  return std::make_unique<dev::VirtioPci>(std::get<std::unique_ptr<dev::VirtioDevice>>(std::move(device_)));
}

OrError<std::unique_ptr<bus::PciFunction>> plug_pci(bus::PciBus& pci, bus::SystemBus& bus, Clock& clock,
                                                    const DeviceRequest& request, const DevicePlace& place) {
  const unsigned slot = spec::pci_device_of(place.requester);
  if (place.requester != spec::pci_requester(0, slot, 0) || pci.device(slot) != nullptr)
    return usage_error(fmt::format("{}: PCI slot {} is taken, or is none", place.name, slot),
                       fmt::format("use a free one, 1 to {}", spec::pci_devices - 1));
  auto function = CBIT_TRY(request.kind->make(bus, &clock, place, request.options)).take_function();
  pci.plug(slot, *function);
  return function;
}

}  // namespace cbit::machine
