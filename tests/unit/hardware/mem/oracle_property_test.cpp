// Any sequence of accesses under any keys, by leases, snapshots or neither, among conversions, new keys and
// RMP updates, leaves LazyMemory and EagerMemory with the same DRAM and gave the same bytes on the way.
// CBIT_PROPERTY_ACCESSES sets the number of accesses.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/random.hpp"
#include "mem/eager_memory.hpp"
#include "mem/lazy_memory.hpp"
#include "mem/snapshot.hpp"

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

// Somebody with leases, as a CPU has them in its TLB, who believes what it is told of their end.
class Holder final : public LeaseHolder {
 public:
  struct Held {
    PhysAddr page;
    KeyId key;
    LeaseIntent intent;
    std::byte* data;
  };

  void revoke(PhysAddr page) override {
    std::erase_if(held, [&](const Held& each) { return each.page == page; });
  }
  void code_written(PhysAddr at, std::uint64_t bytes) override { told.push_back({at, bytes}); }
  [[nodiscard]] bool has(PhysAddr page, LeaseIntent intent) const {
    return std::ranges::any_of(held,
                               [&](const Held& each) { return each.page == page && each.intent == intent; });
  }

  std::vector<Held> held;
  std::vector<PhysRange> told;
};

constexpr unsigned guest_asid = 1;
constexpr KeyId protected_key = guest_key(guest_asid);
constexpr std::uint64_t keys_count = 5;

class Pair {
 public:
  explicit Pair(std::uint64_t seed)
      : protected_{seed % 4 == 3},
        random_{seed},
        keys_{seed, seed % 2 == 0 ? crypt::CipherMode::xex : crypt::CipherMode::xe} {
    keys_.set_derived(1, "one");
    keys_.set_derived(2, "two");
    keys_.set_derived(4, "four");  // 3 is never installed: an access with it is not encrypted
    MemoryConfig config{.ram = {{PhysAddr{0}, ram_bytes}}};
    if (protected_) {
      config.protection = MemoryProtection::rmp;
      config.protected_key = protected_key;
    }
    lazy_ = Memory::create(config, keys_, tracer_).value();
    eager_ = std::make_unique<EagerMemory>(config.ram, keys_);
  }

