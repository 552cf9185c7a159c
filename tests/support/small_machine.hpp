// Memory with its keys, a bus and an event log: the least that a test of the lower rooms needs.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "base/trace.hpp"
#include "mem/key_layout.hpp"
#include "mem/memory.hpp"

namespace cbit::test {

class EventLog final : public EventSink {
 public:
  void on_event(const Event& event) override { events_.push_back(event); }

  template <class Payload>
  [[nodiscard]] std::vector<Payload> all() const {
    std::vector<Payload> found;
    for (const Event& event : events_)
      if (const auto* payload = std::get_if<Payload>(&event.payload)) found.push_back(*payload);
    return found;
  }
  [[nodiscard]] const std::vector<Event>& events() const { return events_; }
  void clear() { events_.clear(); }

 private:
  std::vector<Event> events_;
};

enum class Encryption : std::uint8_t { none, sme, sev };

// 64 MiB from 0 and 16 MiB from 4 GiB unless the configuration says otherwise. `key` is what encrypted memory
// is written under; `cpu_view` and `device_view` are the platform's.
struct SmallMachine {
  static constexpr unsigned c_bit = 47;
  static constexpr Agent cpu{AgentKind::cpu, 0};

  explicit SmallMachine(Encryption encryption = Encryption::none, mem::MemoryConfig config = {}) {
    if (encryption != Encryption::none) cpu_view.layout = mem::KeyLayout::amd(c_bit);
    if (encryption == Encryption::sme) key = mem::host_key;
    if (encryption == Encryption::sev) key = mem::guest_key(1);
    if (key != no_key) keys.set_derived(key, "test");
    cpu_view.encrypted_key = key;
    if (encryption == Encryption::sme) device_view = cpu_view;
    if (config.ram.empty()) config.ram = {{PhysAddr{0}, 64 << 20}, {PhysAddr{1ull << 32}, 16 << 20}};
    auto created = mem::Memory::create(config, keys, tracer);
    if (created) memory = std::move(*created);
    EXPECT_TRUE(memory) << created.error().message;
    tracer.attach(log);
  }

  // Contents as the CPU would write them with the encryption bit set (`key`) or clear.
  void put(PhysAddr at, ConstByteSpan bytes, KeyId under) {
    ASSERT_TRUE(memory->write(at, bytes, {cpu, under, 0}));
  }
  template <class T>
  void put_value(PhysAddr at, const T& value, KeyId under) {
    put(at, bytes_of(value), under);
  }
  [[nodiscard]] Bytes seen(PhysAddr at, std::size_t bytes, KeyId under) const {
    Bytes data(bytes);
    EXPECT_TRUE(memory->peek(at, data, under));
    return data;
  }
  template <class T>
  [[nodiscard]] T value(PhysAddr at, KeyId under) const {
    return load<T>(seen(at, sizeof(T), under));
  }
  // What is in the DRAM chips.
  [[nodiscard]] Bytes raw(PhysAddr at, std::size_t bytes) const {
    Bytes data(bytes);
    EXPECT_TRUE(memory->probe(at, data));
    return data;
  }

  Clock clock;
  Tracer tracer{clock};
  EventLog log;
  mem::KeyTable keys{1, crypt::CipherMode::xex};
  KeyId key = no_key;
  mem::KeyView cpu_view;
  mem::KeyView device_view;
  std::unique_ptr<mem::Memory> memory;
};

// A source of table pages that remembers what it gave and took back. Pages come from `first` upwards and are
// used once; the `fail_at`-th allocation, counted from 0, fails.
class PagePool {
 public:
  explicit PagePool(PhysAddr first) : next_{first} {}

  [[nodiscard]] Result<PhysAddr> allocate() {
    if (fail_at && allocations_ == *fail_at) return fault(FaultKind::no_memory, next_.value());
    ++allocations_;
    const PhysAddr page = std::exchange(next_, next_ + page_size);
    in_use_.insert(page);
    return page;
  }
  void release(PhysAddr page) { EXPECT_EQ(in_use_.erase(page), 1u) << "released without being in use"; }

  // For PageTable::Source, IommuPageSource.
  template <class Source>
  [[nodiscard]] Source source() {
    return Source{[this] { return allocate(); }, [this](PhysAddr page) { release(page); }};
  }
  [[nodiscard]] const std::set<PhysAddr>& in_use() const { return in_use_; }
  [[nodiscard]] std::uint64_t allocations() const { return allocations_; }

  std::optional<std::uint64_t> fail_at;

 private:
  PhysAddr next_;
  std::uint64_t allocations_ = 0;
  std::set<PhysAddr> in_use_;
};

}  // namespace cbit::test
