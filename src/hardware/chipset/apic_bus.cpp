#include "chipset/apic_bus.hpp"

namespace cbit::chipset {

using spec::ApicDelivery;
using spec::MsiAddress;
using spec::MsiData;

bool ApicBus::deliver(const bus::MessageInterrupt& message) {
  const MsiAddress address{{message.address}};
  const MsiData data{{message.data}};
  ApicMessage out;
  out.destination = address.get<MsiAddress::Destination>();
  out.logical = address.get<MsiAddress::Logical>();
  out.delivery = data.get<MsiData::Delivery>();
  out.vector = data.get<MsiData::Vector>();
  out.level = data.get<MsiData::Level>();
  out.redirectible = address.get<MsiAddress::RedirectionHint>() && out.delivery == ApicDelivery::fixed;
  // A level-triggered message that is not asserted ends nothing: an EOI does.
  if (out.level && !data.get<MsiData::Assert>()) return false;
  return send(out);
}

bool ApicBus::send(const ApicMessage& message, const ApicTarget* except) {
  return give(message,
              [&](const ApicTarget& target) { return &target != except && target.is_destination(message); });
}

bool ApicBus::broadcast(const ApicMessage& message, const ApicTarget* except) {
  return give(message, [&](const ApicTarget& target) { return &target != except; });
}

template <class IsDestination>
bool ApicBus::give(const ApicMessage& message, IsDestination&& is_destination) {
  if (message.redirectible || message.delivery == ApicDelivery::lowest_priority) {
    ApicTarget* lowest = nullptr;
    for (ApicTarget* const target : targets_) {
      if (!is_destination(*target) || !target->accepts_fixed()) continue;
      if (lowest == nullptr || target->arbitration_priority() < lowest->arbitration_priority())
        lowest = target;
    }
    return lowest != nullptr && lowest->accept(message);
  }
  bool accepted = false;
  for (ApicTarget* const target : targets_)
    if (is_destination(*target)) accepted |= target->accept(message);
  return accepted;
}

void ApicBus::end_of_interrupt(std::uint8_t vector) {
  for (EoiListener* const listener : listeners_) listener->end_of_interrupt(vector);
}

}  // namespace cbit::chipset
