#include "explain/maps/transfer.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "explain/maps/findings.hpp"

namespace cbit::explain {
namespace {

// Picks out of the event stream what the mapping turned into.
class MappingObserver final : public EventSink {
 public:
  void on_event(const Event& event) override {
    if (const auto* mapped = std::get_if<DmaMapped>(&event.payload); mapped != nullptr && !mapping)
      mapping = *mapped;
    if (const auto* slots = std::get_if<SwiotlbAllocated>(&event.payload)) bounces.push_back(*slots);
    if (const auto* access = std::get_if<DeviceAccess>(&event.payload); access != nullptr && !carried)
      carried = CarriedKeyId{static_cast<mem::KeySelector>(access->key), access->through_iommu};
    if (const auto* refused = std::get_if<DeviceFault>(&event.payload)) fault = refused->fault;
  }

  // Where the pool holds the memory at `at`; nullopt: nowhere.
  [[nodiscard]] std::optional<PhysAddr> bounce_of(PhysAddr at) const {
    for (const SwiotlbAllocated& slots : bounces)
      if (at >= slots.orig && at - slots.orig < slots.slots * kernel::io_tlb_size)
        return slots.bounce + (at - slots.orig);
    return std::nullopt;
  }

  std::optional<DmaMapped> mapping;  // of the first segment
  std::vector<SwiotlbAllocated> bounces;
  std::optional<Fault> fault;
  std::optional<CarriedKeyId> carried;
};

// One DMA from the owner's first write to the last look.
class Transfer {
 public:
  Transfer(const ExplainOptions& options, testbed::Testbed& bed, testbed::TestDevice device,
           MappingObserver& observer, MakeStrategy make)
      : options_{options},
        direction_{options.effective_direction()},
        bed_{bed},
        device_{device},
        observer_{observer},
        from_cpu_{testbed::authored_bytes(testbed::Author::cpu, options.size)},
        from_device_{testbed::authored_bytes(testbed::Author::device, options.size)},
        bench_{options, bed, device,
               device_reads() ? from_cpu_ : testbed::authored_bytes(testbed::Author::before, options.size),
               testbed::authored_bytes(testbed::Author::before, options.size)},
        strategy_{make(bench_)} {}

