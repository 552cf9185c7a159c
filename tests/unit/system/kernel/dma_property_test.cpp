// What holds whatever the driver does: a correct one gets its data across on every platform, and a wrong one
// does no harm to the model.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <tuple>

#include "base/random.hpp"
#include "unit/system/kernel/dma_board.hpp"
#include "versions.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;

constexpr Direction directions[] = {Direction::bidirectional, Direction::to_device, Direction::from_device};
constexpr IommuMode modes[] = {IommuMode::none, IommuMode::passthrough, IommuMode::translated};

// Nobody listens to these boards.
std::unique_ptr<DmaBoard> silent_board(Platform platform, const DmaConfig& config,
                                       std::uint64_t memory_bytes) {
  auto board =
      std::make_unique<DmaBoard>(platform, config, machine::MachineConfig{.memory_bytes = memory_bytes});
  board->machine->tracer().detach(board->log);
  return board;
}

// Booting costs more than the properties: each board is kept.
DmaBoard& board_of(Platform platform, KernelVersion version, IommuMode mode) {
  static std::map<std::tuple<Platform, KernelVersion, IommuMode>, std::unique_ptr<DmaBoard>> boards;
  auto& board = boards[{platform, version, mode}];
  if (board == nullptr) board = silent_board(platform, {.version = version, .iommu = mode}, 8 * gib);
  return *board;
}

auto one_of(const auto& values) { return values[*rc::gen::inRange<std::size_t>(0, std::size(values))]; }

struct Scene {
  Platform platform;
  KernelVersion version;
  IommuMode mode;
  unsigned mask_bits;
  bool untrusted;
  std::uint32_t min_align_mask;
  std::uint64_t offset;
  std::uint64_t bytes;
  Direction direction;
  bool high_memory;
};

