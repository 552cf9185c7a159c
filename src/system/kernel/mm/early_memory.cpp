// early_set_memory_encrypted() and early_set_memory_decrypted(): the attribute and, in place, the contents.
#include <fmt/format.h>

#include <array>

#include "base/cost.hpp"
#include "kernel/mm/mm_impl.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view source_early = "arch/x86/mm/mem_encrypt_amd.c: early_set_memory_enc_dec";
constexpr std::string_view source_in_place = "arch/x86/mm/mem_encrypt_amd.c: __sme_early_enc_dec";

}  // namespace

Result<void> Mm::Impl::early_set_memory_enc_dec(paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes,
                                                bool encrypted) {
  if (cc.me_mask() == 0) {
    step(cpu, source_early, [] { return "sme_me_mask is 0: neither attribute nor contents change"; });
    return {};
  }
  if (bytes == 0) return {};
  if (bytes > ~at.value()) return fault(FaultKind::non_canonical, at.value());
  const std::uint64_t count = (at + (bytes - 1)).page_number() - at.page_number() + 1;
  const Conversion c = CBIT_TRY(conversion(cpu, at.page(), count, encrypted));
  ++cost.calls;
  cost.pages += count;

  CBIT_TRY(split(c, c.at, count * page_size, false));
  struct Leaf {
    VirtAddr at;
    paging::PageLevel level;
    paging::Pte entry;
  };
  std::vector<Leaf> leaves;
  CBIT_TRY(table->for_each_leaf(c.at, count * page_size,
                                [&](VirtAddr leaf, paging::PageLevel level, paging::Pte entry) {
                                  leaves.push_back({leaf, level, entry});
                                }));
  for (const Leaf& leaf : leaves) CBIT_TRY(early_convert_leaf(c, leaf.at, leaf.level, leaf.entry));
  if (!cc.has(CcAttr::host_mem_encrypt)) notify_page_enc_status(c);
  flush_tlb_all(cpu);
  return {};
}

// __set_clr_pte_enc
Result<void> Mm::Impl::early_convert_leaf(const Conversion& c, VirtAddr at, paging::PageLevel level,
                                          paging::Pte entry) {
  const auto [phys, selector] = machine.paging().view.layout.split(entry.page(level));
  const mem::KeySelector wanted = c.encrypted ? 1 : 0;
  if (selector == wanted) return {};
  const mem::PhysRange range{phys, level_bytes(level)};
  clflush(c.cpu, {range});
  wbinvd(c.cpu);
  step(c.cpu, source_in_place, [&] {
    return fmt::format("{} {} bytes in place through a 4 KiB buffer", c.encrypted ? "encrypt" : "decrypt",
                       range.bytes);
  });
  // First, so that the copy's accesses under the new attribute agree with what was reported.
  tracer.emit(c.cpu.agent(), PageConversion{phys, range.bytes / page_size, c.encrypted, true, c.cpu.site()});
  for (std::uint64_t offset = 0; offset < range.bytes; offset += page_size)
    CBIT_TRY(early_enc_dec_page(c, phys + offset));

  // Only the leaf's first page changes state, whatever its size, as in the kernel.
  if (!c.encrypted) CBIT_TRY(early_snp_set_page(c, phys, false));
  CBIT_TRY(table->set_selector(at, range.bytes, wanted));
  if (c.encrypted) CBIT_TRY(early_snp_set_page(c, phys, true));
  if (!cc.traits().state_below_guest)
    memory.convert(phys, range.bytes / page_size, c.encrypted, c.cpu.site());
  return {};
}

// snp_memcpy: a page is shared only while it is read or written decrypted.
Result<void> Mm::Impl::early_enc_dec_page(const Conversion& c, PhysAddr page) {
  const mem::KeyView& view = machine.paging().view;
  const mem::Access encrypted{c.cpu.agent(), view.key(1), c.cpu.site()};
  const mem::Access decrypted{c.cpu.agent(), view.key(0), c.cpu.site()};
  std::array<std::byte, page_size> buffer;
  if (c.encrypted) CBIT_TRY(early_snp_set_page(c, page, false));
  CBIT_TRY(memory.read(page, buffer, c.encrypted ? decrypted : encrypted));
  CBIT_TRY(early_snp_set_page(c, page, c.encrypted));
  CBIT_TRY(memory.write(page, buffer, c.encrypted ? encrypted : decrypted));
  if (!c.encrypted) CBIT_TRY(early_snp_set_page(c, page, true));
  return {};
}

// early_snp_set_memory_private, early_snp_set_memory_shared: the GHCB MSR protocol, a request per page.
Result<void> Mm::Impl::early_snp_set_page(const Conversion& c, PhysAddr page, bool encrypted) {
  if (cc.traits().page_state_call != machine::PageStateCall::psc) return {};
  ++cost.hypercalls;
  return machine.hypervisor().change_page_state(c.cpu.agent(),
                                                {"PSC", {page, page_size}, encrypted, c.cpu.site()});
}

}  // namespace cbit::kernel