  OrError<Explanation> run() {
    const paging::SiteScope driver{bench_.cpu(), bed_.tracer().intern("driver")};
    result_.options = options_;
    CBIT_TRY(strategy_->prepare());
    mapped_ = strategy_->map();
    if (mapped_) {
      note_mapping();
      transfer();
      look_from_the_pool();
      if (options_.sync) strategy_->sync_for_cpu(*options_.sync);
      if (options_.unmap) strategy_->unmap();
    }
    look();
    result_.verdict = judge();
    if (mapped_ && options_.unmap) strategy_->release();
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool device_reads() const { return direction_ != DmaDirection::from_device; }
  [[nodiscard]] bool device_writes() const { return direction_ != DmaDirection::to_device; }
  [[nodiscard]] std::uint64_t written() const { return options_.device_writes.value_or(options_.size); }

  // What the buffer holds afterwards when all goes well.
  [[nodiscard]] Bytes expected() const {
    Bytes bytes = bench_.initial;
    if (device_writes()) std::copy_n(from_device_.begin(), written(), bytes.begin());
    return bytes;
  }

  void note_mapping();
  void transfer();
  void look();
  void look_from_the_pool();
  [[nodiscard]] Verdict judge() const;
  // Calls `move(address, bytes before it, bytes)` for the segments of the first `bytes`, until one faults.
  template <class Move>
  Result<void> for_segments(std::uint64_t bytes, Move&& move) const;
  [[nodiscard]] Sight sight(const std::vector<mem::PhysRange>& places, const Bytes& seen) const;
  [[nodiscard]] Bytes seen_by_host(const std::vector<mem::PhysRange>& places) const;

  const ExplainOptions& options_;
  DmaDirection direction_;
  testbed::Testbed& bed_;
  testbed::TestDevice device_;
  MappingObserver& observer_;
  Bytes from_cpu_, from_device_;
  MapBench bench_;
  std::unique_ptr<MapStrategy> strategy_;
  bool mapped_ = false;
  bool transferred_ = true;
  Explanation result_;
};

void Transfer::note_mapping() {
  result_.dma_address = strategy_->segments().front().at;
  result_.bounced = !observer_.bounces.empty();
  result_.path = observer_.mapping ? observer_.mapping->path : DmaPath::direct;
  result_.encryption_bit = observer_.mapping && observer_.mapping->encrypted;
  result_.max_mapping_size = bench_.dma().max_mapping_size(device_.driver);
  result_.largest_mapping =
      result_.bounced ? std::min(result_.max_mapping_size, kernel::Swiotlb::max_mapping_size(device_.driver))
                      : result_.max_mapping_size;
  if (kernel::Swiotlb* const pool = bench_.dma().swiotlb()) result_.swiotlb = pool->usage();
}

template <class Move>
Result<void> Transfer::for_segments(std::uint64_t bytes, Move&& move) const {
  std::uint64_t done = 0;
  for (const DmaSegment& segment : strategy_->segments()) {
    const std::uint64_t n = std::min(segment.bytes, bytes - done);
    if (n == 0) break;
    CBIT_TRY(move(segment.at, done, n));
    done += n;
  }
  return {};
}

void Transfer::transfer() {
  Bytes seen;
  if (device_reads()) {
    seen.resize(options_.size);
    transferred_ = for_segments(options_.size, [&](DmaAddr at, std::uint64_t done, std::uint64_t n) {
                     return device_.hardware.port().read(at, ByteSpan{seen}.subspan(done, n));
                   }).has_value();
    if (!transferred_) seen.clear();
  }
  if (device_writes() && transferred_) {
    transferred_ = for_segments(written(), [&](DmaAddr at, std::uint64_t done, std::uint64_t n) {
                     return device_.hardware.write(at, ConstByteSpan{from_device_}.subspan(done, n));
                   }).has_value();
    // An IOMMU may let the device write and not read: then it knows what it wrote, and no more.
    Bytes now(options_.size);
    const auto peeked = for_segments(options_.size, [&](DmaAddr at, std::uint64_t done, std::uint64_t n) {
      return device_.hardware.port().peek(at, ByteSpan{now}.subspan(done, n));
    });
    if (!peeked)
      now.assign(from_device_.begin(), from_device_.begin() + static_cast<std::ptrdiff_t>(written()));
    if (transferred_) seen = std::move(now);
  }
  result_.device = sight(strategy_->memory(), seen);
}

void Transfer::look() {
  const std::vector<mem::PhysRange> places = strategy_->memory();
  if (!places.empty()) {
    result_.buffer = places.front().first;
    result_.cpu = sight(places, strategy_->read());
    // Outside RAM (a BAR) there is no ciphertext.
    const bool in_ram = bed_.memory().contains(places.front().first, places.front().bytes);
    result_.host = in_ram ? sight(places, seen_by_host(places)) : result_.cpu;
  }
  if (kernel::Swiotlb* const pool = bench_.dma().swiotlb()) {
    const kernel::SwiotlbUsage now = pool->usage();
    if (!mapped_) result_.swiotlb = now;
    result_.swiotlb.bytes_bounced = now.bytes_bounced;
  }
}

void Transfer::look_from_the_pool() {
  std::vector<mem::PhysRange> slots;
  for (const mem::PhysRange& place : strategy_->memory())
    if (const auto bounce = observer_.bounce_of(place.first)) slots.push_back({*bounce, place.bytes});
  result_.pool = sight(slots, seen_by_host(slots));
}

Verdict Transfer::judge() const {
  if (!mapped_ || !transferred_) return Verdict::fails;
  if (result_.cpu.bytes != expected()) return Verdict::broken;
  const bool device_got_it = result_.device.bytes == expected();
  return device_got_it || !device_reads() ? Verdict::works : Verdict::broken;
}

Bytes Transfer::seen_by_host(const std::vector<mem::PhysRange>& places) const {
  Bytes seen;
  for (const mem::PhysRange& place : places) {
    const testbed::View view =
        testbed::View::of_memory(bed_.memory(), place.first, place.bytes, no_key, bed_.cpu_key(place.first));
    seen.insert(seen.end(), view.seen.begin(), view.seen.end());
  }
  return seen;
}

// `seen` lies at `places`, each judged by its own blocks.
Sight Transfer::sight(const std::vector<mem::PhysRange>& places, const Bytes& seen) const {
  const ConstByteSpan data{device_writes() ? from_device_ : from_cpu_};
  const ConstByteSpan old{device_writes() ? bench_.initial : bench_.before};
  Sight result{.bytes = seen};
  std::uint64_t done = 0;
  for (const mem::PhysRange& place : places) {
    const std::uint64_t n = std::min<std::uint64_t>(place.bytes, seen.size() - done);
    if (n == 0) break;
    const auto part = ConstByteSpan{seen}.subspan(done, n);
    const testbed::View view = testbed::View::of_bytes(
        bed_.memory(), place.first, Bytes(part.begin(), part.end()), bed_.cpu_key(place.first));
    const testbed::Sees sees = testbed::classify(view, data.subspan(done, n), old.subspan(done, n));
    result.sees = done == 0 || result.sees == sees ? sees : testbed::Sees::mixed;
    done += n;
  }
  return result;
}

}  // namespace

OrError<void> check_transfer(const ExplainOptions& options) {
  if (options.ttm_policy && options.map != MapKind::ttm_bo)
    return usage_error("--ttm-policy is about graphics buffers", "add --map ttm-bo");
  if (options.attrs != DmaAttrs{} && !info_of(options.map).takes_attrs)
    return usage_error(fmt::format("--attrs has no meaning with --map {}", to_string(options.map)),
                       "use it with streaming, coherent or resource mappings");
  return {};
}

OrError<Explanation> explain_transfer(const ExplainOptions& options, testbed::Testbed& bed,
                                      watch::Explainer& explainer, MakeStrategy make) {
  const testbed::TestDevice device = CBIT_TRY(bed.add_device(options.device));
  MappingObserver observer;
  explainer.forget_steps();
  Explanation result = CBIT_TRY([&] {
    const Attached attached{bed.tracer(), observer};
    return Transfer{options, bed, device, observer, make}.run();
  }());
  result.device_fault = observer.fault;
  if (bed.machine().traits().key_selection == machine::KeySelection::key_id)
    result.carried_key_id = observer.carried;
  note_findings(result, bed, explainer, options.unmap ? watch::Ending::complete : watch::Ending::in_flight);
  return result;
}

}  // namespace cbit::explain
