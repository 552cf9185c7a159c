// Vocabulary of RDMA verbs: the names and values of libibverbs' <infiniband/verbs.h>, so that code and habits
// carry over. Where C has a pointer and a count, there is a std::vector; a port's address stands for its GID.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cbit/addr.hpp"

namespace cbit {

enum ibv_access_flags : unsigned {
  IBV_ACCESS_LOCAL_WRITE = 1,
  IBV_ACCESS_REMOTE_WRITE = 1 << 1,
  IBV_ACCESS_REMOTE_READ = 1 << 2,
  IBV_ACCESS_REMOTE_ATOMIC = 1 << 3,
  IBV_ACCESS_MW_BIND = 1 << 4,
  IBV_ACCESS_ZERO_BASED = 1 << 5,
  IBV_ACCESS_ON_DEMAND = 1 << 6,
  IBV_ACCESS_HUGETLB = 1 << 7,
  IBV_ACCESS_RELAXED_ORDERING = 1 << 20,
};

enum ibv_qp_type : unsigned { IBV_QPT_RC = 2, IBV_QPT_UC = 3, IBV_QPT_UD = 4 };

enum ibv_qp_state : unsigned {
  IBV_QPS_RESET = 0,
  IBV_QPS_INIT = 1,
  IBV_QPS_RTR = 2,
  IBV_QPS_RTS = 3,
  IBV_QPS_SQD = 4,
  IBV_QPS_SQE = 5,
  IBV_QPS_ERR = 6,
};

enum ibv_mtu : unsigned {
  IBV_MTU_256 = 1,
  IBV_MTU_512 = 2,
  IBV_MTU_1024 = 3,
  IBV_MTU_2048 = 4,
  IBV_MTU_4096 = 5,
};
[[nodiscard]] constexpr std::uint32_t bytes_of_mtu(ibv_mtu mtu) { return 128u << mtu; }

enum ibv_qp_attr_mask : unsigned {
  IBV_QP_STATE = 1 << 0,
  IBV_QP_CUR_STATE = 1 << 1,
  IBV_QP_EN_SQD_ASYNC_NOTIFY = 1 << 2,
  IBV_QP_ACCESS_FLAGS = 1 << 3,
  IBV_QP_PKEY_INDEX = 1 << 4,
  IBV_QP_PORT = 1 << 5,
  IBV_QP_QKEY = 1 << 6,
  IBV_QP_AV = 1 << 7,
  IBV_QP_PATH_MTU = 1 << 8,
  IBV_QP_TIMEOUT = 1 << 9,
  IBV_QP_RETRY_CNT = 1 << 10,
  IBV_QP_RNR_RETRY = 1 << 11,
  IBV_QP_RQ_PSN = 1 << 12,
  IBV_QP_MAX_QP_RD_ATOMIC = 1 << 13,
  IBV_QP_ALT_PATH = 1 << 14,
  IBV_QP_MIN_RNR_TIMER = 1 << 15,
  IBV_QP_SQ_PSN = 1 << 16,
  IBV_QP_MAX_DEST_RD_ATOMIC = 1 << 17,
  IBV_QP_PATH_MIG_STATE = 1 << 18,
  IBV_QP_CAP = 1 << 19,
  IBV_QP_DEST_QPN = 1 << 20,
};

enum ibv_wr_opcode : unsigned {
  IBV_WR_RDMA_WRITE = 0,
  IBV_WR_RDMA_WRITE_WITH_IMM = 1,
  IBV_WR_SEND = 2,
  IBV_WR_SEND_WITH_IMM = 3,
  IBV_WR_RDMA_READ = 4,
  IBV_WR_ATOMIC_CMP_AND_SWP = 5,
  IBV_WR_ATOMIC_FETCH_AND_ADD = 6,
};

enum ibv_send_flags : unsigned {
  IBV_SEND_FENCE = 1 << 0,
  IBV_SEND_SIGNALED = 1 << 1,
  IBV_SEND_SOLICITED = 1 << 2,
  IBV_SEND_INLINE = 1 << 3,
};

enum ibv_wc_opcode : unsigned {
  IBV_WC_SEND = 0,
  IBV_WC_RDMA_WRITE = 1,
  IBV_WC_RDMA_READ = 2,
  IBV_WC_COMP_SWAP = 3,
  IBV_WC_FETCH_ADD = 4,
  IBV_WC_RECV = 1 << 7,
  IBV_WC_RECV_RDMA_WITH_IMM = (1 << 7) + 1,
};

enum ibv_wc_flags : unsigned { IBV_WC_GRH = 1 << 0, IBV_WC_WITH_IMM = 1 << 1 };

enum ibv_wc_status : unsigned {
  IBV_WC_SUCCESS,
  IBV_WC_LOC_LEN_ERR,
  IBV_WC_LOC_QP_OP_ERR,
  IBV_WC_LOC_EEC_OP_ERR,
  IBV_WC_LOC_PROT_ERR,
  IBV_WC_WR_FLUSH_ERR,
  IBV_WC_MW_BIND_ERR,
  IBV_WC_BAD_RESP_ERR,
  IBV_WC_LOC_ACCESS_ERR,
  IBV_WC_REM_INV_REQ_ERR,
  IBV_WC_REM_ACCESS_ERR,
  IBV_WC_REM_OP_ERR,
  IBV_WC_RETRY_EXC_ERR,
  IBV_WC_RNR_RETRY_EXC_ERR,
  IBV_WC_LOC_RDD_VIOL_ERR,
  IBV_WC_REM_INV_RD_REQ_ERR,
  IBV_WC_REM_ABORT_ERR,
  IBV_WC_INV_EECN_ERR,
  IBV_WC_INV_EEC_STATE_ERR,
  IBV_WC_FATAL_ERR,
  IBV_WC_RESP_TIMEOUT_ERR,
  IBV_WC_GENERAL_ERR,
};
// As libibverbs words them: "remote access error".
[[nodiscard]] std::string_view ibv_wc_status_str(ibv_wc_status status);

enum ibv_event_type : unsigned {
  IBV_EVENT_CQ_ERR,
  IBV_EVENT_QP_FATAL,
  IBV_EVENT_QP_REQ_ERR,
  IBV_EVENT_QP_ACCESS_ERR,
  IBV_EVENT_COMM_EST,
  IBV_EVENT_SQ_DRAINED,
};

// ibv_device_attr_ex.device_cap_flags_ex: streaming DMA of user memory would bounce, so ibv_reg_mr() refuses
// it.
inline constexpr std::uint64_t IBV_DEVICE_CC_DMA_BOUNCE = 1ull << 41;

// The GRH, or what stands for it, that comes before a datagram in its receive buffer.
inline constexpr std::uint32_t ud_grh_bytes = 40;

struct ibv_sge {
  std::uint64_t addr = 0;
  std::uint32_t length = 0;
  std::uint32_t lkey = 0;
};

struct ibv_recv_wr {
  std::uint64_t wr_id = 0;
  std::vector<ibv_sge> sg_list;
};

struct ibv_send_wr {
  std::uint64_t wr_id = 0;
  std::vector<ibv_sge> sg_list;
  ibv_wr_opcode opcode = IBV_WR_SEND;
  unsigned send_flags = IBV_SEND_SIGNALED;
  std::uint32_t imm_data = 0;
  struct {
    std::uint64_t remote_addr = 0;
    std::uint32_t rkey = 0;
  } rdma;
  struct {
    std::uint64_t remote_addr = 0;
    std::uint64_t compare_add = 0;
    std::uint64_t swap = 0;
    std::uint32_t rkey = 0;
  } atomic;
  struct {
    std::uint32_t ah = 0;  // the destination port's address
    std::uint32_t remote_qpn = 0;
    std::uint32_t remote_qkey = 0;
  } ud;
};

struct ibv_wc {
  std::uint64_t wr_id = 0;
  ibv_wc_status status = IBV_WC_SUCCESS;
  ibv_wc_opcode opcode = IBV_WC_SEND;
  std::uint32_t byte_len = 0;
  std::uint32_t imm_data = 0;
  std::uint32_t qp_num = 0;
  std::uint32_t src_qp = 0;
  unsigned wc_flags = 0;
};

struct ibv_qp_cap {
  std::uint32_t max_send_wr = 64;
  std::uint32_t max_recv_wr = 64;
  std::uint32_t max_send_sge = 4;
  std::uint32_t max_recv_sge = 4;
  std::uint32_t max_inline_data = 64;
};

struct ibv_qp_attr {
  ibv_qp_state qp_state = IBV_QPS_RESET;
  ibv_qp_state cur_qp_state = IBV_QPS_RESET;
  unsigned qp_access_flags = 0;
  std::uint8_t en_sqd_async_notify = 0;
  std::uint8_t sq_draining = 0;  // of ibv_query_qp(): in SQD, requests are still on their way
  std::uint16_t pkey_index = 0;
  std::uint8_t port_num = 1;
  std::uint32_t qkey = 0;
  std::uint32_t ah_attr = 0;  // the destination port's address
  ibv_mtu path_mtu = IBV_MTU_1024;
  std::uint8_t timeout = 14;
  std::uint8_t retry_cnt = 7;
  std::uint8_t rnr_retry = 7;  // 7: without end
  std::uint32_t rq_psn = 0;
  std::uint8_t max_rd_atomic = 1;
  std::uint8_t min_rnr_timer = 12;
  std::uint32_t sq_psn = 0;
  std::uint8_t max_dest_rd_atomic = 1;
  std::uint32_t dest_qp_num = 0;
};

struct ibv_async_event {
  ibv_event_type event_type{};
  std::uint32_t element = 0;  // the QP's number or the CQ's
};

// What the model's NIC has. ibv_query_device_ex() adds what the kernel knows.
struct ibv_device_attr {
  std::uint64_t max_mr_size = 1ull << 40;
  std::uint32_t max_qp = 4096;
  std::uint32_t max_qp_wr = 4096;
  std::uint32_t max_sge = 16;
  std::uint32_t max_cq = 4096;
  std::uint32_t max_cqe = 65536;
  std::uint32_t max_mr = 65536;
  std::uint32_t max_inline_data = 256;
  std::uint32_t max_qp_rd_atom = 16;
  std::uint32_t max_qp_init_rd_atom = 16;
  std::uint32_t max_msg_sz = 1u << 30;
  ibv_mtu max_mtu = IBV_MTU_4096;
  std::uint64_t device_cap_flags_ex = 0;
};

struct ibv_pd {
  std::uint32_t handle = 0;
};

struct ibv_mr {
  VirtAddr addr;
  std::uint64_t length = 0;
  std::uint32_t lkey = 0;
  std::uint32_t rkey = 0;
};

// Where a provider keeps the ring of a completion queue.
enum class CqMemory : std::uint8_t {
  coherent,  // dma_alloc_coherent() in the kernel, dma_mmap_coherent() to the process
  user,      // the process' own memory, through ib_umem_get(): what most providers do
};

// Memory of ibv_alloc_buf().
struct ibv_buf {
  VirtAddr addr;
  std::uint64_t length = 0;
  bool cc_shared = false;  // from the heap system_cc_shared
};

struct ibv_qp_init_attr {
  std::uint32_t send_cq = 0;
  std::uint32_t recv_cq = 0;
  ibv_qp_cap cap;
  ibv_qp_type qp_type = IBV_QPT_RC;
  bool sq_sig_all = false;
};

}  // namespace cbit
