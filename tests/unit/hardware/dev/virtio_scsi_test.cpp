#include "dev/virtio/virtio_scsi.hpp"

#include <gtest/gtest.h>

#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

constexpr unsigned slot = 1;
constexpr std::uint64_t header_at = 0x40000, response_at = 0x41000, data_at = 0x50000;
constexpr std::uint32_t header_bytes = 19 + 32, response_bytes = 12 + 96;

// Numbers are those of VIRTIO 1.2, 5.6, SPC-4 and SBC-3.
struct VirtioScsiTest : testing::Test {
  VirtioScsiTest() { start(false); }

  void start(bool read_only) {
    end.reset();
    contents = pattern_bytes(64 * 1024, 3);
    disk = std::make_unique<MemoryDisk>(contents, read_only);
    auto made = VirtioScsi::create(board.bus, {.device = "scsi", .requester = slot << 3}, *disk,
                                   {.queue_size = 8, .serial = "a serial"});
    ASSERT_TRUE(made) << made.error().message;
    end = std::make_unique<ModernEnd>(board, std::move(*made));
    end->set_status(0);
    end->set_status(3);
    end->set_driver_features(end->device_features());
    end->set_status(11);
    board.put_bytes(0x10000, Bytes(0x8000));
    control = RawRing{board, 8, 0x10000};
    requests = RawRing{board, 8, 0x14000};
    end->enable_queue(0, control.config());
    end->enable_queue(2, requests.config());
    end->set_status(15);
  }

  struct Answer {
    std::uint8_t status = 0, response = 0;
    std::uint32_t resid = 0, sense_len = 0;
    std::uint8_t key = 0, code = 0;
    std::uint32_t used = 0;
  };
  Answer run(std::initializer_list<unsigned> cdb, std::uint32_t in, std::uint32_t out = 0,
             std::uint32_t lun = 0x0040'0001) {
    board.put_bytes(header_at, Bytes(header_bytes));
    board.put(header_at, lun);
    std::uint64_t at = header_at + 19;
    for (const unsigned byte : cdb) board.put(at++, static_cast<std::uint8_t>(byte));
    std::uint16_t last = 0;
    const auto add = [&](std::uint64_t where, std::uint32_t bytes, bool writable) {
      const auto flags = static_cast<std::uint16_t>((writable ? 2 : 0) | 1);
      requests.desc(last, {where, bytes, flags, static_cast<std::uint16_t>(last + 1)});
      ++last;
    };
    add(header_at, header_bytes, false);
    if (out != 0) add(data_at, out, false);
    if (in != 0) {
      add(response_at, response_bytes, true);
      requests.desc(last, {data_at, in, 2, 0});
    } else {
      requests.desc(last, {response_at, response_bytes, 2, 0});
    }
    requests.offer(0);
    requests.publish();
    end->notify(2);
    Answer answer;
    answer.used = requests.used_entry(requests.used_index() - 1u).len;
    answer.sense_len = board.get<std::uint32_t>(response_at);
    answer.resid = board.get<std::uint32_t>(response_at + 4);
    answer.status = board.get<std::uint8_t>(response_at + 10);
    answer.response = board.get<std::uint8_t>(response_at + 11);
    answer.key = board.get<std::uint8_t>(response_at + 12 + 2);
    answer.code = board.get<std::uint8_t>(response_at + 12 + 12);
    return answer;
  }
  void refused(const Answer& answer, unsigned key, unsigned code) {
    EXPECT_EQ(answer.status, 2u) << "check condition";
    EXPECT_EQ(answer.response, 0u);
    EXPECT_EQ(answer.sense_len, 18u);
    EXPECT_EQ(board.get<std::uint8_t>(response_at + 12), 0x70u);
    EXPECT_EQ(answer.key, key);
    EXPECT_EQ(answer.code, code);
  }
  std::string text(std::uint64_t at, std::size_t bytes) {
    const Bytes raw = board.get_bytes(at, bytes);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }

  VirtioBoard board;
  Bytes contents;
  std::unique_ptr<MemoryDisk> disk;
  std::unique_ptr<ModernEnd> end;
  RawRing control{board, 8, 0x10000}, requests{board, 8, 0x14000};
};

