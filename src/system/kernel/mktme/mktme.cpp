#include "kernel/mktme/mktme.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "kernel/mktme/backings.hpp"
#include "kernel/mktme/payload.hpp"

namespace cbit::kernel {
namespace {

constexpr unsigned program_retries = 10;

// mktme_error[]
std::string_view status_text(machine::PconfigStatus status) {
  switch (status) {
    case machine::PconfigStatus::success: return "KeyID was successfully programmed";
    case machine::PconfigStatus::invalid_command: return "Invalid KeyID programming command";
    case machine::PconfigStatus::entropy_error: return "Insufficient entropy";
    case machine::PconfigStatus::invalid_key_id: return "KeyID not valid";
    case machine::PconfigStatus::invalid_algorithm: return "Invalid encryption algorithm chosen";
    case machine::PconfigStatus::device_busy: return "Failure to access key table";
  }
  return "?";
}

bool may_succeed_later(machine::PconfigStatus status) {
  return status == machine::PconfigStatus::entropy_error || status == machine::PconfigStatus::device_busy;
}

}  // namespace

std::string_view to_string(MktmeRevision revision) {
  switch (revision) {
    case MktmeRevision::rfc_13: return "rfc-13";
    case MktmeRevision::rfc_62: return "rfc-62";
    case MktmeRevision::v2_59: return "v2-59";
  }
  return "?";
}

Mktme::Mktme(Kernel& kernel, MktmeConfig config, unsigned key_ids, PhysAddr program_page)
    : kernel_{&kernel},
      config_{config},
      key_ids_{key_ids},
      program_page_{program_page},
      entropy_{kernel.machine().config().seed + 1} {}

Mktme::~Mktme() { kernel_->mm().page_allocator().free(program_page_, 1); }

// detect_tme() and init_mktme()
Result<std::unique_ptr<Mktme>, int> Mktme::create(Kernel& kernel, MktmeConfig config) {
  machine::Tme* const tme = kernel.machine().tme();
  if (tme == nullptr) return tl::unexpected{ENODEV};
  const machine::TmeActivate activate = tme->activate();
  const bool on =
      activate.get<machine::TmeActivate::Locked>() && activate.get<machine::TmeActivate::Enabled>();
  kernel.machine().tracer().emit(
      kernel.cpu(0).agent(), KernelMessage{on ? "x86/tme: enabled by BIOS" : "x86/tme: not enabled by BIOS"});
  const unsigned key_ids = (1u << activate.get<machine::TmeActivate::KeyIdBits>()) - 1;
  if (!on || key_ids == 0) return tl::unexpected{ENODEV};
  kernel.machine().tracer().emit(kernel.cpu(0).agent(),
                                 KernelMessage{fmt::format("x86/mktme: {} KeyIDs available", key_ids)});
  const auto page = kernel.mm().page_allocator().allocate(1);
  if (!page) return tl::unexpected{ENOMEM};
  return std::unique_ptr<Mktme>{new Mktme{kernel, config, key_ids, *page}};
}

tl::unexpected<int> Mktme::refuse(std::string_view call, int error, std::string_view reason) {
  kernel_->machine().tracer().emit(kernel_->cpu(0).agent(),
                                   KeyRequestRefused{call, static_cast<std::uint32_t>(error), reason});
  return tl::unexpected{error};
}

// ---- keys -----------------------------------------------------------------------------------------------

mem::KeySelector Mktme::free_key_id() const {
  for (unsigned id = 1; id <= key_ids_; ++id) {
    const bool has_key = std::ranges::any_of(keys_, [&](const auto& key) { return key.second.id == id; });
    if (!has_key && kernel_->mm().user_pages().key_refs().count(static_cast<mem::KeySelector>(id)) == 0)
      return static_cast<mem::KeySelector>(id);
  }
  return 0;
}

unsigned Mktme::free_key_ids() const {
  unsigned taken = 0;
  for (unsigned id = 1; id <= key_ids_; ++id)
    taken += std::ranges::any_of(keys_, [&](const auto& key) { return key.second.id == id; }) ||
             kernel_->mm().user_pages().key_refs().count(static_cast<mem::KeySelector>(id)) != 0;
  return key_ids_ - taken;
}

mem::KeySelector Mktme::key_id(KeySerial serial) const {
  const auto key = keys_.find(serial);
  return key == keys_.end() ? mem::KeySelector{0} : key->second.id;
}

KeySerial Mktme::find(std::string_view description) const {
  for (const auto& [serial, key] : keys_)
    if (key.description == description) return serial;
  return 0;
}

Result<KeySerial, int> Mktme::add_key(std::string_view description, std::string_view payload,
                                      const Credentials& who) {
  if (!who.cap_sys_resource && !who.cap_sys_admin) return refuse("add_key", EACCES, "no-capability");
  const auto parsed = parse(payload);
  if (!parsed) return refuse("add_key", EINVAL, parsed.error());
  if (const KeySerial known = find(description); known != 0) {
    if (config_.revision == MktmeRevision::rfc_13) {
      const mem::KeySelector id = keys_.at(known).id;
      if (kernel_->mm().user_pages().key_refs().count(id) != 0) return refuse("add_key", EBUSY, "key-in-use");
      CBIT_TRY(program(id, *parsed));
      return known;
    }
    keys_.erase(known);
  }
  const mem::KeySelector id = free_key_id();
  if (id == 0) return refuse("add_key", ENOKEY, "no-free-key-id");
  CBIT_TRY(program(id, *parsed));
  const KeySerial serial = next_serial_++;
  keys_.emplace(serial, Key{std::string{description}, id});
  return serial;
}

Result<void, int> Mktme::program(mem::KeySelector id, const Payload& payload) {
  machine::KeyProgram program{.key_id = id};
  machine::KeyIdControl control =
      machine::KeyIdControl{}.with<machine::KeyIdControl::Command>(static_cast<unsigned>(payload.command));
  // [v2, "x86/pconfig: Set an activated algorithm in all MKTME commands"]
  if (payload.names_algorithm || config_.revision == MktmeRevision::v2_59)
    control = control.with<machine::KeyIdControl::Algorithm>(machine::tme_aes_xts_128);
  program.control = control.raw;
  std::ranges::copy(payload.data_key, program.key_1.begin());
  std::ranges::copy(payload.tweak_key, program.key_2.begin());
  if (payload.command == machine::KeyCommand::set_key_random)
    for (std::size_t i = 0; i < payload.data_key.size(); ++i) {
      const auto random = static_cast<std::uint8_t>(entropy_.next());
      program.key_1[i] ^= random;
      program.key_2[i] ^= random;
    }

  paging::Mmu& cpu = kernel_->cpu(0);
  const VirtAddr at = kernel_->mm().phys_to_virt(program_page_);
  auto status = machine::PconfigStatus::success;
  for (unsigned attempt = 0; attempt < program_retries; ++attempt) {
    if (!cpu.store(at, program)) return refuse("add_key", ENOKEY, "pconfig-fault");
    const auto result = kernel_->machine().tme()->pconfig(cpu, machine::pconfig_key_program, at);
    // The structure held a key.
    static_cast<void>(cpu.fill(at, sizeof(machine::KeyProgram), std::byte{0}));
    if (!result) return refuse("add_key", ENOKEY, "pconfig-fault");
    status = *result;
    if (status == machine::PconfigStatus::success) return {};
    if (!may_succeed_later(status)) break;
  }
  kernel_->machine().tracer().emit(cpu.agent(), KernelMessage{fmt::format("mktme: {}", status_text(status))});
  return refuse("add_key", ENOKEY, "pconfig-failed");
}

Result<void, int> Mktme::revoke_key(KeySerial serial) {
  if (keys_.erase(serial) == 0) return refuse("keyctl", ENOKEY, "no-such-key");
  return {};
}

Result<void, int> Mktme::set_view_permission(KeySerial serial, bool allowed) {
  const auto key = keys_.find(serial);
  if (key == keys_.end()) return refuse("keyctl", ENOKEY, "no-such-key");
  key->second.viewable = allowed;
  return {};
}

Result<std::shared_ptr<Backing>, int> Mktme::open_device(KeySerial serial, std::uint64_t pages) {
  if (!config_.has_device) return refuse("open", ENOENT, "no-device");
  const mem::KeySelector id = key_id(serial);
  if (id == 0) return refuse("open", ENOKEY, "no-such-key");
  return std::make_shared<MktmeDriver>(*kernel_, id, pages);
}

// ---- encrypt_mprotect() ---------------------------------------------------------------------------------

Result<void, int> Mktme::encrypt_mprotect(Process& process, VirtAddr at, std::uint64_t bytes, Prot prot,
                                          KeySerial serial) {
  constexpr std::string_view call = "encrypt_mprotect";
  if (!config_.has_system_call) return refuse(call, ENOSYS, "no-system-call");
  if (bytes % page_size != 0) return refuse(call, EINVAL, "length-not-page-aligned");
  const auto key = keys_.find(serial);
  if (key == keys_.end()) return refuse(call, ENOKEY, "no-such-key");
  if (!key->second.viewable) return refuse(call, EACCES, "no-view-permission");
  const auto done = process.mprotect_ext(at, bytes, prot, {.pkey = {}, .key_id = key->second.id});
  if (done) return {};
  if (!at.is_aligned(page_size)) return refuse(call, done.error(), "address-not-page-aligned");
  return refuse(call, done.error(), done.error() == EINVAL ? "not-anonymous" : "no-such-range");
}

}  // namespace cbit::kernel
