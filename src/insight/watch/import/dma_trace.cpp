#include "watch/import/dma_trace.hpp"

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::watch {
namespace {

constexpr std::size_t name_bytes_max = 128;     // of a device
constexpr std::size_t header_bytes_max = 4096;  // of a value
constexpr std::size_t bounces_max = 256;        // of a device, not yet mapped: a scatterlist's
constexpr std::uint64_t late_ns_max =
    1'000'000'000;  // a task may be preempted between the unmap and its event
constexpr std::string_view header_mark = "# cbit record: ";

// include/trace/events/dma.h: decode_dma_data_direction()
constexpr Word<DmaDirection> trace_directions[] = {{"BIDIRECTIONAL", DmaDirection::bidirectional},
                                                   {"TO_DEVICE", DmaDirection::to_device},
                                                   {"FROM_DEVICE", DmaDirection::from_device},
                                                   {"NONE", DmaDirection::none}};

bool has_attribute(std::string_view attributes, std::string_view name) {
  while (!attributes.empty()) {
    const std::size_t end = std::min(attributes.find('|'), attributes.size());
    if (attributes.substr(0, end) == name) return true;
    attributes.remove_prefix(std::min(end + 1, attributes.size()));
  }
  return false;
}

// The address is the buffer's with the encryption bit, which lies above all memory.
bool differs_in_encryption_bit(DmaAddr dma, PhysAddr phys) {
  constexpr int lowest = 32;
  const std::uint64_t difference = dma.value() ^ phys.value();
  return std::has_single_bit(difference) && std::countr_zero(difference) >= lowest &&
         dma.value() > phys.value();
}

bool is_null(std::string_view pointer) {
  if (pointer == "(null)" || pointer == "(nil)") return true;
  const auto value = hexadecimal(pointer);
  return value && *value == 0;
}

DmaPath path_of(bool bounced, bool direct) {
  if (bounced) return DmaPath::swiotlb;
  return direct ? DmaPath::direct : DmaPath::iommu;
}

// The events carry no reasons: what had been sent to the pool has failed there.
DmaFailure reason_of(bool bounced) { return bounced ? DmaFailure::pool_full : DmaFailure::not_told; }

std::optional<std::uint64_t> hex_field(std::string_view text, std::string_view name) {
  const auto value = trace_field(text, name);
  return value ? hexadecimal(*value) : std::nullopt;
}
std::optional<std::uint64_t> decimal_field(std::string_view text, std::string_view name) {
  const auto value = trace_field(text, name);
  return value ? decimal(*value) : std::nullopt;
}
std::optional<std::vector<std::uint64_t>> array_field(std::string_view text, std::string_view name) {
  const auto value = trace_field(text, name);
  return value ? trace_array(*value) : std::nullopt;
}

}  // namespace

const DmaTrace::Rule DmaTrace::rules[] = {
    {"dma_map_page", &DmaTrace::take_map<DmaMappingKind::page>},
    {"dma_map_phys", &DmaTrace::take_map<DmaMappingKind::page>},
    {"dma_map_resource", &DmaTrace::take_map<DmaMappingKind::resource>},
    {"dma_unmap_page", &DmaTrace::take_unmap<DmaMappingKind::page>},
    {"dma_unmap_phys", &DmaTrace::take_unmap<DmaMappingKind::page>},
    {"dma_unmap_resource", &DmaTrace::take_unmap<DmaMappingKind::resource>},
    {"dma_alloc", &DmaTrace::take_alloc},
    {"dma_alloc_pages", &DmaTrace::take_alloc},
    {"dma_alloc_sgt", &DmaTrace::take_alloc},
    {"dma_alloc_sgt_err", &DmaTrace::take_alloc_failure},
    {"dma_free", &DmaTrace::take_unmap<DmaMappingKind::coherent>},
    {"dma_free_pages", &DmaTrace::take_unmap<DmaMappingKind::coherent>},
    {"dma_free_sgt", &DmaTrace::take_unmap<DmaMappingKind::coherent>},
    {"dma_map_sg", &DmaTrace::take_map_list},
    {"dma_map_sg_err", &DmaTrace::take_map_list_failure},
    {"dma_unmap_sg", &DmaTrace::take_unmap_list},
    {"dma_sync_single_for_cpu", &DmaTrace::take_sync<true>},
    {"dma_sync_single_for_device", &DmaTrace::take_sync<false>},
    {"dma_sync_sg_for_cpu", &DmaTrace::take_sync_list<true>},
    {"dma_sync_sg_for_device", &DmaTrace::take_sync_list<false>},
    {"swiotlb_bounced", &DmaTrace::take_bounce},
    {"map", &DmaTrace::take_iommu_map},
    {"unmap", &DmaTrace::take_iommu_unmap},
    {"io_page_fault", &DmaTrace::take_fault},
    {"tracing_mark_write", &DmaTrace::take_mark},
    {"print", &DmaTrace::take_mark},
};

void DmaTrace::take(std::string_view line) {
  ++tally_.lines;
  if (line.size() > line_bytes_max) {
    ++tally_.left_out;
  } else if (line.starts_with('#')) {
    take_header(line);
  } else if (const auto lost = parse_lost_events(line)) {
    ++tally_.gaps;
    tally_.lost_events += std::min(*lost, ~std::uint64_t{0} - tally_.lost_events);
    forget_all();
  } else if (const auto event = parse_trace_line(line)) {
    take_event(*event);
  }
}

void DmaTrace::take_header(std::string_view line) {
  if (!line.starts_with(header_mark)) return;
  line.remove_prefix(header_mark.size());
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) return;
  const std::string_view name = line.substr(0, equals), value = line.substr(equals + 1);
  if (name == "kernel") header_.kernel = printable(value, header_bytes_max);
  if (name == "command-line") header_.command_line = printable(value, header_bytes_max);
  if (name == "events") header_.events = printable(value, header_bytes_max);
  if (name == "end") header_.end = printable(value, header_bytes_max);
  if (name == "pool-slots") header_.pool_slots = decimal(value);
  if (name == "pool-slots-used-max") header_.slots_used_max = decimal(value);
}

