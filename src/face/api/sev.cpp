#include "cbit/sev.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "api/bed.hpp"
#include "kernel/kvm/sev_vm.hpp"
#include "testbed/testbed.hpp"

namespace cbit {
namespace {

[[noreturn]] void refuse(std::string_view what, int error,
                         spec::SevStatusCode firmware = spec::SevStatusCode::success) {
  const std::string status = firmware == spec::SevStatusCode::success
                                 ? ""
                                 : fmt::format(", firmware status {}", to_string(firmware));
  throw SevRefused{fmt::format("{}: errno {}{}", what, error, status), error,
                   static_cast<unsigned>(firmware)};
}

template <class T>
T value_or_refuse(std::string_view what, kernel::SevResult<T> result) {
  if (!result) refuse(what, result.error().error, result.error().firmware);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}
template <class T>
T value_or_refuse(std::string_view what, Result<T, int> result) {
  if (!result) refuse(what, result.error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}
void done_or_refuse(std::string_view what, const Result<void>& result) {
  if (!result) refuse(what, EFAULT);
}

std::unique_ptr<testbed::Testbed> make_bed(const SevHost::Options& options) {
  if (options.asids == 0) throw std::invalid_argument{"a host of encrypted guests needs ASIDs"};
  return api::make_bed(api::bed_config(options));
}

}  // namespace

struct SevHost::Impl {
  struct Guest {
    std::unique_ptr<kernel::Process> vmm;
    std::unique_ptr<kernel::SevVm> vm;  // nullptr: destroyed
    VirtAddr ram;
    VirtAddr scratch;  // a page of the VMM's own
    std::uint64_t bytes = 0;
    spec::SevPolicy policy;
    machine::SevTransportKeys keys;  // the owner's
    spec::SevMeasurement measurement;
  };

  explicit Impl(const Options& options)
      : seed{options.seed}, bed{make_bed(options)}, kvm{std::make_unique<kernel::Kvm>(bed->kernel())} {}
  ~Impl() {
    for (Guest& guest : guests) {
      guest.vm.reset();
      guest.vmm.reset();
    }
  }

  [[nodiscard]] Guest& live(GuestId id) {
    const auto number = static_cast<std::size_t>(id);
    if (number >= guests.size() || guests[number].vm == nullptr) refuse("no such guest", ENOENT);
    return guests[number];
  }
  // The VMM's address of guest memory.
  [[nodiscard]] static VirtAddr place(const Guest& guest, std::uint64_t gpa, std::uint64_t bytes) {
    if (gpa > guest.bytes || bytes > guest.bytes - gpa) refuse("outside the guest's memory", EFAULT);
    return guest.ram + gpa;
  }

  GuestId create(const GuestOptions& options) {
    if (options.memory_bytes == 0 || options.memory_bytes % page_size != 0)
      throw std::invalid_argument{"guest memory is whole pages of 4 KiB"};
    Guest guest{.bytes = options.memory_bytes, .policy = spec::SevPolicy{{options.policy}}};
    guest.vmm = value_or_refuse(
        "fork", kernel::Process::create(bed->kernel(), {.memlock_bytes = options.memlock_bytes.value_or(0),
                                                        .cap_ipc_lock = !options.memlock_bytes}));
    guest.ram = value_or_refuse("mmap", guest.vmm->mmap(guest.bytes));
    guest.scratch = value_or_refuse("mmap", guest.vmm->mmap(page_size));
    guest.vm = value_or_refuse("KVM_CREATE_VM", kernel::SevVm::create(*kvm, *guest.vmm, options.name));
    value_or_refuse("KVM_SET_USER_MEMORY_REGION",
                    guest.vm->set_user_memory_region(machine::GuestPhysAddr{0}, guest.bytes, guest.ram));
    value_or_refuse("KVM_SEV_INIT", guest.vm->guest_init(guest.policy.get<spec::SevPolicy::Es>()));
    value_or_refuse("KVM_MEMORY_ENCRYPT_REG_REGION",
                    guest.vm->mem_enc_register_region(guest.ram, guest.bytes));
    value_or_refuse("KVM_CREATE_VCPU", guest.vm->create_vcpu());
    guests.push_back(std::move(guest));
    return static_cast<GuestId>(guests.size() - 1);
  }

