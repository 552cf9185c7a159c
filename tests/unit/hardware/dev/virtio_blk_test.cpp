#include "dev/virtio/virtio_blk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

using ::testing::HasSubstr;
using namespace spec::virtio_status;

constexpr std::uint64_t header_at = 0x50000;
constexpr std::uint64_t status_at = 0x50100;
constexpr std::uint64_t data_at = 0x60000;
constexpr std::uint64_t disk_bytes = 1 << 20;
constexpr std::uint8_t untouched = 0xee;

// Fails as a full file system does, once told to.
class FullDisk final : public BlockBackend {
 public:
  explicit FullDisk(std::uint64_t bytes) : disk_{Bytes(bytes)} {}
  [[nodiscard]] std::uint64_t bytes() const override { return disk_.bytes(); }
  [[nodiscard]] bool read_only() const override { return false; }
  OrError<void> read(std::uint64_t offset, ByteSpan to) override {
    if (full) return failure();
    return disk_.read(offset, to);
  }
  OrError<void> write(std::uint64_t offset, ConstByteSpan from) override {
    if (full) return failure();
    return disk_.write(offset, from);
  }
  OrError<void> zero(std::uint64_t, std::uint64_t, bool) override { return failure(); }
  OrError<void> flush() override {
    ++flushes;
    if (full) return failure();
    return {};
  }
  bool full = false;
  int flushes = 0;

 private:
  static OrError<void> failure() {
    return tl::unexpected{Error{"disk.img: No space left on device", "", ExitCode::output_failed}};
  }
  MemoryDisk disk_;
};

struct Answer {
  std::uint8_t status = untouched;
  std::uint32_t written = 0;
};

class VirtioBlkTest : public ::testing::TestWithParam<Transport> {
 protected:
  void start(BlockBackend& backend, const VirtioBlkOptions& options = {}, std::uint64_t refuse = 0) {
    auto created = VirtioBlk::create(board.bus, {.device = "vda", .requester = 8}, backend, options);
    ASSERT_TRUE(created) << created.error().message;
    device.reset();
    blk = created->get();
    device = connect(board, GetParam(), std::move(*created));
    ring.emplace(board, options.queue_size);
    device->set_status(acknowledge | driver);
    device->set_driver_features(device->device_features() & ~refuse);
    device->set_status(acknowledge | driver | features_ok);
    device->enable_queue(0, ring->config());
    device->set_status(acknowledge | driver | features_ok | driver_ok);
    ASSERT_FALSE(device->broken());
  }

  // Header, data and status, a descriptor each.
  Answer request(std::uint32_t type, std::uint64_t sector, const std::vector<spec::VringDesc>& data) {
    board.put(header_at, spec::VirtioBlkOutHdr{type, 0, sector});
    board.put(status_at, untouched);
    std::uint16_t i = 0;
    ring->desc(i, {header_at, 16, spec::vring_flag::next, 1});
    for (spec::VringDesc d : data) {
      ++i;
      d.flags = static_cast<std::uint16_t>(d.flags | spec::vring_flag::next);
      d.next = static_cast<std::uint16_t>(i + 1);
      ring->desc(i, d);
    }
    ring->desc(static_cast<std::uint16_t>(i + 1), {status_at, 1, spec::vring_flag::write, 0});
    return submit();
  }
  Answer submit() {
    ring->offer(0);
    ring->publish();
    const std::uint16_t before = ring->used_index();
    device->notify(0);
    if (ring->used_index() == before) return {};
    return {board.get<std::uint8_t>(status_at), ring->used_entry(before).len};
  }
  Answer zero_request(std::uint32_t type, const spec::VirtioBlkRange& range) {
    board.put(data_at, range);
    return request(type, 0, {{data_at, sizeof range, 0, 0}});
  }
  [[nodiscard]] spec::VirtioBlkConfig config() const {
    std::array<std::byte, sizeof(spec::VirtioBlkConfig)> raw{};
    device->read_config(0, raw);
    return load<spec::VirtioBlkConfig>(raw);
  }

  VirtioBoard board;
  Bytes contents = pattern_bytes(disk_bytes, 7);
  MemoryDisk disk{contents};
  VirtioBlk* blk = nullptr;
  std::unique_ptr<DriverEnd> device;
  std::optional<RawRing> ring;
};

INSTANTIATE_TEST_SUITE_P(Over, VirtioBlkTest, testing::Values(Transport::direct, Transport::pci),
                         transport_name);