void DmaTrace::take_event(const TraceLine& line) {
  if (!start_ns_) start_ns_ = line.time_ns;
  const std::uint64_t now = line.time_ns - std::min(line.time_ns, *start_ns_);
  if (now > clock_->now_ns()) clock_->advance(now - clock_->now_ns());
  cpu_ = line.cpu;
  const auto* const rule = std::ranges::find(rules, line.event, &Rule::event);
  const bool taken = rule != std::end(rules) && (this->*rule->take)(line.text);
  ++(taken ? tally_.events : tally_.other_events);
}

NameId DmaTrace::device_of(std::string_view name) {
  const auto known = devices_.find(name);
  if (known != devices_.end()) return known->second;
  if (devices_.size() >= devices_max) return tracer_->intern("others");
  const NameId id = tracer_->intern(printable(name, name_bytes_max));
  devices_.emplace(name, id);
  return id;
}

// What all dma:* events begin with: "0000:00:04.0 dir=TO_DEVICE ...".
std::optional<DmaTrace::Request> DmaTrace::request_of(std::string_view text) {
  const std::size_t end = text.find(" dir=");
  const auto word = trace_field(text, "dir");
  const auto direction = word ? find_word(trace_directions, *word) : std::nullopt;
  if (end == std::string_view::npos || end == 0 || !direction) return std::nullopt;
  return Request{.device = device_of(text.substr(0, end)),
                 .direction = *direction,
                 .dma = DmaAddr{hex_field(text, "dma_addr").value_or(0)},
                 .phys = PhysAddr{hex_field(text, "phys_addr").value_or(0)},
                 .bytes = decimal_field(text, "size").value_or(0),
                 .attributes = trace_field(text, "attrs").value_or("")};
}

// The buffer of swiotlb_bounced carries the encryption bit where the device's addresses do.
bool DmaTrace::claim_bounce(NameId device, PhysAddr phys) {
  const auto waiting = bounces_.find(device);
  if (waiting == bounces_.end()) return false;
  std::vector<DmaAddr>& buffers = waiting->second;
  const auto found = std::ranges::find_if(
      buffers, [&](DmaAddr at) { return at.value() == phys.value() || differs_in_encryption_bit(at, phys); });
  if (found == buffers.end()) return false;
  buffers.erase(found);
  return true;
}

