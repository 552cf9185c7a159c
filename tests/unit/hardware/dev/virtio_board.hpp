// A board for tests of virtio devices: memory, bus and a disk, no CPU; and the driver's end of a ring,
// written by hand so that it can break every rule.
#pragma once

#include <gtest/gtest.h>

#include <array>

#include "dev/virtio/queue.hpp"
#include "support/pci_board.hpp"

namespace cbit::dev {

struct VirtioBoard : test::PciBoard {
  static constexpr std::uint64_t ram_bytes = 16ull << 20;

  VirtioBoard() : test::PciBoard{test::Encryption::none, {.ram = {{PhysAddr{0}, ram_bytes}}}} {}

  template <class T>
  void put(std::uint64_t at, const T& value) {
    ASSERT_TRUE(memory->write(PhysAddr{at}, cbit::bytes_of(value), {}));
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t at) {
    std::array<std::byte, sizeof(T)> raw{};
    EXPECT_TRUE(memory->read(PhysAddr{at}, raw, {}));
    return load<T>(raw);
  }
  void put_bytes(std::uint64_t at, ConstByteSpan bytes) {
    ASSERT_TRUE(memory->write(PhysAddr{at}, bytes, {}));
  }
  [[nodiscard]] Bytes get_bytes(std::uint64_t at, std::size_t size) {
    Bytes bytes(size);
    EXPECT_TRUE(memory->read(PhysAddr{at}, bytes, {}));
    return bytes;
  }
};

// Descriptors and rings at fixed places. Nothing is checked: a test may write what it likes.
class RawRing {
 public:
  RawRing(VirtioBoard& board, std::uint32_t size, std::uint64_t base = 0x10000)
      : board_{&board}, areas_{size}, base_{base} {}

  [[nodiscard]] VirtQueueConfig config() const {
    return {areas_.size, DmaAddr{base_}, DmaAddr{avail()}, DmaAddr{used()}};
  }
  [[nodiscard]] std::uint64_t avail() const { return base_ + areas_.avail_offset(); }
  [[nodiscard]] std::uint64_t used() const { return base_ + areas_.used_offset(4096); }

  void desc(std::uint32_t i, const spec::VringDesc& d) { board_->put(base_ + spec::VringAreas::desc(i), d); }
  // Makes a head available at the next place; the index is moved by publish().
  void offer(std::uint16_t head) {
    board_->put(avail() + spec::VringAreas::avail_ring(next_ % areas_.size), head);
    ++next_;
  }
  void publish() { publish(next_); }
  void publish(std::uint16_t index) { board_->put(avail() + spec::VringAreas::idx, index); }
  void avail_flags(std::uint16_t flags) { board_->put(avail() + spec::VringAreas::flags, flags); }
  void used_event(std::uint16_t event) { board_->put(avail() + areas_.used_event(), event); }

  [[nodiscard]] std::uint16_t avail_event() {
    return board_->get<std::uint16_t>(used() + areas_.avail_event());
  }
  [[nodiscard]] std::uint16_t used_index() {
    return board_->get<std::uint16_t>(used() + spec::VringAreas::idx);
  }
  [[nodiscard]] spec::VringUsedElem used_entry(std::uint32_t i) {
    return board_->get<spec::VringUsedElem>(used() + spec::VringAreas::used_ring(i % areas_.size));
  }

 private:
  VirtioBoard* board_;
  spec::VringAreas areas_;
  std::uint64_t base_;
  std::uint16_t next_ = 0;
};

}  // namespace cbit::dev
