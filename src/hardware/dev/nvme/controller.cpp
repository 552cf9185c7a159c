#include "dev/nvme/controller.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

using namespace spec::nvme;

constexpr std::uint32_t page_log2_max = 16;
constexpr std::uint32_t page_log2_min = 12;

constexpr Cap nvme_capabilities = Cap{}
                                      .with<Cap::Mpsmax>(page_log2_max - page_log2_min)
                                      .with<Cap::CssNvm>(true)
                                      .with<Cap::To>(15)
                                      .with<Cap::Cqr>(true)
                                      .with<Cap::Mqes>(Nvme::queue_entries_max - 1);

std::uint64_t with_low(std::uint64_t value, std::uint32_t low) { return (value >> 32 << 32) | low; }
std::uint64_t with_high(std::uint64_t value, std::uint32_t high) {
  return (value & bit_mask(32)) | std::uint64_t{high} << 32;
}

OrError<void> check(const BlockBackend& disk, const NvmeOptions& options) {
  if (options.serial.empty() || options.serial.size() > nvme_serial_bytes)
    return usage_error(
        fmt::format("serial number '{}' is not 1 to {} bytes long", options.serial, nvme_serial_bytes));
  if (options.max_ioqpairs < 1 || options.max_ioqpairs > Nvme::io_queue_pairs_max)
    return usage_error(
        fmt::format("{} pairs of queues are not 1 to {}", options.max_ioqpairs, Nvme::io_queue_pairs_max));
  if (options.mdts > Nvme::mdts_max)
    return usage_error(fmt::format("mdts {} is not 0 to {}", options.mdts, Nvme::mdts_max));
  if (!std::has_single_bit(options.logical_block_size) || options.logical_block_size < sector_size ||
      options.logical_block_size > page_size)
    return usage_error(
        fmt::format("block size {} is not a power of two from 512 to 4096", options.logical_block_size));
  if (disk.bytes() == 0 || disk.bytes() % options.logical_block_size != 0)
    return usage_error(fmt::format("a disk of {} bytes is not whole blocks of {}", disk.bytes(),
                                   options.logical_block_size));
  return {};
}

}  // namespace

OrError<std::unique_ptr<Nvme>> Nvme::create(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk,
                                            const NvmeOptions& options) {
  CBIT_TRY(check(disk, options));
  return std::unique_ptr<Nvme>{new Nvme{bus, std::move(port), disk, options}};
}

Nvme::Nvme(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk, const NvmeOptions& options)
    : port_{bus, std::move(port)},
      options_{options},
      namespace_{port_, disk, options.logical_block_size},
      features_{options.max_ioqpairs, options.max_ioqpairs + 1},
      submissions_(options.max_ioqpairs + 1),
      completions_(options.max_ioqpairs + 1) {}

// ---- registers --------------------------------------------------------------------------------------------

std::uint64_t Nvme::region_bytes() const {
  return std::bit_ceil(std::uint64_t{doorbells} + std::uint64_t{vectors()} * 2 * doorbell_bytes);
}

Result<void> Nvme::peek(std::uint64_t offset, ByteSpan to) const {
  std::array<std::byte, register_bytes> now{};
  const auto put = [&now](Reg reg, auto value) { store(now, static_cast<std::size_t>(reg), value); };
  put(Reg::cap, nvme_capabilities.raw);
  put(Reg::vs, version_1_4);
  put(Reg::intms, interrupt_mask_);
  put(Reg::intmc, interrupt_mask_);
  put(Reg::cc, cc_.raw);
  put(Reg::csts, csts_.raw);
  put(Reg::aqa, aqa_.raw);
  put(Reg::asq, asq_);
  put(Reg::acq, acq_);
  std::ranges::fill(to, std::byte{0});
  if (offset < now.size())
    std::ranges::copy(ConstByteSpan{now}.subspan(offset, std::min(to.size(), now.size() - offset)),
                      to.begin());
  return {};
}

