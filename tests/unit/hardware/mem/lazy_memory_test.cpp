#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/bytes.hpp"
#include "mem/memory.hpp"

namespace cbit::mem {
namespace {

constexpr Agent cpu{AgentKind::cpu, 0};
constexpr Agent device{AgentKind::device, 8};
constexpr KeyId guest = 2;

class Recorder final : public EventSink {
 public:
  void on_event(const Event& event) override { events.push_back(event); }
  template <class T>
  [[nodiscard]] std::vector<T> all() const {
    std::vector<T> found;
    for (const Event& event : events)
      if (const T* payload = std::get_if<T>(&event.payload)) found.push_back(*payload);
    return found;
  }
  std::vector<Event> events;
};

class MemoryTest : public testing::Test {
 protected:
  explicit MemoryTest(MemoryConfig config = {}) {
    config.ram = {{PhysAddr{0}, 64 << 20}};
    keys.set_derived(host_key, "sme");
    keys.set_derived(guest, "asid 1");
    memory = Memory::create(config, keys, tracer).value();
    tracer.attach(recorder);
  }
  Bytes read(PhysAddr at, std::size_t bytes, KeyId key, Agent agent = cpu) {
    Bytes out(bytes);
    EXPECT_TRUE(memory->read(at, out, {agent, key}));
    return out;
  }
  Result<void> try_read(PhysAddr at, KeyId key) {
    Bytes out(16);
    return memory->read(at, out, {cpu, key});
  }
  Bytes probe(PhysAddr at, std::size_t bytes) {
    Bytes out(bytes);
    EXPECT_TRUE(memory->probe(at, out));
    return out;
  }
  void write(PhysAddr at, const Bytes& data, KeyId key, Agent agent = cpu) {
    EXPECT_TRUE(memory->write(at, data, {agent, key}));
  }
  Bytes encrypted(PhysAddr at, Bytes data, KeyId key) {
    keys.cipher(key)->encrypt(at, data, data);
    return data;
  }

