// A kernel under probes, played by the test: a CPU that calls functions, and the structures that they work
// on.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "linux/probes/probes.hpp"
#include "support/linux/test_kernel.hpp"
#include "support/small_machine.hpp"

namespace cbit::test {

class ProbeBench : public linux::CallTracker::Processor, public linux::Observer {
 public:
  static constexpr std::uint64_t slide = 0x1560'0000;
  static constexpr std::uint64_t direct_map = 0xffff'8880'0000'0000;
  static constexpr std::uint64_t vmemmap = 0xffff'ea00'0000'0000;
  static constexpr VirtAddr stack{0xffff'c900'0001'3f00};
  static constexpr VirtAddr pci{0xffff'8880'0100'0000};
  static constexpr VirtAddr tlb{0xffff'8880'0180'0000};
  static constexpr PhysAddr pool{0x4000'0000};
  static constexpr std::uint64_t pool_slots = 512;
  static constexpr std::uint64_t me_mask = 1ull << 47;

  explicit ProbeBench(Style style = Style::v6_1, bool start = true);

  // A call of a function by "driver_queue", and what happens inside; its result is what `inside` returns.
  using Body = std::function<std::uint64_t()>;
  void call(
      std::string_view function, std::vector<std::uint64_t> arguments, const Body& inside = [] { return 0; });
  void call(std::string_view function, std::vector<std::uint64_t> arguments, std::uint64_t result) {
    call(function, std::move(arguments), [result] { return result; });
  }
  // The same by a jump at a function's end: it returns to the caller's caller.
  void tail_call(
      std::string_view function, std::vector<std::uint64_t> arguments, const Body& inside = [] { return 0; });
  // The instruction at an address, with the registers as they are.
  void execute(VirtAddr rip);
  [[nodiscard]] VirtAddr at(std::string_view symbol) const { return kernel.at(symbol) + slide; }
  [[nodiscard]] VirtAddr device() const { return pci + kernel.offset("pci_dev", "dev"); }
  [[nodiscard]] std::uint64_t dev() const { return device().value(); }
  [[nodiscard]] static std::uint64_t page(PhysAddr phys) { return vmemmap + phys.page_number() * 64; }
  void set_device(std::string_view member, std::uint64_t value) {
    guest.put(device() + kernel.offset("device", member), value);
  }
  void set_mask(std::uint64_t mask) { guest.put(pci + 0x1400, mask); }
  void set_variable(std::string_view name, std::uint64_t value) { guest.put(at(name), value); }
  void use_iommu();
  [[nodiscard]] VirtAddr slot(std::uint64_t index) const { return slots_at + index * 24; }
  void set_slot(std::uint64_t index, std::uint64_t orig, std::uint64_t alloc_size, std::uint32_t list);

  // The functions of one bounce, as the kernel nests them; the addresses are those of slot `index`.
  void bounce(PhysAddr orig, std::uint64_t bytes, DmaDirection direction, std::uint64_t index);
  void release(PhysAddr bounce, std::uint64_t bytes, DmaDirection direction);
  [[nodiscard]] std::vector<std::uint64_t> map_single_arguments(PhysAddr orig, std::uint64_t bytes) const;

  [[nodiscard]] std::string_view name(NameId id) const { return tracer.name(id); }
  [[nodiscard]] NameId device_id() { return tracer.intern("0000:00:02.0"); }
  // The names of all events since the last clear(), in order.
  [[nodiscard]] std::vector<std::string> event_names() const;
  template <class Payload>
  [[nodiscard]] Payload only() const {
    const auto found = log.all<Payload>();
    EXPECT_EQ(found.size(), 1u) << Payload::name;
    return found.empty() ? Payload{} : found.front();
  }

  void add_probe(VirtAddr at) override { probed.insert(at); }
  void remove_probe(VirtAddr at) override { probed.erase(at); }
  [[nodiscard]] bool is_ram(PhysAddr at) const override { return at < PhysAddr{1ull << 36}; }
  [[nodiscard]] std::optional<IommuLeaf> iommu_leaf(RequesterId, DmaAddr) const override { return leaf; }
  void kernel_found(const linux::RunningKernel&) override { ++kernels_found; }
  void kernel_forgotten() override { ++kernels_forgotten; }
  void pool_found(PhysAddr first, std::uint64_t bytes) override { pools.emplace_back(first, bytes); }
  void kernel_stops(linux::KernelStop kind, SiteId site) override { stops.emplace_back(kind, site); }

  const TestKernel& kernel;
  FakeGuest guest;
  Clock clock;
  Tracer tracer{clock};
  EventLog log;
  std::set<VirtAddr> probed;
  linux::CpuView cpu{.memory = &guest};
  VirtAddr slots_at = tlb + 0x1000;
  std::optional<IommuLeaf> leaf;
  unsigned kernels_found = 0, kernels_forgotten = 0;
  std::vector<std::pair<PhysAddr, std::uint64_t>> pools;
  std::vector<std::pair<linux::KernelStop, SiteId>> stops;
  std::unique_ptr<linux::Probes> probes;

 private:
  void set_up_device();
  void set_up_pool();
  void set_arguments(const std::vector<std::uint64_t>& arguments);
};

}  // namespace cbit::test
