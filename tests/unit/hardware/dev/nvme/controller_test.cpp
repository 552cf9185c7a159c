#include "dev/nvme/controller.hpp"

#include <gmock/gmock.h>

#include "nvme_fixture.hpp"
#include "unit/hardware/dev/liar.hpp"

namespace cbit::dev {
namespace {

using ::testing::HasSubstr;

constexpr std::uint8_t read = 2, write = 1;

struct NvmeController : NvmeTest {
  std::string text(std::uint64_t at, std::size_t bytes) {
    const Bytes raw = board.get_bytes(at, bytes);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }
};

TEST_F(NvmeController, IsFoundByItsClassAndItsRegisters) {
  EXPECT_EQ(board.config<std::uint32_t>(slot, 8), 0x0108'0201u) << "NVM Express, revision 1";
  EXPECT_EQ(reg(0x08), 0x0001'0400u);
  const auto cap = reg<std::uint64_t>(0);
  EXPECT_EQ(cap & 0xffff, 1023u) << "entries less one";
  EXPECT_EQ(cap >> 16 & 1, 1u) << "queues are contiguous";
  EXPECT_EQ(cap >> 32 & 0xf, 0u) << "doorbells are four bytes apart";
  EXPECT_EQ(cap >> 37 & 0xff, 1u) << "the NVM command set";
  EXPECT_EQ(cap >> 48 & 0xff, 0x40u) << "pages of 4 to 64 KiB";
  EXPECT_EQ(csts(), 0u);
  EXPECT_EQ(reg(0x0c), 0u);
  EXPECT_EQ(reg(0x38), 0u) << "no memory of the controller's";
  EXPECT_EQ(reg(0x1000), 0u) << "doorbells read as zeros";
}

TEST_F(NvmeController, IsReadyWhenItIsEnabledAndNotWhenItIsNot) {
  enable();
  EXPECT_EQ(csts(), 1u);
  EXPECT_EQ(reg(0x14), 0x0046'0001u);
  set_reg(0x14, 0x0046'0000u);
  EXPECT_EQ(csts(), 0u);
  EXPECT_EQ(reg(0x24), 0x000f'000fu) << "a controller reset leaves the admin queue's registers";
  EXPECT_EQ(reg<std::uint64_t>(0x28), admin_sq);
}

TEST_F(NvmeController, TellsThatAConfigurationIsNone) {
  const struct {
    const char* what;
    std::uint32_t cc, aqa;
    std::uint64_t asq;
  } bad[] = {{"pages of 128 KiB", 0x0046'0001 | 5 << 7, 0x000f'000f, admin_sq},
             {"another command set", 0x0046'0001 | 1 << 4, 0x000f'000f, admin_sq},
             {"another arbitration", 0x0046'0001 | 1 << 11, 0x000f'000f, admin_sq},
             {"a queue of one", 0x0046'0001, 0x000f'0000, admin_sq},
             {"a queue off its page", 0x0046'0001 | 1 << 7, 0x000f'000f, 0x11000}};
  for (const auto& one : bad) {
    set_reg(0x24, one.aqa);
    set_reg(0x28, one.asq);
    set_reg(0x30, std::uint64_t{admin_cq & ~std::uint64_t{0x1fff}});
    set_reg(0x14, one.cc);
    EXPECT_EQ(csts(), 2u) << one.what;
    set_reg(0x1000, 1u);
    EXPECT_EQ(csts(), 2u) << one.what;
    set_reg(0x14, 0u);
    EXPECT_EQ(csts(), 0u) << one.what;
  }
  enable();
  EXPECT_EQ(csts(), 1u) << "it can be set right";
}

TEST_F(NvmeController, FailsWhenAQueueCannotBeReached) {
  enable();
  set_reg(0x14, 0u);
  set_reg(0x28, std::uint64_t{0x8000'0000});
  set_reg(0x14, 0x0046'0001u);
  EXPECT_EQ(csts(), 1u);
  set_reg(0x1000, 1u);
  EXPECT_EQ(csts(), 3u) << "ready, and fatal";
}

TEST_F(NvmeController, ShutsDownWithWhatWasWrittenOnTheDisk) {
  start();
  ASSERT_EQ(run_io(transfer(write, 0, 1)), 0u);
  EXPECT_EQ(disk->flushes, 0u);
  set_reg(0x14, 0x0046'4001u);
  EXPECT_EQ(csts(), 0x9u) << "complete";
  EXPECT_EQ(disk->flushes, 1u);
  EXPECT_EQ(run_io(transfer(read, 0, 1)), 0xffffu) << "nothing is served";
  set_reg(0x14, 0u);
  start();
  EXPECT_EQ(run_io(transfer(read, 0, 1)), 0u);
}

TEST_F(NvmeController, AResetOfTheFunctionLeavesNothing) {
  start();
  set_reg(0x0c, 5u);
  EXPECT_EQ(reg(0x10), 5u);
  board.set_config(slot, board.capability(slot, 0x10) + 8, std::uint16_t{0x8000});
  board.assign_resources();
  for (const std::uint64_t offset : {0x0c, 0x14, 0x1c, 0x24, 0x28, 0x30})
    EXPECT_EQ(reg(offset), 0u) << offset;
}

TEST_F(NvmeController, IdentifiesItself) {
  start();
  ASSERT_EQ(run_admin({.opcode = 6, .dptr = {data_at, 0}, .cdw10 = 1}), 0u);
  EXPECT_EQ(text(data_at + 4, 20), "a serial number     ");
  EXPECT_THAT(text(data_at + 24, 40), HasSubstr("cbit NVMe controller"));
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 77), 7u) << "MDTS";
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 80), 0x10400u) << "VER";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 111), 1u) << "an I/O controller";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 512), 0x66u) << "SQES";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 513), 0x44u) << "CQES";
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 516), 1u) << "NN";
  EXPECT_EQ(board.get<std::uint16_t>(data_at + 520) & 0xd, 0xdu) << "compare, dataset management, zeroes";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 525) & 1, 1u) << "a volatile write cache";
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 536) & 3, 1u) << "SGLs";
  EXPECT_EQ(text(data_at + 768, 4), "nqn.");
}

