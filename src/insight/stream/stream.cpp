#include "stream/stream.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dev/disk_image.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "kernel/virtio/virtio_blk_driver.hpp"
#include "machine/slots.hpp"
#include "os/temporary_folder.hpp"
#include "stream/target_image.hpp"

namespace cbit::stream {
namespace {

// A virtio-blk device on a disk, with the driver bound to it.
class Drive {
 public:
  static OrError<std::unique_ptr<Drive>> plug(testbed::Testbed& bed, std::string name, dev::DiskImage& disk,
                                              std::string serial, bool raw_addresses) {
    std::unique_ptr<Drive> drive{new Drive};
    drive->disk_ = &disk;
    kernel::Device& parent = bed.kernel().add_device({.name = name});
    drive->hardware_ = CBIT_TRY(machine::plug<dev::VirtioBlk>(
        bed.machine().bus(), "virtio-blk", {.name = name, .requester = parent.requester},
        machine::DiskOptions{.device = {.serial = std::move(serial)}, .disk = &disk}));
    auto driver = kernel::VirtioBlkDriver::probe(bed.kernel(), *drive->hardware_, parent,
                                                 {.raw_addresses = raw_addresses});
    if (!driver)
      return bad_input(
          fmt::format("the driver cannot use {}: errno {}", name, static_cast<int>(driver.error())));
    drive->driver_ = *std::move(driver);
    return drive;
  }

  [[nodiscard]] kernel::VirtioBlkDriver& driver() { return *driver_; }
  // What the host's disk had to say when the driver got -EIO.
  [[nodiscard]] const std::optional<Error>& disk_error() const { return disk_->failure(); }

 private:
  Drive() = default;
  const dev::DiskImage* disk_ = nullptr;
  std::unique_ptr<dev::VirtioBlk> hardware_;
  std::unique_ptr<kernel::VirtioBlkDriver> driver_;
};

// The guest's memory for the whole image, and its traffic.
class Guest {
 public:
  static OrError<std::unique_ptr<Guest>> boot(const StreamOptions& options, std::uint64_t image_bytes,
                                              const EventSinks& sinks) {
    std::unique_ptr<Guest> guest{new Guest};
    guest->bed_ = CBIT_TRY(testbed::Testbed::create(options.bed, sinks));
    guest->bytes_ = image_bytes;
    guest->request_bytes_ = options.request_bytes;
    const std::uint64_t pages = (image_bytes + page_size - 1) / page_size;
    const auto buffer = guest->bed_->kernel().mm().alloc_pages(pages);
    if (!buffer)
      return bad_input(
          fmt::format("an image of {} MiB does not fit into the guest's memory", image_bytes >> 20),
          "use more --memory or a smaller image");
    guest->buffer_ = *buffer;
    return guest;
  }

  [[nodiscard]] testbed::Testbed& bed() { return *bed_; }

  OrError<void> read_from(Drive& drive) {
    return for_each_request("reading", drive, [&](std::uint64_t at, std::uint64_t n) {
      return drive.driver().read(cpu(), at / dev::sector_size, buffer_ + at, n);
    });
  }
  OrError<void> write_to(Drive& drive) {
    CBIT_TRY(for_each_request("writing", drive, [&](std::uint64_t at, std::uint64_t n) {
      return drive.driver().write(cpu(), at / dev::sector_size, buffer_ + at, n);
    }));
    if (const auto done = drive.driver().flush(cpu()); !done)
      return tl::unexpected{trouble("flushing", drive, done.error())};
    return {};
  }

  // The image as the guest's CPU sees it now.
  crypt::Sha256Digest digest() {
    crypt::Sha256 hash;
    Bytes chunk(request_bytes_);
    for (std::uint64_t at = 0; at < bytes_; at += chunk.size()) {
      chunk.resize(std::min<std::uint64_t>(chunk.size(), bytes_ - at));
      if (cpu().read(buffer_ + at, chunk)) hash.update(chunk);
    }
    return hash.finish();
  }

