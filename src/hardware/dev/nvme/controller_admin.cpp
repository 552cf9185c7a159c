// The admin commands of dev/nvme/controller.hpp.
#include <algorithm>
#include <utility>

#include "dev/nvme/controller.hpp"

namespace cbit::dev {
namespace {

using namespace spec::nvme;

std::uint16_t low_half(std::uint32_t dword) { return static_cast<std::uint16_t>(dword); }
std::uint16_t high_half(std::uint32_t dword) { return static_cast<std::uint16_t>(dword >> 16); }

// 5.14.1.2: in thousands, rounded up.
Count128 data_units(std::uint64_t blocks, std::uint32_t block_bytes) {
  constexpr std::uint64_t unit = 1000 * sector_size;
  return {.low = (blocks * block_bytes + unit - 1) / unit};
}

constexpr std::uint32_t not_aborted = 1;  // dword 0 of Abort's completion

}  // namespace

std::optional<Nvme::Answer> Nvme::administer(const Command& command) {
  if (Admin{command.opcode} == Admin::async_event) {
    if (waiting_for_events_.size() > nvme_async_event_limit) return Answer{.status = status::async_limit};
    waiting_for_events_.push_back(command.cid);
    return std::nullopt;
  }
  const auto done = run_admin(command);
  return done ? Answer{.result = *done} : Answer{.status = done.error()};
}

OrNvmeStatus<std::uint32_t> Nvme::run_admin(const Command& command) {
  // 4.1: over PCI Express no admin command has an SGL.
  const Flags flags{{command.flags}};
  if (Psdt{flags.get<Flags::Psdt>()} != Psdt::prp || flags.get<Flags::Fuse>() != 0)
    return refused(status::invalid_field);
  switch (Admin{command.opcode}) {
    case Admin::create_cq: CBIT_TRY(create_completion_queue(command)); return 0;
    case Admin::create_sq: CBIT_TRY(create_submission_queue(command)); return 0;
    case Admin::delete_cq: CBIT_TRY(delete_completion_queue(command)); return 0;
    case Admin::delete_sq: CBIT_TRY(delete_submission_queue(command)); return 0;
    case Admin::identify: CBIT_TRY(identify(command)); return 0;
    case Admin::get_log_page: CBIT_TRY(get_log_page(command)); return 0;
    case Admin::abort: return abort(command);
    case Admin::get_features: return features_.get(command);
    case Admin::set_features: return set_features(command);
    case Admin::async_event: break;
  }
  return refused(status::invalid_opcode);
}

// ---- queues: 5.3 to 5.6 -----------------------------------------------------------------------------------

OrNvmeStatus<void> Nvme::check_new_queue(const Command& command, bool exists, bool knows_entry) const {
  const std::uint32_t entries = high_half(command.cdw10) + 1u;
  const std::uint16_t id = low_half(command.cdw10);
  if (id == 0 || id > options_.max_ioqpairs || exists) return refused(status::qid_invalid);
  if (entries < 2 || entries > queue_entries_max || !knows_entry) return refused(status::queue_size);
  if ((command.cdw11 & queue_contiguous) == 0) return refused(status::invalid_field);
  if (command.dptr[0] % page_bytes() != 0) return refused(status::prp_invalid_offset);
  return {};
}

OrNvmeStatus<void> Nvme::create_completion_queue(const Command& command) {
  const std::uint16_t id = low_half(command.cdw10);
  const bool exists = id < completions_.size() && completions_[id];
  CBIT_TRY(check_new_queue(command, exists, cc_.get<Cc::Iocqes>() == completion_log2));
  const std::uint16_t vector = high_half(command.cdw11);
  if (vector >= vectors()) return refused(status::invalid_vector);
  completions_[id] = {.at = DmaAddr{command.dptr[0]},
                      .entries = high_half(command.cdw10) + 1u,
                      .interrupts = (command.cdw11 & queue_interrupts) != 0,
                      .vector = vector};
  return {};
}

OrNvmeStatus<void> Nvme::create_submission_queue(const Command& command) {
  const std::uint16_t id = low_half(command.cdw10);
  const std::uint16_t completion = high_half(command.cdw11);
  if (completion == 0 || completion >= completions_.size() || !completions_[completion])
    return refused(status::cq_invalid);
  const bool exists = id < submissions_.size() && submissions_[id];
  CBIT_TRY(check_new_queue(command, exists, cc_.get<Cc::Iosqes>() == submission_log2));
  submissions_[id] = {
      .at = DmaAddr{command.dptr[0]}, .entries = high_half(command.cdw10) + 1u, .completion = completion};
  return {};
}

OrNvmeStatus<void> Nvme::delete_submission_queue(const Command& command) {
  const std::uint16_t id = low_half(command.cdw10);
  if (id == 0 || id >= submissions_.size() || !submissions_[id]) return refused(status::qid_invalid);
  submissions_[id].reset();
  return {};
}

OrNvmeStatus<void> Nvme::delete_completion_queue(const Command& command) {
  const std::uint16_t id = low_half(command.cdw10);
  if (id == 0 || id >= completions_.size() || !completions_[id]) return refused(status::qid_invalid);
  const bool in_use = std::ranges::any_of(
      submissions_, [id](const auto& submission) { return submission && submission->completion == id; });
  if (in_use) return refused(status::invalid_queue_deletion);
  completions_[id].reset();
  return {};
}

// ---- what it tells: 5.14 and 5.15 -------------------------------------------------------------------------

OrNvmeStatus<void> Nvme::give(const Command& command, ConstByteSpan data) {
  const auto pieces = CBIT_TRY(pieces_of(port_, command, data.size(), page_bytes(), true));
  return move_to_host(port_, pieces, 0, data);
}

OrNvmeStatus<void> Nvme::identify(const Command& command) {
  const NvmeSelf self{.serial = options_.serial, .mdts = options_.mdts};
  const bool is_ours = command.nsid == NvmeNamespace::id;
  switch (Cns{static_cast<std::uint8_t>(command.cdw10)}) {
    case Cns::controller: return give(command, bytes_of(identify_controller(self)));
    case Cns::ns:
      if (!is_ours) return refused(status::invalid_namespace);
      return give(command, bytes_of(identify_namespace(namespace_)));
    case Cns::ns_descriptors:
      if (!is_ours) return refused(status::invalid_namespace);
      return give(command, namespace_descriptors(self));
    case Cns::active_namespaces: {
      if (command.nsid >= all_namespaces - 1) return refused(status::invalid_namespace);
      Bytes list(identify_bytes);
      if (command.nsid < NvmeNamespace::id) store(list, 0, NvmeNamespace::id);
      return give(command, list);
    }
  }
  return refused(status::invalid_field);
}

Bytes Nvme::error_log() const {
  Bytes log((nvme_error_log_entries + 1) * sizeof(ErrorLogEntry));
  for (std::size_t n = 0; n < errors_.size(); ++n) store(log, n * sizeof(ErrorLogEntry), errors_[n]);
  return log;
}

HealthLog Nvme::health() const {
  const NvmeNamespace::Counts& counts = namespace_.counts();
  HealthLog log{
      .critical_warning = features_.critical_warning(), .available_spare = 100, .spare_threshold = 10};
  store(std::as_writable_bytes(std::span{log.temperature}), 0, nvme_temperature);
  log.data_units_read = data_units(counts.blocks_read, namespace_.block_bytes());
  log.data_units_written = data_units(counts.blocks_written, namespace_.block_bytes());
  log.host_reads.low = counts.reads;
  log.host_writes.low = counts.writes;
  log.power_cycles.low = 1;
  log.media_errors.low = counts.disk_errors;
  log.error_log_entries.low = error_count_;
  return log;
}

OrNvmeStatus<void> Nvme::get_log_page(const Command& command) {
  constexpr std::uint32_t retain_event = 1u << 15;
  const LogPage id{static_cast<std::uint8_t>(command.cdw10)};
  Bytes log;
  const auto copy = [&log](ConstByteSpan bytes) { log.assign(bytes.begin(), bytes.end()); };
  switch (id) {
    case LogPage::errors: log = error_log(); break;
    case LogPage::health: copy(bytes_of(health())); break;
    case LogPage::firmware_slots: copy(bytes_of(firmware_slots())); break;
    default: return refused(status::invalid_log_page);
  }
  const std::uint64_t offset = std::uint64_t{command.cdw13} << 32 | command.cdw12;
  const std::uint64_t wanted =
      ((std::uint64_t{low_half(command.cdw11)} << 16 | high_half(command.cdw10)) + 1) * sizeof(std::uint32_t);
  if (offset > log.size() || offset % sizeof(std::uint32_t) != 0) return refused(status::invalid_field);
  CBIT_TRY(give(command, ConstByteSpan{log}.subspan(offset, std::min(wanted, log.size() - offset))));
  if ((command.cdw10 & retain_event) == 0)
    std::erase_if(masked_events_, [id](const AsyncEvent& event) { return event.page == id; });
  return {};
}

OrNvmeStatus<std::uint32_t> Nvme::set_features(const Command& command) {
  const bool has_io_queues = std::ranges::any_of(submissions_.begin() + 1, submissions_.end(),
                                                 [](const auto& queue) { return queue.has_value(); });
  // 5.21.1.7.
  if (Feature{static_cast<std::uint8_t>(command.cdw10)} == Feature::number_of_queues && has_io_queues)
    return refused(status::command_sequence);
  const bool was_warm = features_.critical_warning() != 0;
  const bool had_cache = features_.write_cache();
  const std::uint32_t result = CBIT_TRY(features_.set(command));
  if (had_cache && !features_.write_cache() && namespace_.flush() != status::success)
    return refused(status::internal_error);
  if (!was_warm && features_.critical_warning() != 0 && features_.wants_event(async_temperature))
    raise(temperature_event);
  return result;
}

// 5.1. Every other command has ended before this one is fetched.
std::uint32_t Nvme::abort(const Command& command) {
  const auto found = std::ranges::find(waiting_for_events_, high_half(command.cdw10));
  if (low_half(command.cdw10) != 0 || found == waiting_for_events_.end()) return not_aborted;
  if (completions_[0]->used() + 2 >= completions_[0]->entries) return not_aborted;  // no room for two
  const std::uint16_t cid = *found;
  waiting_for_events_.erase(found);
  if (!complete(0, {.cid = cid}, {.status = status::abort_requested})) fail();
  return 0;
}

// ---- asynchronous events: 5.2 -----------------------------------------------------------------------------

void Nvme::raise(const AsyncEvent& event) {
  if (std::ranges::find(events_, event) == events_.end()) events_.push_back(event);
}

// One of a type is told, until the host reads its log page.
void Nvme::deliver_events() {
  const auto is_masked = [this](const AsyncEvent& event) {
    return std::ranges::find(masked_events_, event.type, &AsyncEvent::type) != masked_events_.end();
  };
  while (!waiting_for_events_.empty() && runs() && !completions_[0]->full()) {
    const auto next = std::ranges::find_if_not(events_, is_masked);
    if (next == events_.end()) return;
    const AsyncEvent event = *next;
    events_.erase(next);
    masked_events_.push_back(event);
    const std::uint16_t cid = waiting_for_events_.front();
    waiting_for_events_.erase(waiting_for_events_.begin());
    const std::uint32_t result = static_cast<std::uint32_t>(event.page) << 16 | event.info << 8u | event.type;
    if (!complete(0, {.cid = cid}, {.result = result})) return fail();
  }
}

void Nvme::note_error(std::uint16_t queue, const Command& command, Status status) {
  errors_.push_front({.count = ++error_count_,
                      .sq_id = queue,
                      .cid = command.cid,
                      .status = static_cast<std::uint16_t>(status << 1),
                      .lba = queue == 0 ? 0 : std::uint64_t{command.cdw11} << 32 | command.cdw10,
                      .nsid = command.nsid});
  if (errors_.size() > nvme_error_log_entries + 1u) errors_.pop_back();
}

}  // namespace cbit::dev