template <DmaMappingKind kind>
bool DmaTrace::take_map(std::string_view text) {
  const auto request = request_of(text);
  if (!request || request->bytes == 0) return false;
  const bool bounced = claim_bounce(request->device, request->phys);
  if (request->dma == dma_mapping_error) {
    if (bounced) find_pool_full(*request);
    emit(DmaMapFailed{.device = request->device,
                      .kind = kind,
                      .phys = request->phys,
                      .bytes = request->bytes,
                      .reason = reason_of(bounced)});
    return true;
  }
  const bool encrypted = differs_in_encryption_bit(request->dma, request->phys);
  const bool direct = encrypted || request->dma.value() == request->phys.value();
  mapped({.device = request->device,
          .kind = has_attribute(request->attributes, "MMIO") ? DmaMappingKind::resource : kind,
          .dma = request->dma,
          .phys = request->phys,
          .bytes = request->bytes,
          .direction = request->direction,
          .path = path_of(bounced, direct),
          .encrypted = encrypted});
  return true;
}

template <DmaMappingKind kind>
bool DmaTrace::take_unmap(std::string_view text) {
  const auto request = request_of(text);
  if (!request || request->bytes == 0) return false;
  unmapped({.device = request->device,
            .kind = has_attribute(request->attributes, "MMIO") ? DmaMappingKind::resource : kind,
            .dma = request->dma,
            .bytes = request->bytes,
            .direction = request->direction,
            .copied_back = !has_attribute(request->attributes, "SKIP_CPU_SYNC")});
  return true;
}

// Where its memory lies is not told.
bool DmaTrace::take_alloc(std::string_view text) {
  const auto request = request_of(text);
  if (!request || request->bytes == 0) return false;
  const auto pointer = trace_field(text, "virt_addr");
  if (pointer && is_null(*pointer)) return take_alloc_failure(text);
  mapped({.device = request->device,
          .kind = DmaMappingKind::coherent,
          .dma = request->dma,
          .bytes = request->bytes,
          .direction = request->direction});
  return true;
}

bool DmaTrace::take_alloc_failure(std::string_view text) {
  const auto request = request_of(text);
  if (!request) return false;
  emit(DmaMapFailed{.device = request->device,
                    .kind = DmaMappingKind::coherent,
                    .bytes = request->bytes,
                    .reason = DmaFailure::not_told});
  return true;
}

bool DmaTrace::take_map_list(std::string_view text) {
  const auto request = request_of(text);
  const auto buffers = array_field(text, "phys_addrs"), addresses = array_field(text, "dma_addrs");
  const auto sizes = array_field(text, "sizes");
  if (!request || !buffers || !addresses || !sizes || sizes->size() != addresses->size()) {
    ++tally_.cut_lists;
    return false;
  }
  if (buffers->empty()) return false;
  if (text.find(" [TRUNCATED]") != std::string_view::npos) ++tally_.cut_lists;
  std::vector<bool> bounced;
  for (const std::uint64_t buffer : *buffers)
    bounced.push_back(claim_bounce(request->device, PhysAddr{buffer}));
  const bool one_to_one = buffers->size() == addresses->size();
  List list{.entries = buffers->size()};
  for (std::size_t i = 0; i < addresses->size(); ++i) {
    const DmaAddr dma{(*addresses)[i]};
    const PhysAddr phys{one_to_one || i == 0 ? (*buffers)[i] : 0};
    const bool encrypted = one_to_one && differs_in_encryption_bit(dma, phys);
    const bool direct = encrypted || (one_to_one && dma.value() == phys.value());
    const bool through_pool = one_to_one ? bounced[i] : std::ranges::find(bounced, true) != bounced.end();
    mapped({.device = request->device,
            .kind = DmaMappingKind::sg,
            .dma = dma,
            .phys = phys,
            .bytes = (*sizes)[i],
            .direction = request->direction,
            .path = path_of(through_pool, direct),
            .encrypted = encrypted});
    list.segments.push_back({dma, (*sizes)[i]});
  }
  std::vector<List>& known = lists_[{request->device, PhysAddr{buffers->front()}}];
  if (known.size() >= at_address_max) known.erase(known.begin());
  known.push_back(std::move(list));
  return true;
}