  spec::SevCertificate certificate() {
    spec::SevCertificate made;
    value_or_refuse("SEV_PDH_CERT_EXPORT", kernel::issued(kvm->firmware().pdh_cert_export(made)));
    return made;
  }
  // Random bytes of a guest's owner.
  [[nodiscard]] crypt::Key128 owners(GuestId id, std::string_view what) const {
    return crypt::derive_key(seed, fmt::format("owner of guest {}: {}", static_cast<unsigned>(id), what));
  }

  std::uint64_t seed;
  std::unique_ptr<testbed::Testbed> bed;
  std::unique_ptr<kernel::Kvm> kvm;
  std::vector<Guest> guests;
};

SevHost::SevHost(const Options& options) : impl_{std::make_unique<Impl>(options)} {}
SevHost::~SevHost() = default;
SevHost::SevHost(SevHost&&) noexcept = default;

SevHost::GuestId SevHost::create_guest(const GuestOptions& options) { return impl_->create(options); }

void SevHost::destroy(GuestId id) {
  Impl::Guest& guest = impl_->live(id);
  guest.vm.reset();
  guest.vmm.reset();
}

unsigned SevHost::asid(GuestId id) const { return impl_->live(id).vm->asid(); }

// ---- launch ---------------------------------------------------------------------------------------------

void SevHost::launch_start(GuestId id) {
  Impl::Guest& guest = impl_->live(id);
  const machine::SevSessionRandom random{.keys = {impl_->owners(id, "TEK"), impl_->owners(id, "TIK")},
                                         .nonce = impl_->owners(id, "nonce"),
                                         .iv = impl_->owners(id, "IV")};
  const crypt::EcdhKey owner{impl_->owners(id, "key")};
  const auto session = machine::open_session(owner, impl_->certificate(), guest.policy, random);
  if (!session) refuse("the owner's session", EIO, session.error());
  const spec::SevCertificate certificate = machine::make_certificate(owner);
  value_or_refuse("KVM_SEV_LAUNCH_START", guest.vm->launch_start({.policy = guest.policy,
                                                                  .dh_cert = bytes_of(certificate),
                                                                  .session = bytes_of(*session)}));
  guest.keys = random.keys;
}

void SevHost::launch_update(GuestId id, std::uint64_t gpa, std::span<const std::byte> bytes) {
  Impl::Guest& guest = impl_->live(id);
  const VirtAddr at = Impl::place(guest, gpa, bytes.size());
  done_or_refuse("the VMM's copy", guest.vmm->write(at, bytes));
  value_or_refuse("KVM_SEV_LAUNCH_UPDATE_DATA",
                  guest.vm->launch_update_data({at, static_cast<std::uint32_t>(bytes.size())}));
}

SevHost::Measurement SevHost::launch_measure(GuestId id) {
  Impl::Guest& guest = impl_->live(id);
  if (guest.vm->is_sev_es()) value_or_refuse("KVM_SEV_LAUNCH_UPDATE_VMSA", guest.vm->launch_update_vmsa());
  std::uint32_t len = sizeof(spec::SevMeasurement);
  guest.measurement = value_or_refuse("KVM_SEV_LAUNCH_MEASURE", guest.vm->launch_measure(len));
  return {guest.measurement.measure, guest.measurement.nonce};
}

bool SevHost::owner_accepts(GuestId id, const Measurement& measurement,
                            std::span<const std::byte> image) const {
  const Impl::Guest& guest = impl_->live(id);
  const crypt::Sha256Digest digest = kernel::launch_digest(image, guest.vm->vmsas().size());
  return machine::launch_measure(guest.keys.integrity, spec::SevVersion{}, guest.policy, digest,
                                 measurement.nonce) == measurement.measure;
}

void SevHost::launch_secret(GuestId id, std::uint64_t gpa, std::span<const std::byte> secret) {
  Impl::Guest& guest = impl_->live(id);
  const VirtAddr at = Impl::place(guest, gpa, secret.size());
  const machine::SevPacket packet =
      machine::seal_packet(guest.keys, spec::SevMacContext::secret, impl_->owners(id, "secret IV"), secret,
                           guest.measurement.measure);
  value_or_refuse("KVM_SEV_LAUNCH_SECRET",
                  guest.vm->launch_secret(bytes_of(packet.header),
                                          {at, static_cast<std::uint32_t>(secret.size())}, packet.data));
}

void SevHost::launch_finish(GuestId id) {
  value_or_refuse("KVM_SEV_LAUNCH_FINISH", impl_->live(id).vm->launch_finish());
}

// ---- who sees what --------------------------------------------------------------------------------------

std::vector<std::byte> SevHost::guest_read(GuestId id, std::uint64_t gpa, std::size_t bytes, bool encrypted) {
  Impl::Guest& guest = impl_->live(id);
  static_cast<void>(Impl::place(guest, gpa, bytes));
  Bytes data(bytes);
  done_or_refuse("the guest's read", guest.vm->read(machine::GuestPhysAddr{gpa}, data, encrypted));
  return data;
}

void SevHost::guest_write(GuestId id, std::uint64_t gpa, std::span<const std::byte> bytes, bool encrypted) {
  Impl::Guest& guest = impl_->live(id);
  static_cast<void>(Impl::place(guest, gpa, bytes.size()));
  done_or_refuse("the guest's write", guest.vm->write(machine::GuestPhysAddr{gpa}, bytes, encrypted));
}

std::vector<std::byte> SevHost::host_read(GuestId id, std::uint64_t gpa, std::size_t bytes) {
  Impl::Guest& guest = impl_->live(id);
  const VirtAddr at = Impl::place(guest, gpa, bytes);
  Bytes data(bytes);
  done_or_refuse("the VMM's read", guest.vmm->read(at, data));
  return data;
}

void SevHost::host_write(GuestId id, std::uint64_t gpa, std::span<const std::byte> bytes) {
  Impl::Guest& guest = impl_->live(id);
  done_or_refuse("the VMM's write", guest.vmm->write(Impl::place(guest, gpa, bytes.size()), bytes));
}

std::vector<std::byte> SevHost::debug_read(GuestId id, std::uint64_t gpa, std::size_t bytes) {
  Impl::Guest& guest = impl_->live(id);
  const VirtAddr at = Impl::place(guest, gpa, bytes);
  Bytes data(bytes);
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t now = std::min<std::size_t>(bytes - done, page_size);
    value_or_refuse("KVM_SEV_DBG_DECRYPT",
                    guest.vm->dbg_decrypt(at + done, guest.scratch, static_cast<std::uint32_t>(now)));
    done_or_refuse("the VMM's read", guest.vmm->read(guest.scratch, ByteSpan{data}.subspan(done, now)));
    done += now;
  }
  return data;
}

// ---- migration ------------------------------------------------------------------------------------------

namespace {

// KVM's side of a VM on one host, as migration needs it.
struct End {
  kernel::SevVm& vm;
  VirtAddr ram;
  spec::SevCertificate certificate;
};

void send(const End& from, const End& to, std::uint64_t guest_bytes) {
  const auto sent = value_or_refuse("KVM_SEV_SEND_START", from.vm.send_start(bytes_of(to.certificate)));
  value_or_refuse("KVM_SEV_RECEIVE_START",
                  to.vm.receive_start(sent.policy, bytes_of(from.certificate), bytes_of(sent.session)));
  for (std::uint64_t offset = 0; offset < guest_bytes; offset += page_size) {
    const auto packet =
        value_or_refuse("KVM_SEV_SEND_UPDATE_DATA", from.vm.send_update_data({from.ram + offset, page_size}));
    value_or_refuse(
        "KVM_SEV_RECEIVE_UPDATE_DATA",
        to.vm.receive_update_data(bytes_of(packet.header), {to.ram + offset, page_size}, packet.data));
  }
  value_or_refuse("KVM_SEV_SEND_FINISH", from.vm.send_finish());
  value_or_refuse("KVM_SEV_RECEIVE_FINISH", to.vm.receive_finish());
}

}  // namespace

SevHost::GuestId SevHost::migrate(GuestId id, SevHost& to) {
  if (&to == this) refuse("a guest is here already", EINVAL);
  Impl::Guest& source = impl_->live(id);
  const GuestId arrived =
      to.create_guest({.name = "received", .memory_bytes = source.bytes, .policy = source.policy.raw});
  Impl::Guest& target = to.impl_->live(arrived);
  try {
    send({*source.vm, source.ram, impl_->certificate()}, {*target.vm, target.ram, to.impl_->certificate()},
         source.bytes);
  } catch (...) {
    to.destroy(arrived);
    throw;
  }
  destroy(id);
  return arrived;
}

std::vector<std::string> SevHost::problems() const {
  std::vector<std::string> names;
  for (const watch::Cause& cause : impl_->bed->explainer().causes()) names.emplace_back(cause.info->name);
  return names;
}

}  // namespace cbit
