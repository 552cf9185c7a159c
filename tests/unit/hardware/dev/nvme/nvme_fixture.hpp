// An NVMe controller behind PCI with a driver's queues, written by hand so that it can break every rule. All
// numbers are those of NVM Express Base Specification 1.4.
#pragma once

#include <gtest/gtest.h>

#include "../virtio_board.hpp"
#include "dev/nvme/nvme_pci.hpp"

namespace cbit::dev {

// A disk that fails when it is told to.
class FailingDisk final : public BlockBackend {
 public:
  explicit FailingDisk(Bytes contents, bool read_only = false) : disk_{std::move(contents), read_only} {}
  [[nodiscard]] std::uint64_t bytes() const override { return disk_.bytes(); }
  [[nodiscard]] bool read_only() const override { return disk_.read_only(); }
  OrError<void> read(std::uint64_t offset, ByteSpan to) override {
    return fails ? bad_input("broken") : disk_.read(offset, to);
  }
  OrError<void> write(std::uint64_t offset, ConstByteSpan from) override {
    return fails ? bad_input("broken") : disk_.write(offset, from);
  }
  OrError<void> zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) override {
    return fails ? bad_input("broken") : disk_.zero(offset, bytes, may_unmap);
  }
  OrError<void> flush() override {
    ++flushes;
    return fails ? bad_input("broken") : OrError<void>{};
  }
  [[nodiscard]] ConstByteSpan contents() const { return disk_.contents(); }

  bool fails = false;
  unsigned flushes = 0;

 private:
  MemoryDisk disk_;
};

struct NvmeTest : testing::Test {
  static constexpr unsigned slot = 1;
  static constexpr std::uint64_t admin_sq = 0x10000, admin_cq = 0x11000, io_sq = 0x12000, io_cq = 0x14000;
  static constexpr std::uint64_t data_at = 0x100000, list_at = 0x20000;
  static constexpr std::uint32_t entries = 16;
  static constexpr std::size_t disk_bytes = 4u << 20;

  NvmeTest() { plug({.serial = "a serial number"}); }
  ~NvmeTest() override { function.reset(); }

  void plug(const NvmeOptions& options, bool read_only = false) {
    function.reset();
    contents = pattern_bytes(disk_bytes, 7);
    disk = std::make_unique<FailingDisk>(contents, read_only);
    auto made = Nvme::create(board.bus, {.device = "nvme", .requester = slot << 3}, *disk, options);
    ASSERT_TRUE(made) << made.error().message;
    function = std::make_unique<NvmePci>(std::move(*made));
    board.pci.plug(slot, *function);
    board.assign_resources();
    board.enable_bus_master(slot);
    base = board.bar(slot, 0);
  }

  template <class T = std::uint32_t>
  T reg(std::uint64_t offset) {
    return board.read<T>(base + offset);
  }
  template <class T>
  void set_reg(std::uint64_t offset, T value) {
    board.write(base + offset, value);
  }
  std::uint32_t csts() { return reg(0x1c); }