// The event names the buffers, and not what they were mapped to.
bool DmaTrace::take_unmap_list(std::string_view text) {
  const auto request = request_of(text);
  const auto buffers = array_field(text, "phys_addrs");
  if (!request || !buffers || buffers->empty()) {
    ++tally_.cut_lists;
    return false;
  }
  const auto known = lists_.find({request->device, PhysAddr{buffers->front()}});
  if (known == lists_.end()) {
    count_early_unmap(request->device, buffers->size());
    return true;
  }
  std::vector<List>& lists = known->second;
  auto found = std::ranges::find(lists, buffers->size(), &List::entries);
  if (found == lists.end()) found = std::prev(lists.end());
  const List list = std::move(*found);
  lists.erase(found);
  if (lists.empty()) lists_.erase(known);
  for (const Segment& segment : list.segments)
    unmapped({.device = request->device,
              .kind = DmaMappingKind::sg,
              .dma = segment.dma,
              .bytes = segment.bytes,
              .direction = request->direction,
              .copied_back = !has_attribute(request->attributes, "SKIP_CPU_SYNC")});
  return true;
}

// Its "dma_addrs" are the buffers.
bool DmaTrace::take_map_list_failure(std::string_view text) {
  const auto request = request_of(text);
  const auto buffers = array_field(text, "dma_addrs");
  if (!request || !buffers || buffers->empty()) return false;
  bool bounced = false;
  for (const std::uint64_t buffer : *buffers) bounced |= claim_bounce(request->device, PhysAddr{buffer});
  emit(DmaMapFailed{.device = request->device,
                    .kind = DmaMappingKind::sg,
                    .phys = PhysAddr{buffers->front()},
                    .reason = reason_of(bounced)});
  return true;
}

template <bool for_cpu>
bool DmaTrace::take_sync(std::string_view text) {
  const auto request = request_of(text);
  if (!request) return false;
  synced(request->device, request->dma, request->bytes, request->direction, for_cpu);
  return true;
}

template <bool for_cpu>
bool DmaTrace::take_sync_list(std::string_view text) {
  const auto request = request_of(text);
  const auto addresses = array_field(text, "dma_addrs"), sizes = array_field(text, "sizes");
  if (!request || !addresses || !sizes || sizes->size() != addresses->size()) return false;
  for (std::size_t i = 0; i < addresses->size(); ++i)
    synced(request->device, DmaAddr{(*addresses)[i]}, (*sizes)[i], request->direction, for_cpu);
  return true;
}

// What is known of the pool, as far as it is.
SwiotlbFull DmaTrace::full_for(NameId device, std::uint64_t bytes) const {
  const bool is_told = header_.pool_slots && !samples_.empty();
  return {.device = device,
          .bytes = bytes,
          .slots_wanted = spec::nr_slots(bytes),
          .segment_slots = spec::io_tlb_segsize,
          .slots_total = is_told ? *header_.pool_slots : 0,
          .slots_used = is_told ? samples_.back().slots_used : 0};
}

// Whether the pool was used up or its free slots were scattered is told only where it was used up.
void DmaTrace::find_pool_full(const Request& request) {
  const SwiotlbFull full = full_for(request.device, request.bytes);
  const std::uint64_t free = full.slots_total - std::min(full.slots_used, full.slots_total);
  if (full.slots_wanted <= full.segment_slots && full.slots_total != 0 && free < full.slots_wanted)
    emit(full);
}

