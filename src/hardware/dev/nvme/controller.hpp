// An NVMe controller with one namespace: its registers and doorbells, an MMIO region, and its queues.
// NVM Express Base Specification 1.4.
//
// A write to a doorbell serves the queue before it returns, as far as its completion queue has room; a
// completion queue that gets room serves the submission queues that wait for it. One interrupt follows for
// all that was completed.
//
// Mistakes of a driver end as the specification has it: a status; an asynchronous event, for a doorbell; or
// CSTS.CFS, after which nothing is served before a reset, for a configuration that cannot be enabled and a
// queue that cannot be reached. Nothing that a driver writes is a Fault or an assertion.
//
// All queues are physically contiguous and are served in turn. There is no memory of the controller's for the
// host, no metadata, no second namespace. dev/nvme/nvme_pci.hpp makes a PCI function of it.
//
// Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/state_stream.hpp"
#include "bus/dma_port.hpp"
#include "dev/block_backend.hpp"
#include "dev/forger.hpp"
#include "dev/nvme/features.hpp"
#include "dev/nvme/identify.hpp"
#include "dev/nvme/namespace.hpp"
#include "spec/nvme.hpp"

namespace cbit::dev {

// The names are QEMU's.
struct NvmeOptions {
  std::string serial;                      // 1 to nvme_serial_bytes
  std::uint32_t max_ioqpairs = 64;         // 1 to Nvme::io_queue_pairs_max
  std::uint8_t mdts = 7;                   // transfers are at most 2^n pages of 4096 bytes; 0: no limit
  std::uint32_t logical_block_size = 512;  // a power of two from 512 to 4096
};

class Nvme final : public bus::MmioRegion, public ForgeableDevice {
 public:
  static constexpr std::uint32_t queue_entries_max = 1024;
  static constexpr std::uint32_t io_queue_pairs_max = 1024;
  static constexpr std::uint8_t mdts_max = 20;

  // Errors (usage): an option out of its range; a disk that is not whole logical blocks.
  static OrError<std::unique_ptr<Nvme>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                               BlockBackend& disk, const NvmeOptions& options);

  // As a driver sees it: aligned dwords and quadwords; other writes are lost. Never a fault.
  Result<void> read(std::uint64_t offset, ByteSpan to) override { return peek(offset, to); }
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
  Result<void> peek(std::uint64_t offset, ByteSpan to) const override;
  // A power of two.
  [[nodiscard]] std::uint64_t region_bytes() const;
  // One for each completion queue.
  [[nodiscard]] std::uint32_t vectors() const { return options_.max_ioqpairs + 1; }
  // As power-on leaves it.
  void reset();

  // A message of that vector; and the level of the pin, whenever it may have changed.
  struct Interrupts {
    std::function<void(std::uint16_t vector)> message;
    std::function<void(bool asserted)> pin;
  };
  void on_interrupt(Interrupts handlers) { interrupts_ = std::move(handlers); }

  void set_forger(Forger* forger) override { forger_ = forger; }
  [[nodiscard]] bus::DmaPort& port() override { return port_; }
  [[nodiscard]] spec::nvme::Csts status() const { return csts_; }

  // Between commands. Loading tells nobody of an interrupt.
  void transfer(StateStream& s);

 private:
  struct SubmissionQueue {
    DmaAddr at;
    std::uint32_t entries = 0;
    std::uint16_t completion = 0;  // its completion queue
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    void transfer(StateStream& s);
  };
  struct CompletionQueue {
    DmaAddr at;
    std::uint32_t entries = 0;
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    bool phase = true;  // of the entries that are written next
    bool interrupts = false;
    std::uint16_t vector = 0;
    bool told = true;  // nothing was completed since the last interrupt

    void transfer(StateStream& s);
    [[nodiscard]] bool full() const { return (tail + 1) % entries == head; }
    [[nodiscard]] std::uint32_t used() const { return (tail + entries - head) % entries; }
  };

