#include "chipset/ioapic.hpp"

#include <algorithm>

namespace cbit::chipset {

using spec::ApicDelivery;
using spec::IoapicEntry;
using spec::MsiAddress;
using spec::MsiData;

namespace {

constexpr std::uint32_t ioapic_version = 0x20 | (Ioapic::pin_count - 1) << 16;
constexpr std::uint32_t entry_low_settable = 0x0001'afff;   // all but delivery status and Remote IRR
constexpr std::uint32_t entry_high_settable = 0xff00'0000;  // the destination
constexpr std::uint32_t id_settable = 0x0f00'0000;

}  // namespace

Ioapic::Ioapic(bus::MessageInterruptSink& sink, std::uint8_t id, RequesterId requester)
    : sink_{&sink}, initial_id_{id}, requester_{requester} {
  reset();
}

void Ioapic::reset() {
  id_ = initial_id_;
  selected_ = 0;
  for (Pin& pin : pins_) pin.entry = IoapicEntry{}.with<IoapicEntry::Mask>(true);
}

Result<void> Ioapic::read(std::uint64_t offset, ByteSpan to) {
  std::uint32_t value = 0;
  if (offset == spec::ioapic_mmio::select) value = selected_;
  if (offset == spec::ioapic_mmio::window) value = read_selected();
  std::ranges::fill(to, std::byte{0});
  std::ranges::copy(bytes_of(value).first(std::min(sizeof value, to.size())), to.begin());
  return {};
}

Result<void> Ioapic::write(std::uint64_t offset, ConstByteSpan from) {
  std::array<std::byte, sizeof(std::uint32_t)> raw{};
  std::ranges::copy(from.first(std::min(raw.size(), from.size())), raw.begin());
  const auto value = load<std::uint32_t>(raw);
  switch (offset) {
    case spec::ioapic_mmio::select: selected_ = static_cast<std::uint8_t>(value); break;
    case spec::ioapic_mmio::window: write_selected(value); break;
    case spec::ioapic_mmio::eoi: end_of_interrupt(static_cast<std::uint8_t>(value)); break;
    default: break;
  }
  return {};
}

std::uint32_t Ioapic::read_selected() const {
  switch (selected_) {
    case spec::ioapic_register::id:
    case spec::ioapic_register::arbitration: return std::uint32_t{id_} << 24;
    case spec::ioapic_register::version: return ioapic_version;
    default: break;
  }
  if (selected_ < spec::ioapic_register::redirection) return 0;
  const unsigned half = selected_ - spec::ioapic_register::redirection;
  if (half / 2 >= pin_count) return 0;
  return static_cast<std::uint32_t>(pins_[half / 2].entry.raw >> 32 * (half % 2));
}

void Ioapic::write_selected(std::uint32_t value) {
  if (selected_ == spec::ioapic_register::id) id_ = static_cast<std::uint8_t>((value & id_settable) >> 24);
  if (selected_ < spec::ioapic_register::redirection) return;
  const unsigned half = selected_ - spec::ioapic_register::redirection;
  if (half / 2 < pin_count) write_entry(pins_[half / 2], half % 2 != 0, value);
}

void Ioapic::write_entry(Pin& pin, bool upper, std::uint32_t value) {
  const std::uint64_t settable = upper ? std::uint64_t{entry_high_settable} << 32 : entry_low_settable;
  const std::uint64_t bits = upper ? std::uint64_t{value} << 32 : value;
  pin.entry.raw = (pin.entry.raw & ~settable) | (bits & settable);
  if (!level_triggered(pin)) pin.entry = pin.entry.with<IoapicEntry::RemoteIrr>(false);
  offer_level(pin);
}

bool Ioapic::active(const Pin& pin) { return pin.high != pin.entry.get<IoapicEntry::ActiveLow>(); }

// 3.2.4: NMI, SMI, INIT and ExtINT are edge-triggered, whatever the entry says.
bool Ioapic::level_triggered(const Pin& pin) {
  const auto delivery = pin.entry.get<IoapicEntry::Delivery>();
  return pin.entry.get<IoapicEntry::Level>() &&
         (delivery == ApicDelivery::fixed || delivery == ApicDelivery::lowest_priority);
}

void Ioapic::set_input(unsigned number, bool high) {
  if (number >= pin_count || pins_[number].high == high) return;
  Pin& pin = pins_[number];
  pin.high = high;
  if (level_triggered(pin)) return offer_level(pin);
  if (active(pin) && !pin.entry.get<IoapicEntry::Mask>()) send(pin);
}

void Ioapic::offer_level(Pin& pin) {
  const bool waits = pin.entry.get<IoapicEntry::Mask>() || pin.entry.get<IoapicEntry::RemoteIrr>();
  if (!level_triggered(pin) || !active(pin) || waits) return;
  if (send(pin)) pin.entry = pin.entry.with<IoapicEntry::RemoteIrr>(true);
}

void Ioapic::end_of_interrupt(std::uint8_t vector) {
  for (Pin& pin : pins_) {
    if (!pin.entry.get<IoapicEntry::RemoteIrr>() || pin.entry.get<IoapicEntry::Vector>() != vector) continue;
    pin.entry = pin.entry.with<IoapicEntry::RemoteIrr>(false);
    offer_level(pin);
  }
}

bool Ioapic::send(const Pin& pin) {
  const IoapicEntry& entry = pin.entry;
  return sink_->deliver({MsiAddress{{spec::msi_window}}
                             .with<MsiAddress::Destination>(entry.get<IoapicEntry::Destination>())
                             .with<MsiAddress::Logical>(entry.get<IoapicEntry::Logical>())
                             .raw,
                         MsiData{}
                             .with<MsiData::Vector>(entry.get<IoapicEntry::Vector>())
                             .with<MsiData::Delivery>(entry.get<IoapicEntry::Delivery>())
                             .with<MsiData::Level>(level_triggered(pin))
                             .with<MsiData::Assert>(true)
                             .raw,
                         requester_});
}

void Ioapic::transfer(StateStream& s) { s(id_, selected_, pins_); }

}  // namespace cbit::chipset
