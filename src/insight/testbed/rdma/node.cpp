#include "testbed/rdma/node.hpp"

#include "base/assert.hpp"

namespace cbit::testbed {
namespace {

constexpr unsigned mr_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
constexpr std::uint32_t cq_entries = 64;
constexpr std::uint32_t ring_slots = 4;
// More than the retries of a queue pair, so that a request that gets no answer ends.
constexpr unsigned polls = 16;

tl::unexpected<Error> no_room() {
  return usage_error("the machine has no room for the buffer", "use more --memory or less --size");
}

}  // namespace

OrError<std::unique_ptr<RdmaNode>> RdmaNode::create(const RdmaNodeConfig& config, dev::rdma::Fabric& fabric,
                                                    EventSink* sink) {
  std::unique_ptr<RdmaNode> node{new RdmaNode{config}};
  CBIT_TRY(node->set_up(fabric, sink));
  return node;
}

OrError<void> RdmaNode::set_up(dev::rdma::Fabric& fabric, EventSink* sink) {
  bed_ = CBIT_TRY(Testbed::create(config_.bed, {sink}));
  kernel::Kernel& kernel = bed_->kernel();
  auto process = kernel::Process::create(kernel, {.cap_ipc_lock = true});
  if (!process) return no_room();
  process_ = std::move(*process);
  kernel::IbDevice* device = nullptr;
  if (config_.method == RdmaMethod::rxe) {
    auto rxe = kernel::Rxe::create(kernel, fabric, {.mask_bits = config_.mask_bits});
    if (!rxe) return usage_error("the network adapter cannot be set up", "use a --mask of 32 bits or more");
    rxe_ = std::move(*rxe);
    device = &rxe_->ib();
  } else {
    auto hca = kernel::Hca::probe(kernel, fabric,
                                  {.mask_bits = config_.mask_bits, .coherent_mask_bits = config_.mask_bits});
    if (!hca) return usage_error("the NIC's DMA mask is refused", "use a --mask of 32 bits or more");
    hca_ = std::move(*hca);
    device = &hca_->ib();
  }
  verbs_.emplace(*device, *process_, kernel.cpu(0));
  const auto pd = verbs_->ibv_alloc_parent_domain(verbs_->ibv_alloc_pd(), true);
  const auto cq = verbs_->ibv_create_cq(cq_entries);
  if (!pd || !cq) return no_room();
  pd_ = *pd;
  cq_ = *cq;
  boot_conversions_ = kernel.mm().conversion_cost();
  boot_counts_ = bed_->counters().counts();
  if (config_.method == RdmaMethod::shared_heap) {
    const auto shared = verbs_->ibv_alloc_buf(pd_, config_.bytes);
    if (!shared) return no_room();
    shared_ = *shared;
    buffer_ = shared->addr;
  } else {
    const auto at = process_->mmap(config_.bytes);
    if (!at) return no_room();
    buffer_ = *at;
  }
  write(Bytes(config_.bytes));
  return {};
}

RdmaNode::~RdmaNode() {
  if (!verbs_) return;
  if (qp_ != 0) (void)verbs_->ibv_destroy_qp(qp_);
  deregister();
  if (shared_) (void)verbs_->ibv_free_buf(*shared_);
}

Result<void, kernel::Errno> RdmaNode::register_buffer() {
  switch (config_.method) {
    case RdmaMethod::user_mr:
    case RdmaMethod::rxe: mr_ = CBIT_TRY(verbs_->ibv_reg_mr(pd_, buffer_, config_.bytes, mr_access)); break;
    case RdmaMethod::shared_heap: mr_ = CBIT_TRY(verbs_->ibv_reg_buf_mr(pd_, *shared_, mr_access)); break;
    case RdmaMethod::bounce_ring:
      ring_ =
          CBIT_TRY(kernel::BounceRing::create(*verbs_, pd_, ring_slots, align_up(config_.bytes, page_size)));
      slot_ = ring_->acquire();
      mr_ = ring_->mr();
      break;
  }
  return {};
}

void RdmaNode::deregister() {
  if (ring_ != nullptr) {
    slot_.reset();
    ring_.reset();
  } else if (mr_) {
    (void)verbs_->ibv_dereg_mr(*mr_);
  }
  mr_.reset();
}

Result<void, kernel::Errno> RdmaNode::connect(RdmaNode& peer) {
  for (RdmaNode* const node : {this, &peer})
    node->qp_ =
        CBIT_TRY(node->verbs_->ibv_create_qp(node->pd_, {.send_cq = node->cq_, .recv_cq = node->cq_}));
  for (const auto& [node, other] : {std::pair{this, &peer}, std::pair{&peer, this}}) {
    kernel::IbvContext& verbs = *node->verbs_;
    ibv_qp_attr attr{.qp_state = IBV_QPS_INIT,
                     .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ};
    CBIT_TRY(verbs.ibv_modify_qp(node->qp_, attr,
                                 IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS));
    attr.qp_state = IBV_QPS_RTR;
    attr.path_mtu = IBV_MTU_4096;
    attr.ah_attr = other->verbs_->port_address();
    attr.dest_qp_num = other->qp_;
    CBIT_TRY(verbs.ibv_modify_qp(node->qp_, attr,
                                 IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                     IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
    attr.qp_state = IBV_QPS_RTS;
    CBIT_TRY(verbs.ibv_modify_qp(node->qp_, attr,
                                 IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                     IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
  }
  return {};
}

Bytes RdmaNode::read() {
  Bytes bytes(config_.bytes);
  const auto done = process_->read(buffer_, bytes);
  CBIT_ASSERT(done);  // the application's own memory
  return bytes;
}

void RdmaNode::write(ConstByteSpan bytes) {
  const auto done = process_->write(buffer_, bytes);
  CBIT_ASSERT(done);
}

Result<void, kernel::Errno> RdmaNode::before_send() {
  return slot_ ? ring_->copy_in(*slot_, buffer_, config_.bytes) : Result<void, kernel::Errno>{};
}

Result<void, kernel::Errno> RdmaNode::after_receive() {
  return slot_ ? ring_->copy_out(*slot_, buffer_, config_.bytes) : Result<void, kernel::Errno>{};
}

Result<ibv_wc_status, kernel::Errno> RdmaNode::transfer(RdmaNode& peer, ibv_wr_opcode opcode,
                                                        std::uint64_t bytes) {
  ibv_send_wr wr{.sg_list = {{target().value(), static_cast<std::uint32_t>(bytes), mr_->lkey}},
                 .opcode = opcode};
  wr.rdma = {peer.target().value(), peer.mr_->rkey};
  CBIT_TRY(verbs_->ibv_post_send(qp_, wr));
  const auto done = wait();
  return done ? done->status : IBV_WC_RETRY_EXC_ERR;
}

Result<void, kernel::Errno> RdmaNode::post_receive(std::uint64_t bytes) {
  return verbs_->ibv_post_recv(
      qp_, {.sg_list = {{target().value(), static_cast<std::uint32_t>(bytes), mr_->lkey}}});
}

std::optional<ibv_wc> RdmaNode::wait() {
  for (unsigned i = 0; i < polls; ++i) {
    const auto done = verbs_->ibv_poll_cq(cq_, 1);
    if (!done) return std::nullopt;
    if (!done->empty()) return done->front();
  }
  return std::nullopt;
}

RdmaCost RdmaNode::cost() {
  const kernel::ConversionCost conversions = bed_->kernel().mm().conversion_cost();
  const watch::CostCounts& counts = bed_->counters().counts();
  RdmaCost cost;
  const auto since = [](const watch::AccessCount& now, const watch::AccessCount& boot) {
    return watch::AccessCount{now.accesses - boot.accesses, now.bytes - boot.bytes};
  };
  const watch::AccessCount in = since(counts.bounced_to_pool, boot_counts_.bounced_to_pool);
  const watch::AccessCount out = since(counts.bounced_from_pool, boot_counts_.bounced_from_pool);
  cost.bytes_bounced = in.bytes + out.bytes;
  cost.copies = in.accesses + out.accesses;
  if (ring_ != nullptr) {
    cost.copies += ring_->copies();
    cost.bytes_copied = ring_->bytes_copied();
  }
  cost.flushes = conversions.tlb_flushes - boot_conversions_.tlb_flushes;
  cost.pages_converted = conversions.pages - boot_conversions_.pages;
  cost.virtual_ns = counts.virtual_ns - boot_counts_.virtual_ns;
  return cost;
}

}  // namespace cbit::testbed
