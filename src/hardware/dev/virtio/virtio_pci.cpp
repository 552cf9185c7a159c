#include "dev/virtio/virtio_pci.hpp"

#include <algorithm>
#include <array>

namespace cbit::dev {
namespace {

using namespace spec;

// Of BAR 4.
constexpr std::uint64_t structure_bytes = 0x1000;
constexpr std::uint64_t common_at = 0 * structure_bytes;
constexpr std::uint64_t isr_at = 1 * structure_bytes;
constexpr std::uint64_t device_at = 2 * structure_bytes;
constexpr std::uint64_t notify_at = 3 * structure_bytes;
constexpr std::uint64_t modern_bytes = 4 * structure_bytes;
constexpr std::uint32_t notify_multiplier = 4;
constexpr std::uint32_t legacy_ports = 128;  // registers, and the device configuration of all types here

struct VirtioPciType {
  std::uint16_t type;
  std::uint16_t transitional;  // PCI device number, 4.1.2; 0: none
  PciClass class_code;
};
constexpr VirtioPciType pci_types[] = {
    {1, 0x1000, pci_class::network_ethernet},     // network
    {2, 0x1001, pci_class::mass_storage_scsi},    // block
    {3, 0x1003, pci_class::communication_other},  // console
    {4, 0x1005, pci_class::other},                // entropy
    {8, 0x1004, pci_class::mass_storage_scsi},    // SCSI host
    {9, 0x1009, pci_class::other},                // 9P transport
    {23, 0, pci_class::system_iommu},             // IOMMU
};

constexpr std::size_t common_fields[] = {offsetof(VirtioPciCommon, device_feature_select),
                                         offsetof(VirtioPciCommon, driver_feature_select),
                                         offsetof(VirtioPciCommon, driver_feature),
                                         offsetof(VirtioPciCommon, config_msix_vector),
                                         offsetof(VirtioPciCommon, device_status),
                                         offsetof(VirtioPciCommon, queue_select),
                                         offsetof(VirtioPciCommon, queue_size),
                                         offsetof(VirtioPciCommon, queue_msix_vector),
                                         offsetof(VirtioPciCommon, queue_desc),
                                         offsetof(VirtioPciCommon, queue_driver),
                                         offsetof(VirtioPciCommon, queue_device),
                                         offsetof(VirtioPciCommon, queue_enable)};

std::size_t bytes_of_field(std::size_t field) {
  if (field >= offsetof(VirtioPciCommon, queue_desc)) return 8;
  if (field == offsetof(VirtioPciCommon, device_status)) return 1;
  return field < offsetof(VirtioPciCommon, config_msix_vector) ? 4 : 2;
}

bool overlap(std::uint64_t a, std::uint64_t a_bytes, std::uint64_t b, std::uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

// 32 of 64 bits, by a selector.
std::uint32_t half(std::uint64_t value, std::uint32_t select) {
  return select < 2 ? static_cast<std::uint32_t>(value >> 32 * select) : 0;
}
std::uint64_t with_half(std::uint64_t value, std::uint32_t select, std::uint32_t part) {
  if (select > 1) return value;
  const unsigned shift = 32 * select;
  return (value & ~(bit_mask(32) << shift)) | std::uint64_t{part} << shift;
}

}  // namespace

bus::PciIdentity virtio_pci_identity(std::uint16_t type, bool legacy_interface) {
  const auto* const found = std::ranges::find(pci_types, type, &VirtioPciType::type);
  const VirtioPciType row = found != std::end(pci_types) ? *found : VirtioPciType{type, 0, pci_class::other};
  if (legacy_interface && row.transitional != 0)
    return {virtio_pci_vendor, row.transitional, virtio_pci_vendor, type, 0, row.class_code};
  return {virtio_pci_vendor,   static_cast<std::uint16_t>(virtio_pci_device_base + type),
          virtio_pci_vendor,   virtio_pci_subsystem,
          virtio_pci_revision, row.class_code};
}

VirtioPci::VirtioPci(std::unique_ptr<VirtioDevice> device, bool msix)
    : PciFunction{virtio_pci_identity(device->device_id(), device->has_legacy_interface()), &device->port()},
      device_{std::move(device)},
      queues_(device_->queue_count()) {
  add_intx();
  add_express();
  add_power_management();
  if (device_->has_legacy_interface()) add_io_bar(legacy_bar, legacy_ports, legacy_);
  if (msix) add_msix(device_->queue_count() + 1u, msix_bar);
  if ((device_->device_features() & virtio_feature::version_1) != 0) add_modern_interface();
  forget();
  device_->on_interrupt([this](const VirtioInterrupt& interrupt) { raise(interrupt); });
}

void VirtioPci::add_modern_interface() {
  add_memory_bar(modern_bar, modern_bytes, modern_, bus::PciMemoryBar::bits_64);
  add_structure(virtio_pci_cap::common, common_at, sizeof(VirtioPciCommon), sizeof(VirtioPciCap));
  add_structure(virtio_pci_cap::isr, isr_at, 1, sizeof(VirtioPciCap));
  add_structure(virtio_pci_cap::device, device_at, structure_bytes, sizeof(VirtioPciCap));
  const std::uint32_t notify_bytes = notify_multiplier * device_->queue_count();
  const std::uint32_t notify =
      add_structure(virtio_pci_cap::notify, notify_at, notify_bytes, virtio_pci_cap_long_bytes);
  config().define(notify + virtio_pci_cap_extra, notify_multiplier);
  window_at_ = add_structure(virtio_pci_cap::pci, 0, 0, virtio_pci_cap_long_bytes);
  config().define(window_at_ + offsetof(VirtioPciCap, bar), std::uint8_t{0});
  config().allow(window_at_ + offsetof(VirtioPciCap, bar), std::uint8_t{0xff});
  config().allow(window_at_ + offsetof(VirtioPciCap, offset), ~std::uint32_t{0});
  config().allow(window_at_ + offsetof(VirtioPciCap, length), ~std::uint32_t{0});
  config().allow(window_at_ + virtio_pci_cap_extra, ~std::uint32_t{0});
}

std::uint32_t VirtioPci::add_structure(std::uint8_t type, std::uint32_t offset, std::uint32_t length,
                                       std::uint8_t bytes) {
  const std::uint32_t at = config().add_capability(pci_capability::vendor_specific, bytes);
  config().define(at + offsetof(VirtioPciCap, cap_len), bytes);
  config().define(at + offsetof(VirtioPciCap, cfg_type), type);
  config().define(at + offsetof(VirtioPciCap, bar), std::uint8_t{modern_bar});
  config().define(at + offsetof(VirtioPciCap, offset), offset);
  config().define(at + offsetof(VirtioPciCap, length), length);
  return at;
}

void VirtioPci::forget() {
  for (std::uint16_t n = 0; n < queues_.size(); ++n) {
    queues_[n] = {};
    queues_[n].config.size = device_->queue_size_max(n);
  }
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  config_vector_ = virtio_msi_no_vector;
  static_cast<void>(take_isr());
}

void VirtioPci::on_reset() { set_status(0); }

void VirtioPci::set_status(std::uint8_t status) {
  device_->set_status(status);
  if (status == 0) forget();
}

// ---- interrupts ----

void VirtioPci::raise(const VirtioInterrupt& raised) {
  const bool of_queue = raised.kind == VirtioInterrupt::Kind::queue;
  if (!of_queue) ++generation_;
  if (!of_queue || !msix_enabled()) isr_ |= of_queue ? virtio_pci_isr::queue : virtio_pci_isr::config;
  const std::uint16_t vector = of_queue ? queues_[raised.queue].vector : config_vector_;
  if (!msix_enabled())
    set_intx(true);
  else if (vector != virtio_msi_no_vector)
    interrupt(vector);
}

std::uint8_t VirtioPci::take_isr() {
  set_intx(false);
  return std::exchange(isr_, std::uint8_t{0});
}

// 4.1.5.1.2.1: a vector that cannot be had reads back as none.
std::uint16_t VirtioPci::checked_vector(std::uint16_t vector) const {
  return vector < msix_vectors() ? vector : virtio_msi_no_vector;
}

// ---- common configuration ----

VirtioPci::Queue* VirtioPci::selected() {
  return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

VirtioPciCommon VirtioPci::common() {
  VirtioPciCommon now{.device_feature_select = device_feature_select_,
                      .device_feature = half(device_->device_features(), device_feature_select_),
                      .driver_feature_select = driver_feature_select_,
                      .driver_feature = half(device_->driver_features(), driver_feature_select_),
                      .config_msix_vector = config_vector_,
                      .num_queues = device_->queue_count(),
                      .device_status = device_->status(),
                      .config_generation = generation_,
                      .queue_select = queue_select_};
  const Queue* const queue = selected();
  if (queue == nullptr) return now;
  now.queue_size = static_cast<std::uint16_t>(queue->config.size);
  now.queue_msix_vector = queue->vector;
  now.queue_enable = selected_enabled() ? 1 : 0;
  now.queue_notify_off = queue_select_;
  now.queue_desc = queue->config.descriptors.value();
  now.queue_driver = queue->config.available.value();
  now.queue_device = queue->config.used.value();
  return now;
}

void VirtioPci::set_common(std::size_t field, const VirtioPciCommon& written) {
  switch (field) {
    case offsetof(VirtioPciCommon, device_feature_select):
      device_feature_select_ = written.device_feature_select;
      break;
    case offsetof(VirtioPciCommon, driver_feature_select):
      driver_feature_select_ = written.driver_feature_select;
      break;
    case offsetof(VirtioPciCommon, driver_feature):
      device_->set_driver_features(
          with_half(device_->driver_features(), driver_feature_select_, written.driver_feature));
      break;
    case offsetof(VirtioPciCommon, config_msix_vector):
      config_vector_ = checked_vector(written.config_msix_vector);
      break;
    case offsetof(VirtioPciCommon, device_status): set_status(written.device_status); break;
    case offsetof(VirtioPciCommon, queue_select): queue_select_ = written.queue_select; break;
    default: set_queue_field(field, written); break;
  }
}

void VirtioPci::set_queue_field(std::size_t field, const VirtioPciCommon& written) {
  Queue* const queue = selected();
  if (queue == nullptr) return;
  if (field == offsetof(VirtioPciCommon, queue_msix_vector)) {
    queue->vector = checked_vector(written.queue_msix_vector);
    return;
  }
  // 4.1.4.3.2: size and areas belong to the device once the queue is enabled.
  if (selected_enabled()) return;
  switch (field) {
    case offsetof(VirtioPciCommon, queue_size): queue->config.size = written.queue_size; break;
    case offsetof(VirtioPciCommon, queue_desc):
      queue->config.descriptors = DmaAddr{written.queue_desc};
      break;
    case offsetof(VirtioPciCommon, queue_driver):
      queue->config.available = DmaAddr{written.queue_driver};
      break;
    case offsetof(VirtioPciCommon, queue_device): queue->config.used = DmaAddr{written.queue_device}; break;
    case offsetof(VirtioPciCommon, queue_enable):
      if (written.queue_enable == 1) device_->enable_queue(queue_select_, queue->config);
      break;
    default: break;
  }
}

// Each field that the access touches gets its value, with the bytes that the access leaves alone as they are.
void VirtioPci::write_common(std::uint64_t offset, ConstByteSpan from) {
  if (offset >= sizeof(VirtioPciCommon)) return;
  VirtioPciCommon written = common();
  const ByteSpan image = std::as_writable_bytes(std::span{&written, 1}).subspan(offset);
  std::ranges::copy(from.first(std::min(from.size(), image.size())), image.begin());
  for (const std::size_t field : common_fields)
    if (overlap(offset, from.size(), field, bytes_of_field(field))) set_common(field, written);
}

// ---- BAR 4 ----

Result<void> VirtioPci::Modern::read(std::uint64_t offset, ByteSpan to) {
  std::ranges::fill(to, std::byte{0});
  const std::uint64_t within = offset % structure_bytes;
  switch (offset - within) {
    case common_at: {
      const VirtioPciCommon now = owner_->common();
      if (within >= sizeof now) break;
      const ConstByteSpan image = bytes_of(now).subspan(within);
      std::ranges::copy(image.first(std::min(to.size(), image.size())), to.begin());
      break;
    }
    case isr_at:
      if (within == 0) to[0] = std::byte{owner_->take_isr()};
      break;
    case device_at: owner_->device_->read_config(static_cast<std::uint32_t>(within), to); break;
    default: break;
  }
  return {};
}

Result<void> VirtioPci::Modern::write(std::uint64_t offset, ConstByteSpan from) {
  if (from.empty() || from.size() > sizeof(std::uint64_t)) return {};
  const std::uint64_t within = offset % structure_bytes;
  switch (offset - within) {
    case common_at: owner_->write_common(within, from); break;
    case device_at: owner_->device_->write_config(static_cast<std::uint32_t>(within), from); break;
    case notify_at:
      if (within % notify_multiplier == 0)
        owner_->device_->notify(static_cast<std::uint16_t>(within / notify_multiplier));
      break;
    default: break;
  }
  return {};
}

// 4.1.4.9: one, two or four aligned bytes of BAR 4.
bool VirtioPci::window(std::uint32_t& offset, std::uint32_t& bytes) const {
  offset = config().get<std::uint32_t>(window_at_ + offsetof(VirtioPciCap, offset));
  bytes = config().get<std::uint32_t>(window_at_ + offsetof(VirtioPciCap, length));
  const bool in_bar = config().get<std::uint8_t>(window_at_ + offsetof(VirtioPciCap, bar)) == modern_bar;
  return in_bar && (bytes == 1 || bytes == 2 || bytes == 4) && offset % bytes == 0 && offset < modern_bytes;
}

bool VirtioPci::covers_window(std::uint32_t offset, std::size_t bytes) const {
  return window_at_ != 0 && overlap(offset, bytes, window_at_ + virtio_pci_cap_extra, 4);
}

void VirtioPci::before_config_read(std::uint32_t offset, std::size_t bytes) {
  std::uint32_t at = 0, size = 0;
  if (!covers_window(offset, bytes) || !window(at, size)) return;
  std::array<std::byte, 4> raw{};
  static_cast<void>(modern_.read(at, ByteSpan{raw}.first(size)));
  config().set(window_at_ + virtio_pci_cap_extra, load<std::uint32_t>(raw));
}

void VirtioPci::after_config_write(std::uint32_t offset, std::size_t bytes) {
  std::uint32_t at = 0, size = 0;
  if (!covers_window(offset, bytes) || !window(at, size)) return;
  const auto data = config().get<std::uint32_t>(window_at_ + virtio_pci_cap_extra);
  static_cast<void>(modern_.write(at, bytes_of(data).first(size)));
}

// ---- BAR 0 ----

std::uint32_t VirtioPci::Legacy::config_at() const {
  return owner_->msix_enabled() ? virtio_pci_legacy::device_config_with_msix
                                : virtio_pci_legacy::device_config;
}

std::uint32_t VirtioPci::Legacy::read(std::uint16_t offset, unsigned bytes) {
  if (offset >= config_at()) {
    std::array<std::byte, 4> raw{};
    owner_->device_->read_config(offset - config_at(), ByteSpan{raw}.first(bytes));
    return load<std::uint32_t>(raw);
  }
  const Queue* const queue = owner_->selected();
  switch (offset) {
    case virtio_pci_legacy::device_features: return half(owner_->device_->device_features(), 0);
    case virtio_pci_legacy::driver_features: return half(owner_->device_->driver_features(), 0);
    case virtio_pci_legacy::queue_address:
      if (!owner_->selected_enabled()) return 0;
      return static_cast<std::uint32_t>(queue->config.descriptors.value() >>
                                        virtio_pci_legacy::queue_address_shift);
    case virtio_pci_legacy::queue_size: return owner_->device_->queue_size_max(owner_->queue_select_);
    case virtio_pci_legacy::queue_select: return owner_->queue_select_;
    case virtio_pci_legacy::device_status: return owner_->device_->status();
    case virtio_pci_legacy::isr: return owner_->take_isr();
    case virtio_pci_legacy::config_msix_vector: return owner_->config_vector_;
    case virtio_pci_legacy::queue_msix_vector: return queue == nullptr ? virtio_msi_no_vector : queue->vector;
    default: return 0;
  }
}

void VirtioPci::Legacy::write(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
  if (offset >= config_at())
    return owner_->device_->write_config(offset - config_at(), bytes_of(value).first(bytes));
  const auto word = static_cast<std::uint16_t>(value);
  switch (offset) {
    case virtio_pci_legacy::driver_features: return owner_->device_->set_driver_features(value);
    case virtio_pci_legacy::queue_address: return owner_->place_selected(value);
    case virtio_pci_legacy::queue_select: owner_->queue_select_ = word; break;
    case virtio_pci_legacy::queue_notify: return owner_->device_->notify(word);
    case virtio_pci_legacy::device_status: return owner_->set_status(static_cast<std::uint8_t>(value));
    case virtio_pci_legacy::config_msix_vector: owner_->config_vector_ = owner_->checked_vector(word); break;
    case virtio_pci_legacy::queue_msix_vector:
      if (Queue* const queue = owner_->selected()) queue->vector = owner_->checked_vector(word);
      break;
    default: break;
  }
}

// 2.7.2: a legacy queue is of the device's size, and lies in one piece.
void VirtioPci::place_selected(std::uint32_t page) {
  Queue* const queue = selected();
  if (queue == nullptr) return;
  if (page == 0) return device_->disable_queue(queue_select_);
  const VringAreas areas{device_->queue_size_max(queue_select_)};
  const DmaAddr at{std::uint64_t{page} << virtio_pci_legacy::queue_address_shift};
  queue->config = {areas.size, at, at + areas.avail_offset(),
                   at + areas.used_offset(virtio_pci_legacy::queue_align)};
  device_->enable_queue(queue_select_, queue->config);
}

void VirtioPci::transfer_device(StateStream& s) {
  s.same_size(queues_);
  s(device_feature_select_, driver_feature_select_, queue_select_, config_vector_, generation_, isr_,
    *device_);
}

}  // namespace cbit::dev