Scene any_scene() {
  constexpr std::uint32_t align_masks[] = {0, 0, 511, 4095};
  Scene s{.platform = one_of(platforms),
          .version = one_of(versions),
          .mode = one_of(modes),
          .mask_bits = *rc::gen::inRange(32u, 65u),
          .untrusted = *rc::gen::inRange(0, 4) == 0,
          .min_align_mask = one_of(align_masks),
          .offset = *rc::gen::inRange<std::uint64_t>(0, page_size),
          .bytes = 1 + *rc::gen::inRange<std::uint64_t>(0, 20'000),
          .direction = one_of(directions),
          .high_memory = *rc::gen::arbitrary<bool>()};
  if (*rc::gen::inRange(0, 4) == 0) {
    s.offset = 0;
    s.bytes = align_up(s.bytes, page_size);
  }
  return s;
}

// What the kernels that are modelled get wrong: a guest behind a vIOMMU, and an SME host's untrusted devices.
bool is_documented_exception(const Scene& s) {
  if (s.mode != IommuMode::translated && !(s.untrusted && s.mode == IommuMode::passthrough)) return false;
  const bool bounces = s.untrusted && (s.offset % page_size != 0 || s.bytes % page_size != 0);
  return (is_guest(s.platform) && !bounces) || (s.platform == Platform::sme && bounces);
}

TEST(DmaProperty, ACorrectDriversDataArrivesOnEveryPlatform) {
  EXPECT_TRUE(rc::check([] {
    const Scene s = any_scene();
    RC_PRE(!is_documented_exception(s));
    DmaBoard& board = board_of(s.platform, s.version, s.mode);
    Device& dev = board.add_device(s.mask_bits, 0, s.untrusted);
    dev.min_align_mask = s.min_align_mask;
    bus::DmaPort port = board.port(dev, s.mask_bits);
    PageAllocator& pages = board.kernel->mm().page_allocator();
    const std::uint64_t limit = s.high_memory ? ~std::uint64_t{0} : bit_mask(32);
    const PhysAddr first = pages.allocate(8, limit).value();
    const VirtAddr at = board.kernel->mm().phys_to_virt(first) + s.offset;

    const Bytes out = pattern_bytes(s.bytes, *rc::gen::arbitrary<std::uint64_t>());
    const Bytes in = pattern_bytes(s.bytes, *rc::gen::arbitrary<std::uint64_t>());
    RC_ASSERT(board.cpu().write(at, out).has_value());
    const DmaAddr dma = board.dma().map_single(board.cpu(), dev, at, s.bytes, s.direction);
    RC_ASSERT(!board.dma().mapping_error(dev, dma));
    if (s.direction != Direction::from_device) {
      Bytes seen(s.bytes);
      RC_ASSERT(port.read(dma, seen).has_value());
      RC_ASSERT(seen == out);
    }
    if (s.direction != Direction::to_device) RC_ASSERT(port.write(dma, in).has_value());
    board.dma().unmap_single(board.cpu(), dev, dma, s.bytes, s.direction);
    RC_ASSERT(board.seen(at, s.bytes) == (s.direction == Direction::to_device ? out : in));
    RC_ASSERT(board.dma().release(dev) == 0u);
    pages.free(first, 8);
  }));
}

TEST(DmaProperty, CoherentMemoryIsTheSameForCpuAndDevice) {
  EXPECT_TRUE(rc::check([] {
    const Scene s = any_scene();
    RC_PRE(!(is_guest(s.platform) && (s.mode == IommuMode::translated || s.untrusted)));
    DmaBoard& board = board_of(s.platform, s.version, s.mode);
    Device& dev = board.add_device(s.mask_bits, 0, s.untrusted);
    bus::DmaPort port = board.port(dev, s.mask_bits);
    const bool atomic = *rc::gen::arbitrary<bool>();
    RC_PRE(!(atomic && s.platform == Platform::pef));  // no CONFIG_DMA_COHERENT_POOL
    const auto buffer = board.dma().alloc(board.cpu(), dev, s.bytes, atomic);
    RC_ASSERT(buffer.has_value());
    RC_ASSERT(board.seen(buffer->cpu, s.bytes) == Bytes(s.bytes));
    const Bytes out = pattern_bytes(s.bytes, 1);
    RC_ASSERT(board.cpu().write(buffer->cpu, out).has_value());
    Bytes seen(s.bytes);
    RC_ASSERT(port.read(buffer->dma, seen).has_value());
    RC_ASSERT(seen == out);
    const Bytes in = pattern_bytes(s.bytes, 2);
    RC_ASSERT(port.write(buffer->dma, in).has_value());
    RC_ASSERT(board.seen(buffer->cpu, s.bytes) == in);
    board.dma().free(board.cpu(), dev, *buffer);
    RC_ASSERT(board.dma().release(dev) == 0u);
  }));
}

// Calls with arguments that are right, nearly right, or anything.
class WildDriver {
 public:
  WildDriver(DmaBoard& board, Device& dev, std::uint64_t seed)
      : board_{board}, dev_{dev}, random_{seed}, memory_{board.buffer(64 * page_size, seed)} {}
  ~WildDriver() { board_.kernel->mm().page_allocator().free(memory_.phys, 64); }

  void call() {
    Dma& dma = board_.dma();
    paging::Mmu& cpu = board_.cpu();
    switch (random_.below(12)) {
      case 0: remember(dma.map_single(cpu, dev_, virt(), size(), direction(), attrs())); break;
      case 1:
        remember(dma.map_page(cpu, dev_, phys(), size(), direction(), attrs(), random_.below(4) == 0));
        break;
      case 2: remember(dma.map_resource(cpu, dev_, phys(), size(), direction())); break;
      case 3: dma.unmap_single(cpu, dev_, address(), size(), direction(), attrs()); break;
      case 4: dma.unmap_resource(cpu, dev_, address(), size(), direction()); break;
      case 5: dma.sync_single_for_cpu(cpu, dev_, address(), size(), direction()); break;
      case 6: dma.sync_single_for_device(cpu, dev_, address(), size(), direction()); break;
      case 7: scatterlist(); break;
      case 8:
        if (const auto buffer = dma.alloc(cpu, dev_, size(), random_.below(2) == 0, attrs()))
          buffers_.push_back(*buffer);
        break;
      case 9: dma.free(cpu, dev_, buffer(), attrs()); break;
      case 10: (void)dma.mapping_error(dev_, address()); break;
      case 11: dma.run_workers(cpu); break;
    }
  }

 private:
  void remember(DmaAddr dma) { addresses_.push_back(dma); }
  std::uint64_t wild() { return random_.next() >> random_.below(64); }
  std::uint64_t size() {
    constexpr std::uint64_t sizes[] = {0, 1, 100, 4096, 5000, 262144, 262145};
    return random_.below(8) == 0 ? wild() : sizes[random_.below(std::size(sizes))];
  }
  Direction direction() { return static_cast<Direction>(random_.below(16) == 0 ? 3 : random_.below(3)); }
  DmaAttrs attrs() { return {random_.below(4) == 0 ? random_.next() & 0x3ff : 0}; }
  VirtAddr virt() {
    return random_.below(4) == 0 ? VirtAddr{wild()} : memory_.at + random_.below(memory_.bytes);
  }
  PhysAddr phys() {
    return random_.below(4) == 0 ? PhysAddr{wild()} : memory_.phys + random_.below(memory_.bytes);
  }
  DmaAddr address() {
    if (addresses_.empty() || random_.below(4) == 0) return DmaAddr{wild()};
    return addresses_[random_.below(addresses_.size())] + (random_.below(3) == 0 ? random_.below(5000) : 0);
  }
  CoherentBuffer buffer() {
    if (buffers_.empty() || random_.below(4) == 0) return {VirtAddr{wild()}, DmaAddr{wild()}, size()};
    CoherentBuffer chosen = buffers_[random_.below(buffers_.size())];
    if (random_.below(4) == 0) chosen.cpu += random_.below(10'000);
    return chosen;
  }
  void scatterlist() {
    std::vector<ScatterEntry> sg(random_.below(5));
    for (ScatterEntry& entry : sg)
      entry = {.phys = phys(),
               .length = size(),
               .dma = address(),
               .dma_length = size(),
               .p2pdma = random_.below(9) == 0};
    dev_.seg_boundary_mask = random_.below(4) == 0 ? wild() : ~std::uint64_t{0};
    dev_.max_segment_size = random_.below(4) == 0 ? static_cast<std::uint32_t>(wild()) : 65536;
    dev_.min_align_mask = random_.below(4) == 0 ? static_cast<std::uint32_t>(wild()) : 0;
    const Direction way = direction();
    if (random_.below(3) != 0) (void)board_.dma().map_sg(board_.cpu(), dev_, sg, way, attrs());
    board_.dma().sync_sg_for_cpu(board_.cpu(), dev_, sg, way);
    board_.dma().sync_sg_for_device(board_.cpu(), dev_, sg, way);
    board_.dma().unmap_sg(board_.cpu(), dev_, sg, way, attrs());
  }

  DmaBoard& board_;
  Device& dev_;
  Random random_;
  KernelBuffer memory_;
  std::vector<DmaAddr> addresses_;
  std::vector<CoherentBuffer> buffers_;
};

TEST(DmaProperty, NothingThatADriverPassesHarmsTheModel) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Random random{seed};
    const Platform platform = platforms[random.below(std::size(platforms))];
    const KernelVersion version = versions[random.below(std::size(versions))];
    const DmaConfig config{
        .version = version, .iommu = modes[random.below(std::size(modes))], .debug = random.below(2) == 0};
    const auto board = silent_board(platform, config, 64 << 20);
    Device& dev = board->add_device(static_cast<unsigned>(random.below(65)), 0, random.below(3) == 0);
    if (random.below(8) == 0) dev.dma_mask.reset();
    WildDriver driver{*board, dev, seed};
    for (int i = 0; i < 200; ++i) driver.call();
  }
}

}  // namespace
}  // namespace cbit::kernel