  Clock clock;
  Tracer tracer{clock};
  Recorder recorder;
  KeyTable keys{7, crypt::CipherMode::xex};
  std::unique_ptr<Memory> memory;
};

TEST_F(MemoryTest, HoldsTheCiphertextOfWhatAKeyWrote) {
  const Bytes text = pattern_bytes(256, 1);
  write(PhysAddr{0x5000}, text, guest);
  EXPECT_EQ(read(PhysAddr{0x5000}, 256, guest), text);
  EXPECT_EQ(probe(PhysAddr{0x5000}, 256), encrypted(PhysAddr{0x5000}, text, guest));
  EXPECT_EQ(read(PhysAddr{0x5000}, 256, no_key, device), probe(PhysAddr{0x5000}, 256));
}

TEST_F(MemoryTest, AForeignWriteTurnsTheBlocksItTouchesIntoNoiseAndNoOthers) {
  const Bytes text = pattern_bytes(page_size, 2);
  write(PhysAddr{0x8000}, text, guest);
  write(PhysAddr{0x8000 + 20}, Bytes(8, std::byte{0xaa}), no_key, device);
  const Bytes now = read(PhysAddr{0x8000}, page_size, guest);
  for (std::size_t block = 0; block < page_size / 16; ++block) {
    const bool same =
        std::equal(now.begin() + block * 16, now.begin() + (block + 1) * 16, text.begin() + block * 16);
    EXPECT_EQ(same, block != 1) << "block " << block;
  }
}

TEST_F(MemoryTest, AMovedFrameDecryptsToNoise) {
  const Bytes text = pattern_bytes(page_size, 3);
  write(PhysAddr{0x10000}, text, guest);
  write(PhysAddr{0x20000}, probe(PhysAddr{0x10000}, page_size), no_key);
  EXPECT_EQ(probe(PhysAddr{0x20000}, page_size), probe(PhysAddr{0x10000}, page_size));
  const Bytes moved = read(PhysAddr{0x20000}, page_size, guest);
  for (std::size_t i = 0; i < page_size; i += 16)
    EXPECT_FALSE(std::equal(moved.begin() + i, moved.begin() + i + 16, text.begin() + i));
}

TEST_F(MemoryTest, APageWrittenWholeByAnotherKeyChangesOwner) {
  write(PhysAddr{0x3000}, pattern_bytes(page_size, 4), guest);
  EXPECT_EQ(memory->history(PhysAddr{0x3000}).owner, guest);
  write(PhysAddr{0x3000}, pattern_bytes(page_size, 5), no_key, device);
  EXPECT_EQ(memory->history(PhysAddr{0x3000}).owner, no_key);
  EXPECT_EQ(recorder.all<OwnerChanged>().size(), 2u);
}

TEST_F(MemoryTest, ASteadyForeignUserBecomesTheOwner) {
  write(PhysAddr{0x3000}, pattern_bytes(page_size, 4), guest);
  const Bytes before = probe(PhysAddr{0x3000}, page_size);
  for (int i = 0; i < 600; ++i) read(PhysAddr{0x3000}, 16, no_key, device);
  EXPECT_EQ(memory->history(PhysAddr{0x3000}).owner, no_key);
  EXPECT_EQ(probe(PhysAddr{0x3000}, page_size), before);
}

TEST_F(MemoryTest, RemembersWhoWroteLastUnderWhichKeyFromWhere) {
  const SiteId site = tracer.intern("swiotlb_bounce");
  ASSERT_TRUE(memory->write(PhysAddr{0x1000}, Bytes(4), {cpu, guest, site}));
  const PageHistory history = memory->history(PhysAddr{0x1234});
  EXPECT_EQ(history.writer, cpu);
  EXPECT_EQ(history.writer_key, guest);
  EXPECT_EQ(tracer.name(history.writer_site), "swiotlb_bounce");
  EXPECT_EQ(memory->history(PhysAddr{0x2000}).writer.kind, AgentKind::none);
}

TEST_F(MemoryTest, ReportsAReadUnderAnotherKeyThanTheWriters) {
  write(PhysAddr{0x1000}, Bytes(64), guest);
  read(PhysAddr{0x1000}, 64, guest);
  EXPECT_TRUE(recorder.all<KeyMismatch>().empty());
  read(PhysAddr{0x1000}, 64, no_key, device);
  ASSERT_EQ(recorder.all<KeyMismatch>().size(), 1u);
  EXPECT_EQ(recorder.all<KeyMismatch>()[0].writer_key, guest);
}

TEST_F(MemoryTest, PeekLeavesNoTrace) {
  write(PhysAddr{0x1000}, Bytes(64), guest);
  recorder.events.clear();
  Bytes out(64);
  ASSERT_TRUE(memory->peek(PhysAddr{0x1000}, out, no_key));
  EXPECT_TRUE(recorder.events.empty());
  EXPECT_EQ(memory->history(PhysAddr{0x1000}).writer_key, guest);
}

TEST_F(MemoryTest, RefusesWhatIsNotRamAndLeavesMemoryAlone) {
  const PhysAddr end{64 << 20};
  EXPECT_EQ(memory->write(end - 8, Bytes(16), {cpu, guest}).error().kind, FaultKind::no_memory);
  EXPECT_EQ(try_read(PhysAddr{~0ull - 4}, guest).error().kind, FaultKind::no_memory);
  EXPECT_EQ(probe(end - 8, 8), Bytes(8));
}

TEST_F(MemoryTest, RekeyKeepsTheCiphertext) {
  const Bytes text = pattern_bytes(128, 6);
  write(PhysAddr{0x1000}, text, guest);
  const Bytes before = probe(PhysAddr{0x1000}, 128);
  memory->rekey(guest, crypt::derive_key(7, "asid 1, again"));
  EXPECT_EQ(probe(PhysAddr{0x1000}, 128), before);
  EXPECT_NE(read(PhysAddr{0x1000}, 128, guest), text);
}

TEST_F(MemoryTest, CopiesBetweenKeysAsAReadAndAWriteWould) {
  const Bytes text = pattern_bytes(3 * page_size, 7);
  write(PhysAddr{0x10010}, text, guest);
  ASSERT_TRUE(memory->copy(PhysAddr{0x30f00}, {cpu, no_key}, PhysAddr{0x10010}, {cpu, guest}, text.size()));
  EXPECT_EQ(probe(PhysAddr{0x30f00}, text.size()), text);
  EXPECT_EQ(read(PhysAddr{0x10010}, text.size(), guest), text);
}

TEST_F(MemoryTest, APrefetchChangesNothingAndMayMissRam) {
  write(PhysAddr{0x1000}, Bytes(page_size, std::byte{7}), guest);
  recorder.events.clear();
  memory->prefetchw(PhysAddr{0x1f80}, 2 * page_size);
  memory->prefetchw(PhysAddr{0x5000}, page_size);
  memory->prefetchw(PhysAddr{64 << 20}, page_size);
  memory->prefetchw(PhysAddr{~std::uint64_t{0}}, ~std::uint64_t{0});
  EXPECT_TRUE(recorder.events.empty());
  EXPECT_EQ(read(PhysAddr{0x1000}, page_size, guest), Bytes(page_size, std::byte{7}));
  EXPECT_EQ(memory->touched_pages(), std::vector{PhysAddr{0x1000}});
}

TEST_F(MemoryTest, ATebibyteCostsOnlyWhatIsTouched) {
  const auto big = Memory::create({.ram = {{PhysAddr{0}, 1ull << 40}}}, keys, tracer).value();
  const Bytes text = pattern_bytes(page_size, 8);
  ASSERT_TRUE(big->write(PhysAddr{(1ull << 40) - page_size}, text, {cpu, guest}));
  Bytes out(page_size);
  ASSERT_TRUE(big->read(PhysAddr{(1ull << 40) - page_size}, out, {cpu, guest}));
  EXPECT_EQ(out, text);
  std::size_t touched = 0;
  big->for_each_touched([&](PhysAddr, const PageHistory&) { ++touched; });
  EXPECT_EQ(touched, 1u);
}

TEST(MemoryConfigTest, RefusesOverlappingOversizedAndEmptyRam) {
  Clock clock;
  Tracer tracer{clock};
  KeyTable keys{1, crypt::CipherMode::xex};
  EXPECT_FALSE(Memory::create({}, keys, tracer));
  EXPECT_FALSE(Memory::create({.ram = {{PhysAddr{0}, 8192}, {PhysAddr{4096}, 4096}}}, keys, tracer));
  EXPECT_FALSE(Memory::create({.ram = {{PhysAddr{0}, (1ull << 40) + 4096}}}, keys, tracer));
}

class CacheReportTest : public MemoryTest {
 protected:
  CacheReportTest() : MemoryTest{{.cache = CacheModel::report}} {}
};

TEST_F(CacheReportTest, ReportsALineUsedUnderAnotherKeyWhileDirty) {
  write(PhysAddr{0x1000}, Bytes(64), guest);
  read(PhysAddr{0x1000}, 16, no_key, device);
  ASSERT_EQ(recorder.all<CacheAliasHazard>().size(), 1u);
  EXPECT_EQ(recorder.all<CacheAliasHazard>()[0].dirty_key, guest);
}

TEST_F(CacheReportTest, IsQuietAfterAFlushAndForTheSameKey) {
  write(PhysAddr{0x1000}, Bytes(200), guest);
  read(PhysAddr{0x1000}, 200, guest, device);
  EXPECT_EQ(memory->flush(PhysAddr{0x1000}, page_size), 4u);
  read(PhysAddr{0x1000}, 200, no_key, device);
  EXPECT_TRUE(recorder.all<CacheAliasHazard>().empty());
}

class CacheBiteTest : public MemoryTest {
 protected:
  CacheBiteTest() : MemoryTest{{.cache = CacheModel::bite}} {}
};

TEST_F(CacheBiteTest, GivesStaleDataUntilTheLineIsFlushed) {
  const Bytes text = pattern_bytes(64, 9);
  write(PhysAddr{0x1000}, text, no_key);
  EXPECT_EQ(probe(PhysAddr{0x1000}, 64), Bytes(64)) << "the write is still in the cache";
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, no_key, device), text) << "a device snoops lines of its own key";
  write(PhysAddr{0x2000}, text, guest);
  EXPECT_EQ(read(PhysAddr{0x2000}, 64, no_key, device), Bytes(64)) << "but not those of another";
  EXPECT_EQ(recorder.all<CacheAliasHazard>().size(), 1u);
  EXPECT_TRUE(recorder.all<CacheAliasHazard>()[0].stale);
  EXPECT_EQ(memory->flush(PhysAddr{0x2000}, 64), 1u);
  EXPECT_EQ(read(PhysAddr{0x2000}, 64, no_key, device), encrypted(PhysAddr{0x2000}, text, guest));
}

