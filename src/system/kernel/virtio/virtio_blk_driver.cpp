#include "kernel/virtio/virtio_blk_driver.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/format.hpp"
#include "dev/block_backend.hpp"

namespace cbit::kernel {
namespace {

// Of the driver's feature table, what the model driver makes use of.
constexpr std::uint64_t virtio_blk_driver_features =
    spec::virtio_blk_feature::seg_max | spec::virtio_blk_feature::size_max | spec::virtio_blk_feature::ro |
    spec::virtio_blk_feature::blk_size | spec::virtio_blk_feature::flush | spec::virtio_blk_feature::discard |
    spec::virtio_blk_feature::write_zeroes;

// Limits of virtio_blk.c and of the block layer (include/linux/blkdev.h).
constexpr std::uint32_t sg_elems_max = 32768 - 2;  // VIRTIO_BLK_MAX_SG_ELEMS less header and status
constexpr std::uint64_t request_bytes_max = 2560 * dev::sector_size;  // BLK_DEF_MAX_SECTORS
constexpr std::uint64_t segment_boundary = 1ull << 32;                // BLK_SEG_BOUNDARY_MASK + 1

// Where the parts of a request lie. The payload has cache lines of its own.
constexpr std::uint64_t status_offset = sizeof(spec::VirtioBlkOutHdr);
constexpr std::uint64_t payload_offset = cache_line_size;
constexpr std::uint64_t request_stride = 2 * cache_line_size;

std::uint32_t or_unlimited(std::uint32_t value) {
  return value != 0 ? value : std::numeric_limits<std::uint32_t>::max();
}

// Takes `bytes` off the front.
std::vector<VringBuffer> take(std::deque<VringBuffer>& segments, std::uint64_t bytes) {
  std::vector<VringBuffer> taken;
  while (bytes != 0) {
    VringBuffer& front = segments.front();
    const auto piece = static_cast<std::uint32_t>(std::min<std::uint64_t>(front.length, bytes));
    taken.push_back({front.phys, piece});
    front.phys += piece;
    front.length -= piece;
    if (front.length == 0) segments.pop_front();
    bytes -= piece;
  }
  return taken;
}

}  // namespace

// ---- probe and removal ----

Result<std::unique_ptr<VirtioBlkDriver>, Errno> VirtioBlkDriver::probe(Kernel& kernel,
                                                                       dev::VirtioDevice& hardware,
                                                                       Device& parent,
                                                                       const VirtioDriverOptions& options) {
  std::unique_ptr<VirtioBlkDriver> driver{new VirtioBlkDriver{kernel, hardware, parent, options}};
  CBIT_TRY(driver->binding_.negotiate(virtio_blk_driver_features));
  if (const auto started = driver->start(kernel.cpu(0)); !started) {
    driver->binding_.add_status(spec::virtio_status::failed);
    return tl::unexpected{started.error()};
  }
  return driver;
}

VirtioBlkDriver::VirtioBlkDriver(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                                 const VirtioDriverOptions& options)
    : binding_{kernel, hardware, parent, options},
      site_{kernel.machine().tracer().intern("virtio_queue_rq")} {
  hardware.on_interrupt([this](const dev::VirtioInterrupt& interrupt) {
    if (interrupt.kind == dev::VirtioInterrupt::Kind::queue) interrupted_ = true;
  });
}

VirtioBlkDriver::~VirtioBlkDriver() {
  if (live_) binding_.reset();
  binding_.hardware().on_interrupt({});
  queue_.reset();
  if (request_pages_ != 0) binding_.kernel().mm().free_pages(requests_.front().at, request_pages_);
}

// virtblk_probe.
Result<void, Errno> VirtioBlkDriver::start(paging::Mmu& cpu) {
  queue_ = CBIT_TRY(Vring::create(cpu, binding_, 0, "req.0"));
  CBIT_TRY(read_limits());
  CBIT_TRY(allocate_requests(cpu));
  capacity_ = binding_.config<std::uint64_t>(offsetof(spec::VirtioBlkConfig, capacity));
  binding_.add_status(spec::virtio_status::driver_ok);
  live_ = true;
  return {};
}

Result<void, Errno> VirtioBlkDriver::read_limits() {
  using Config = spec::VirtioBlkConfig;
  const auto value = [&](std::uint64_t feature, std::size_t offset, std::uint32_t otherwise) {
    return binding_.has(feature) ? binding_.config<std::uint32_t>(offset) : otherwise;
  };
  limits_.max_segments =
      std::clamp(value(spec::virtio_blk_feature::seg_max, offsetof(Config, seg_max), 1), 1u, sg_elems_max);

  const auto mappable =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(binding_.max_dma_size(), bit_mask(32)));
  const auto size_max = value(spec::virtio_blk_feature::size_max, offsetof(Config, size_max), mappable);
  // blk_queue_max_segment_size() does not go below a page, whatever the device says.
  limits_.max_segment_size = std::max<std::uint32_t>(std::min(mappable, size_max), page_size);

