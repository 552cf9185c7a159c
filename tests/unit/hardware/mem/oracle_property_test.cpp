// Any sequence of accesses under any keys leaves LazyMemory and EagerMemory with the same DRAM and gave the
// same bytes on the way. CBIT_PROPERTY_ACCESSES sets the number of accesses.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "base/random.hpp"
#include "mem/eager_memory.hpp"
#include "mem/lazy_memory.hpp"

namespace cbit::mem {
namespace {

constexpr std::uint64_t ram_bytes = 64 * page_size;

std::uint64_t access_count() {
  const char* const text = std::getenv("CBIT_PROPERTY_ACCESSES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 10'000'000;
}

// Mostly short, some page-sized and page-crossing, at any alignment.
std::size_t random_size(Random& random) {
  switch (random.below(64)) {
    case 0: return page_size;
    case 1: return 1 + random.below(3 * page_size);
    case 2:
    case 3: return 64 << random.below(3);
    default: return 1 + random.below(48);
  }
}

class Pair {
 public:
  explicit Pair(std::uint64_t seed)
      : random_{seed}, keys_{seed, seed % 2 == 0 ? crypt::CipherMode::xex : crypt::CipherMode::xe} {
    keys_.set_derived(1, "one");
    keys_.set_derived(2, "two");
    keys_.set_derived(4, "four");  // 3 is never installed: an access with it is not encrypted
    const std::vector<PhysRange> ram{{PhysAddr{0}, ram_bytes}};
    lazy_ = Memory::create({.ram = ram}, keys_, tracer_).value();
    eager_ = std::make_unique<EagerMemory>(ram, keys_);
  }

  void step() {
    const std::size_t bytes = random_size(random_);
    PhysAddr at{random_.below(ram_bytes - bytes)};
    if (bytes == page_size && random_.below(2) == 0) at = at.page();
    const Access access{{AgentKind::cpu, 0}, static_cast<KeyId>(random_.below(5))};
    switch (random_.below(16)) {
      case 0: return copy(at, bytes, access);
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
      case 6: return compare_read(at, bytes, access);
      default: return write(at, bytes, access);
    }
  }

  void compare_dram() {
    Bytes lazy(ram_bytes), eager(ram_bytes);
    ASSERT_TRUE(lazy_->probe(PhysAddr{0}, lazy));
    ASSERT_TRUE(eager_->probe(PhysAddr{0}, eager));
    ASSERT_EQ(lazy, eager);
  }
  [[nodiscard]] MemoryStats stats() const { return lazy_->stats(); }

 private:
  void write(PhysAddr at, std::size_t bytes, const Access& access) {
    const Bytes data = pattern_bytes(bytes, random_.next());
    ASSERT_TRUE(lazy_->write(at, data, access));
    ASSERT_TRUE(eager_->write(at, data, access));
  }
  void copy(PhysAddr to, std::size_t bytes, const Access& to_access) {
    const PhysAddr from{random_.below(ram_bytes - bytes)};
    if (from < to + bytes && to < from + bytes) return;
    const Access from_access{{AgentKind::cpu, 0}, static_cast<KeyId>(random_.below(5))};
    ASSERT_TRUE(lazy_->copy(to, to_access, from, from_access, bytes));
    ASSERT_TRUE(eager_->copy(to, to_access, from, from_access, bytes));
  }
  void compare_read(PhysAddr at, std::size_t bytes, const Access& access) {
    lazy_bytes_.resize(bytes), eager_bytes_.resize(bytes);
    ASSERT_TRUE(lazy_->read(at, lazy_bytes_, access));
    ASSERT_TRUE(eager_->read(at, eager_bytes_, access));
    ASSERT_EQ(lazy_bytes_, eager_bytes_);
  }

  Random random_;
  Tracer tracer_;
  KeyTable keys_;
  std::unique_ptr<Memory> lazy_;
  std::unique_ptr<Memory> eager_;
  Bytes lazy_bytes_, eager_bytes_;
};

TEST(OracleProperty, LazyMemoryCannotBeToldFromTheEagerOne) {
  constexpr std::uint64_t rounds = 20;
  const std::uint64_t accesses = access_count();
  for (std::uint64_t seed = 0; seed < rounds; ++seed) {
    Pair pair{seed};
    for (std::uint64_t i = 0; i < accesses / rounds; ++i) {
      pair.step();
      if (HasFatalFailure()) FAIL() << "seed " << seed << ", access " << i;
    }
    pair.compare_dram();
    EXPECT_GT(pair.stats().owner_changes, 0u) << "the sequence never exercised a change of owner";
  }
  RecordProperty("accesses", std::to_string(accesses));
}

}  // namespace
}  // namespace cbit::mem
