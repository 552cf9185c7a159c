// Verbs on the model kernel: registration and its errors, what reaches whom, and what stays behind.
#include <gtest/gtest.h>

#include "dma_board.hpp"
#include "kernel/rdma/bounce_ring.hpp"
#include "kernel/rdma/hca.hpp"
#include "kernel/rdma/rxe.hpp"

namespace cbit::kernel {
namespace {

constexpr unsigned all_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

struct App {
  explicit App(Platform platform, KernelVersion version = KernelVersion::v6_1, Process::Limits limits = {},
               HcaConfig config = {})
      : board{platform, {.version = version}, {.memory_bytes = 256 << 20}},
        hca{Hca::probe(*board.kernel, fabric, config).value()},
        process{Process::create(*board.kernel, limits).value()},
        verbs{hca->ib(), *process, board.cpu()},
        pd{verbs.ibv_alloc_pd()} {}

  VirtAddr memory(std::uint64_t bytes, std::uint64_t seed = 1) {
    const VirtAddr at = process->mmap(bytes).value();
    EXPECT_TRUE(process->write(at, pattern_bytes(bytes, seed)));
    return at;
  }
  Bytes read(VirtAddr at, std::uint64_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(process->read(at, data));
    return data;
  }

  DmaBoard board;
  dev::rdma::Fabric fabric;
  std::unique_ptr<Hca> hca;
  std::unique_ptr<Process> process;
  IbvContext verbs;
  ibv_pd pd;
};

TEST(RegMr, RefusesWhatLinuxRefusesWithItsErrnos) {
  App app{Platform::plain, KernelVersion::v6_1, {.memlock_bytes = 4 * page_size}};
  const VirtAddr at = app.memory(16 * page_size);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, at, 0, all_access).error(), Errno::einval);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, VirtAddr{~0ull - 100}, 4096, all_access).error(), Errno::einval);
  EXPECT_EQ(app.verbs.ibv_reg_mr({99}, at, 4096, all_access).error(), Errno::einval);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, at, 4096, IBV_ACCESS_REMOTE_WRITE).error(), Errno::einval);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, at, 4096, all_access | IBV_ACCESS_ON_DEMAND).error(),
            Errno::eopnotsupp);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, at, 5 * page_size, all_access).error(), Errno::enomem);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, at + 100, 4 * page_size, all_access).error(), Errno::enomem);
  EXPECT_EQ(app.verbs.ibv_reg_mr(app.pd, at + 15 * page_size, 2 * page_size, all_access).error(),
            Errno::efault);
  EXPECT_EQ(app.process->pinned_pages(), 0u);
  const auto mr = app.verbs.ibv_reg_mr(app.pd, at, 4 * page_size, all_access);
  ASSERT_TRUE(mr);
  EXPECT_EQ(app.process->pinned_pages(), 4u);
  EXPECT_EQ(app.verbs.ibv_dealloc_pd(app.pd).error(), Errno::ebusy);
  EXPECT_TRUE(app.verbs.ibv_dereg_mr(*mr));
  EXPECT_EQ(app.verbs.ibv_dereg_mr(*mr).error(), Errno::einval);
  EXPECT_EQ(app.process->pinned_pages(), 0u);
  EXPECT_TRUE(app.verbs.ibv_dealloc_pd(app.pd));
}

TEST(RegMr, NeedsTheRightToLockMemoryAtAll) {
  App none{Platform::plain, KernelVersion::v6_1, {.memlock_bytes = 0}};
  EXPECT_EQ(none.verbs.ibv_reg_mr(none.pd, none.memory(4096), 4096, all_access).error(), Errno::eperm);
  App capable{Platform::plain, KernelVersion::v6_1, {.memlock_bytes = 0, .cap_ipc_lock = true}};
  EXPECT_TRUE(capable.verbs.ibv_reg_mr(capable.pd, capable.memory(4096), 4096, all_access));
}