TEST_P(VirtioBlkTest, ReadsSectorsIntoSeveralSegments) {
  start(disk);
  board.log.clear();
  const auto answer = request(
      spec::virtio_blk_type::in, 4,
      {{data_at, 512, spec::vring_flag::write, 0}, {data_at + 0x10000, 1024, spec::vring_flag::write, 0}});
  EXPECT_EQ(answer.status, spec::virtio_blk_status::ok);
  EXPECT_EQ(answer.written, 512u + 1024 + 1);
  EXPECT_EQ(board.get_bytes(data_at, 512), Bytes(contents.begin() + 2048, contents.begin() + 2560));
  EXPECT_EQ(board.get_bytes(data_at + 0x10000, 1024),
            Bytes(contents.begin() + 2560, contents.begin() + 3584));
  EXPECT_EQ(board.get_bytes(data_at + 512, 16), Bytes(16)) << "nothing beyond the segment";

  const auto events = board.log.all<VirtioRequest>();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].sector, 4u);
  EXPECT_EQ(events[0].bytes, 1536u);
  EXPECT_EQ(events[0].type, spec::virtio_blk_type::in);
  EXPECT_EQ(events[0].status, spec::virtio_blk_status::ok);
}

TEST_P(VirtioBlkTest, WritesSectors) {
  start(disk);
  const Bytes data = pattern_bytes(200 * 1024, 9);
  board.put_bytes(data_at, data);
  const auto answer = request(spec::virtio_blk_type::out, 2, {{data_at, 200 * 1024, 0, 0}});
  EXPECT_EQ(answer.status, spec::virtio_blk_status::ok);
  EXPECT_EQ(answer.written, 1u) << "the status byte only";
  Bytes expected = contents;
  std::ranges::copy(data, expected.begin() + 1024);
  EXPECT_TRUE(std::ranges::equal(disk.contents(), expected));
}

TEST_P(VirtioBlkTest, TakesARequestThatIsCutAnywhere) {
  start(disk);
  board.put(header_at, spec::VirtioBlkOutHdr{spec::virtio_blk_type::in, 0, 1});
  board.put(status_at, untouched);
  ring->desc(0, {header_at, 7, spec::vring_flag::next, 1});
  ring->desc(1, {header_at + 7, 9, spec::vring_flag::next, 2});
  ring->desc(2, {data_at, 100, spec::vring_flag::next | spec::vring_flag::write, 3});
  ring->desc(3, {data_at + 100, 413, spec::vring_flag::write, 0});
  submit();
  EXPECT_EQ(board.get_bytes(data_at, 512), Bytes(contents.begin() + 512, contents.begin() + 1024));
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 512), spec::virtio_blk_status::ok);
}