Result<void> Nvme::write(std::uint64_t offset, ConstByteSpan from) {
  constexpr std::size_t dword = sizeof(std::uint32_t);
  if ((from.size() != dword && from.size() != 2 * dword) || offset % dword != 0) return {};
  for (std::size_t at = 0; at < from.size(); at += dword)
    write_dword(offset + at, load<std::uint32_t>(from, at));
  deliver_events();
  tell_completions();
  return {};
}

void Nvme::write_dword(std::uint64_t offset, std::uint32_t value) {
  if (offset >= doorbells)
    return ring(static_cast<std::uint32_t>(offset - doorbells) / doorbell_bytes, value);
  const std::uint64_t page_mask = ~std::uint64_t{page_size - 1};
  switch (Reg{static_cast<std::uint32_t>(offset)}) {
    case Reg::intms: interrupt_mask_ |= value; break;
    case Reg::intmc: interrupt_mask_ &= ~value; break;
    case Reg::cc: configure({{value}}); break;
    case Reg::aqa: aqa_ = Aqa{}.with<Aqa::Acqs>(value >> 16).with<Aqa::Asqs>(value); break;
    case Reg::asq: asq_ = with_low(asq_, value) & page_mask; break;
    case Reg::asq_high: asq_ = with_high(asq_, value); break;
    case Reg::acq: acq_ = with_low(acq_, value) & page_mask; break;
    case Reg::acq_high: acq_ = with_high(acq_, value); break;
    default: break;
  }
}

void Nvme::reset() {
  stop();
  cc_ = {};
  aqa_ = {};
  asq_ = acq_ = 0;
}

std::uint64_t Nvme::page_bytes() const { return std::uint64_t{1} << (page_log2_min + cc_.get<Cc::Mps>()); }

bool Nvme::runs() const {
  return csts_.get<Csts::Rdy>() && !csts_.get<Csts::Cfs>() && csts_.get<Csts::Shst>() == 0;
}

void Nvme::configure(Cc wanted) {
  const Cc was = std::exchange(cc_, wanted);
  if (wanted.get<Cc::En>() && !was.get<Cc::En>()) start();
  if (!wanted.get<Cc::En>() && was.get<Cc::En>()) stop();
  if (wanted.get<Cc::Shn>() != 0 && was.get<Cc::Shn>() == 0) shut_down();
}

// 3.1.5, 3.1.8 and 3.1.9.
bool Nvme::can_start() const {
  return cc_.get<Cc::Mps>() <= page_log2_max - page_log2_min && cc_.get<Cc::Css>() == 0 &&
         cc_.get<Cc::Ams>() == 0 && aqa_.get<Aqa::Asqs>() != 0 && aqa_.get<Aqa::Acqs>() != 0 &&
         asq_ % page_bytes() == 0 && acq_ % page_bytes() == 0;
}

void Nvme::start() {
  csts_ = {};
  if (!can_start()) return fail();
  submissions_[0] = {.at = DmaAddr{asq_}, .entries = aqa_.get<Aqa::Asqs>() + 1};
  completions_[0] = {.at = DmaAddr{acq_}, .entries = aqa_.get<Aqa::Acqs>() + 1, .interrupts = true};
  csts_ = csts_.with<Csts::Rdy>(true);
}

void Nvme::stop() {
  std::ranges::fill(submissions_, std::nullopt);
  std::ranges::fill(completions_, std::nullopt);
  waiting_for_events_.clear();
  events_.clear();
  masked_events_.clear();
  features_.reset();
  interrupt_mask_ = 0;
  csts_ = {};
  drive_pin();
}

// 7.6.2.
void Nvme::shut_down() {
  namespace_.flush();
  csts_ = csts_.with<Csts::Shst>(shutdown_complete);
}

void Nvme::fail() { csts_ = csts_.with<Csts::Cfs>(true); }

// ---- queues -----------------------------------------------------------------------------------------------

