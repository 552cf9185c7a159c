// KVM_SEV_DBG_DECRYPT and KVM_SEV_DBG_ENCRYPT: the firmware takes 16-byte blocks, the VMM any bytes.
#include <algorithm>
#include <cerrno>

#include "kernel/kvm/sev_vm.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t block = 16;

bool aligned(std::uint64_t value) { return value % block == 0; }

// A page of the kernel's, read and written through the direct map.
class TemporaryPage {
 public:
  static Result<TemporaryPage, SevError> create(Kernel& kernel) {
    const auto page = kernel.mm().page_allocator().allocate(1);
    if (!page) return sev_error(ENOMEM);
    TemporaryPage made{kernel, *page};
    static_cast<void>(kernel.cpu(0).fill(made.at(), page_size, std::byte{0}));
    return made;
  }
  TemporaryPage(TemporaryPage&& other) noexcept
      : kernel_{std::exchange(other.kernel_, nullptr)}, page_{other.page_} {}
  TemporaryPage& operator=(TemporaryPage&&) = delete;
  ~TemporaryPage() {
    if (kernel_ != nullptr) kernel_->mm().page_allocator().free(page_, 1);
  }

  [[nodiscard]] PhysAddr phys() const { return page_; }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t bytes) const {
    Bytes data(bytes);
    static_cast<void>(kernel_->cpu(0).read(at() + offset, data));
    return data;
  }
  void write(std::uint64_t offset, ConstByteSpan bytes) {
    static_cast<void>(kernel_->cpu(0).write(at() + offset, bytes));
  }

 private:
  TemporaryPage(Kernel& kernel, PhysAddr page) : kernel_{&kernel}, page_{page} {}
  [[nodiscard]] VirtAddr at() const { return kernel_->mm().phys_to_virt(page_); }

  Kernel* kernel_;
  PhysAddr page_;
};

}  // namespace

SevResult<void> SevVm::dbg_decrypt(VirtAddr source, VirtAddr target, std::uint32_t len) {
  return dbg_crypt(source, target, len, true);
}

SevResult<void> SevVm::dbg_encrypt(VirtAddr source, VirtAddr target, std::uint32_t len) {
  return dbg_crypt(source, target, len, false);
}

// sev_dbg_crypt(): page by page.
SevResult<void> SevVm::dbg_crypt(VirtAddr source, VirtAddr target, std::uint32_t len, bool decrypt) {
  if (!active_) return sev_error(ENOTTY);
  if (len == 0 || source + len < source || target == VirtAddr{}) return sev_error(EINVAL);
  for (std::uint32_t left = len; left != 0;) {
    const auto from = pin_memory(source.page(), page_size, false);
    if (!from) return sev_error(from.error());
    const auto to = pin_memory(target.page(), page_size, true);
    if (!to) {
      unpin_memory(*from);
      return sev_error(to.error());
    }
    kvm_->sev_clflush_pages(*from);
    kvm_->sev_clflush_pages(*to);
    const auto now = static_cast<std::uint32_t>(
        std::min({page_size - source.page_offset(), page_size - target.page_offset(), std::uint64_t{left}}));
    const PhysAddr from_phys = from->front() + source.page_offset();
    const PhysAddr to_phys = to->front() + target.page_offset();
    const auto done = decrypt ? dbg_decrypt_user(from_phys, target, to_phys, now)
                              : dbg_encrypt_user(source, from_phys, to_phys, now);
    unpin_memory(*from);
    unpin_memory(*to);
    if (!done) return done;
    source += now;
    target += now;
    left -= now;
  }
  return {};
}

// __sev_dbg_decrypt(): reading more than was asked for is safe.
SevResult<void> SevVm::issue_dbg_decrypt(PhysAddr source, PhysAddr target, std::uint32_t len) {
  const std::uint64_t offset = source.value() % block;
  return issued(firmware().dbg_decrypt(handle_, page_pa(source - offset), page_pa(target),
                                       static_cast<std::uint32_t>(align_up(len + offset, block))));
}

SevResult<void> SevVm::dbg_decrypt_user(PhysAddr source, VirtAddr target, PhysAddr target_phys,
                                        std::uint32_t len) {
  if (aligned(target_phys.value()) && aligned(source.value()) && aligned(len))
    return issue_dbg_decrypt(source, target_phys, len);
  const TemporaryPage page = CBIT_TRY(TemporaryPage::create(kvm_->kernel()));
  CBIT_TRY(issue_dbg_decrypt(source, page.phys(), len));
  if (!vmm_->write(target, page.read(source.value() % block, len))) return sev_error(EFAULT);
  return {};
}

// Where the target is not made of whole blocks, they are decrypted, changed and encrypted again. As in 6.1,
// the length is rounded up without the offset: of a range that begins within a block and ends in a later one,
// the last block stays as it was.
SevResult<void> SevVm::dbg_encrypt_user(VirtAddr source, PhysAddr source_phys, PhysAddr target,
                                        std::uint32_t len) {
  std::optional<TemporaryPage> source_page;
  std::optional<TemporaryPage> target_page;
  Bytes data(len);
  if (!vmm_->read(source, data)) return sev_error(EFAULT);
  if (!aligned(source.value())) {
    source_page.emplace(CBIT_TRY(TemporaryPage::create(kvm_->kernel())));
    source_page->write(0, data);
    source_phys = source_page->phys();
  }
  if (!aligned(target.value()) || !aligned(len)) {
    target_page.emplace(CBIT_TRY(TemporaryPage::create(kvm_->kernel())));
    CBIT_TRY(issue_dbg_decrypt(target, target_page->phys(), len));
    target_page->write(target.value() % block, data);
    source_phys = target_page->phys();
    target = PhysAddr{align_down(target.value(), block)};
    len = static_cast<std::uint32_t>(align_up(len, block));
  }
  return issued(firmware().dbg_encrypt(handle_, page_pa(source_phys), page_pa(target), len));
}

}  // namespace cbit::kernel