  void step() {
    std::size_t bytes = random_size(random_);
    PhysAddr at{random_.below(ram_bytes - bytes)};
    if (bytes == page_size && random_.below(2) == 0) at = at.page();
    // A refused access ends at a page's start: with one page, it has no effect at all.
    if (protected_) bytes = std::min<std::size_t>(bytes, page_size - at.page_offset());
    const Access access{{AgentKind::cpu, 0}, static_cast<KeyId>(random_.below(keys_count))};
    switch (random_.below(32)) {
      case 0:
      case 1: return copy(at, bytes, access);
      case 2:
      case 3:
      case 4:
      case 5:
      case 6: return take_lease(at.page(), access);
      case 7: return change_what_leases_rest_on(at.page());
      case 8:
      case 9:
      case 10:
      case 11:
      case 12:
      case 13:
      case 14: return use_lease();
      case 15:
      case 16:
      case 17:
      case 18:
      case 19:
      case 20:
      case 21: return compare_read(at, bytes, access);
      case 22: return take_snapshot(at, bytes, access);
      case 23: return end_snapshot();
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
  [[nodiscard]] std::uint64_t lease_uses() const { return lease_uses_; }

 private:
  void write(PhysAddr at, std::size_t bytes, const Access& access) {
    const Bytes data = pattern_bytes(bytes, random_.next());
    for (Holder& holder : holders_) holder.told.clear();
    if (!lazy_->write(at, data, access)) {
      ASSERT_TRUE(protected_);
      return;
    }
    ASSERT_TRUE(eager_->write(at, data, access));
    for (const Holder& holder : holders_) expect_told(holder, {at, bytes});
  }
  // Who still holds code of a page knows which of its bytes are others now.
  static void expect_told(const Holder& holder, PhysRange written) {
    for (PhysAddr at = written.first; at < written.end(); at = at.page() + page_size) {
      if (!holder.has(at.page(), LeaseIntent::execute)) continue;
      const std::uint64_t bytes = std::min(written.end(), at.page() + page_size) - at;
      ASSERT_TRUE(std::ranges::any_of(holder.told, [&](const PhysRange& told) {
        return told.contains(at, bytes);
      })) << at.value();
    }
  }
  void copy(PhysAddr to, std::size_t bytes, const Access& to_access) {
    const PhysAddr from{random_.below(ram_bytes - bytes)};
    const std::uint64_t near = bytes + crypt::cipher_block_size;  // closer, and they may share a block
    if (protected_ || (from < to + near && to < from + near)) return;
    const Access from_access{{AgentKind::cpu, 0}, static_cast<KeyId>(random_.below(keys_count))};
    ASSERT_TRUE(lazy_->copy(to, to_access, from, from_access, bytes));
    ASSERT_TRUE(eager_->copy(to, to_access, from, from_access, bytes));
  }
  void compare_read(PhysAddr at, std::size_t bytes, const Access& access) {
    lazy_bytes_.resize(bytes);
    eager_bytes_.resize(bytes);
    if (!lazy_->read(at, lazy_bytes_, access)) {
      ASSERT_TRUE(protected_);
      return;
    }
    ASSERT_TRUE(eager_->read(at, eager_bytes_, access));
    ASSERT_EQ(lazy_bytes_, eager_bytes_);
  }

  // What a device has in flight is what it has read, whatever becomes of the memory meanwhile.
  void take_snapshot(PhysAddr at, std::size_t bytes, const Access& access) {
    Flight flight;
    flight.read.resize(bytes);
    if (!lazy_->snapshot(at, bytes, flight.queue, access)) {
      ASSERT_TRUE(protected_);
      return;
    }
    ASSERT_TRUE(eager_->read(at, flight.read, access));
    flight.snapshot = flight.queue.take(random_.below(bytes + 1));  // the rest stays in the queue
    flights_.push_back(std::move(flight));
    if (flights_.size() > 4) end_snapshot();
  }
  void end_snapshot() {
    if (flights_.empty()) return;
    const std::size_t number = random_.below(flights_.size());
    Flight& flight = flights_[number];
    ASSERT_EQ(flight.queue.size() + flight.snapshot.bytes().size(), flight.read.size());
    ASSERT_TRUE(std::ranges::equal(flight.snapshot.bytes(),
                                   ConstByteSpan{flight.read}.first(flight.snapshot.bytes().size())));
    ConstByteSpan rest = ConstByteSpan{flight.read}.subspan(flight.snapshot.bytes().size());
    while (!rest.empty()) {
      const std::size_t now = 1 + random_.below(rest.size());
      ASSERT_TRUE(std::ranges::equal(flight.queue.take(now).bytes(), rest.first(now)));
      rest = rest.subspan(now);
    }
    std::swap(flights_[number], flights_.back());
    flights_.pop_back();
  }

  Holder& some_holder() { return holders_[random_.below(holders_.size())]; }
  void take_lease(PhysAddr page, Access access) {
    constexpr LeaseIntent intents[] = {LeaseIntent::read, LeaseIntent::write, LeaseIntent::execute};
    const LeaseIntent intent = intents[random_.below(3)];
    const std::size_t number = random_.below(holders_.size());
    access.agent.index = static_cast<std::uint16_t>(number);
    const Result<std::byte*> lease = lazy_->lease(page, access, intent, holders_[number]);
    if (!lease) {
      ASSERT_TRUE(protected_);
      return;
    }
    if (*lease == nullptr) {
      ASSERT_EQ(intent, LeaseIntent::write);
      ASSERT_TRUE(std::ranges::any_of(
          holders_, [&](const Holder& each) { return each.has(page, LeaseIntent::execute); }));
      return;
    }
    holders_[number].held.push_back({page, access.key, intent, *lease});
    if (intent != LeaseIntent::execute) return;
    for (const Holder& each : holders_) ASSERT_FALSE(each.has(page, LeaseIntent::write));
  }
  void use_lease() {
    Holder& holder = some_holder();
    if (holder.held.empty()) return;
    const Holder::Held held = holder.held[random_.below(holder.held.size())];
    const std::uint64_t offset = random_.below(page_size);
    const std::size_t bytes = 1 + random_.below(std::min<std::uint64_t>(16, page_size - offset));
    const Access access{{AgentKind::cpu, 0}, held.key};
    ++lease_uses_;
    if (held.intent == LeaseIntent::write && random_.below(2) == 0) {
      const Bytes data = pattern_bytes(bytes, random_.next());
      std::ranges::copy(data, held.data + offset);
      ASSERT_TRUE(eager_->write(held.page + offset, data, access));
      return;
    }
    eager_bytes_.resize(bytes);
    ASSERT_TRUE(eager_->read(held.page + offset, eager_bytes_, access));
    ASSERT_TRUE(std::equal(eager_bytes_.begin(), eager_bytes_.end(), held.data + offset));
  }
  void change_what_leases_rest_on(PhysAddr page) {
    switch (random_.below(8)) {
      case 0: {
        Holder& holder = some_holder();
        lazy_->end_leases(holder);
        holder.held.clear();
        return;
      }
      case 1: {
        Holder& holder = some_holder();
        lazy_->end_leases(page, holder);
        return holder.revoke(page);
      }
      case 2: {
        const auto id = static_cast<KeyId>(1 + random_.below(2));
        lazy_->rekey(id, crypt::derive_key(random_.next(), "new"));
        for (const Holder& each : holders_)
          ASSERT_TRUE(std::ranges::none_of(each.held, [&](const auto& held) { return held.key == id; }));
        return;
      }
      case 3:
      case 4:
        if (!protected_) return;
        lazy_->rmp_update(page,
                          random_.below(2) == 0 ? RmpEntry{} : assigned_page(guest_asid, page.page_number()));
        break;
      default: lazy_->convert(page, 1, random_.below(2) == 0, 0);
    }
    for (const Holder& each : holders_)
      ASSERT_TRUE(std::ranges::none_of(each.held, [&](const auto& held) { return held.page == page; }));
  }

  struct Flight {
    SnapshotQueue queue;
    Snapshot snapshot;
    Bytes read;
  };

  bool protected_;  // by an RMP
  Random random_;
  Clock clock_;
  Tracer tracer_{clock_};
  KeyTable keys_;
  std::unique_ptr<Memory> lazy_;
  std::unique_ptr<Memory> eager_;
  std::array<Holder, 3> holders_;
  std::uint64_t lease_uses_ = 0;
  std::vector<Flight> flights_;
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
    EXPECT_GT(pair.lease_uses(), 0u) << "the sequence never used a lease";
  }
  RecordProperty("accesses", std::to_string(accesses));
}

}  // namespace
}  // namespace cbit::mem