TEST_F(CacheBiteTest, ALateWriteBackOverwritesTheOtherView) {
  write(PhysAddr{0x1000}, pattern_bytes(64, 1), guest);
  const Bytes incoming = pattern_bytes(64, 2);
  write(PhysAddr{0x1000}, incoming, no_key, device);
  EXPECT_EQ(probe(PhysAddr{0x1000}, 64), incoming);
  memory->flush_all();
  EXPECT_NE(probe(PhysAddr{0x1000}, 64), incoming);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, guest), pattern_bytes(64, 1));
}

class RmpTest : public MemoryTest {
 protected:
  RmpTest() : MemoryTest{{.protection = MemoryProtection::rmp, .protected_key = guest}} {}
};

TEST_F(RmpTest, RefusesADevicesWriteToAGuestPageAndLetsItReadCiphertext) {
  const Bytes text = pattern_bytes(64, 1);
  write(PhysAddr{0x1000}, text, guest);
  EXPECT_EQ(memory->write(PhysAddr{0x1000}, Bytes(64), {device, no_key}).error().kind,
            FaultKind::rmp_violation);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, guest), text);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, no_key, device), encrypted(PhysAddr{0x1000}, text, guest));
  EXPECT_EQ(recorder.all<AccessFault>().size(), 1u);
}