// 3.1.24 and 3.1.25; 5.2 has the events.
void Nvme::ring(std::uint32_t doorbell, std::uint32_t value) {
  const std::uint32_t queue = doorbell / 2;
  const bool of_completion = doorbell % 2 != 0;
  if (!runs()) return;
  const bool exists = queue < submissions_.size() &&
                      (of_completion ? completions_[queue].has_value() : submissions_[queue].has_value());
  if (!exists) return raise(invalid_doorbell);
  const bool taken = of_completion ? set_head(static_cast<std::uint16_t>(queue), value)
                                   : set_tail(static_cast<std::uint16_t>(queue), value);
  if (!taken) raise(invalid_doorbell_value);
}

bool Nvme::set_tail(std::uint16_t queue, std::uint32_t value) {
  if (value >= submissions_[queue]->entries) return false;
  submissions_[queue]->tail = value;
  serve(queue);
  return true;
}

// The host takes no more than there is.
bool Nvme::set_head(std::uint16_t queue, std::uint32_t value) {
  CompletionQueue& completion = *completions_[queue];
  if (value >= completion.entries) return false;
  if ((value + completion.entries - completion.head) % completion.entries > completion.used()) return false;
  completion.head = value;
  for (std::size_t n = 0; n < submissions_.size(); ++n)
    if (submissions_[n] && submissions_[n]->completion == queue) serve(static_cast<std::uint16_t>(n));
  return true;
}

// What was there when it began: commands that a command submits by DMA are for the next time.
void Nvme::serve(std::uint16_t queue) {
  for (std::uint32_t left = submissions_[queue]->entries; left != 0; --left) {
    const SubmissionQueue& submission = *submissions_[queue];
    if (!runs() || submission.head == submission.tail || completions_[submission.completion]->full()) return;
    if (!execute(queue)) return fail();
  }
}

bool Nvme::execute(std::uint16_t queue) {
  SubmissionQueue& submission = *submissions_[queue];
  const auto command = port_.load<Command>(submission.at + submission.head * sizeof(Command));
  if (!command) return false;
  submission.head = (submission.head + 1) % submission.entries;
  if (queue == 0) {
    const auto answer = administer(*command);
    return !answer || complete(queue, *command, *answer);
  }
  const NvmeNamespace::Rules rules{.page_bytes = page_bytes(),
                                   .transfer_max = options_.mdts == 0 ? 0 : page_size << options_.mdts,
                                   .write_cache = features_.write_cache()};
  return complete(queue, *command, {.status = namespace_.execute(*command, rules)});
}

bool Nvme::complete(std::uint16_t queue, const Command& command, Answer answer) {
  if (answer.status != status::success) {
    answer.status |= status::do_not_retry | status::more;
    note_error(queue, command, answer.status);
  }
  const SubmissionQueue& submission = *submissions_[queue];
  CompletionQueue& completion = *completions_[submission.completion];
  Returned told{command.cid, submission.head};
  const bool twice = forger_ != nullptr && forger_->forge(told);
  const Completion entry{.result = answer.result,
                         .sq_head = static_cast<std::uint16_t>(told.length),
                         .sq_id = queue,
                         .cid = told.id,
                         .status = static_cast<std::uint16_t>(answer.status << 1)};
  if (!post(completion, entry)) return false;
  return !twice || completion.full() || post(completion, entry);
}

bool Nvme::post(CompletionQueue& to, Completion entry) {
  entry.status |= to.phase ? 1 : 0;
  if (!port_.store(to.at + to.tail * sizeof(Completion), entry)) return false;
  to.tail = (to.tail + 1) % to.entries;
  if (to.tail == 0) to.phase = !to.phase;
  to.told = false;
  return true;
}

void Nvme::tell_completions() {
  for (auto& completion : completions_) {
    if (!completion || std::exchange(completion->told, true) || !completion->interrupts) continue;
    if (interrupts_.message) interrupts_.message(completion->vector);
  }
  drive_pin();
}

// 7.5.1.
void Nvme::drive_pin() {
  const bool wanted = std::ranges::any_of(completions_, [this](const auto& completion) {
    return completion && completion->interrupts && completion->used() != 0 &&
           (completion->vector >= 32 || (interrupt_mask_ >> completion->vector & 1) == 0);
  });
  if (interrupts_.pin) interrupts_.pin(wanted);
}

}  // namespace cbit::dev