  const auto blk_size =
      value(spec::virtio_blk_feature::blk_size, offsetof(Config, blk_size), dev::sector_size);
  if (!std::has_single_bit(blk_size) || blk_size < dev::sector_size || blk_size > page_size) {
    binding_.print(fmt::format("virtio_blk: invalid block size: 0x{:x}", blk_size));
    return tl::unexpected{Errno::einval};
  }
  limits_.logical_block_size = blk_size;

  if (binding_.has(spec::virtio_blk_feature::discard))
    limits_.max_discard_sectors =
        or_unlimited(binding_.config<std::uint32_t>(offsetof(Config, max_discard_sectors)));
  if (binding_.has(spec::virtio_blk_feature::write_zeroes))
    limits_.max_write_zeroes_sectors =
        or_unlimited(binding_.config<std::uint32_t>(offsetof(Config, max_write_zeroes_sectors)));
  return {};
}

// One request per descriptor, or with no indirect tables per two: the queue depth that virtblk_probe chooses.
Result<void, Errno> VirtioBlkDriver::allocate_requests(paging::Mmu& cpu) {
  std::uint32_t depth = queue_->free_descriptors();
  if (!binding_.has(spec::virtio_feature::indirect_desc)) depth = std::max(depth / 2, 1u);
  const std::uint64_t bytes = align_up(depth * request_stride, page_size);
  const auto at = binding_.kernel().mm().alloc_pages(bytes / page_size);
  if (!at) return tl::unexpected{Errno::enomem};
  request_pages_ = bytes / page_size;
  for (std::uint32_t i = 0; i < depth; ++i) requests_.push_back({*at + i * request_stride});
  paging::SiteScope scope{cpu, site_};
  if (!cpu.fill(*at, bytes, std::byte{0})) return tl::unexpected{Errno::efault};
  return {};
}

// ---- what callers ask for ----

Result<void, Errno> VirtioBlkDriver::read(paging::Mmu& cpu, std::uint64_t sector, VirtAddr buffer,
                                          std::uint64_t bytes) {
  return transfer(cpu, spec::virtio_blk_type::in, sector, buffer, bytes);
}

// Linux 6.1 only complains of a write to a read-only disk (bio_check_ro) and lets the device refuse it.
Result<void, Errno> VirtioBlkDriver::write(paging::Mmu& cpu, std::uint64_t sector, VirtAddr buffer,
                                           std::uint64_t bytes) {
  if (read_only()) binding_.print("Trying to write to read-only block-device");
  return transfer(cpu, spec::virtio_blk_type::out, sector, buffer, bytes);
}

Result<void, Errno> VirtioBlkDriver::transfer(paging::Mmu& cpu, std::uint32_t type, std::uint64_t sector,
                                              VirtAddr buffer, std::uint64_t bytes) {
  const std::uint64_t block = limits_.logical_block_size;
  if (!buffer.is_aligned(dev::sector_size) || bytes % block != 0 || sector % (block / dev::sector_size) != 0)
    return tl::unexpected{Errno::einval};
  CBIT_TRY(check_range(sector, bytes / dev::sector_size));

  auto segments = CBIT_TRY(segments_of(cpu, buffer, bytes));
  const auto payload = type == spec::virtio_blk_type::out ? Payload::out : Payload::in;
  while (!segments.empty() && !failure_) {
    const std::uint64_t part = request_bytes(segments);
    const auto request = acquire(cpu);
    if (part == 0) note(Errno::einval);
    if (!request) note(request.error());
    if (failure_) break;
    const auto data = take(segments, part);
    if (const auto queued = submit(cpu, *request, {type, 0, sector}, data, payload); !queued)
      note(queued.error());
    sector += part / dev::sector_size;
  }
  return finish(cpu);
}

