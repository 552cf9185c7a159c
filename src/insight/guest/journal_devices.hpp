// What is behind a machine's devices, with a journal between: a disk's bytes, a network, sockets. In a replay
// there is nothing behind them.
//
// Threading: one thread, that of the machine.
#pragma once

#include <memory>
#include <vector>

#include "dev/block_backend.hpp"
#include "dev/net_backend.hpp"
#include "dev/vsock_backend.hpp"
#include "guest/journal.hpp"

namespace cbit::guest {

class JournaledDisk final : public dev::BlockBackend {
 public:
  // `disk` is nullptr in a replay; it and the journal outlive this.
  JournaledDisk(Journal& journal, std::size_t number, RecordedDisk shape, dev::BlockBackend* disk)
      : journal_{&journal}, source_{source_of_disk(number)}, shape_{shape}, disk_{disk} {}

  [[nodiscard]] const RecordedDisk& shape() const { return shape_; }
  [[nodiscard]] std::uint64_t bytes() const override { return shape_.bytes; }
  [[nodiscard]] bool read_only() const override { return shape_.read_only; }
  OrError<void> read(std::uint64_t offset, ByteSpan to) override;
  OrError<void> write(std::uint64_t offset, ConstByteSpan from) override;
  OrError<void> zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) override;
  OrError<void> flush() override;

 private:
  OrError<void> ask(const std::function<OrError<void>()>& live, ByteSpan read_to);

  Journal* journal_;
  Source source_;
  RecordedDisk shape_;
  dev::BlockBackend* disk_;
};

class JournaledNetwork final : public dev::NetBackend {
 public:
  // `network` is nullptr in a replay. The journal outlives this.
  JournaledNetwork(Journal& journal, Source source, std::unique_ptr<dev::NetBackend> network);
  ~JournaledNetwork() override;

  bool receive(ConstByteSpan frame) override;
  void prepare(os::PollSet& set) override;
  void serve(const os::PollSet& set) override;

 private:
  // Where the network's frames go, to be written down first.
  class Collector final : public dev::NetEnd {
   public:
    bool receive(ConstByteSpan frame) override {
      frames.emplace_back(frame.begin(), frame.end());
      return true;
    }
    std::vector<Bytes> frames;
  };
  // False: the network took no frame.
  bool ask(const std::function<bool()>& live);

  Journal* journal_;
  Source source_;
  std::unique_ptr<dev::NetBackend> network_;
  Collector collector_;
};

class JournaledVsock final : public dev::VsockBackend {
 public:
  // `sockets` is nullptr in a replay. The journal outlives this.
  JournaledVsock(Journal& journal, std::unique_ptr<dev::VsockBackend> sockets)
      : journal_{&journal}, sockets_{std::move(sockets)} {}

  void open(dev::VsockFlow flow) override;
  void accept(dev::VsockFlow flow) override;
  void write(dev::VsockFlow flow, ConstByteSpan bytes) override;
  void allow(dev::VsockFlow flow, std::uint32_t bytes) override;
  void shut(dev::VsockFlow flow, bool takes_no_more, bool sends_no_more) override;
  void close(dev::VsockFlow flow) override;
  void prepare(os::PollSet& set) override;
  void serve(const os::PollSet& set) override;

 private:
  // What is said while this is done.
  void ask(const std::function<void()>& live);

  Journal* journal_;
  std::unique_ptr<dev::VsockBackend> sockets_;
};

}  // namespace cbit::guest
