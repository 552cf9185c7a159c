// KVM_MEMORY_ENCRYPT_OP: launch and migration.
#include <algorithm>
#include <cerrno>

#include "kernel/kvm/sev_vm.hpp"

namespace cbit::kernel {
namespace {

constexpr std::size_t blob_bytes_max = 0x4000;  // SEV_FW_BLOB_MAX_SIZE

// psp_copy_user_blob()
Result<void, SevError> check_blob(ConstByteSpan blob) {
  if (blob.empty() || blob.size() > blob_bytes_max) return sev_error(EINVAL);
  return {};
}

// get_num_contig_pages(): from `first` on.
std::size_t contiguous_pages(std::span<const PhysAddr> pages, std::size_t first) {
  std::size_t end = first + 1;
  while (end < pages.size() && pages[end] == pages[end - 1] + page_size) ++end;
  return end - first;
}

}  // namespace

SevResult<std::uint32_t> SevVm::launch_start(const LaunchStart& params) {
  if (!active_) return sev_error(ENOTTY);
  machine::SevFirmware::LaunchStart start{.handle = params.handle, .policy = params.policy};
  if (params.dh_cert) {
    CBIT_TRY(check_blob(*params.dh_cert));
    start.dh_cert = *params.dh_cert;
  }
  if (params.session) {
    CBIT_TRY(check_blob(*params.session));
    start.session = *params.session;
  }
  CBIT_TRY(issued(firmware().launch_start(start)));
  if (const auto bound = issued(firmware().activate(start.handle, asid_)); !bound) {
    static_cast<void>(firmware().decommission(start.handle));
    return tl::unexpected{bound.error()};
  }
  handle_ = start.handle;
  return handle_;
}

SevResult<void> SevVm::launch_update_data(UserAddr range) {
  if (!active_) return sev_error(ENOTTY);
  const auto pages = pin_memory(range.at, range.len, true);
  if (!pages) return sev_error(pages.error());
  kvm_->sev_clflush_pages(*pages);
  SevResult<void> done;
  std::uint64_t left = range.len;
  VirtAddr at = range.at;
  for (std::size_t i = 0; left != 0 && done;) {
    const std::size_t run = contiguous_pages(*pages, i);
    const std::uint64_t now = std::min(run * page_size - at.page_offset(), left);
    done = issued(firmware().launch_update_data(handle_, page_pa((*pages)[i] + at.page_offset()),
                                                static_cast<std::uint32_t>(now)));
    at += now;
    left -= now;
    i += run;
  }
  unpin_memory(*pages);
  return done;
}

SevResult<void> SevVm::launch_update_vmsa() {
  if (!es_active_) return sev_error(ENOTTY);
  for (const PhysAddr vmsa : vmsas_) {
    kvm_->sev_clflush_pages(std::span{&vmsa, 1});
    CBIT_TRY(issued(firmware().launch_update_vmsa(handle_, page_pa(vmsa), page_size)));
  }
  return {};
}

SevResult<spec::SevMeasurement> SevVm::launch_measure(std::uint32_t& len) {
  if (!active_) return sev_error(ENOTTY);
  if (len > blob_bytes_max) return sev_error(EINVAL);
  spec::SevMeasurement measurement;
  CBIT_TRY(issued(firmware().launch_measure(handle_, len, measurement)));
  len = sizeof measurement;
  return measurement;
}

SevResult<void> SevVm::launch_secret(ConstByteSpan header, UserAddr guest, ConstByteSpan data) {
  if (!active_) return sev_error(ENOTTY);
  const auto pages = pin_memory(guest.at, guest.len, true);
  if (!pages) return sev_error(pages.error());
  kvm_->sev_clflush_pages(*pages);
  const auto command = [&]() -> SevResult<void> {
    if (contiguous_pages(*pages, 0) != pages->size()) return sev_error(EINVAL);
    CBIT_TRY(check_blob(data));
    CBIT_TRY(check_blob(header));
    return issued(
        firmware().launch_secret(handle_, {.header = header,
                                           .guest_address = page_pa(pages->front() + guest.at.page_offset()),
                                           .guest_len = guest.len,
                                           .data = data}));
  };
  const SevResult<void> done = command();
  unpin_memory(*pages);
  return done;
}

SevResult<void> SevVm::launch_finish() {
  if (!active_) return sev_error(ENOTTY);
  return issued(firmware().launch_finish(handle_));
}

SevResult<machine::SevFirmware::GuestStatus> SevVm::guest_status() {
  if (!active_) return sev_error(ENOTTY);
  machine::SevFirmware::GuestStatus status;
  CBIT_TRY(issued(firmware().guest_status(handle_, status)));
  return status;
}

// ---- migration ------------------------------------------------------------------------------------------

SevResult<SevVm::Sent> SevVm::send_start(ConstByteSpan pdh_cert) {
  if (!active_) return sev_error(ENOTTY);
  CBIT_TRY(check_blob(pdh_cert));
  machine::SevFirmware::SendStart request{.pdh_cert = pdh_cert, .session_len = sizeof(spec::SevSession)};
  CBIT_TRY(issued(firmware().send_start(handle_, request)));
  return Sent{request.policy, request.session};
}

SevResult<machine::SevPacket> SevVm::send_update_data(UserAddr guest) {
  if (!active_) return sev_error(ENOTTY);
  if (guest.len == 0 || guest.at.page_offset() + guest.len > page_size) return sev_error(EINVAL);
  const auto pages = pin_memory(guest.at.page(), page_size, false);
  if (!pages) return sev_error(pages.error());
  const PtePhys address{page_pa(pages->front()).value() + guest.at.page_offset()};
  machine::SevFirmware::SendUpdate update{.hdr_len = sizeof(spec::SevPacketHeader),
                                          .guest_address = address,
                                          .guest_len = guest.len,
                                          .trans_len = guest.len};
  const auto done = issued(firmware().send_update_data(handle_, update));
  unpin_memory(*pages);
  if (!done) return tl::unexpected{done.error()};
  return std::move(update.packet);
}

SevResult<void> SevVm::send_finish() {
  if (!active_) return sev_error(ENOTTY);
  return issued(firmware().send_finish(handle_));
}

SevResult<void> SevVm::send_cancel() {
  if (!active_) return sev_error(ENOTTY);
  return issued(firmware().send_cancel(handle_));
}

SevResult<std::uint32_t> SevVm::receive_start(spec::SevPolicy policy, ConstByteSpan pdh_cert,
                                              ConstByteSpan session) {
  if (!active_) return sev_error(ENOTTY);
  CBIT_TRY(check_blob(pdh_cert));
  CBIT_TRY(check_blob(session));
  machine::SevFirmware::ReceiveStart start{.policy = policy, .pdh_cert = pdh_cert, .session = session};
  CBIT_TRY(issued(firmware().receive_start(start)));
  if (const auto bound = issued(firmware().activate(start.handle, asid_)); !bound) {
    static_cast<void>(firmware().decommission(start.handle));
    return tl::unexpected{bound.error()};
  }
  handle_ = start.handle;
  return handle_;
}

// Not a SEV guest is EINVAL here, in 6.1.
SevResult<void> SevVm::receive_update_data(ConstByteSpan header, UserAddr guest, ConstByteSpan data) {
  if (!active_) return sev_error(EINVAL);
  if (guest.len == 0 || guest.at.page_offset() + guest.len > page_size) return sev_error(EINVAL);
  CBIT_TRY(check_blob(header));
  CBIT_TRY(check_blob(data));
  const auto pages = pin_memory(guest.at.page(), page_size, true);
  if (!pages) return sev_error(pages.error());
  kvm_->sev_clflush_pages(*pages);
  const PtePhys address{page_pa(pages->front()).value() + guest.at.page_offset()};
  const auto done = issued(firmware().receive_update_data(
      handle_, {.header = header, .guest_address = address, .guest_len = guest.len, .data = data}));
  unpin_memory(*pages);
  return done;
}

SevResult<void> SevVm::receive_finish() {
  if (!active_) return sev_error(ENOTTY);
  return issued(firmware().receive_finish(handle_));
}

}  // namespace cbit::kernel
