// --map user-mr: an application registers its memory with ibv_reg_mr(), and works on it while the region
// lives.
#include "dev/rdma/engine.hpp"
#include "explain/maps/user_buffer.hpp"
#include "kernel/rdma/hca.hpp"
#include "kernel/rdma/verbs.hpp"

namespace cbit::explain {
namespace {

// The region's owner is a device that does as it is told, not a NIC: nobody sends packets here.
struct PortMemory final : dev::rdma::RegionMemory {
  explicit PortMemory(bus::DmaPort& to) : port{&to} {}
  Result<void> read(std::uint64_t at, ByteSpan to) override { return port->read(DmaAddr{at}, to); }
  Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) override {
    if (!port->write(DmaAddr{at}, from)) return tl::unexpected{port->stopped_at() - DmaAddr{at}};
    return {};
  }
  bus::DmaPort* port;
};

class UserMr final : public MapStrategy {
 public:
  explicit UserMr(MapBench& bench)
      : bench_{bench},
        memory_{bench.device.hardware.port()},
        engine_{memory_,
                bench.bed.tracer(),
                {bench.device.driver.name_id, {AgentKind::device, bench.device.driver.requester}, {}},
                [](dev::rdma::PortAddress, const dev::rdma::Packet&, mem::Snapshot&&) {}},
        buffer_{bench} {}

  OrError<void> prepare() override { return buffer_.allocate(bench_.before); }
  bool map() override {
    kernel::Device& device = bench_.device.driver;
    device.max_segment_size = kernel::HcaConfig{}.max_segment_size;
    ib_.emplace(bench_.bed.kernel(), device.name, engine_, fabric_, dev::rdma::PortAddress{}, &device);
    context_.emplace(*ib_, buffer_.process(), bench_.cpu());
    const auto mr =
        context_->ibv_reg_mr(context_->ibv_alloc_pd(), buffer_.at(), bench_.options.size,
                             IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
    if (!mr) return false;
    mr_ = *mr;
    return buffer_.write(bench_.initial);
  }
  std::vector<DmaSegment> segments() const override {
    std::vector<DmaSegment> segments;
    for (const dev::rdma::Segment& segment : engine_.regions().find(mr_.lkey)->segments)
      segments.push_back({DmaAddr{segment.at}, segment.bytes});
    return segments;
  }
  Bytes read() override { return buffer_.read(); }
  std::vector<mem::PhysRange> memory() const override { return buffer_.memory(); }
  // Deregistration comes after the last look: the question is what both sides see while the region lives.
  void release() override { (void)context_->ibv_dereg_mr(mr_); }

 private:
  MapBench& bench_;
  PortMemory memory_;
  dev::rdma::Engine engine_;
  dev::rdma::Fabric fabric_;
  UserBuffer buffer_;
  std::optional<kernel::IbDevice> ib_;
  std::optional<kernel::IbvContext> context_;
  ibv_mr mr_;
};

}  // namespace

std::unique_ptr<MapStrategy> make_user_mr(MapBench& bench) { return std::make_unique<UserMr>(bench); }

}  // namespace cbit::explain