TEST_F(NvmeController, IdentifiesItsNamespace) {
  plug({.serial = "s", .logical_block_size = 4096}, true);
  start();
  ASSERT_EQ(run_admin({.opcode = 6, .nsid = 1, .dptr = {data_at, 0}, .cdw10 = 0}), 0u);
  EXPECT_EQ(board.get<std::uint64_t>(data_at), disk_bytes / 4096);
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 25), 0u) << "one format";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 99), 1u) << "write protected";
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 128), 12u << 16) << "2^12 bytes, no metadata";
  EXPECT_EQ(run_admin({.opcode = 6, .nsid = 2, .dptr = {data_at, 0}, .cdw10 = 0}), 0x0bu);

  ASSERT_EQ(run_admin({.opcode = 6, .nsid = 0, .dptr = {data_at, 0}, .cdw10 = 2}), 0u);
  EXPECT_EQ(board.get<std::uint64_t>(data_at), 1u) << "one namespace is active, and no other";
  ASSERT_EQ(run_admin({.opcode = 6, .nsid = 1, .dptr = {data_at, 0}, .cdw10 = 2}), 0u);
  EXPECT_EQ(board.get<std::uint32_t>(data_at), 0u) << "none above it";
  ASSERT_EQ(run_admin({.opcode = 6, .nsid = 1, .dptr = {data_at, 0}, .cdw10 = 3}), 0u);
  EXPECT_EQ(board.get<std::uint16_t>(data_at), 0x1003u) << "a UUID of 16 bytes";
  EXPECT_EQ(board.get<std::uint8_t>(data_at + 20), 0u) << "and the end of the list";
  EXPECT_EQ(run_admin({.opcode = 6, .nsid = 1, .dptr = {data_at, 0}, .cdw10 = 0x16}), 2u);
}