// A request that is longer than any run of slots is refused (kernel/dma/swiotlb.c: swiotlb_find_slots()).
bool DmaTrace::take_bounce(std::string_view text) {
  constexpr std::string_view begin = "dev_name: ";
  const std::size_t end = text.find(" dma_mask=");
  const auto mask = hex_field(text, "dma_mask"), address = hex_field(text, "dev_addr");
  auto size = trace_field(text, "size");
  if (!text.starts_with(begin) || end == std::string_view::npos || !mask || !address || !size) return false;
  const bool force = size->ends_with(" FORCE");
  const auto bytes = decimal(size->substr(0, size->find(' ')));
  if (!bytes) return false;
  const NameId device = device_of(text.substr(begin.size(), end - begin.size()));
  emit(SwiotlbBounced{
      .device = device, .dma_mask = *mask, .dev_addr = DmaAddr{*address}, .size = *bytes, .force = force});
  std::vector<DmaAddr>& waiting = bounces_[device];
  if (waiting.size() >= bounces_max) waiting.erase(waiting.begin());
  waiting.push_back(DmaAddr{*address});
  const SwiotlbFull full = full_for(device, *bytes);
  if (full.slots_wanted > full.segment_slots) emit(full);
  return true;
}

// "IOMMU: iova=0x... - 0x... paddr=0x... size=N"
bool DmaTrace::take_iommu_map(std::string_view text) {
  const auto iova = trace_field(text, "iova");
  const auto phys = hex_field(text, "paddr"), bytes = decimal_field(text, "size");
  if (!text.starts_with("IOMMU: ") || !iova || !phys || !bytes) return false;
  const auto first = hexadecimal(iova->substr(0, iova->find(' ')));
  if (!first) return false;
  emit(IommuMapped{.iova = DmaAddr{*first}, .phys = PhysAddr{*phys}, .bytes = *bytes});
  return true;
}

bool DmaTrace::take_iommu_unmap(std::string_view text) {
  const auto iova = trace_field(text, "iova");
  const auto bytes = decimal_field(text, "unmapped_size");
  if (!text.starts_with("IOMMU: ") || !iova || !bytes) return false;
  const auto first = hexadecimal(iova->substr(0, iova->find(' ')));
  if (!first) return false;
  emit(IommuUnmapped{.iova = DmaAddr{*first}, .bytes = *bytes});
  return true;
}

// "IOMMU:DRIVER DEVICE iova=0x... flags=0x..." (include/linux/iommu.h: IOMMU_FAULT_WRITE is 1)
bool DmaTrace::take_fault(std::string_view text) {
  const auto iova = hex_field(text, "iova"), flags = hex_field(text, "flags");
  const std::size_t blank = text.find(' '), end = text.find(" iova=");
  if (!text.starts_with("IOMMU:") || !iova || !flags || blank >= end) return false;
  if (mistakes_ >= mistakes_max) {
    ++tally_.left_out;
    return true;
  }
  ++mistakes_;
  const NameId device = device_of(text.substr(blank + 1, end - blank - 1));
  const Mapping* const mapping = mappings_->nearest(device, DmaAddr{*iova});
  const bool covered = mapping != nullptr && mapping->covers(DmaAddr{*iova});
  emit(DeviceFault{.device = device,
                   .bus_address = DmaAddr{*iova},
                   .fault = {.kind = covered ? FaultKind::iommu_protection : FaultKind::iommu_not_present,
                             .address = *iova,
                             .write = (*flags & 1) != 0}});
  return true;
}

bool DmaTrace::take_mark(std::string_view text) {
  constexpr std::string_view mark = "cbit: io_tlb_used=";
  const std::size_t at = text.find(mark);
  const auto used = at == std::string_view::npos ? std::nullopt : decimal(text.substr(at + mark.size()));
  if (!used) return false;
  if (samples_.size() < samples_max)
    samples_.push_back({clock_->now_ns(), *used});
  else
    ++tally_.left_out;
  return true;
}

void DmaTrace::mapped(DmaMapped call) {
  if (call.bytes == 0) return;
  if (call.path != DmaPath::direct) release_for_reuse(call);
  if (active_ >= active_max || mappings_->count_at(call.device, call.dma) >= at_address_max) {
    ++tally_.left_out;
    return;
  }
  ++active_;
  emit(call);
}

