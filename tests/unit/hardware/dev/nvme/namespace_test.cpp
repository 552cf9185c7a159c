#include "dev/nvme/namespace.hpp"

#include "nvme_fixture.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint8_t flush = 0, write = 1, read = 2, compare = 5, write_zeroes = 8, dataset_management = 9;
constexpr std::uint8_t sgl = 0x40;
constexpr std::uint64_t data_block = 0, bit_bucket = 0x10ull << 56, segment = 0x20ull << 56,
                        last_segment = 0x30ull << 56;

struct NvmeCommands : NvmeTest {
  NvmeCommands() { start(); }

  void descriptor(std::uint64_t at, std::uint64_t address, std::uint32_t length, std::uint64_t type) {
    board.put(at, address);
    board.put(at + 8, type | length);
  }
  static spec::nvme::Command by_sgl(std::uint8_t opcode, std::uint64_t address, std::uint32_t length,
                                    std::uint64_t type, std::uint32_t blocks) {
    auto command = transfer(opcode, 0, blocks, address, type | length);
    command.flags = sgl;
    return command;
  }
};

TEST_F(NvmeCommands, ReadAndWriteBlocks) {
  ASSERT_EQ(run_io(transfer(read, 3, 2)), 0u);
  EXPECT_EQ(board.get_bytes(data_at, 1024), of_disk(3, 1024));
  EXPECT_EQ(board.get<std::uint64_t>(data_at + 1024), 0u) << "and no more";
  const Bytes written = pattern_bytes(1024, 99);
  board.put_bytes(data_at, written);
  ASSERT_EQ(run_io(transfer(write, 5, 2)), 0u);
  EXPECT_EQ(of_disk(5, 1024), written);
  EXPECT_TRUE(std::ranges::equal(disk->contents().subspan(7 * 512, 4096),
                                 ConstByteSpan{contents}.subspan(7 * 512, 4096)));
}

TEST_F(NvmeCommands, MoveTwoPagesByTwoEntries) {
  ASSERT_EQ(run_io(transfer(read, 0, 9, data_at + 512, data_at + 0x5000)), 0u);
  EXPECT_EQ(board.get_bytes(data_at + 512, 3584), of_disk(0, 3584));
  EXPECT_EQ(board.get_bytes(data_at + 0x5000, 1024), of_disk(7, 1024));
  EXPECT_EQ(run_io(transfer(read, 0, 9, data_at + 512, data_at + 0x5004)), 0x13u);
  EXPECT_EQ(run_io(transfer(read, 0, 1, data_at + 2)), 0x13u) << "not a dword's address";
  EXPECT_EQ(run_io(transfer(read, 0, 8, data_at, 0x5004)), 0u) << "the second is not looked at";
}