TEST_P(VirtioBlkTest, RefusesWhatLiesOutsideTheDisk) {
  start(disk);
  const std::uint64_t sectors = disk_bytes / 512;
  const spec::VringDesc two_sectors{data_at, 1024, spec::vring_flag::write, 0};
  EXPECT_EQ(request(spec::virtio_blk_type::in, sectors - 2, {two_sectors}).status,
            spec::virtio_blk_status::ok);
  board.put_bytes(data_at, Bytes(1024));
  for (const std::uint64_t sector : {sectors - 1, sectors, ~std::uint64_t{0}, (~std::uint64_t{0}) / 512}) {
    const auto answer = request(spec::virtio_blk_type::in, sector, {two_sectors});
    EXPECT_EQ(answer.status, spec::virtio_blk_status::ioerr) << sector;
    EXPECT_EQ(answer.written, 1u);
  }
  EXPECT_EQ(board.get_bytes(data_at, 1024), Bytes(1024)) << "no byte of the disk leaked";
  EXPECT_EQ(request(spec::virtio_blk_type::out, sectors - 1, {{data_at, 1024, 0, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_TRUE(std::ranges::equal(disk.contents(), contents));
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioBlkTest, RefusesLengthsAndSectorsThatAreNotWholeBlocks) {
  start(disk, {.blk_size = 4096});
  EXPECT_EQ(request(spec::virtio_blk_type::in, 8, {{data_at, 4096, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::ok);
  EXPECT_EQ(request(spec::virtio_blk_type::in, 8, {{data_at, 512, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_EQ(request(spec::virtio_blk_type::in, 1, {{data_at, 4096, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_EQ(request(spec::virtio_blk_type::out, 8, {{data_at, 100, 0, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_TRUE(std::ranges::equal(disk.contents(), contents));
}

TEST_P(VirtioBlkTest, AReadOnlyDiskSaysSoAndRefusesWrites) {
  MemoryDisk locked{contents, true};
  start(locked);
  EXPECT_TRUE(device->has(spec::virtio_blk_feature::ro));
  EXPECT_FALSE(device->has(spec::virtio_blk_feature::discard | spec::virtio_blk_feature::write_zeroes));
  EXPECT_EQ(request(spec::virtio_blk_type::out, 0, {{data_at, 512, 0, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_EQ(zero_request(spec::virtio_blk_type::discard, {0, 1, 0}).status, spec::virtio_blk_status::unsupp);
  EXPECT_EQ(request(spec::virtio_blk_type::in, 0, {{data_at, 512, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::ok);
  EXPECT_TRUE(std::ranges::equal(locked.contents(), contents));
}

TEST_P(VirtioBlkTest, RefusesSegmentsOverTheNegotiatedSize) {
  start(disk, {.size_max = 1024});
  EXPECT_EQ(config().size_max, 1024u);
  const spec::VringDesc at_limit{data_at, 1024, spec::vring_flag::write, 0};
  EXPECT_EQ(request(spec::virtio_blk_type::in, 0, {at_limit, at_limit}).status, spec::virtio_blk_status::ok);
  EXPECT_EQ(request(spec::virtio_blk_type::in, 0, {{data_at, 1536, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::ioerr);
}

TEST_P(VirtioBlkTest, FlushesOnRequest) {
  FullDisk backend{disk_bytes};
  start(backend);
  EXPECT_EQ(request(spec::virtio_blk_type::out, 0, {{data_at, 512, 0, 0}}).status,
            spec::virtio_blk_status::ok);
  EXPECT_EQ(backend.flushes, 0) << "a negotiated FLUSH leaves writes in the cache";
  EXPECT_EQ(request(spec::virtio_blk_type::flush, 0, {}).status, spec::virtio_blk_status::ok);
  EXPECT_EQ(backend.flushes, 1);
}

TEST_P(VirtioBlkTest, WritesThroughWhenFlushWasNotNegotiated) {
  FullDisk backend{disk_bytes};
  start(backend, {}, spec::virtio_blk_feature::flush);
  EXPECT_EQ(request(spec::virtio_blk_type::out, 0, {{data_at, 512, 0, 0}}).status,
            spec::virtio_blk_status::ok);
  EXPECT_EQ(backend.flushes, 1);
}

TEST_P(VirtioBlkTest, GivesItsSerialNumber) {
  start(disk, {.serial = "cbit-0123456789ABCDE"});
  const auto answer = request(spec::virtio_blk_type::id, 0, {{data_at, 20, spec::vring_flag::write, 0}});
  EXPECT_EQ(answer.status, spec::virtio_blk_status::ok);
  EXPECT_EQ(answer.written, 21u);
  const Bytes id = board.get_bytes(data_at, 21);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(id.data()), 20), "cbit-0123456789ABCDE");
  EXPECT_EQ(id[20], std::byte{0});
  EXPECT_EQ(request(spec::virtio_blk_type::id, 0, {{data_at + 64, 4, spec::vring_flag::write, 0}}).written,
            5u);
  EXPECT_EQ(board.get_bytes(data_at + 68, 4), Bytes(4)) << "a short buffer gets a part";
}

TEST_P(VirtioBlkTest, DiscardedAndZeroedRangesReadAsZeros) {
  start(disk);
  EXPECT_EQ(zero_request(spec::virtio_blk_type::discard, {2, 3, 0}).status, spec::virtio_blk_status::ok);
  EXPECT_EQ(zero_request(spec::virtio_blk_type::write_zeroes, {10, 1, 0}).status,
            spec::virtio_blk_status::ok);
  EXPECT_EQ(zero_request(spec::virtio_blk_type::write_zeroes, {12, 1, spec::virtio_blk_flag_unmap}).status,
            spec::virtio_blk_status::ok);
  Bytes expected = contents;
  std::fill_n(expected.begin() + 1024, 1536, std::byte{0});
  std::fill_n(expected.begin() + 5120, 512, std::byte{0});
  std::fill_n(expected.begin() + 6144, 512, std::byte{0});
  EXPECT_TRUE(std::ranges::equal(disk.contents(), expected));
}

TEST_P(VirtioBlkTest, ChecksRangesAndFlagsOfDiscardAndWriteZeroes) {
  start(disk);
  const std::uint64_t sectors = disk_bytes / 512;
  for (const auto type : {spec::virtio_blk_type::discard, spec::virtio_blk_type::write_zeroes}) {
    EXPECT_EQ(zero_request(type, {sectors - 1, 2, 0}).status, spec::virtio_blk_status::ioerr);
    EXPECT_EQ(zero_request(type, {~std::uint64_t{0}, 1, 0}).status, spec::virtio_blk_status::ioerr);
    EXPECT_EQ(zero_request(type, {0, config().max_discard_sectors + 1, 0}).status,
              spec::virtio_blk_status::ioerr);
    EXPECT_EQ(zero_request(type, {0, 1, 2}).status, spec::virtio_blk_status::unsupp) << "reserved flag";
    EXPECT_EQ(request(type, 0, {{data_at, 32, 0, 0}}).status, spec::virtio_blk_status::ioerr) << "two ranges";
    EXPECT_EQ(request(type, 0, {{data_at, 15, 0, 0}}).status, spec::virtio_blk_status::ioerr);
    EXPECT_EQ(request(type, 0, {}).status, spec::virtio_blk_status::ioerr);
  }
  EXPECT_EQ(zero_request(spec::virtio_blk_type::discard, {0, 1, spec::virtio_blk_flag_unmap}).status,
            spec::virtio_blk_status::unsupp);
  EXPECT_TRUE(std::ranges::equal(disk.contents(), contents));
}

TEST_P(VirtioBlkTest, AnswersUnknownTypesWithUnsupp) {
  start(disk);
  EXPECT_EQ(request(99, 0, {{data_at, 512, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::unsupp);
  EXPECT_EQ(request(0x8000'0001, 0, {{data_at, 512, 0, 0}}).status, spec::virtio_blk_status::unsupp)
      << "legacy BARRIER";
  EXPECT_TRUE(std::ranges::equal(disk.contents(), contents));
}

TEST_P(VirtioBlkTest, TurnsFailuresOfTheDiskIntoIoErrors) {
  FullDisk backend{disk_bytes};
  start(backend);
  backend.full = true;
  EXPECT_EQ(request(spec::virtio_blk_type::out, 0, {{data_at, 512, 0, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_EQ(request(spec::virtio_blk_type::in, 0, {{data_at, 512, spec::vring_flag::write, 0}}).status,
            spec::virtio_blk_status::ioerr);
  EXPECT_EQ(request(spec::virtio_blk_type::flush, 0, {}).status, spec::virtio_blk_status::ioerr);
  EXPECT_EQ(zero_request(spec::virtio_blk_type::discard, {0, 1, 0}).status, spec::virtio_blk_status::ioerr);
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioBlkTest, StopsOnRequestsWithoutHeaderOrStatus) {
  start(disk);
  ring->desc(0, {header_at, 15, spec::vring_flag::next, 1});
  ring->desc(1, {status_at, 1, spec::vring_flag::write, 0});
  submit();
  EXPECT_TRUE(device->broken());

  start(disk);
  board.put(header_at, spec::VirtioBlkOutHdr{spec::virtio_blk_type::flush, 0, 0});
  ring->desc(0, {header_at, 16, 0, 0});
  submit();
  EXPECT_TRUE(device->broken());
}

TEST_P(VirtioBlkTest, StopsWhenABufferLiesOutsideMemory) {
  start(disk);
  request(spec::virtio_blk_type::in, 0, {{VirtioBoard::ram_bytes, 512, spec::vring_flag::write, 0}});
  EXPECT_TRUE(device->broken());
  EXPECT_EQ(board.get<std::uint8_t>(status_at), untouched);
  EXPECT_EQ(board.log.all<DeviceFault>().size(), 1u);
  const auto broken = board.log.all<VirtioBroken>();
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_THAT(broken[0].reason, HasSubstr("no memory at this address"));
}

TEST_P(VirtioBlkTest, ConfigurationSpaceFollowsTheSpecification) {
  start(disk, {.blk_size = 1024, .seg_max = 126, .size_max = 65536});
  const auto c = config();
  EXPECT_EQ(c.capacity, disk_bytes / 512);
  EXPECT_EQ(c.size_max, 65536u);
  EXPECT_EQ(c.seg_max, 126u);
  EXPECT_EQ(c.blk_size, 1024u);
  EXPECT_EQ(c.num_queues, 1u);
  EXPECT_EQ(c.max_discard_seg, 1u);
  EXPECT_EQ(c.discard_sector_alignment, 2u);
  EXPECT_EQ(blk->device_id(), 2);
  using namespace spec::virtio_blk_feature;
  EXPECT_EQ(device->device_features() & bit_mask(24),
            size_max | seg_max | blk_size | spec::virtio_blk_feature::flush | discard | write_zeroes);
}

TEST_P(VirtioBlkTest, RefusesOptionsThatNoDeviceHas) {
  const auto refused = [&](const VirtioBlkOptions& options) {
    return !VirtioBlk::create(board.bus, {.device = "vda"}, disk, options);
  };
  EXPECT_TRUE(refused({.virtio = {.iommu_platform = true, .legacy = true}}));
  EXPECT_TRUE(refused({.queue_size = 100, .seg_max = 0}));
  EXPECT_TRUE(refused({.queue_size = 128, .seg_max = 127}));
  EXPECT_TRUE(refused({.blk_size = 513}));
  EXPECT_TRUE(refused({.blk_size = 8192}));
  EXPECT_TRUE(refused({.serial = "longer than twenty bytes"}));
  MemoryDisk odd{Bytes(512 * 3)};
  EXPECT_FALSE(VirtioBlk::create(board.bus, {.device = "vda"}, odd, {.blk_size = 1024}));
}

}  // namespace
}  // namespace cbit::dev
