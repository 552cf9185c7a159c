// Memory regions and work requests of RDMA devices. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// A memory region came to be. `first` is the application's address, `dma` what the NIC has for it.
struct MrRegistered {
  static constexpr std::string_view name = "mr_register";
  NameId device = 0;
  std::uint32_t lkey = 0;
  std::uint32_t rkey = 0;
  VirtAddr first;
  DmaAddr dma;
  std::uint64_t bytes = 0;
  std::uint64_t segments = 0;
  DmaPath path{};
  bool encrypted = false;  // the NIC's accesses carry the encryption bit
  bool software = false;   // rxe: the "DMA address" is a kernel virtual address
  void visit(auto&& v) const {
    v("device", device);
    v("lkey", lkey);
    v("rkey", rkey);
    v("first", first);
    v("dma", dma);
    v("bytes", bytes);
    v("segments", segments);
    v("path", path);
    v("encrypted", encrypted);
    v("software", software);
  }
};

struct MrDeregistered {
  static constexpr std::string_view name = "mr_deregister";
  NameId device = 0;
  std::uint32_t lkey = 0;
  std::uint64_t copied_back = 0;  // bytes that the unmap wrote over the application's buffer
  void visit(auto&& v) const {
    v("device", device);
    v("lkey", lkey);
    v("copied_back", copied_back);
  }
};

// ibv_reg_mr() failed. `reason` is a stable word: "cc-dma-bounce", "memlock", "map", ...
struct MrRefused {
  static constexpr std::string_view name = "mr_refused";
  NameId device = 0;
  VirtAddr first;
  std::uint64_t bytes = 0;
  std::uint32_t error = 0;  // errno
  std::string_view reason;
  void visit(auto&& v) const {
    v("device", device);
    v("first", first);
    v("bytes", bytes);
    v("error", error);
    v("reason", reason);
  }
};

// A completion queue entry. `status` is an ibv_wc_status.
struct RdmaCompleted {
  static constexpr std::string_view name = "rdma_completion";
  NameId device = 0;
  std::uint32_t qp = 0;
  std::string_view opcode;
  std::uint64_t bytes = 0;
  std::uint32_t status = 0;
  void visit(auto&& v) const {
    v("device", device);
    v("qp", qp);
    v("opcode", opcode);
    v("bytes", bytes);
    v("status", status);
  }
};

// A NIC refused what a peer or its own application asked for: nothing was read or written. `reason` is a
// stable word: "remote-key", "bounds", "access-rights", "cq-overrun", ...
struct RdmaRefused {
  static constexpr std::string_view name = "rdma_refused";
  NameId device = 0;
  std::uint32_t qp = 0;
  std::uint32_t key = 0;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::string_view reason;
  void visit(auto&& v) const {
    v("device", device);
    v("qp", qp);
    v("key", key);
    v("address", address);
    v("bytes", bytes);
    v("reason", reason);
  }
};

}  // namespace cbit