TEST_F(VirtioScsiTest, HasOneTargetWithOneDisk) {
  EXPECT_EQ(end->hardware().device_id(), 8);
  EXPECT_EQ(end->hardware().queue_count(), 3);
  auto answer = run({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64}, 64);
  EXPECT_EQ(answer.status, 0u);
  EXPECT_EQ(board.get<std::uint32_t>(data_at), 8u << 24) << "one unit, 0";
  EXPECT_EQ(answer.resid, 48u);
  EXPECT_EQ(answer.used, response_bytes + 16);
  EXPECT_EQ(run({0}, 0).status, 0u) << "ready";
  EXPECT_EQ(run({0}, 0, 0, 0x0040'0101).response, 3u) << "no such target";
  refused(run({0}, 0, 0, 0x0140'0001), 5, 0x25);
  refused(run({0xff}, 0), 5, 0x20);
}

TEST_F(VirtioScsiTest, TellsWhatItIs) {
  EXPECT_EQ(run({0x12, 0, 0, 0, 36}, 36).status, 0u);
  EXPECT_EQ(board.get<std::uint8_t>(data_at), 0u) << "a disk";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 4), 31u);
  EXPECT_EQ(text(data_at + 8, 24), "cbit    SCSI disk       ");
  EXPECT_EQ(run({0x12, 1, 0x80, 0, 64}, 64).status, 0u);
  EXPECT_EQ(text(data_at + 4, 8), "a serial");
  EXPECT_EQ(run({0x12, 1, 0x83, 0, 64}, 64).resid, 64u - 24u);
  EXPECT_EQ(text(data_at + 8, 16), "cbit    a serial");
  EXPECT_EQ(run({0x12, 1, 0, 0, 64}, 64).status, 0u);
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 3), 0x8380'0003u) << "three pages";
  refused(run({0x12, 1, 0xb0, 0, 64}, 64), 5, 0x24);

  EXPECT_EQ(run({0x25}, 8).status, 0u);
  EXPECT_EQ(board.get<std::uint64_t>(data_at), 0x0002'0000'7f00'0000u) << "127 is the last; 512 bytes";
  EXPECT_EQ(run({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32).status, 0u);
  EXPECT_EQ(board.get<std::uint64_t>(data_at), std::uint64_t{127} << 56);
  refused(run({0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32), 5, 0x24);
  EXPECT_EQ(run({0x1a, 0, 8, 0, 64}, 64).resid, 40u);
  EXPECT_EQ(board.get<std::uint32_t>(data_at), 0x0010'0017u) << "23 bytes follow; FUA, no protection";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 6), 4u) << "a write cache";
  EXPECT_EQ(run({0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 64}, 64).resid, 64u - 28u);
  EXPECT_EQ(run({0x03, 0, 0, 0, 18}, 18).status, 0u);
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 2), 0u) << "no sense is left";
}

TEST_F(VirtioScsiTest, ReadsAndWritesBlocks) {
  EXPECT_EQ(run({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 1024).status, 0u);
  EXPECT_TRUE(
      std::ranges::equal(board.get_bytes(data_at, 1024), ConstByteSpan{contents}.subspan(1536, 1024)));
  const Bytes written = pattern_bytes(1024, 77);
  board.put_bytes(data_at, written);
  const auto answer = run({0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2}, 0, 1024);
  EXPECT_EQ(answer.status, 0u);
  EXPECT_EQ(answer.resid, 0u);
  EXPECT_EQ(answer.used, response_bytes);
  EXPECT_TRUE(std::ranges::equal(disk->contents().subspan(2560, 1024), written));
  EXPECT_EQ(run({0x35}, 0).status, 0u);
}

TEST_F(VirtioScsiTest, KeepsToTheDiskAndToTheBuffer) {
  refused(run({0x28, 0, 0, 0, 0, 127, 0, 0, 2}, 1024), 5, 0x21);
  refused(run({0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2}, 1024), 5, 0x21);
  EXPECT_EQ(run({0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 1023).response, 1u) << "overrun";
  EXPECT_EQ(run({0x2a, 0, 0, 0, 0, 0, 0, 0, 2}, 0, 512).response, 1u);
  EXPECT_TRUE(std::ranges::equal(disk->contents(), contents));
  start(true);
  refused(run({0x2a, 0, 0, 0, 0, 0, 0, 0, 2}, 0, 1024), 7, 0x27);
  EXPECT_EQ(run({0x1a, 0, 8, 0, 4}, 4).status, 0u);
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 2), 0x90u) << "write protected";
}

TEST_F(VirtioScsiTest, FindsEveryTaskEnded) {
  const auto manage = [&](std::uint32_t type, std::uint32_t subtype, std::uint32_t lun) {
    board.put(header_at, type);
    board.put(header_at + 4, subtype);
    board.put(header_at + 8, lun);
    board.put(header_at + 12, std::uint32_t{0});
    control.desc(0, {header_at, 24, 1, 1});
    control.desc(1, {response_at, type == 0 ? 1u : 5u, 2, 0});
    control.offer(0);
    control.publish();
    end->notify(0);
    return board.get<std::uint8_t>(response_at + (type == 0 ? 0 : 4));
  };
  EXPECT_EQ(manage(0, 0, 0x0040'0001), 0u) << "abort task: complete";
  EXPECT_EQ(manage(0, 5, 0x0040'0001), 0u) << "reset of the unit";
  EXPECT_EQ(manage(0, 99, 0x0040'0001), 11u);
  EXPECT_EQ(manage(0, 0, 0x0140'0001), 12u);
  EXPECT_EQ(manage(0, 0, 0x0040'0501), 3u);
  EXPECT_EQ(manage(1, 0, 0x0040'0001), 0u) << "no events";
}

TEST_F(VirtioScsiTest, StopsAtARequestWithoutRoomForItsResponse) {
  requests.desc(0, {header_at, header_bytes, 1, 1});
  requests.desc(1, {response_at, response_bytes - 1, 2, 0});
  requests.offer(0);
  requests.publish();
  end->notify(2);
  EXPECT_TRUE(end->hardware().broken());
}

}  // namespace
}  // namespace cbit::dev
