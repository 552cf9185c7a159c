// The way out of dev/e1000/e1000.hpp.
#include <algorithm>

#include "dev/e1000/e1000.hpp"

namespace cbit::dev {

namespace e1000 = spec::e1000;

namespace {

// IPv6 with its largest payload, and what is before it.
constexpr std::size_t packet_bytes_max = 65'536 + 256;
constexpr unsigned descriptors_at_once = 256;
constexpr std::size_t bytes_at_once = 4 * packet_bytes_max;
constexpr std::uint64_t pause_ns = 1000;

bool is_extended(const e1000::TxDescriptor& descriptor) { return (descriptor.lower & e1000::txd::dext) != 0; }

}  // namespace

void E1000::transmit() {
  if (transmitting_) return;
  transmitting_ = true;
  std::uint32_t done = 0;
  std::size_t bytes = 0;
  for (unsigned n = 0; has(e1000::reg::tctl, e1000::tctl::en) && ring(e1000::reg::tdbal).ready() != 0; ++n) {
    if (n == descriptors_at_once || bytes >= bytes_at_once) {
      if (more_) more_->start(more_->clock().now_ns() + pause_ns);
      break;
    }
    const Ring descriptors = ring(e1000::reg::tdbal);
    const auto descriptor = port_.load<e1000::TxDescriptor>(descriptors.at(descriptors.head));
    if (!descriptor || !take_descriptor(*descriptor)) break;
    bytes += descriptor->lower & e1000::txd::length;
    if ((descriptor->lower & e1000::txd::rs) != 0) {
      const DmaAddr status = descriptors.at(descriptors.head) + offsetof(e1000::TxDescriptor, upper);
      if (!port_.store(status, descriptor->upper | e1000::txd::done)) break;
      done |= e1000::interrupt::txdw;
    }
    at(e1000::reg::tdh) = (descriptors.head + 1) % descriptors.entries;
  }
  transmitting_ = false;
  if (done != 0 && ring(e1000::reg::tdbal).ready() == 0) done |= e1000::interrupt::txqe;
  cause(done);
}

// false: its data cannot be read.
bool E1000::take_descriptor(const e1000::TxDescriptor& descriptor) {
  constexpr std::uint32_t type_bits = 0xf;
  if (is_extended(descriptor) && (descriptor.lower >> e1000::txd::type_shift & type_bits) == 0) {
    take_context(descriptor);
    return true;
  }
  if (!packet_begun_) {
    const auto options = static_cast<std::uint8_t>(descriptor.upper >> e1000::txd::popts_shift);
    const bool extended = is_extended(descriptor);
    packet_begun_ = true;
    packet_too_long_ = false;
    segmented_ = extended && (descriptor.lower & e1000::txd::tse) != 0;
    wanted_ = {.ip_checksum = extended && (options & e1000::txd::ixsm) != 0,
               .transport_checksum = extended && (options & e1000::txd::txsm) != 0};
  }
  if (!add_to_packet(descriptor)) return false;
  if ((descriptor.lower & e1000::txd::eop) == 0) return true;
  if (!packet_too_long_) send_packet(descriptor);
  packet_.clear();
  packet_begun_ = false;
  return true;
}

// 3.3.6: starts, offsets and ends of the checksums, a byte, a byte and two.
void E1000::take_context(const e1000::TxDescriptor& descriptor) {
  const auto place = [](std::uint64_t fields) {
    return ChecksumPlace{fields & 0xff, fields >> 8 & 0xff, fields >> 16 & 0xffff};
  };
  context_ = {.ip = place(descriptor.address),
              .transport = place(descriptor.address >> 32),
              .is_ipv4 = (descriptor.lower & e1000::txd::tucmd_ip) != 0,
              .is_tcp = (descriptor.lower & e1000::txd::tucmd_tcp) != 0,
              .header_bytes = descriptor.upper >> 8 & 0xff,
              .segment_bytes = descriptor.upper >> 16};
}

// 3.3.3: a null address has no data.
bool E1000::add_to_packet(const e1000::TxDescriptor& descriptor) {
  const std::size_t bytes =
      descriptor.lower & (is_extended(descriptor) ? e1000::txd::length : e1000::txd::legacy_length);
  if (descriptor.address == 0 || bytes == 0) return true;
  const std::size_t before = packet_.size();
  packet_too_long_ |= bytes > packet_bytes_max - before;
  if (packet_too_long_) return true;
  packet_.resize(before + bytes);
  if (port_.read(DmaAddr{descriptor.address}, ByteSpan{packet_}.subspan(before))) return true;
  packet_.resize(before);
  return false;
}

void E1000::send_packet(const e1000::TxDescriptor& last) {
  if (!is_extended(last) && (last.lower & e1000::txd::ic) != 0)
    insert_checksum(packet_, {.start = last.upper >> e1000::txd::legacy_css_shift & 0xff,
                              .at = last.lower >> e1000::txd::legacy_cso_shift & 0xff});
  if (!segmented_) {
    insert_checksums(packet_, context_, wanted_);
    return send_frame(std::move(packet_), last);
  }
  for (Bytes& frame : segments_of(packet_, context_)) {
    insert_checksums(frame, context_, wanted_);
    send_frame(std::move(frame), last);
  }
}

void E1000::send_frame(Bytes frame, const e1000::TxDescriptor& last) {
  if ((last.lower & e1000::txd::vle) != 0 && has(e1000::reg::ctrl, e1000::ctrl::vme))
    frame = with_tag(frame, static_cast<std::uint16_t>(at(e1000::reg::vet)),
                     static_cast<std::uint16_t>(last.upper >> e1000::txd::special_shift));
  if (has(e1000::reg::tctl, e1000::tctl::psp) && frame.size() < ethernet_frame_min)
    frame.resize(ethernet_frame_min);
  if (frame.size() < ethernet_header_bytes || frame.size() > tagged_frame_max) return;
  count(e1000::reg::gptc, e1000::reg::tpt, e1000::reg::gotcl, frame.size());
  if (network_ != nullptr) network_->receive(frame);
}

}  // namespace cbit::dev
