// The way in of dev/e1000/e1000.hpp.
#include <algorithm>

#include "dev/e1000/e1000.hpp"

namespace cbit::dev {

namespace e1000 = spec::e1000;

namespace {

constexpr std::size_t addresses_bytes = 2 * sizeof(MacAddress);
constexpr std::size_t tag_bytes = 4;
constexpr std::uint16_t vlan_number = 0x0fff;

}  // namespace

bool E1000::receive(ConstByteSpan frame) {
  if (!is_up()) return false;
  if (frame.size() < ethernet_header_bytes || frame.size() > tagged_frame_max || !accepts(frame)) return true;
  Bytes packet(frame.begin(), frame.end());
  std::uint8_t status = e1000::rxd::dd | e1000::rxd::ixsm;
  std::uint16_t tag = 0;
  const bool is_tagged =
      load_big16(packet, addresses_bytes) == static_cast<std::uint16_t>(at(e1000::reg::vet));
  if (is_tagged && has(e1000::reg::ctrl, e1000::ctrl::vme) && packet.size() >= addresses_bytes + tag_bytes) {
    tag = load_big16(packet, addresses_bytes + 2);
    status |= e1000::rxd::vp;
    packet.erase(packet.begin() + addresses_bytes, packet.begin() + addresses_bytes + tag_bytes);
  }
  packet.resize(std::max<std::size_t>(packet.size(), ethernet_frame_min));
  if (!has(e1000::reg::rctl, e1000::rctl::secrc)) {
    const std::uint32_t check = frame_check(packet);
    const ConstByteSpan raw = bytes_of(check);
    packet.insert(packet.end(), raw.begin(), raw.end());
  }
  const std::size_t buffer = buffer_bytes();
  const std::size_t needed = (packet.size() + buffer - 1) / buffer;
  const Ring descriptors = ring(e1000::reg::rdbal);
  if (needed >= descriptors.entries && descriptors.entries != 0) return true;
  if (descriptors.ready() < needed) return false;
  if (!fill_descriptors(packet, buffer, tag, status)) return true;
  count(e1000::reg::gprc, e1000::reg::tpr, e1000::reg::gorcl, packet.size());
  const std::uint32_t left = ring(e1000::reg::rdbal).ready();
  const unsigned threshold =
      at(e1000::reg::rctl) >> e1000::rctl::rdmts_shift & 3;  // a half, a quarter, an eighth
  cause(e1000::interrupt::rxt0 |
        (left <= descriptors.entries >> (threshold + 1) ? e1000::interrupt::rxdmt0 : 0));
  return true;
}

// false: a descriptor cannot be read or written, and the frame is lost.
bool E1000::fill_descriptors(ConstByteSpan packet, std::size_t buffer, std::uint16_t tag,
                             std::uint8_t status) {
  while (!packet.empty()) {
    const Ring descriptors = ring(e1000::reg::rdbal);
    auto descriptor = port_.load<e1000::RxDescriptor>(descriptors.at(descriptors.head));
    if (!descriptor) return false;
    const ConstByteSpan part = packet.first(std::min(packet.size(), buffer));
    packet = packet.subspan(part.size());
    if (descriptor->address != 0 && !port_.write(DmaAddr{descriptor->address}, part)) return false;
    descriptor->length = static_cast<std::uint16_t>(part.size());
    descriptor->checksum = 0;
    descriptor->status = static_cast<std::uint8_t>(status | (packet.empty() ? e1000::rxd::eop : 0));
    descriptor->errors = 0;
    descriptor->special = tag;
    if (!give_back(descriptors, *descriptor)) return false;
    at(e1000::reg::rdh) = (descriptors.head + 1) % descriptors.entries;
  }
  return true;
}

// The one at the head.
bool E1000::give_back(const Ring& descriptors, e1000::RxDescriptor descriptor) {
  Returned told{static_cast<std::uint16_t>(descriptors.head), descriptor.length};
  const bool twice = forger_ != nullptr && forger_->forge(told);
  descriptor.length = static_cast<std::uint16_t>(told.length);
  const std::uint32_t place = told.id % descriptors.entries;
  if (!port_.store(descriptors.at(place), descriptor)) return false;
  return !twice || port_.store(descriptors.at((place + 1) % descriptors.entries), descriptor).has_value();
}

// 13.4.22: BSIZE, with BSEX sixteen times as much, of which the largest is reserved.
std::size_t E1000::buffer_bytes() const {
  const unsigned size = at(e1000::reg::rctl) >> e1000::rctl::bsize_shift & 3;
  constexpr std::size_t largest = 2048;
  return has(e1000::reg::rctl, e1000::rctl::bsex) && size != 0 ? 16 * largest >> size : largest >> size;
}

// 13.5: exact addresses, a hash of multicast ones, the VLAN's number.
bool E1000::accepts(ConstByteSpan frame) const {
  const ConstByteSpan address = frame.first(sizeof(MacAddress));
  if (has(e1000::reg::rctl, e1000::rctl::vfe) &&
      load_big16(frame, addresses_bytes) == static_cast<std::uint16_t>(at(e1000::reg::vet))) {
    const unsigned vlan = load_big16(frame, addresses_bytes + 2) & vlan_number;
    if (!has(e1000::reg::vfta + 4 * (vlan / 32), 1u << vlan % 32)) return false;
  }
  if (has(e1000::reg::rctl, e1000::rctl::bam) &&
      std::ranges::all_of(address, [](std::byte b) { return b == std::byte{0xff}; }))
    return true;
  const bool is_group = (address[0] & std::byte{1}) != std::byte{0};
  if (has(e1000::reg::rctl, is_group ? e1000::rctl::mpe : e1000::rctl::upe)) return true;
  const auto low = load<std::uint32_t>(address);
  const auto high = load<std::uint16_t>(address, 4);
  for (unsigned pair = 0; pair < e1000::ra_pairs; ++pair)
    if (at(e1000::reg::ral + 8 * pair) == low && has(e1000::reg::ral + 8 * pair + 4, e1000::ra_valid) &&
        static_cast<std::uint16_t>(at(e1000::reg::ral + 8 * pair + 4)) == high)
      return true;
  return is_group && accepts_multicast(address);
}

// 13.5.1: twelve bits of the last two bytes, from one that RCTL.MO chooses.
bool E1000::accepts_multicast(ConstByteSpan address) const {
  constexpr unsigned shifts[] = {4, 3, 2, 0};
  const unsigned shift = shifts[at(e1000::reg::rctl) >> e1000::rctl::mo_shift & 3];
  const unsigned hash = load<std::uint16_t>(address, 4) >> shift & 0xfff;
  return has(e1000::reg::mta + 4 * (hash / 32), 1u << hash % 32);
}

}  // namespace cbit::dev