TEST(RegMr, OverwritesTheApplicationsBufferOnSevWhenItEnds) {
  App app{Platform::sev};
  const VirtAddr at = app.memory(page_size, 1);
  const auto mr = app.verbs.ibv_reg_mr(app.pd, at, page_size, all_access).value();
  const Bytes later = pattern_bytes(page_size, 2);
  ASSERT_TRUE(app.process->write(at, later));
  EXPECT_EQ(app.read(at, page_size), later);
  ASSERT_TRUE(app.verbs.ibv_dereg_mr(mr));
  EXPECT_EQ(app.read(at, page_size), pattern_bytes(page_size, 1));
}

TEST(RegMr, IsRefusedByTheNextKernelOnlyWhereDmaBounces) {
  App sev{Platform::sev, KernelVersion::v7_2};
  EXPECT_EQ(sev.verbs.ibv_query_device_ex().device_cap_flags_ex, 1ull << 41);
  EXPECT_EQ(sev.verbs.ibv_reg_mr(sev.pd, sev.memory(4096), 4096, all_access).error(), Errno::eopnotsupp);
  EXPECT_EQ(sev.process->pinned_pages(), 0u);
  for (const Platform platform : {Platform::plain, Platform::sme}) {
    App app{platform, KernelVersion::v7_2};
    EXPECT_EQ(app.verbs.ibv_query_device_ex().device_cap_flags_ex, 0u);
    EXPECT_TRUE(app.verbs.ibv_reg_mr(app.pd, app.memory(4096), 4096, all_access));
  }
  App old{Platform::sev};
  EXPECT_EQ(old.verbs.ibv_query_device_ex().device_cap_flags_ex, 0u);
}

TEST(AllocBuf, ComesFromTheHeapOnlyWithTheDomainsConsentAndGoesBackEncrypted) {
  App app{Platform::sev, KernelVersion::v7_2};
  EXPECT_FALSE(app.verbs.ibv_alloc_buf(app.pd, page_size)->cc_shared);
  const ibv_pd parent = app.verbs.ibv_alloc_parent_domain(app.pd, true).value();
  const ibv_buf buffer = app.verbs.ibv_alloc_buf(parent, 70 * page_size).value();
  ASSERT_TRUE(buffer.cc_shared);
  EXPECT_NE(app.read(buffer.addr, 70 * page_size), Bytes(70 * page_size)) << "the ciphertext of zeros";
  const ibv_mr mr = app.verbs.ibv_reg_buf_mr(parent, buffer, all_access).value();
  EXPECT_EQ(app.board.slots_used(), 0u);
  EXPECT_EQ(app.verbs.ibv_free_buf(buffer).error(), Errno::ebusy);
  ASSERT_TRUE(app.verbs.ibv_dereg_mr(mr));
  const std::uint64_t free = app.board.kernel->mm().page_allocator().free_pages();
  ASSERT_TRUE(app.verbs.ibv_free_buf(buffer));
  EXPECT_EQ(app.board.kernel->mm().page_allocator().free_pages(), free + 70);
  Bytes gone(16);
  EXPECT_FALSE(app.process->read(buffer.addr, gone));
}

TEST(DmaHeap, ExistsWhereMemoryIsEncryptedFrom71On) {
  App plain{Platform::plain, KernelVersion::v7_2}, old{Platform::sev, KernelVersion::v6_10};
  EXPECT_EQ(DmaBuf::allocate(*plain.board.kernel, plain.board.cpu(), 4096).error(), Errno::enoent);
  EXPECT_EQ(DmaBuf::allocate(*old.board.kernel, old.board.cpu(), 4096).error(), Errno::enoent);
  // An SME host has the heap, but its devices do not bounce by force, and the attachment fails.
  App sme{Platform::sme, KernelVersion::v7_2};
  const auto buffer = DmaBuf::allocate(*sme.board.kernel, sme.board.cpu(), 4096);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(sme.verbs.ibv_reg_dmabuf_mr(sme.pd, **buffer, 0, 4096, VirtAddr{0}, all_access).error(),
            Errno::eio);
}

