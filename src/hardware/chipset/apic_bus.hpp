// What connects local APICs with each other, with IOAPICs and with devices that send messages: it finds those
// whom a message is for. Intel SDM vol. 3, 11.6.2 (destinations) and 11.11 (messages of devices).
//
// Deterministic: a message to several reaches them in the order in which they were attached, and a
// lowest-priority message the first of those with the lowest priority. Threading: one thread, that of the
// machine.
#pragma once

#include <cstdint>
#include <vector>

#include "bus/message_interrupt.hpp"
#include "spec/apic.hpp"

namespace cbit::chipset {

struct ApicMessage {
  std::uint32_t destination = 0;
  bool wide = false;  // a destination of 32 bits, from an x2APIC; else one of 8
  bool logical = false;
  spec::ApicDelivery delivery{};
  std::uint8_t vector = 0;
  bool level = false;         // trigger mode
  bool redirectible = false;  // to be given to one of those that it names

  friend bool operator==(const ApicMessage&, const ApicMessage&) = default;
};

class ApicTarget {
 public:
  virtual ~ApicTarget() = default;
  [[nodiscard]] virtual bool is_destination(const ApicMessage& message) const = 0;
  // Whether it would take part in a lowest-priority delivery, and with which priority.
  [[nodiscard]] virtual bool accepts_fixed() const = 0;
  [[nodiscard]] virtual std::uint8_t arbitration_priority() const = 0;
  // false if it cannot be taken now: the target is disabled.
  virtual bool accept(const ApicMessage& message) = 0;
};

// Who wants to know that a level-triggered vector has been handled: IOAPICs.
class EoiListener {
 public:
  virtual ~EoiListener() = default;
  virtual void end_of_interrupt(std::uint8_t vector) = 0;
};

class ApicBus final : public bus::MessageInterruptSink {
 public:
  // They outlive the traffic on the bus; attach while nothing runs.
  void attach(ApicTarget& target) { targets_.push_back(&target); }
  void attach(EoiListener& listener) { listeners_.push_back(&listener); }

  bool deliver(const bus::MessageInterrupt& message) override;
  // true if at least one target accepted it. `except` gets nothing.
  bool send(const ApicMessage& message, const ApicTarget* except = nullptr);
  // To all, or all but one, whoever they are.
  bool broadcast(const ApicMessage& message, const ApicTarget* except = nullptr);
  void end_of_interrupt(std::uint8_t vector);

 private:
  template <class IsDestination>
  bool give(const ApicMessage& message, IsDestination&& is_destination);

  std::vector<ApicTarget*> targets_;
  std::vector<EoiListener*> listeners_;
};

}  // namespace cbit::chipset