// The address was given out again: its mapping is over, though nobody has told yet.
void DmaTrace::release_for_reuse(const DmaMapped& call) {
  const DmaUnmapped any{.device = call.device, .dma = call.dma};
  while (const Mapping* const old = mappings_->find_to_unmap(any)) {
    const DmaMapped& before = old->call;
    const DmaUnmapped over{before.device, before.kind, before.dma, before.bytes, before.direction, true};
    std::vector<Released>& late = late_[{call.device, call.dma}];
    if (late.size() < at_address_max) late.push_back({over, clock_->now_ns()});
    --active_;
    emit(over);
  }
}

bool DmaTrace::is_late(const DmaUnmapped& call) {
  const auto late = late_.find({call.device, call.dma});
  if (late == late_.end()) return false;
  std::vector<Released>& calls = late->second;
  std::erase_if(calls, [&](const Released& one) { return clock_->now_ns() - one.time_ns > late_ns_max; });
  const auto found = std::ranges::find_if(calls, [&](const Released& one) {
    return one.call.bytes == call.bytes && one.call.direction == call.direction;
  });
  const bool is = found != calls.end();
  if (is) calls.erase(found);
  if (calls.empty()) late_.erase(late);
  return is;
}

// It was mapped and released before the eyes of the trace, and nobody else can have the address.
bool DmaTrace::is_second(const DmaUnmapped& call) const {
  const Mapping* const before = mappings_->released_at(call.device, call.dma);
  return before != nullptr && before->call.path != DmaPath::direct && before->mapped_ns >= known_since_ns_;
}

void DmaTrace::unmapped(DmaUnmapped call) {
  if (is_late(call)) return;
  const Mapping* const mapping = mappings_->find_to_unmap(call);
  const bool exact = mapping != nullptr && mapping->call.bytes == call.bytes &&
                     mapping->call.direction == call.direction && mapping->call.kind == call.kind;
  const bool certain = mapping != nullptr ? mapping->call.path != DmaPath::direct : is_second(call);
  if (!exact && !certain) {
    if (call.kind != DmaMappingKind::coherent) count_early_unmap(call.device, 1);
    return;
  }
  if (!exact && mistakes_ >= mistakes_max) {
    ++tally_.left_out;
    return;
  }
  if (!exact) ++mistakes_;
  if (mapping != nullptr) --active_;
  call.copied_back &= mapping != nullptr && mapping->bounced && call.direction != DmaDirection::to_device;
  emit(call);
}

// Of what was mapped before the trace, or lies between mappings that overlap, nothing is told.
void DmaTrace::synced(NameId device, DmaAddr dma, std::uint64_t bytes, DmaDirection direction, bool for_cpu) {
  const Mapping* const mapping = mappings_->nearest(device, dma);
  if (mapping == nullptr || !mapping->covers(dma)) return;
  const DmaMapped& call = mapping->call;
  const bool is_mistake = bytes > mapping->end() - dma ||
                          (call.direction != DmaDirection::bidirectional && call.direction != direction);
  if (is_mistake && (call.path == DmaPath::direct || mistakes_ >= mistakes_max)) return;
  if (is_mistake) ++mistakes_;
  const DmaDirection against = for_cpu ? DmaDirection::to_device : DmaDirection::from_device;
  emit(DmaSynced{.device = device,
                 .dma = dma,
                 .bytes = bytes,
                 .direction = direction,
                 .for_cpu = for_cpu,
                 .copied = mapping->bounced && direction != against});
}

void DmaTrace::count_early_unmap(NameId device, std::uint64_t mappings) {
  tally_.early_unmaps += mappings;
  if (early_unmap_) early_unmap_(device, mappings);
}

// After a gap nobody knows what is still mapped.
void DmaTrace::forget_all() {
  bounces_.clear();
  lists_.clear();
  late_.clear();
  known_since_ns_ = clock_->now_ns() + 1;
  if (active_ == 0) return;
  std::vector<DmaUnmapped> active;
  mappings_->for_each_active([&](const Mapping& mapping) {
    const DmaMapped& call = mapping.call;
    active.push_back({call.device, call.kind, call.dma, call.bytes, call.direction, true});
  });
  for (const DmaUnmapped& call : active) emit(call);
  active_ = 0;
}

}  // namespace cbit::watch