TEST_F(NvmeController, RefusesQueuesThatAreNone) {
  enable();
  EXPECT_EQ(create_sq(1, io_sq), 0x100u) << "there is no completion queue";
  EXPECT_EQ(create_cq(0, io_cq), 0x101u);
  EXPECT_EQ(create_cq(65, io_cq), 0x101u) << "64 pairs";
  EXPECT_EQ(create_cq(1, io_cq, 0x0001'0003, 1), 0x102u);
  EXPECT_EQ(create_cq(1, io_cq, 0x0001'0003, 1025), 0x102u);
  EXPECT_EQ(create_cq(1, io_cq, 0x0001'0002), 2u) << "not contiguous";
  EXPECT_EQ(create_cq(1, io_cq + 64), 0x13u);
  EXPECT_EQ(create_cq(1, io_cq, 65u << 16 | 3), 0x108u) << "65 vectors";
  EXPECT_EQ(create_cq(1, io_cq), 0u);
  EXPECT_EQ(create_cq(1, io_cq), 0x101u) << "it is there";
  EXPECT_EQ(create_sq(1, io_sq, 0x0002'0001), 0x100u);
  EXPECT_EQ(create_sq(1, io_sq, 0x0000'0001), 0x100u) << "that of the admin queue";
  EXPECT_EQ(create_sq(1, io_sq), 0u);
  EXPECT_EQ(run_admin({.opcode = 4, .cdw10 = 1}), 0x10cu) << "it is in use";
  EXPECT_EQ(run_admin({.opcode = 4, .cdw10 = 0}), 0x101u);
  EXPECT_EQ(run_admin({.opcode = 0, .cdw10 = 0}), 0x101u);
  EXPECT_EQ(run_admin({.opcode = 0, .cdw10 = 1}), 0u);
  EXPECT_EQ(run_admin({.opcode = 0, .cdw10 = 1}), 0x101u);
  EXPECT_EQ(run_admin({.opcode = 4, .cdw10 = 1}), 0u);
  EXPECT_EQ(flags, 0u);

  set_reg(0x14, 0u);
  enable();
  set_reg(0x14, 0x0000'0001u);
  EXPECT_EQ(create_cq(1, io_cq), 0x102u) << "the size of its entries is not told";
  EXPECT_EQ(flags, 3u) << "do not retry; more in the error log";
}

TEST_F(NvmeController, RefusesWhatItDoesNotHave) {
  start();
  EXPECT_EQ(run_admin({.opcode = 0x0d}), 1u) << "namespace management";
  EXPECT_EQ(run_admin({.opcode = 0xff}), 1u);
  EXPECT_EQ(run_admin({.opcode = 6, .flags = 0x40, .dptr = {data_at, 0}, .cdw10 = 1}), 2u) << "an SGL";
  EXPECT_EQ(run_admin({.opcode = 2, .dptr = {data_at, 0}, .cdw10 = 0x70}), 0x109u);
  EXPECT_EQ(run_admin({.opcode = 9, .cdw10 = 0x7f}), 2u);
  EXPECT_EQ(run_admin({.opcode = 10, .cdw10 = 0x7f}), 2u);
  EXPECT_EQ(run_io({.opcode = 4}), 1u) << "write uncorrectable";
  EXPECT_EQ(run_io({.opcode = read, .flags = 1}), 2u) << "fused";
  EXPECT_EQ(run_io({.opcode = read, .flags = 0xc0}), 2u) << "neither PRP nor SGL";
  EXPECT_EQ(run_io({.opcode = read, .nsid = 2}), 0x0bu);
}

TEST_F(NvmeController, HasFeatures) {
  start();
  const auto set = [&](std::uint32_t id, std::uint32_t value) {
    return run_admin({.opcode = 9, .cdw10 = id, .cdw11 = value});
  };
  const auto get = [&](std::uint32_t id, std::uint32_t dword11 = 0) {
    EXPECT_EQ(run_admin({.opcode = 10, .cdw10 = id, .cdw11 = dword11}), 0u) << id;
    return result;
  };
  EXPECT_EQ(get(7), 0x003f'003fu) << "64 queues of each kind";
  EXPECT_EQ(set(7, 0x0000'0000), 0x0cu) << "too late: there are queues";
  EXPECT_EQ(get(6), 1u) << "the write cache is on";
  EXPECT_EQ(set(6, 0), 0u);
  EXPECT_EQ(disk->flushes, 1u) << "what it held is written";
  EXPECT_EQ(get(6), 0u);
  EXPECT_EQ(get(6 | 1 << 8), 1u) << "by default";
  EXPECT_EQ(get(6 | 3 << 8), 4u) << "can be changed, for all namespaces, and not be saved";
  EXPECT_EQ(set(6 | 1u << 31, 1), 0x10du);
  EXPECT_EQ(set(2, 1), 2u) << "there is one power state";
  EXPECT_EQ(get(4), 343u) << "kelvins";
  EXPECT_EQ(get(4, 1 << 20), 0u);
  EXPECT_EQ(set(4, 1 << 16 | 300), 2u) << "there is one sensor";
  EXPECT_EQ(set(9, 1 << 16 | 2), 0u);
  EXPECT_EQ(get(9, 2), 0x0001'0002u);
  EXPECT_EQ(get(9, 3), 3u);
  EXPECT_EQ(run_admin({.opcode = 10, .cdw10 = 9, .cdw11 = 65}), 2u);
  set_reg(0x14, 0u);
  start();
  EXPECT_EQ(get(6), 1u) << "a reset brings it back";
}

TEST_F(NvmeController, WithoutItsCacheEachWriteIsDurable) {
  start();
  ASSERT_EQ(run_io(transfer(write, 0, 1)), 0u);
  EXPECT_EQ(disk->flushes, 0u);
  auto forced = transfer(write, 0, 1);
  forced.cdw12 |= 1u << 30;
  ASSERT_EQ(run_io(forced), 0u);
  EXPECT_EQ(disk->flushes, 1u) << "force unit access";
  ASSERT_EQ(run_admin({.opcode = 9, .cdw10 = 6, .cdw11 = 0}), 0u);
  ASSERT_EQ(run_io(transfer(write, 0, 1)), 0u);
  EXPECT_EQ(disk->flushes, 3u);
}

TEST_F(NvmeController, KeepsLogs) {
  start();
  ASSERT_EQ(run_io(transfer(read, 0, 8)), 0u);
  ASSERT_EQ(run_io(transfer(read, disk_bytes / 512, 1)), 0x80u);
  const std::uint16_t failed = cid;
  const auto log = [&](std::uint32_t id, std::uint32_t dwords, std::uint32_t offset = 0) {
    return run_admin({.opcode = 2, .dptr = {data_at, 0}, .cdw10 = (dwords - 1) << 16 | id, .cdw12 = offset});
  };
  ASSERT_EQ(log(1, 16), 0u);
  EXPECT_EQ(board.get<std::uint64_t>(data_at), 1u) << "the first error";
  EXPECT_EQ(board.get<std::uint16_t>(data_at + 8), 1u) << "queue";
  EXPECT_EQ(board.get<std::uint16_t>(data_at + 10), failed);
  EXPECT_EQ(board.get<std::uint16_t>(data_at + 12) >> 1 & 0x7ff, 0x80);
  EXPECT_EQ(board.get<std::uint64_t>(data_at + 16), disk_bytes / 512);
  ASSERT_EQ(log(2, 128), 0u);
  EXPECT_EQ(board.get<std::uint8_t>(data_at), 0u) << "no warning";
  EXPECT_EQ(board.get<std::uint16_t>(data_at + 1), 310u) << "kelvins";
  EXPECT_EQ(board.get<std::uint64_t>(data_at + 32), 1u) << "data units read, rounded up";
  EXPECT_EQ(board.get<std::uint64_t>(data_at + 64), 1u) << "read commands";
  EXPECT_EQ(board.get<std::uint64_t>(data_at + 80), 0u) << "write commands";
  EXPECT_EQ(board.get<std::uint64_t>(data_at + 176), 1u) << "errors in the log";
  ASSERT_EQ(log(3, 2, 8), 0u);
  EXPECT_EQ(text(data_at, 8), "1.0     ") << "from an offset on";
  board.put(data_at + 512, std::uint32_t{0x5555'5555});
  ASSERT_EQ(log(2, 512), 0u);
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 512), 0x5555'5555u) << "there is no more than the log";
  EXPECT_EQ(log(2, 1, 1024), 2u);
}

TEST_F(NvmeController, TellsOfWrongDoorbells) {
  start();
  ASSERT_EQ(run_admin({.opcode = 12}), 0xffffu) << "waits";
  const std::uint16_t waiting = cid;
  set_reg(0x1000 + 8 * 5, 1u);
  auto told = take(admin);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->cid, waiting);
  EXPECT_EQ(told->result, 0x0001'0000u) << "an error: a doorbell that is not there, more in log page 1";

  ASSERT_EQ(run_admin({.opcode = 12}), 0xffffu);
  set_reg(0x1008, entries);
  EXPECT_FALSE(take(admin)) << "the log was not read";
  submit(admin, {.opcode = 2, .cid = 1, .dptr = {data_at, 0}, .cdw10 = 1});
  ring(admin);
  EXPECT_EQ(take(admin)->cid, 1u);
  told = take(admin);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->result, 0x0001'0100u) << "a value that is none";
  set_reg(0x100c, 3u);
  ASSERT_EQ(run_admin({.opcode = 2, .dptr = {data_at, 0}, .cdw10 = 1}), 0u);
  submit(admin, {.opcode = 12, .cid = 2});
  ring(admin);
  told = take(admin);
  ASSERT_TRUE(told) << "a head beyond what was completed; it waited for somebody to tell";
  EXPECT_EQ(told->result, 0x0001'0100u);
  EXPECT_EQ(run_io(transfer(read, 0, 1)), 0u) << "no queue was harmed";
}

TEST_F(NvmeController, AbortsWhatWaitsForEvents) {
  start();
  for (unsigned n = 0; n < 4; ++n) ASSERT_EQ(run_admin({.opcode = 12}), 0xffffu);
  const std::uint16_t last = cid;
  EXPECT_EQ(run_admin({.opcode = 12}), 0x105u) << "four are the limit";
  submit(admin, {.opcode = 8, .cid = 1, .cdw10 = std::uint32_t{last} << 16});
  ring(admin);
  const auto aborted = take(admin), abort = take(admin);
  ASSERT_TRUE(aborted && abort);
  EXPECT_EQ(aborted->cid, last);
  EXPECT_EQ(aborted->status >> 1 & 0x7ff, 7);
  EXPECT_EQ(abort->cid, 1u);
  EXPECT_EQ(abort->result, 0u);
  EXPECT_EQ(run_admin({.opcode = 8, .cdw10 = 0x1234'0001}), 0u);
  EXPECT_EQ(result, 1u) << "not aborted";
}

TEST_F(NvmeController, TellsOfATemperatureThatIsAskedFor) {
  start();
  ASSERT_EQ(run_admin({.opcode = 9, .cdw10 = 11, .cdw11 = 2}), 0u);
  ASSERT_EQ(run_admin({.opcode = 12}), 0xffffu);
  submit(admin, {.opcode = 9, .cid = 1, .cdw10 = 4, .cdw11 = 300});
  ring(admin);
  EXPECT_EQ(take(admin)->cid, 1u);
  const auto told = take(admin);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->result, 0x0002'0101u);
  ASSERT_EQ(run_admin({.opcode = 2, .dptr = {data_at, 0}, .cdw10 = 127 << 16 | 2}), 0u);
  EXPECT_EQ(board.get<std::uint8_t>(data_at), 2u);
}

TEST_F(NvmeController, WaitsForRoomInACompletionQueue) {
  enable();
  ASSERT_EQ(create_cq(1, io_cq, 0x0001'0003, 4), 0u);
  ASSERT_EQ(create_sq(1, io_sq), 0u);
  io = {io_sq, io_cq, 1};
  for (std::uint16_t n = 0; n < 6; ++n) {
    auto command = transfer(read, 0, 1);
    command.cid = n;
    submit(io, command);
  }
  ring(io);
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 32).cid, 2u);
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 48).status, 0u) << "one place stays free";
  set_reg(0x100c, 2u);
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 48).cid, 3u);
  const auto fifth = board.get<spec::nvme::Completion>(io_cq);
  EXPECT_EQ(fifth.cid, 4u);
  EXPECT_EQ(fifth.status & 1, 0) << "the phase is another";
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 16).cid, 1u) << "as it was";
}

TEST_F(NvmeController, TellsTheDriverWhatAForgerWants) {
  enable();
  ASSERT_EQ(create_cq(1, io_cq, 0x0001'0003, 4), 0u);
  ASSERT_EQ(create_sq(1, io_sq), 0u);
  io = {io_sq, io_cq, 1};
  Liar liar{{0x1234, 0xabcd}, true};
  function->controller().set_forger(&liar);
  auto command = transfer(read, 0, 1);
  command.cid = 7;
  submit(io, command);
  ring(io);
  EXPECT_EQ(liar.honest.id, 7u);
  EXPECT_EQ(liar.honest.length, 1u) << "the head of the submission queue";
  for (const std::uint64_t place : {io_cq, io_cq + 16}) {
    const auto told = board.get<spec::nvme::Completion>(place);
    EXPECT_EQ(told.cid, 0x1234u);
    EXPECT_EQ(told.sq_head, 0xabcdu);
    EXPECT_EQ(told.sq_id, 1u);
    EXPECT_EQ(told.status, 1u) << "success, with the phase of an entry that is new";
  }
  submit(io, command);
  ring(io);
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 32).cid, 0x1234u);
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 48).status, 0u) << "twice only where there is room";
  function->controller().set_forger(nullptr);
  set_reg(0x100c, 3u);
  submit(io, command);
  ring(io);
  EXPECT_EQ(board.get<spec::nvme::Completion>(io_cq + 48).cid, 7u);
}

TEST_F(NvmeController, InterruptsByMsixAsEachCompletionQueueSays) {
  enable_msix();
  start();
  board.messages.seen.clear();
  ASSERT_EQ(run_io(transfer(read, 0, 1)), 0u);
  ASSERT_EQ(board.messages.seen.size(), 1u);
  EXPECT_EQ(board.messages.seen[0],
            (bus::MessageInterrupt{0xfee0'0000, 0x41, spec::pci_requester(0, slot, 0)}));
  for (unsigned n = 0; n < 3; ++n) submit(io, transfer(read, 0, 1));
  ring(io);
  EXPECT_EQ(board.messages.seen.size(), 2u) << "one for all";
  EXPECT_FALSE(board.lines[slot].asserted());

  const std::uint64_t control = board.bar(slot, 4) + 16 + 12;
  board.write(control, std::uint32_t{1});
  for (unsigned n = 0; n < 3; ++n) take(io);
  ASSERT_EQ(run_io(transfer(read, 0, 1)), 0u);
  EXPECT_EQ(board.messages.seen.size(), 2u) << "masked";
  board.write(control, std::uint32_t{0});
  EXPECT_EQ(board.messages.seen.size(), 3u) << "and pending";

  ASSERT_EQ(create_cq(2, 0x18000, 0x0002'0001), 0u);
  ASSERT_EQ(create_sq(2, 0x19000, 0x0002'0001), 0u);
  board.messages.seen.clear();
  Queue silent{0x19000, 0x18000, 2};
  ASSERT_EQ(run(silent, transfer(read, 0, 1)), 0u);
  EXPECT_TRUE(board.messages.seen.empty()) << "its interrupts are off";
}

TEST_F(NvmeController, HoldsItsPinUntilTheHostHasTakenWhatCompleted) {
  enable();
  submit(admin, {.opcode = 10, .cdw10 = 6});
  ring(admin);
  EXPECT_TRUE(board.lines[slot].asserted());
  set_reg(0x0c, 1u);
  EXPECT_FALSE(board.lines[slot].asserted()) << "masked";
  set_reg(0x10, 1u);
  EXPECT_TRUE(board.lines[slot].asserted());
  EXPECT_TRUE(take(admin));
  EXPECT_FALSE(board.lines[slot].asserted());
}

TEST_F(NvmeController, ADriverThatForgetsBusMasteringIsTold) {
  enable();
  board.set_command(slot, 2);
  set_reg(0x1000, 1u);
  EXPECT_EQ(csts(), 3u);
  EXPECT_EQ(board.log.all<DeviceFault>().at(0).fault.kind, FaultKind::bus_master_off);
}

TEST_F(NvmeController, DoesNotReachItsOwnRegisters) {
  start();
  EXPECT_EQ(run_io(transfer(read, 0, 1, base)), 4u) << "a data transfer error";
  EXPECT_EQ(csts(), 1u);
}

TEST_F(NvmeController, RefusesOptionsThatAreNone) {
  MemoryDisk small{Bytes(512)};
  const auto message = [&](const NvmeOptions& options) {
    const auto made = Nvme::create(board.bus, {.device = "x", .requester = 16}, small, options);
    return made ? std::string{} : made.error().message;
  };
  EXPECT_EQ(message({.serial = "x"}), "");
  EXPECT_THAT(message({}), HasSubstr("serial number"));
  EXPECT_THAT(message({.serial = std::string(21, 'x')}), HasSubstr("20 bytes"));
  EXPECT_THAT(message({.serial = "x", .max_ioqpairs = 0}), HasSubstr("queues"));
  EXPECT_THAT(message({.serial = "x", .logical_block_size = 513}), HasSubstr("power of two"));
  EXPECT_THAT(message({.serial = "x", .logical_block_size = 4096}), HasSubstr("whole blocks"));
}

}  // namespace
}  // namespace cbit::dev