  StreamPass report(const SectorIndex& index, const crypt::Sha256Digest& source) {
    StreamPass pass;
    pass.bytes = bytes_;
    pass.in_guest = digest();
    pass.intact = pass.in_guest == source;
    pass.scan = scan_as_host(bed_->memory(), index);
    pass.pages = watch::page_map(bed_->memory());
    pass.page_table = watch::render_page_table(pass.pages, bed_->tracer());
    pass.page_picture = watch::render_page_picture(pass.pages, bed_->tracer());
    pass.shared_ciphertext = watch::writers_of_shared_ciphertext(pass.pages, bed_->tracer());
    take_samples(pass, index);
    return pass;
  }
  void take_samples(StreamPass& pass, const SectorIndex& index) {
    Bytes sector(dev::sector_size);
    for (std::uint64_t at = 0; at < bytes_; at += sector.size()) {
      if (!cpu().read(buffer_ + at, sector) || !index.find(sector)) continue;
      const auto place = cpu().translate(buffer_ + at, paging::Intent::read);
      if (!place) break;
      add_sample(pass, "in the guest's memory, as its CPU sees it", place->phys, sector);
      Bytes seen(sample_bytes);
      if (bed_->memory().peek(place->phys, seen, no_key))
        add_sample(pass, "the same, as the host sees it", place->phys, seen);
      break;
    }
    Bytes found(sample_bytes);
    if (pass.scan.found_in_shared_page && bed_->memory().peek(*pass.scan.found_in_shared_page, found, no_key))
      add_sample(pass, "in a shared page, as the host sees it", *pass.scan.found_in_shared_page, found);
  }
  static void add_sample(StreamPass& pass, std::string what, PhysAddr at, ConstByteSpan bytes) {
    const ConstByteSpan first = bytes.first(sample_bytes);
    pass.samples.push_back({std::move(what), at, Bytes(first.begin(), first.end())});
  }
  void report_totals(StreamPass& pass) {
    if (kernel::Swiotlb* const pool = bed_->kernel().dma().swiotlb()) pass.swiotlb = pool->usage();
    pass.conversions = bed_->kernel().mm().conversion_cost();
    pass.counters = bed_->counters();
    pass.virtual_ns = bed_->tracer().clock().now_ns();
    pass.causes = bed_->explainer().causes();
    pass.kernel_log = bed_->explainer().kernel_log();
  }

 private:
  static constexpr std::size_t sample_bytes = 16;
  Guest() = default;
  [[nodiscard]] paging::Mmu& cpu() { return bed_->kernel().cpu(0); }

  // The disk's own error, or the first cause of what went wrong on the way to it.
  Error trouble(std::string_view what, const Drive& drive, kernel::Errno error) {
    if (drive.disk_error()) return *drive.disk_error();
    Error told{fmt::format("{} failed with {}", what, kernel::errno_name(error)), "", ExitCode::bad_input};
    if (const auto& causes = bed_->explainer().causes(); !causes.empty()) {
      told.message += fmt::format(": {}: {}", causes.front().info->name, causes.front().info->title);
      told.hint = causes.front().remedies.front().text;
    }
    return told;
  }

  template <class Request>
  OrError<void> for_each_request(std::string_view what, Drive& drive, Request&& request) {
    for (std::uint64_t at = 0; at < bytes_; at += request_bytes_) {
      const Result<void, kernel::Errno> done = request(at, std::min(request_bytes_, bytes_ - at));
      if (!done) return tl::unexpected{trouble(what, drive, done.error())};
    }
    return {};
  }