  Nvme(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk, const NvmeOptions& options);

  void transfer_queues(StateStream& s);
  void transfer_events(StateStream& s);

  // ---- registers ----
  void write_dword(std::uint64_t offset, std::uint32_t value);
  void configure(spec::nvme::Cc wanted);
  [[nodiscard]] bool can_start() const;
  void start();
  void stop();
  void shut_down();
  void fail();
  [[nodiscard]] bool runs() const;
  [[nodiscard]] std::uint64_t page_bytes() const;

  // ---- queues ----
  struct Answer {
    std::uint32_t result = 0;
    spec::nvme::Status status = spec::nvme::status::success;
  };
  void ring(std::uint32_t doorbell, std::uint32_t value);
  // false: the queue, which is there, has no such place.
  bool set_tail(std::uint16_t queue, std::uint32_t value);
  bool set_head(std::uint16_t queue, std::uint32_t value);
  void serve(std::uint16_t queue);
  // false: the queue cannot be reached in memory. There is room for the completion.
  bool execute(std::uint16_t queue);
  bool complete(std::uint16_t queue, const spec::nvme::Command& command, Answer answer);
  bool post(CompletionQueue& to, spec::nvme::Completion entry);
  void tell_completions();
  void drive_pin();

  // ---- admin commands: controller_admin.cpp ----
  // nullopt: it is completed later.
  std::optional<Answer> administer(const spec::nvme::Command& command);
  OrNvmeStatus<std::uint32_t> run_admin(const spec::nvme::Command& command);
  OrNvmeStatus<void> create_completion_queue(const spec::nvme::Command& command);
  OrNvmeStatus<void> create_submission_queue(const spec::nvme::Command& command);
  OrNvmeStatus<void> delete_completion_queue(const spec::nvme::Command& command);
  OrNvmeStatus<void> delete_submission_queue(const spec::nvme::Command& command);
  OrNvmeStatus<void> check_new_queue(const spec::nvme::Command& command, bool exists, bool knows_entry) const;
  OrNvmeStatus<void> identify(const spec::nvme::Command& command);
  OrNvmeStatus<void> get_log_page(const spec::nvme::Command& command);
  [[nodiscard]] Bytes error_log() const;
  [[nodiscard]] spec::nvme::HealthLog health() const;
  OrNvmeStatus<std::uint32_t> set_features(const spec::nvme::Command& command);
  std::uint32_t abort(const spec::nvme::Command& command);
  OrNvmeStatus<void> give(const spec::nvme::Command& command, ConstByteSpan data);

  // ---- asynchronous events ----
  void raise(const spec::nvme::AsyncEvent& event);
  void deliver_events();
  void note_error(std::uint16_t queue, const spec::nvme::Command& command, spec::nvme::Status status);

  Forger* forger_ = nullptr;
  bus::DmaPort port_;
  NvmeOptions options_;
  NvmeNamespace namespace_;
  NvmeFeatures features_;
  Interrupts interrupts_;

  spec::nvme::Cc cc_;
  spec::nvme::Csts csts_;
  spec::nvme::Aqa aqa_;
  std::uint64_t asq_ = 0;
  std::uint64_t acq_ = 0;
  std::uint32_t interrupt_mask_ = 0;

  // By identifier; 0 is the admin queue. nullopt: it is not there.
  std::vector<std::optional<SubmissionQueue>> submissions_;
  std::vector<std::optional<CompletionQueue>> completions_;

  std::vector<std::uint16_t> waiting_for_events_;      // commands' identifiers
  std::vector<spec::nvme::AsyncEvent> events_;         // that nobody waited for, each once
  std::vector<spec::nvme::AsyncEvent> masked_events_;  // told; their log page was not read since
  std::deque<spec::nvme::ErrorLogEntry> errors_;       // the last first
  std::uint64_t error_count_ = 0;
};

}  // namespace cbit::dev