// Without a negotiated FLUSH the device writes through, and the block layer has nothing to do.
Result<void, Errno> VirtioBlkDriver::flush(paging::Mmu& cpu) {
  if (!binding_.has(spec::virtio_blk_feature::flush)) return {};
  const auto request = CBIT_TRY(acquire(cpu));
  CBIT_TRY(submit(cpu, request, {spec::virtio_blk_type::flush, 0, 0}, {}, Payload::out));
  return finish(cpu);
}

Result<void, Errno> VirtioBlkDriver::discard(paging::Mmu& cpu, std::uint64_t sector, std::uint64_t sectors) {
  return zero(cpu, spec::virtio_blk_type::discard, sector, sectors, 0);
}

Result<void, Errno> VirtioBlkDriver::write_zeroes(paging::Mmu& cpu, std::uint64_t sector,
                                                  std::uint64_t sectors, bool may_unmap) {
  return zero(cpu, spec::virtio_blk_type::write_zeroes, sector, sectors,
              may_unmap ? spec::virtio_blk_flag_unmap : 0);
}

// virtblk_setup_discard_write_zeroes_erase, one range per request.
Result<void, Errno> VirtioBlkDriver::zero(paging::Mmu& cpu, std::uint32_t type, std::uint64_t sector,
                                          std::uint64_t sectors, std::uint32_t flags) {
  const std::uint32_t at_once =
      type == spec::virtio_blk_type::discard ? limits_.max_discard_sectors : limits_.max_write_zeroes_sectors;
  if (at_once == 0) return tl::unexpected{Errno::eopnotsupp};
  const std::uint32_t per_block = limits_.logical_block_size / dev::sector_size;
  if (sector % per_block != 0 || sectors % per_block != 0 || at_once < per_block)
    return tl::unexpected{Errno::einval};
  CBIT_TRY(check_range(sector, sectors));

  while (sectors != 0 && !failure_) {
    const auto part =
        static_cast<std::uint32_t>(align_down(std::min<std::uint64_t>(sectors, at_once), per_block));
    const auto request = acquire(cpu);
    if (!request) {
      note(request.error());
      break;
    }
    paging::SiteScope scope{cpu, site_};
    const spec::VirtioBlkRange range{sector, part, flags};
    if (!cpu.store(requests_[*request].at + payload_offset, range)) note(Errno::efault);
    const VringBuffer data{phys_of(*request, payload_offset), sizeof range};
    if (const auto queued = submit(cpu, *request, {type, 0, 0}, {&data, 1}, Payload::out); !queued)
      note(queued.error());
    sector += part;
    sectors -= part;
  }
  return finish(cpu);
}

Result<std::string, Errno> VirtioBlkDriver::id(paging::Mmu& cpu) {
  const auto request = CBIT_TRY(acquire(cpu));
  const VringBuffer data{phys_of(request, payload_offset), spec::virtio_blk_id_bytes};
  CBIT_TRY(submit(cpu, request, {spec::virtio_blk_type::id, 0, 0}, {&data, 1}, Payload::in));
  CBIT_TRY(finish(cpu));
  std::string text(spec::virtio_blk_id_bytes, '\0');
  if (!cpu.read(requests_[request].at + payload_offset, std::as_writable_bytes(std::span{text})))
    return tl::unexpected{Errno::efault};
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

// bio_check_eod.
Result<void, Errno> VirtioBlkDriver::check_range(std::uint64_t sector, std::uint64_t sectors) const {
  if (sector <= capacity_ && sectors <= capacity_ - sector) return {};
  binding_.print("attempt to access beyond end of device");
  return tl::unexpected{Errno::eio};
}

// ---- segments ----

Result<std::deque<VringBuffer>, Errno> VirtioBlkDriver::segments_of(paging::Mmu& cpu, VirtAddr buffer,
                                                                    std::uint64_t bytes) const {
  const Mm& mm = binding_.kernel().mm();
  std::deque<VringBuffer> segments;
  while (bytes != 0) {
    std::uint64_t piece = std::min(bytes, page_size - buffer.page_offset());
    PhysAddr phys;
    if (mm.in_direct_map(buffer)) {
      phys = mm.virt_to_phys(buffer);
    } else {
      const auto page = cpu.translate(buffer, paging::Intent::read);
      if (!page) return tl::unexpected{Errno::efault};
      phys = page->phys;
    }
    VringBuffer* const last = segments.empty() ? nullptr : &segments.back();
    const bool joins = last != nullptr && last->phys + last->length == phys &&
                       last->length < limits_.max_segment_size && phys.value() % segment_boundary != 0;
    if (joins) {
      piece = std::min<std::uint64_t>(piece, limits_.max_segment_size - last->length);
      last->length += static_cast<std::uint32_t>(piece);
    } else {
      segments.push_back({phys, static_cast<std::uint32_t>(piece)});
    }
    buffer += piece;
    bytes -= piece;
  }
  return segments;
}

std::uint64_t VirtioBlkDriver::request_bytes(const std::deque<VringBuffer>& segments) const {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(segments.size(), limits_.max_segments); ++i)
    bytes += segments[i].length;
  return align_down(std::min(bytes, request_bytes_max), limits_.logical_block_size);
}