// 512 KiB from the middle of a page on: 129 entries, and the list is cut into three, one of two places.
TEST_F(NvmeCommands, MoveManyPagesByListsOfLists) {
  constexpr unsigned pages = 128;
  std::uint64_t at = list_at + 4096 - 16;
  std::vector<std::uint64_t> pieces;
  for (unsigned n = 0; n < pages; ++n) pieces.push_back(data_at + 0x10000 + 0x3000 * n);
  board.put(at, pieces[0]);
  board.put(at + 8, std::uint64_t{list_at + 0x2000});
  for (unsigned n = 1; n < pages; ++n) board.put(list_at + 0x2000 + 8 * (n - 1), pieces[n]);
  ASSERT_EQ(run_io(transfer(read, 0, 1024, data_at + 2048, at)), 0u);
  EXPECT_EQ(board.get_bytes(data_at + 2048, 2048), of_disk(0, 2048));
  for (unsigned n = 0; n + 1 < pages; ++n)
    ASSERT_EQ(board.get_bytes(pieces[n], 4096), of_disk(4 + 8 * n, 4096)) << n;
  EXPECT_EQ(board.get_bytes(pieces.back(), 2048), of_disk(4 + 8 * (pages - 1), 2048));
  EXPECT_EQ(board.get<std::uint64_t>(pieces.back() + 2048), 0u);

  EXPECT_EQ(run_io(transfer(read, 0, 1024, data_at, at + 4)), 0x13u) << "a list is of qwords";
  board.put(at + 8, std::uint64_t{list_at + 0x2008});
  EXPECT_EQ(run_io(transfer(read, 0, 1024, data_at + 2048, at)), 0x13u) << "the next list begins with a page";
  board.put(at + 8, std::uint64_t{list_at + 0x2000});
  board.put(at, pieces[0] + 4);
  EXPECT_EQ(run_io(transfer(read, 0, 1024, data_at + 2048, at)), 0x13u);
  EXPECT_EQ(run_io(transfer(read, 0, 1024, data_at, 0x8000'0000)), 4u) << "there is no such list";
}

TEST_F(NvmeCommands, MoveBySgl) {
  ASSERT_EQ(run_io(by_sgl(read, data_at + 3, 1024, data_block, 2)), 0u) << "of any alignment";
  EXPECT_EQ(board.get_bytes(data_at + 3, 1024), of_disk(0, 1024));

  descriptor(list_at, data_at + 0x1000, 100, data_block);
  descriptor(list_at + 16, 0, 300, bit_bucket);
  descriptor(list_at + 32, list_at + 0x1000, 32, last_segment);
  descriptor(list_at + 0x1000, 0, 0, data_block);
  descriptor(list_at + 0x1010, data_at + 0x3000, 624, data_block);
  ASSERT_EQ(run_io(by_sgl(read, list_at, 48, segment, 2)), 0u);
  EXPECT_EQ(board.get_bytes(data_at + 0x1000, 100), of_disk(0, 100));
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 0x1064), 0u);
  Bytes rest = of_disk(0, 1024);
  rest.erase(rest.begin(), rest.begin() + 400);
  EXPECT_EQ(board.get_bytes(data_at + 0x3000, 624), rest) << "what the bucket took is skipped";
  EXPECT_EQ(run_io(by_sgl(write, list_at, 48, segment, 2)), 0x11u) << "a bucket gives nothing";
}

TEST_F(NvmeCommands, RefuseSglsThatAreNone) {
  EXPECT_EQ(run_io(by_sgl(read, data_at, 512, data_block, 2)), 0x0fu) << "too short";
  EXPECT_EQ(run_io(by_sgl(read, data_at, 1025, data_block, 2)), 0x0fu) << "too long";
  EXPECT_EQ(run_io(by_sgl(read, data_at, 1024, 0x40ull << 56, 2)), 0x11u) << "keyed";
  EXPECT_EQ(run_io(by_sgl(read, data_at, 1024, 0x01ull << 56, 2)), 0x11u) << "an offset";
  EXPECT_EQ(run_io(by_sgl(read, list_at, 0, segment, 2)), 0x0du);
  EXPECT_EQ(run_io(by_sgl(read, list_at, 24, last_segment, 2)), 0x0du);
  EXPECT_EQ(run_io(by_sgl(read, 0x8000'0000, 16, last_segment, 2)), 4u);
  descriptor(list_at, data_at, 1024, data_block);
  descriptor(list_at + 16, list_at, 32, segment);
  EXPECT_EQ(run_io(by_sgl(read, list_at, 32, last_segment, 2)), 0x0du) << "the last leads to none";
  descriptor(list_at, list_at, 32, segment);
  EXPECT_EQ(run_io(by_sgl(read, list_at, 32, segment, 2)), 0x0du) << "in the middle";
  descriptor(list_at, list_at, 16, segment);
  EXPECT_EQ(run_io(by_sgl(read, list_at, 16, segment, 2)), 0x0eu) << "a ring of segments ends";
  EXPECT_EQ(run_io(by_sgl(read, list_at, 0x7fff'fff0, segment, 2)), 0x0eu);
}

TEST_F(NvmeCommands, KeepToTheDiskAndToItsLargestTransfer) {
  const std::uint64_t blocks = disk_bytes / 512;
  EXPECT_EQ(run_io(transfer(read, blocks - 1, 1)), 0u);
  for (const std::uint64_t block : {blocks - 1, blocks, ~std::uint64_t{0}, ~std::uint64_t{0} / 512})
    EXPECT_EQ(run_io(transfer(read, block, 2)), 0x80u) << block;
  EXPECT_EQ(run_io(transfer(read, 0, 1025)), 2u) << "more than 2^MDTS pages";
  EXPECT_EQ(run_io(transfer(write_zeroes, blocks - 1, 2)), 0x80u);
}

TEST_F(NvmeCommands, ComparesBytes) {
  ASSERT_EQ(run_io(transfer(read, 0, 8)), 0u);
  EXPECT_EQ(run_io(transfer(compare, 0, 8)), 0u);
  EXPECT_EQ(run_io(transfer(compare, 1, 8)), 0x285u);
  EXPECT_TRUE(std::ranges::equal(disk->contents(), contents));
}

TEST_F(NvmeCommands, WriteZerosAndDeallocate) {
  ASSERT_EQ(run_io(transfer(write_zeroes, 4, 8)), 0u);
  EXPECT_EQ(of_disk(4, 4096), Bytes(4096));
  EXPECT_EQ(of_disk(12, 512), (Bytes{contents.begin() + 12 * 512, contents.begin() + 13 * 512}));

  board.put(data_at, spec::nvme::DsmRange{.blocks = 2, .first = 20});
  board.put(data_at + 16, spec::nvme::DsmRange{.blocks = 1, .first = 40});
  auto ranges = transfer(dataset_management, 0, 1);
  ranges.cdw10 = 1;
  ranges.cdw12 = 0;
  ASSERT_EQ(run_io(ranges), 0u) << "no attribute: nothing happens";
  EXPECT_NE(of_disk(20, 512), Bytes(512));
  ranges.cdw11 = 4;
  ASSERT_EQ(run_io(ranges), 0u);
  EXPECT_EQ(of_disk(20, 1024), Bytes(1024));
  EXPECT_EQ(of_disk(40, 512), Bytes(512));
  EXPECT_NE(of_disk(22, 512), Bytes(512));

  board.put(data_at, spec::nvme::DsmRange{.blocks = 2, .first = 60});
  board.put(data_at + 16, spec::nvme::DsmRange{.blocks = 2, .first = disk_bytes / 512 - 1});
  EXPECT_EQ(run_io(ranges), 0x80u);
  EXPECT_NE(of_disk(60, 512), Bytes(512)) << "all or nothing";
}

TEST_F(NvmeCommands, FlushForAllNamespaces) {
  EXPECT_EQ(run_io({.opcode = flush}), 0u);
  EXPECT_EQ(run_io({.opcode = flush, .nsid = 0xffff'ffff}), 0u);
  EXPECT_EQ(disk->flushes, 2u);
  EXPECT_EQ(run_io({.opcode = flush, .nsid = 7}), 0x0bu);
  EXPECT_EQ(run_io({.opcode = read, .nsid = 0xffff'ffff}), 0x0bu);
}

TEST_F(NvmeCommands, TurnFailuresOfTheDiskIntoMediaErrors) {
  disk->fails = true;
  EXPECT_EQ(run_io(transfer(read, 0, 1)), 0x281u);
  EXPECT_EQ(run_io(transfer(write, 0, 1)), 0x280u);
  EXPECT_EQ(run_io({.opcode = flush}), 0x280u);
  EXPECT_EQ(run_io(transfer(write_zeroes, 0, 1)), 0x280u);
  disk->fails = false;
  EXPECT_EQ(run_io(transfer(read, 0, 1)), 0u);
}

TEST_F(NvmeCommands, RefuseToWriteAReadOnlyDisk) {
  plug({.serial = "s"}, true);
  start();
  EXPECT_EQ(run_io(transfer(write, 0, 1)), 0x20u);
  EXPECT_EQ(run_io(transfer(write_zeroes, 0, 1)), 0x20u);
  auto ranges = transfer(dataset_management, 0, 1);
  ranges.cdw11 = 4;
  EXPECT_EQ(run_io(ranges), 0x20u);
  EXPECT_TRUE(std::ranges::equal(disk->contents(), contents));
}

TEST_F(NvmeCommands, EndWhereMemoryEnds) {
  EXPECT_EQ(run_io(transfer(read, 0, 8, VirtioBoard::ram_bytes - 512, 0x8000'0000)), 4u);
  EXPECT_EQ(run_io(transfer(write, 0, 8, 0x8000'0000)), 4u);
  EXPECT_TRUE(std::ranges::equal(disk->contents(), contents));
}

}  // namespace
}  // namespace cbit::dev