  void enable_msix() {
    const std::uint64_t table = board.bar(slot, 4);
    for (unsigned vector = 0; vector < 4; ++vector) {
      board.write(table + 16 * vector, std::uint32_t{0xfee0'0000});
      board.write(table + 16 * vector + 8, 0x40 + vector);
      board.write(table + 16 * vector + 12, std::uint32_t{0});
    }
    board.set_config(slot, board.capability(slot, 0x11) + 2, std::uint16_t{0x8000});
  }

  // The admin queues, and CC: entries of 64 and 16 bytes, pages of 4096 << mps.
  void enable(std::uint32_t mps = 0) {
    admin = {admin_sq, admin_cq, 0};
    set_reg(0x24, (entries - 1) << 16 | (entries - 1));
    set_reg(0x28, std::uint64_t{admin_sq});
    set_reg(0x30, std::uint64_t{admin_cq});
    set_reg(0x14, 0x0046'0001u | mps << 7);
  }
  // With an I/O queue pair 1 on vector 1.
  void start() {
    enable();
    ASSERT_EQ(csts(), 1u);
    io = {io_sq, io_cq, 1};
    ASSERT_EQ(create_cq(1, io_cq), 0u);
    ASSERT_EQ(create_sq(1, io_sq), 0u);
  }

  struct Queue {
    std::uint64_t sq = 0, cq = 0;
    std::uint32_t id = 0;
    std::uint32_t tail = 0, head = 0;
    bool phase = true;
  };
  void submit(Queue& queue, const spec::nvme::Command& command) {
    board.put(queue.sq + 64 * queue.tail, command);
    queue.tail = (queue.tail + 1) % entries;
  }
  void ring(const Queue& queue) { set_reg(0x1000 + 8 * queue.id, queue.tail); }
  std::optional<spec::nvme::Completion> take(Queue& queue) {
    const auto entry = board.get<spec::nvme::Completion>(queue.cq + 16 * queue.head);
    if (((entry.status & 1) != 0) != queue.phase) return std::nullopt;
    queue.head = (queue.head + 1) % entries;
    if (queue.head == 0) queue.phase = !queue.phase;
    set_reg(0x1004 + 8 * queue.id, queue.head);
    return entry;
  }
  // The status without its flags; ffffh: nothing was completed.
  std::uint16_t run(Queue& queue, spec::nvme::Command command) {
    command.cid = ++cid;
    submit(queue, command);
    ring(queue);
    const auto done = take(queue);
    if (!done) return 0xffff;
    EXPECT_EQ(done->cid, cid);
    EXPECT_EQ(done->sq_id, queue.id);
    EXPECT_EQ(done->sq_head, queue.tail);
    result = done->result;
    flags = static_cast<std::uint16_t>(done->status >> 14);
    return done->status >> 1 & 0x7ff;
  }
  std::uint16_t run_admin(const spec::nvme::Command& command) { return run(admin, command); }
  std::uint16_t run_io(spec::nvme::Command command) {
    if (command.nsid == 0) command.nsid = 1;
    return run(io, command);
  }
  std::uint16_t create_cq(std::uint32_t id, std::uint64_t at, std::uint32_t dword11 = 0x0001'0003,
                          std::uint32_t size = entries) {
    return run_admin({.opcode = 5, .dptr = {at, 0}, .cdw10 = (size - 1) << 16 | id, .cdw11 = dword11});
  }
  std::uint16_t create_sq(std::uint32_t id, std::uint64_t at, std::uint32_t dword11 = 0x0001'0001,
                          std::uint32_t size = entries) {
    return run_admin({.opcode = 1, .dptr = {at, 0}, .cdw10 = (size - 1) << 16 | id, .cdw11 = dword11});
  }
  static spec::nvme::Command transfer(std::uint8_t opcode, std::uint64_t block, std::uint32_t blocks,
                                      std::uint64_t prp1 = data_at, std::uint64_t prp2 = 0) {
    return {.opcode = opcode,
            .nsid = 1,
            .dptr = {prp1, prp2},
            .cdw10 = static_cast<std::uint32_t>(block),
            .cdw11 = static_cast<std::uint32_t>(block >> 32),
            .cdw12 = blocks - 1};
  }
  [[nodiscard]] Bytes of_disk(std::uint64_t block, std::size_t bytes) const {
    const auto part = disk->contents().subspan(block * 512, bytes);
    return {part.begin(), part.end()};
  }

  VirtioBoard board;
  Bytes contents;
  std::unique_ptr<FailingDisk> disk;
  std::unique_ptr<NvmePci> function;
  std::uint64_t base = 0;
  Queue admin, io;
  std::uint16_t cid = 0x100;
  std::uint32_t result = 0;
  std::uint16_t flags = 0;
};

}  // namespace cbit::dev