  std::unique_ptr<testbed::Testbed> bed_;
  VirtAddr buffer_;
  std::uint64_t bytes_ = 0;
  std::uint64_t request_bytes_ = 0;
};

OrError<SectorIndex> index_of(dev::BlockBackend& disk) {
  SectorIndex index;
  Bytes chunk(1 << 20);
  for (std::uint64_t at = 0; at < disk.bytes(); at += chunk.size()) {
    chunk.resize(std::min<std::uint64_t>(chunk.size(), disk.bytes() - at));
    CBIT_TRY(disk.read(at, chunk));
    index.add(chunk);
  }
  return index;
}

OrError<StreamPass> correct_pass(const StreamOptions& options, const std::string& target_path,
                                 dev::DiskImage& source, const SectorIndex& index,
                                 const crypt::Sha256Digest& digest, const EventSinks& sinks) {
  auto target = CBIT_TRY(dev::DiskImage::create(target_path, source.bytes()));
  auto guest = CBIT_TRY(Guest::boot(options, source.bytes(), sinks));
  auto from = CBIT_TRY(Drive::plug(guest->bed(), "0000:00:04.0", source, "cbit-source", false));
  auto to = CBIT_TRY(Drive::plug(guest->bed(), "0000:00:05.0", *target, "cbit-target", false));
  CBIT_TRY(guest->read_from(*from));
  StreamPass pass = guest->report(index, digest);
  CBIT_TRY(guest->write_to(*to));
  guest->report_totals(pass);
  CBIT_TRY(target->commit());
  return pass;
}

OrError<StreamPass> raw_pass(const StreamOptions& options, dev::DiskImage& source, const SectorIndex& index,
                             const crypt::Sha256Digest& digest) {
  auto guest = CBIT_TRY(Guest::boot(options, source.bytes(), {}));
  auto from = CBIT_TRY(Drive::plug(guest->bed(), "0000:00:04.0", source, "cbit-source", true));
  // A device that may not write the guest's pages answers with an error; what the guest then has is the
  // finding.
  static_cast<void>(guest->read_from(*from));
  StreamPass pass = guest->report(index, digest);
  guest->report_totals(pass);
  return pass;
}

OrError<void> check(const StreamOptions& options) {
  if (options.request_bytes == 0 || options.request_bytes % page_size != 0)
    return usage_error(fmt::format("a request of {} bytes is not whole pages", options.request_bytes),
                       "use a multiple of 4096");
  return {};
}

// Before anything of it is read: a sparse image of a terabyte takes no room, until then.
OrError<void> check_size(const std::string& path, std::uint64_t bytes, std::uint64_t memory_bytes) {
  if (bytes > image_bytes_max)
    return bad_input(fmt::format("{} has {} MiB; an image that is streamed has at most {}", path, bytes >> 20,
                                 image_bytes_max >> 20),
                     "use a smaller image");
  if (bytes > memory_bytes)
    return bad_input(fmt::format("an image of {} MiB does not fit into the guest's memory", bytes >> 20),
                     "use more --memory or a smaller image");
  return {};
}

}  // namespace

OrError<StreamReport> stream(const StreamOptions& options, const EventSinks& sinks) {
  CBIT_TRY(check(options));
  const os::TemporaryFolder folder = CBIT_TRY(os::TemporaryFolder::create("cbit"));
  TargetImage target = CBIT_TRY(TargetImage::choose(options.target, folder));
  const SourceImage image = CBIT_TRY(SourceImage::open(options.source, folder));
  auto disk = CBIT_TRY(dev::DiskImage::open(image.path(), dev::DiskImage::Mode::read_only));
  CBIT_TRY(check_size(image.path(), disk->bytes(), options.bed.machine.memory_bytes));
  StreamReport report{.options = options, .disk = image.path()};
  report.source = CBIT_TRY(digest_file(image.path(), image_bytes_max));
  const SectorIndex index = CBIT_TRY(index_of(*disk));
  report.telling_sectors = index.size();
  report.correct = CBIT_TRY(correct_pass(options, target.path(), *disk, index, report.source, sinks));
  report.target = CBIT_TRY(digest_file(target.path(), image_bytes_max));
  report.equal = report.source == report.target;
  report.files = CBIT_TRY(image.find_files_in(target.path()));
  report.raw = CBIT_TRY(raw_pass(options, *disk, index, report.source));
  CBIT_TRY(target.deliver());
  return report;
}

}  // namespace cbit::stream