// ---- requests ----

Result<std::uint32_t, Errno> VirtioBlkDriver::acquire(paging::Mmu& cpu) {
  const auto find = [&] { return std::ranges::find(requests_, false, &Request::busy); };
  auto free = find();
  if (free == requests_.end()) {
    kick_and_collect(cpu);
    free = find();
  }
  if (free == requests_.end()) return tl::unexpected{Errno::etimedout};
  return static_cast<std::uint32_t>(free - requests_.begin());
}

// virtio_queue_rq. A full queue or bounce pool is tried again once what is in flight has come back.
Result<void, Errno> VirtioBlkDriver::submit(paging::Mmu& cpu, std::uint32_t request,
                                            const spec::VirtioBlkOutHdr& header,
                                            std::span<const VringBuffer> data, Payload payload) {
  {
    paging::SiteScope scope{cpu, site_};
    if (!cpu.store(requests_[request].at, header)) return tl::unexpected{Errno::efault};
  }
  std::vector<VringBuffer> out{{phys_of(request, 0), sizeof header}};
  std::vector<VringBuffer> in;
  auto& side = payload == Payload::out ? out : in;
  side.insert(side.end(), data.begin(), data.end());
  in.push_back({phys_of(request, status_offset), 1});

  auto added = queue_->add(cpu, out, in, request);
  if (!added && added.error() != Errno::eio && in_flight_ != 0) {
    kick_and_collect(cpu);
    added = queue_->add(cpu, out, in, request);
  }
  if (!added) return added;
  requests_[request].busy = true;
  ++in_flight_;
  return {};
}

Result<void, Errno> VirtioBlkDriver::finish(paging::Mmu& cpu) {
  if (in_flight_ != 0) kick_and_collect(cpu);
  if (in_flight_ != 0) {
    binding_.step("the device returned nothing: the requests wait for ever",
                  "drivers/block/virtio_blk.c: virtblk_done");
    note(queue_->broken() ? Errno::eio : Errno::etimedout);
    for (Request& request : requests_) request.abandoned = request.busy;
    in_flight_ = 0;
  }
  const auto failure = std::exchange(failure_, std::nullopt);
  if (failure) return tl::unexpected{*failure};
  return {};
}

// virtqueue_kick, then virtblk_done as the interrupt's handler.
void VirtioBlkDriver::kick_and_collect(paging::Mmu& cpu) {
  queue_->kick(cpu);
  if (!std::exchange(interrupted_, false) || !queue_->interrupted(cpu)) return;
  do {
    queue_->disable_interrupts(cpu);
    while (const auto used = queue_->get(cpu)) complete(cpu, used->token);
  } while (!queue_->broken() && !queue_->enable_interrupts(cpu));
}

// virtblk_result. The status is read from memory that was unmapped, so it has been copied back.
void VirtioBlkDriver::complete(paging::Mmu& cpu, std::uint32_t request) {
  const bool abandoned = std::exchange(requests_[request], Request{requests_[request].at}).abandoned;
  if (abandoned) return;
  --in_flight_;
  const auto status = cpu.load<std::uint8_t>(requests_[request].at + status_offset);
  if (!status) return note(Errno::efault);
  if (*status == spec::virtio_blk_status::ok) return;
  note(*status == spec::virtio_blk_status::unsupp ? Errno::eopnotsupp : Errno::eio);
}

void VirtioBlkDriver::note(Errno error) {
  if (!failure_) failure_ = error;
}

PhysAddr VirtioBlkDriver::phys_of(std::uint32_t request, std::uint64_t offset) const {
  return binding_.kernel().mm().virt_to_phys(requests_[request].at + offset);
}

}  // namespace cbit::kernel
