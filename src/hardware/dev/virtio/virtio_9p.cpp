#include "dev/virtio/virtio_9p.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

OrError<void> check(const Virtio9pOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size))
    return usage_error(fmt::format("queue size {} is not a power of two", options.queue_size));
  if (options.tag.empty() || options.tag.size() > spec::virtio_9p_tag_max)
    return usage_error(fmt::format("the tag {:?} has {} bytes", options.tag, options.tag.size()),
                       fmt::format("give one of 1 to {}", spec::virtio_9p_tag_max));
  return {};
}

}  // namespace

OrError<std::unique_ptr<Virtio9p>> Virtio9p::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                    const SharedFolder& folder,
                                                    const Virtio9pOptions& options) {
  CBIT_TRY(check(options));
  return std::unique_ptr<Virtio9p>{new Virtio9p{bus, std::move(port), folder, options}};
}

Virtio9p::Virtio9p(bus::SystemBus& bus, bus::DmaPortConfig port, const SharedFolder& folder,
                   const Virtio9pOptions& options)
    : VirtioDevice{bus,
                   std::move(port),
                   options.virtio,
                   spec::virtio_9p_feature::mount_tag,
                   {options.queue_size}},
      server_{folder, options.fids_max},
      through_{options.through},
      config_(sizeof(std::uint16_t) + options.tag.size()) {
  store(config_, 0, static_cast<std::uint16_t>(options.tag.size()));
  std::ranges::copy(std::as_bytes(std::span{options.tag}), config_.begin() + sizeof(std::uint16_t));
}

OrTrouble<void> Virtio9p::kicked(std::uint16_t queue) {
  return serve(queue, [this](const VirtChain& chain) { return handle(chain); });
}

OrTrouble<std::uint32_t> Virtio9p::handle(const VirtChain& chain) {
  const std::uint64_t readable = chain.readable_bytes();
  const std::uint64_t writable = chain.writable_bytes();
  if (readable < spec::p9_header_bytes) return trouble(fmt::format("request of {} bytes", readable));
  if (writable < spec::p9_error_bytes) return trouble(fmt::format("room for {} bytes of answer", writable));

  // A size that is not that of the buffers is the server's to refuse: it sees as much as there is.
  std::array<std::byte, spec::p9_header_bytes> head;
  CBIT_TRY(read_segments(dma(), chain.readable, head));
  const auto bytes = std::clamp<std::uint64_t>(load<std::uint32_t>(head), head.size(),
                                               std::min<std::uint64_t>(readable, P9Server::msize_max));
  Bytes message(bytes);
  CBIT_TRY(read_segments(dma(), chain.readable, message));
  const std::size_t room = std::min<std::uint64_t>(writable, P9Server::msize_max);
  const auto ask = [&] { return server_.answer(message, room); };
  Bytes answer = through_ ? through_(ask) : ask();
  answer.resize(std::min(answer.size(), room));
  CBIT_TRY(write_segments(dma(), chain.writable, answer));
  return static_cast<std::uint32_t>(answer.size());
}

}  // namespace cbit::dev
