#include "dev/e1000/phy.hpp"

#include <algorithm>
#include <iterator>

namespace cbit::dev {
namespace {

constexpr unsigned control = 0;
constexpr unsigned status = 1;
constexpr unsigned id_1 = 2;
constexpr unsigned id_2 = 3;
constexpr unsigned advertisement = 4;
constexpr unsigned partner_ability = 5;
constexpr unsigned control_1000t = 9;
constexpr unsigned status_1000t = 10;
constexpr unsigned extended_status = 15;
constexpr unsigned specific_status = 17;

constexpr std::uint16_t control_reset = 0x8000;
constexpr std::uint16_t control_restart = 0x0200;
// Autonegotiation, full duplex, 1000 Mbit/s.
constexpr std::uint16_t control_at_reset = 0x1140;
// 10 and 100 Mbit/s in both ways, extended status, autonegotiation, extended registers.
constexpr std::uint16_t status_abilities = 0x7909;
constexpr std::uint16_t status_link = 0x0024;      // and negotiated
constexpr std::uint16_t abilities_802_3 = 0x01e1;  // the same as they are advertised
constexpr std::uint16_t acknowledged = 0x4000;
constexpr std::uint16_t abilities_1000t = 0x0300;
constexpr std::uint16_t link_1000t = 0x3c00;  // both receivers are well, the partner has both ways
constexpr std::uint16_t extended_1000t = 0x3000;
constexpr std::uint16_t specific_link = 0xac00;  // 1000 Mbit/s, full duplex, resolved, link

constexpr unsigned read_only[] = {status,          id_1,           id_2, partner_ability, 6, status_1000t,
                                  extended_status, specific_status};

}  // namespace

void E1000Phy::reset() {
  registers_ = {};
  registers_[control] = control_at_reset;
  registers_[status] = status_abilities;
  registers_[id_1] = 0x0141;
  registers_[id_2] = 0x0c20;
  registers_[advertisement] = abilities_802_3;
  registers_[control_1000t] = abilities_1000t;
  registers_[extended_status] = extended_1000t;
  if (!has_link_) return;
  registers_[status] |= status_link;
  registers_[partner_ability] = abilities_802_3 | acknowledged;
  registers_[status_1000t] = link_1000t;
  registers_[specific_status] = specific_link;
}

void E1000Phy::write(unsigned number, std::uint16_t value) {
  if (number == control && (value & control_reset) != 0) return reset();
  if (number == control) value = static_cast<std::uint16_t>(value & ~control_restart);
  if (std::ranges::find(read_only, number) == std::end(read_only))
    registers_[number % registers_.size()] = value;
}

}  // namespace cbit::dev