TEST(DmaHeap, IsOfUseToAnSmeHostsDevicesFrom73On) {
  DmaBoard board{Platform::sme, {.version = KernelVersion::v7_3}, {.memory_bytes = 256 << 20}};
  Device& dev = board.add_device();
  const auto buffer = DmaBuf::allocate(*board.kernel, board.cpu(), page_size).value();
  const PhysAddr page = buffer->pages().front();
  ScatterEntry sg[] = {{.phys = page, .length = page_size}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, DmaDirection::bidirectional, DmaBuf::attachment_attrs()),
            1u);
  EXPECT_EQ(sg[0].dma, DmaAddr{page.value()}) << "without C-bit";
  bus::DmaPort port = board.port(dev);
  ASSERT_TRUE(port.write(sg[0].dma, pattern_bytes(page_size, 1)));
  EXPECT_EQ(board.seen(board.kernel->mm().phys_to_virt(page), page_size), pattern_bytes(page_size, 1));
}

// drivers/dma-buf/heaps/system_heap.c: zeroed by the page allocator, then converted; not zeroed again.
TEST(DmaHeap, GivesMemoryThatBeginsAsTheCiphertextOfZeros) {
  for (const KernelVersion version : {KernelVersion::v7_2, KernelVersion::v7_3}) {
    DmaBoard board{Platform::sev, {.version = version}, {.memory_bytes = 256 << 20}};
    const auto buffer = DmaBuf::allocate(*board.kernel, board.cpu(), page_size).value();
    const PhysAddr page = buffer->pages().front();
    const Bytes seen = board.seen(board.kernel->mm().phys_to_virt(page), page_size);
    EXPECT_NE(seen, Bytes(page_size));
    EXPECT_EQ(seen, board.raw(page, page_size)) << "the host sees the same";
    EXPECT_EQ(board.plain(page, page_size), Bytes(page_size)) << "under the key they are zeros";
  }
}

TEST(BounceRing, GivesItsSlotsOutOnceAndCopiesBothWays) {
  App app{Platform::sev, KernelVersion::v7_2};
  const ibv_pd parent = app.verbs.ibv_alloc_parent_domain(app.pd, true).value();
  const auto ring = BounceRing::create(app.verbs, parent, 2, page_size).value();
  const auto first = ring->acquire(), second = ring->acquire();
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->at, second->at);
  EXPECT_FALSE(ring->acquire());
  const VirtAddr own = app.memory(page_size, 5), other = app.memory(page_size, 6);
  ASSERT_TRUE(ring->copy_in(*first, own, page_size));
  ASSERT_TRUE(ring->copy_out(*first, other, page_size));
  EXPECT_EQ(app.read(other, page_size), pattern_bytes(page_size, 5));
  EXPECT_EQ(ring->copy_in(*first, own, page_size + 1).error(), Errno::einval);
  EXPECT_EQ(ring->bytes_copied(), 2 * page_size);
  ring->release(*first);
  EXPECT_TRUE(ring->acquire());
}

TEST(Rxe, HasNoUseForDmaBufsAndLeavesNoMappingBehind) {
  DmaBoard board{Platform::sev, {}, {.memory_bytes = 256 << 20}};
  dev::rdma::Fabric fabric;
  const std::uint64_t before = board.slots_used();
  {
    const auto rxe = Rxe::create(*board.kernel, fabric, {}).value();
    EXPECT_TRUE(rxe->ib().ib_uses_virt_dma());
    EXPECT_FALSE(rxe->ib().cc_dma_bounce());
    EXPECT_GT(board.slots_used(), before);
  }
  EXPECT_EQ(board.slots_used(), before);
  EXPECT_TRUE(board.complaints().empty());
}

}  // namespace
}  // namespace cbit::kernel