TEST_F(RmpTest, ASharedPageTakesDeviceWritesAndRefusesTheGuestsKey) {
  memory->convert(PhysAddr{0x1000}, 1, false, 0);
  EXPECT_FALSE(memory->history(PhysAddr{0x1000}).assigned);
  write(PhysAddr{0x1000}, Bytes(64), no_key, device);
  EXPECT_EQ(memory->write(PhysAddr{0x1000}, Bytes(64), {cpu, guest}).error().kind, FaultKind::rmp_violation);
  memory->convert(PhysAddr{0x1000}, 1, true, 0);
  write(PhysAddr{0x1000}, Bytes(64), guest);
}

class TdTest : public MemoryTest {
 protected:
  TdTest()
      : MemoryTest{{.protection = MemoryProtection::td, .protected_key = guest, .initial_owner = guest}} {}
};

TEST_F(TdTest, UntouchedMemoryReadsAsZerosToTheGuest) {
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, guest), Bytes(64));
}

TEST_F(TdTest, AForeignReaderGetsZerosWhileTheChipsHoldCiphertext) {
  const Bytes text = pattern_bytes(64, 1);
  write(PhysAddr{0x1000}, text, guest);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, no_key, device), Bytes(64));
  EXPECT_EQ(probe(PhysAddr{0x1000}, 64), encrypted(PhysAddr{0x1000}, text, guest));
}

TEST_F(TdTest, AForeignWritePoisonsTheLineForTheGuest) {
  write(PhysAddr{0x1000}, pattern_bytes(128, 1), guest);
  write(PhysAddr{0x1000}, Bytes(64, std::byte{1}), no_key, device);
  EXPECT_EQ(try_read(PhysAddr{0x1000}, guest).error().kind, FaultKind::td_integrity);
  const Bytes untouched_line = pattern_bytes(128, 1);
  EXPECT_EQ(read(PhysAddr{0x1040}, 64, guest), Bytes(untouched_line.begin() + 64, untouched_line.end()));
  write(PhysAddr{0x1000}, pattern_bytes(64, 2), guest);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, guest), pattern_bytes(64, 2));
}

TEST_F(TdTest, ConversionClearsThePage) {
  write(PhysAddr{0x1000}, pattern_bytes(64, 1), guest);
  memory->convert(PhysAddr{0x1000}, 1, false, 0);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, no_key), Bytes(64));
  write(PhysAddr{0x1000}, pattern_bytes(64, 2), no_key, device);
  EXPECT_EQ(read(PhysAddr{0x1000}, 64, no_key), pattern_bytes(64, 2));
}

}  // namespace
}  // namespace cbit::mem
