// Guests of an encrypting host: a VMM's process, KVM, the firmware.
#include <fmt/format.h>

#include <algorithm>

#include "base/format.hpp"
#include "lab/experiment/steps.hpp"
#include "lab/experiment/vm_part.hpp"

namespace cbit::lab {
namespace {

constexpr std::uint64_t vm_bytes_max = 16ull << 20;
constexpr std::uint64_t heap_bytes = 4 * page_size;

// ---- who reaches the memory of a VM ---------------------------------------------------------------------

// The guest's CPU; each page with the C-bit that the guest gives it.
class GuestRam final : public Run::Owner {
 public:
  explicit GuestRam(Vm& vm) : vm_{&vm} {}

  Result<void> read(std::uint64_t offset, ByteSpan to) override {
    return each_page(offset, to.size(), [&](std::uint64_t at, std::uint64_t from, std::uint64_t bytes) {
      return vm_->vm->read(guest_address(at), to.subspan(from, bytes), encrypted(at));
    });
  }
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override {
    return each_page(offset, from.size(), [&](std::uint64_t at, std::uint64_t done, std::uint64_t bytes) {
      return vm_->vm->write(guest_address(at), from.subspan(done, bytes), encrypted(at));
    });
  }
  [[nodiscard]] std::string_view name(std::uint64_t offset) const override {
    return has_own_key(offset) ? "the guest's CPU" : "the VMM, or the guest through a shared page";
  }
  // A page that the guest shares keeps its contents under the guest's key until somebody writes it.
  [[nodiscard]] std::optional<KeyId> key(std::uint64_t offset) const override {
    machine::Machine& machine = vm_->vmm->kernel().machine();
    const KeyId host = machine.paging().view.key(1);
    if (vm_->vm == nullptr || !vm_->vm->is_sev()) return host;
    const KeyId own = mem::guest_key(vm_->vm->asid());
    if (encrypted(offset)) return own;
    const auto page = vm_->vmm->page_at(vm_->ram + offset);
    return page && machine.memory().history(*page).writer_key == own ? own : host;
  }

 private:
  [[nodiscard]] bool has_own_key(std::uint64_t offset) const {
    return vm_->vm != nullptr && vm_->vm->is_sev() && encrypted(offset);
  }
  [[nodiscard]] bool encrypted(std::uint64_t offset) const { return !vm_->shared[offset / page_size]; }
  template <class Visit>
  Result<void> each_page(std::uint64_t offset, std::uint64_t bytes, Visit&& visit) {
    if (vm_->vm == nullptr) return fault(FaultKind::no_memory, offset);
    for (std::uint64_t done = 0; done < bytes;) {
      const std::uint64_t at = offset + done;
      const std::uint64_t now = std::min(bytes - done, page_size - at % page_size);
      CBIT_TRY(visit(at, done, now));
      done += now;
    }
    return {};
  }

  Vm* vm_;
};

// The VMM itself.
class VmmHeap final : public Run::Owner {
 public:
  explicit VmmHeap(Vm& vm) : vm_{&vm} {}

  Result<void> read(std::uint64_t offset, ByteSpan to) override {
    if (vm_->vmm == nullptr) return fault(FaultKind::not_present, offset);
    return vm_->vmm->read(vm_->heap + offset, to);
  }
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override {
    if (vm_->vmm == nullptr) return fault(FaultKind::not_present, offset);
    return vm_->vmm->write(vm_->heap + offset, from);
  }
  [[nodiscard]] std::string_view name(std::uint64_t) const override {
    return "the VMM, or the guest through a shared page";
  }
  [[nodiscard]] std::optional<KeyId> key(std::uint64_t) const override {
    return vm_->vmm->kernel().machine().paging().view.key(1);
  }

 private:
  Vm* vm_;
};

// ---- vm, vm-destroy -------------------------------------------------------------------------------------

constexpr Word<VmKind> vm_kind_words[] = {
    {"plain", VmKind::plain}, {"sev", VmKind::sev}, {"sev-es", VmKind::sev_es}};
constexpr std::string_view vm_keys[] = {"name", "kind", "memory", "memlock", "heap"};

struct VmRequest {
  std::size_t id = 0;
  VmName name;
  VmKind kind{};
  kernel::ProcessLimits limits;
};

// Makes the pages of a range of the process come, and the buffer of them.
Result<void, StepTrouble> adopt(Run& run, std::size_t buffer_id, kernel::Process& vmm, VirtAddr at,
                                std::uint64_t bytes, std::unique_ptr<Run::Owner> owner) {
  const auto pages = vmm.pin_user_pages(at, bytes / page_size, true);
  if (!pages) return trouble_in_step(errno_text(pages.error()));
  vmm.unpin_user_pages(*pages, true);
  Run::Buffer& buffer = run.buffer(buffer_id);
  buffer.at = run.mm().phys_to_virt(pages->front());
  buffer.frames = *pages;
  buffer.owner = std::move(owner);
  run.begin_shadow(buffer, bytes);
  return {};
}

Result<void, StepTrouble> start_vmm(Vm& vm, kernel::Kernel& kernel, kernel::Kvm& kvm,
                                    const VmRequest& request) {
  auto process = kernel::Process::create(kernel, request.limits);
  if (!process) return trouble_in_step(errno_text(process.error()));
  vm.vmm = std::move(*process);
  vm.bytes = request.name.bytes;
  vm.shared.resize(vm.bytes / page_size);
  const auto ram = vm.vmm->mmap(vm.bytes);
  const auto heap = vm.vmm->mmap(heap_bytes);
  if (!ram || !heap) return trouble_in_step("-ENOMEM");
  vm.ram = *ram;
  vm.heap = *heap;
  auto machine = kernel::SevVm::create(kvm, *vm.vmm, request.name.name);
  if (!machine) return trouble_in_step(errno_text(machine.error()));
  if (const auto slot = (*machine)->set_user_memory_region(guest_address(0), vm.bytes, vm.ram); !slot)
    return trouble_in_step(errno_text(slot.error()));
  if (request.kind != VmKind::plain) {
    CBIT_TRY(tried((*machine)->guest_init(request.kind == VmKind::sev_es)));
    // QEMU registers every RAM block and gives up when it cannot.
    if (const auto pinned = (*machine)->mem_enc_register_region(vm.ram, vm.bytes); !pinned)
      return trouble_in_step(errno_text(pinned.error()));
  }
  if (const auto vcpu = (*machine)->create_vcpu(); !vcpu) return trouble_in_step(errno_text(vcpu.error()));
  vm.vm = std::move(*machine);
  return {};
}

StepResult make_vm(Run& run, const VmRequest& request) {
  VmPart& part = vm_part(run);
  while (part.vms.size() <= request.id) part.vms.emplace_back();
  Vm& vm = part.vms[request.id];
  CBIT_TRY(start_vmm(vm, run.kernel(), *part.kvm, request));
  CBIT_TRY(adopt(run, request.name.ram, *vm.vmm, vm.ram, vm.bytes, std::make_unique<GuestRam>(vm)));
  if (request.name.heap)
    CBIT_TRY(adopt(run, *request.name.heap, *vm.vmm, vm.heap, heap_bytes, std::make_unique<VmmHeap>(vm)));
  if (!vm.vm->is_sev()) return fmt::format("{} bytes, not encrypted", vm.bytes);
  return fmt::format("{} bytes, ASID {}, {} pages pinned", vm.bytes, vm.vm->asid(), vm.vm->pages_locked());
}

OrError<Action> parse_vm(StepParser& step) {
  VmRequest request;
  request.name.name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  request.kind = CBIT_TRY(step.keys.word("kind", vm_kind_words)).value_or(VmKind::sev);
  request.name.bytes = CBIT_TRY(step.keys.number("memory", page_size, vm_bytes_max)).value_or(16 * page_size);
  if (request.name.bytes % page_size != 0)
    return step.keys.error("memory", "\"memory\" is no multiple of 4 KiB", "use a size such as \"64K\"");
  const auto memlock = CBIT_TRY(step.keys.number("memlock", 0, bit_mask(63)));
  if (memlock) request.limits.memlock_bytes = *memlock;
  request.limits.cap_ipc_lock = !memlock;
  request.name.ram = CBIT_TRY(step.new_buffer(BufferKind::guest, request.name.bytes));
  if (const auto heap = CBIT_TRY(step.keys.text("heap")))
    request.name.heap = CBIT_TRY(step.names.buffers.add(step.keys, {*heap, BufferKind::process, heap_bytes}));
  request.id = CBIT_TRY(step.names.parts.get<VmNames>().vms.add(step.keys, request.name));
  return [request](Run& run) { return make_vm(run, request); };
}

// The step's `vm`, or another key that names one.
OrError<std::size_t> vm_of(StepParser& step, std::string_view key = "vm") {
  return step.names.parts.get<VmNames>().vms.get(step.keys, key);
}
const VmName& name_of(StepParser& step, std::size_t id) { return step.names.parts.get<VmNames>().vms[id]; }

constexpr std::string_view only_vm_keys[] = {"vm"};

OrError<Action> parse_destroy(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const VmName name = name_of(step, id);
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    run.buffer(name.ram).exists = false;
    if (name.heap) run.buffer(*name.heap).exists = false;
    vm.vm.reset();
    vm.vmm.reset();
    return std::string{"unpinned, deactivated, decommissioned"};
  };
}

// ---- launch ---------------------------------------------------------------------------------------------

constexpr std::string_view start_keys[] = {"vm", "policy", "session", "owner-policy"};

// The guest's owner has the platform's certificate, chooses the transport keys and signs for a policy.
StepResult launch_start(Run& run, std::size_t id, spec::SevPolicy policy,
                        std::optional<spec::SevPolicy> owners) {
  Vm& vm = *CBIT_TRY(live_vm(run, id));
  if (!owners) {
    const auto handle = CBIT_TRY(tried(vm.vm->launch_start({.policy = policy})));
    vm.policy = policy;
    return fmt::format("handle {}", handle);
  }
  const std::uint64_t seed = run.experiment().bed.machine.seed;
  const crypt::EcdhKey owner{crypt::derive_key(seed, "guest owner")};
  const machine::SevSessionRandom random{
      .keys = {crypt::derive_key(seed, "tek"), crypt::derive_key(seed, "tik")},
      .nonce = crypt::derive_key(seed, "session nonce"),
      .iv = crypt::derive_key(seed, "session iv")};
  spec::SevCertificate platform;
  CBIT_TRY(tried(kernel::issued(vm_part(run).kvm->firmware().pdh_cert_export(platform))));
  const auto session = machine::open_session(owner, platform, *owners, random);
  if (!session) return sev_trouble({0, session.error()});
  const spec::SevCertificate certificate = machine::make_certificate(owner);
  const auto handle = CBIT_TRY(tried(vm.vm->launch_start(
      {.policy = policy, .dh_cert = bytes_of(certificate), .session = bytes_of(*session)})));
  vm.policy = policy;
  vm.owners_keys = random.keys;
  return fmt::format("handle {}, session with the owner", handle);
}

OrError<Action> parse_start(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const spec::SevPolicy policy{
      {static_cast<std::uint32_t>(CBIT_TRY(step.keys.number("policy", 0, bit_mask(32))).value_or(0))}};
  const spec::SevPolicy owners{{static_cast<std::uint32_t>(
      CBIT_TRY(step.keys.number("owner-policy", 0, bit_mask(32))).value_or(policy.raw))}};
  const bool session = CBIT_TRY(step.keys.flag("session")).value_or(false);
  return
      [=](Run& run) { return launch_start(run, id, policy, session ? std::optional{owners} : std::nullopt); };
}

constexpr std::string_view range_keys[] = {"vm", "offset", "length"};

OrError<Action> parse_update(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const Range range = CBIT_TRY(step.range(name_of(step, id).bytes));
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    CBIT_TRY(
        tried(vm.vm->launch_update_data({vm.ram + range.offset, static_cast<std::uint32_t>(range.bytes)})));
    return fmt::format("{} bytes measured and encrypted in place", range.bytes);
  };
}

OrError<Action> parse_update_vmsa(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    CBIT_TRY(tried(vm.vm->launch_update_vmsa()));
    vm.measured_cpus = vm.vm->vmsas().size();
    return fmt::format("{} save areas", vm.measured_cpus);
  };
}

constexpr std::string_view measure_keys[] = {"vm", "image"};

// With a session, the owner computes what the measurement must be for `image`.
OrError<Action> parse_measure(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  std::optional<Data> image;
  if (const TomlValue* const value = step.keys.value("image")) {
    image = CBIT_TRY(Data::parse(*value, step.keys.file(), "image"));
    if (!image->length()) return step.keys.error("image", "\"image\" has no end", "give it a length");
  }
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    std::uint32_t len = sizeof(spec::SevMeasurement);
    vm.measurement = CBIT_TRY(tried(vm.vm->launch_measure(len)));
    const std::string answer =
        fmt::format("{} nonce {}", to_hex(vm.measurement.measure), to_hex(vm.measurement.nonce));
    if (!image) return answer;
    const crypt::Sha256Digest digest =
        kernel::launch_digest(image->bytes(0, *image->length()), vm.measured_cpus);
    const crypt::Key128 integrity = vm.owners_keys.value_or(machine::SevTransportKeys{}).integrity;
    if (machine::launch_measure(integrity, spec::SevVersion{}, vm.policy, digest, vm.measurement.nonce) !=
        vm.measurement.measure)
      return trouble_in_step("the measurement is not that of the image: the guest was not launched with it");
    return answer + ", as the owner expects";
  };
}

constexpr std::string_view data_step_keys[] = {"vm", "data", "offset", "length"};

OrError<Action> parse_secret(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const VmName name = name_of(step, id);
  const auto contents = CBIT_TRY(step.contents(name.bytes, testbed::Author::cpu, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    const machine::SevPacket packet = machine::seal_packet(
        vm.owners_keys.value_or(machine::SevTransportKeys{}), spec::SevMacContext::secret,
        crypt::derive_key(run.experiment().bed.machine.seed, "secret iv"), data, vm.measurement.measure);
    CBIT_TRY(tried(vm.vm->launch_secret(
        bytes_of(packet.header), {vm.ram + contents.range.offset, static_cast<std::uint32_t>(data.size())},
        packet.data)));
    run.buffer(name.ram).written(contents.range.offset, data);
    return fmt::format("{} bytes", data.size());
  };
}

OrError<Action> parse_finish(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    CBIT_TRY(tried(vm.vm->launch_finish()));
    return std::string{"running"};
  };
}

constexpr std::string_view launch_keys[] = {"vm", "policy", "data", "offset", "length"};

// From an image in the VMM's hands to a running guest.
OrError<Action> parse_launch(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const VmName name = name_of(step, id);
  const spec::SevPolicy policy{
      {static_cast<std::uint32_t>(CBIT_TRY(step.keys.number("policy", 0, bit_mask(32))).value_or(0))}};
  const auto contents = CBIT_TRY(step.contents(name.bytes, testbed::Author::cpu, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    CBIT_TRY(launch_start(run, id, policy, std::nullopt));
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    if (!vm.vmm->write(vm.ram + contents.range.offset, data)) return trouble_in_step("-EFAULT");
    run.buffer(name.ram).written(contents.range.offset, data);
    CBIT_TRY(tried(vm.vm->launch_update_data(
        {vm.ram + contents.range.offset, static_cast<std::uint32_t>(data.size())})));
    if (vm.vm->is_sev_es()) CBIT_TRY(tried(vm.vm->launch_update_vmsa()));
    std::uint32_t len = sizeof(spec::SevMeasurement);
    vm.measurement = CBIT_TRY(tried(vm.vm->launch_measure(len)));
    CBIT_TRY(tried(vm.vm->launch_finish()));
    return fmt::format("{} bytes, running", data.size());
  };
}

// ---- while it runs --------------------------------------------------------------------------------------

OrError<Action> parse_vmm_write(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const VmName name = name_of(step, id);
  const auto contents = CBIT_TRY(step.contents(name.bytes, testbed::Author::device, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    if (const auto done = vm.vmm->write(vm.ram + contents.range.offset, data); !done)
      return trouble_in_step(describe(done.error()));
    run.buffer(name.ram).written(contents.range.offset, data);
    return fmt::format("{} bytes", data.size());
  };
}

OrError<Action> parse_vmm_read(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const Range range = CBIT_TRY(step.range(name_of(step, id).bytes));
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    Bytes bytes(range.bytes);
    if (const auto done = vm.vmm->read(vm.ram + range.offset, bytes); !done)
      return trouble_in_step(describe(done.error()));
    return fmt::format("{} bytes", bytes.size());
  };
}

constexpr std::string_view share_keys[] = {"vm", "to", "offset", "length"};
constexpr Word<bool> share_words[] = {{"decrypted", true}, {"encrypted", false}};

// The guest changes its own page table: no byte moves.
OrError<Action> parse_share(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const Range range = CBIT_TRY(step.range(name_of(step, id).bytes));
  const bool shared = CBIT_TRY(step.keys.need("to", step.keys.word("to", share_words)));
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    const std::uint64_t first = range.offset / page_size;
    const std::uint64_t end = (range.offset + range.bytes + page_size - 1) / page_size;
    for (std::uint64_t page = first; page < end; ++page) vm.shared[page] = shared;
    return fmt::format("{} pages", end - first);
  };
}

// Decrypts into the VMM's heap.
OrError<Action> parse_debug(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const VmName name = name_of(step, id);
  const Range range = CBIT_TRY(step.range(std::min(name.bytes, heap_bytes)));
  return [=](Run& run) -> StepResult {
    Vm& vm = *CBIT_TRY(live_vm(run, id));
    CBIT_TRY(
        tried(vm.vm->dbg_decrypt(vm.ram + range.offset, vm.heap, static_cast<std::uint32_t>(range.bytes))));
    if (name.heap) {
      Bytes found(range.bytes);
      static_cast<void>(vm.vmm->read(vm.heap, found));
      run.buffer(*name.heap).written(0, found);
    }
    return fmt::format("{} bytes", range.bytes);
  };
}

constexpr std::string_view remap_keys[] = {"vm", "offset", "from", "from-offset"};

OrError<Action> parse_remap(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const std::size_t from = CBIT_TRY(vm_of(step, "from"));
  const std::uint64_t offset =
      CBIT_TRY(step.keys.number("offset", 0, name_of(step, id).bytes - 1)).value_or(0);
  const std::uint64_t from_offset =
      CBIT_TRY(step.keys.number("from-offset", 0, name_of(step, from).bytes - 1)).value_or(0);
  return [=](Run& run) -> StepResult {
    Vm& target = *CBIT_TRY(live_vm(run, id));
    Vm& source = *CBIT_TRY(live_vm(run, from));
    const auto frame = source.vm->frame(guest_address(from_offset));
    if (!frame) return trouble_in_step(describe(frame.error()));
    if (const auto done = target.vm->remap(guest_address(offset).page(), frame->page()); !done)
      return trouble_in_step(describe(done.error()));
    return fmt::format("to {}", frame->page());
  };
}

// ---- migration ------------------------------------------------------------------------------------------

constexpr std::string_view migrate_guest_keys[] = {"vm", "seed"};

// Sends all of the guest to a new host of the same shape, and looks there.
StepResult migrate(Run& run, std::size_t id, std::uint64_t seed) {
  Vm& from = *CBIT_TRY(live_vm(run, id));
  OtherHost& other = vm_part(run).others.emplace_back();
  testbed::TestbedConfig config = run.experiment().bed;
  config.machine.seed = seed;
  auto bed = testbed::Testbed::create(config);
  if (!bed) return trouble_in_step(bed.error().message);
  other.bed = std::move(*bed);
  other.kvm = std::make_unique<kernel::Kvm>(other.bed->kernel());
  VmRequest request{.name = {.name = "received", .bytes = from.bytes},
                    .kind = from.vm->is_sev_es() ? VmKind::sev_es : VmKind::sev,
                    .limits = {.cap_ipc_lock = true}};
  CBIT_TRY(start_vmm(other.vm, other.bed->kernel(), *other.kvm, request));
  kernel::SevVm& to = *other.vm.vm;
  spec::SevCertificate there;
  spec::SevCertificate here;
  CBIT_TRY(tried(kernel::issued(other.kvm->firmware().pdh_cert_export(there))));
  CBIT_TRY(tried(kernel::issued(vm_part(run).kvm->firmware().pdh_cert_export(here))));
  const auto sent = CBIT_TRY(tried(from.vm->send_start(bytes_of(there))));
  CBIT_TRY(tried(to.receive_start(sent.policy, bytes_of(here), bytes_of(sent.session))));
  for (std::uint64_t offset = 0; offset < from.bytes; offset += page_size) {
    const auto packet = CBIT_TRY(tried(from.vm->send_update_data({from.ram + offset, page_size})));
    CBIT_TRY(tried(
        to.receive_update_data(bytes_of(packet.header), {other.vm.ram + offset, page_size}, packet.data)));
  }
  CBIT_TRY(tried(from.vm->send_finish()));
  CBIT_TRY(tried(to.receive_finish()));
  return fmt::format("{} pages, now ASID {} of the other host", from.bytes / page_size, to.asid());
}

// What the guest finds on the other host must be what it had here; the ciphertext must not.
Result<void, StepTrouble> compare_after_migration(Run& run, std::size_t id, std::size_t ram) {
  OtherHost& other = vm_part(run).others.back();
  Vm& from = *CBIT_TRY(live_vm(run, id));
  Bytes arrived(from.bytes);
  Bytes kept(from.bytes);
  if (!other.vm.vm->read(guest_address(0), arrived, true))
    return trouble_in_step("the guest cannot read its memory on the other host");
  const Run::Buffer& buffer = run.buffer(ram);
  for (std::uint64_t offset = 0; offset < from.bytes; offset += page_size)
    static_cast<void>(run.memory().peek(buffer.frames[offset / page_size],
                                        ByteSpan{kept}.subspan(offset, page_size),
                                        mem::guest_key(from.vm->asid())));
  if (arrived != kept) return trouble_in_step("the guest's bytes did not arrive");
  Bytes cipher_here(from.bytes);
  Bytes cipher_there(from.bytes);
  for (std::uint64_t offset = 0; offset < from.bytes; offset += page_size) {
    const auto there = other.vm.vmm->page_at(other.vm.ram + offset);
    if (!there) return trouble_in_step("a page of the guest is missing on the other host");
    static_cast<void>(run.memory().peek(buffer.frames[offset / page_size],
                                        ByteSpan{cipher_here}.subspan(offset, page_size), no_key));
    static_cast<void>(
        other.bed->memory().peek(*there, ByteSpan{cipher_there}.subspan(offset, page_size), no_key));
  }
  if (cipher_here == cipher_there) return trouble_in_step("both hosts hold the same ciphertext");
  return {};
}

OrError<Action> parse_migrate_guest(StepParser& step) {
  const std::size_t id = CBIT_TRY(vm_of(step));
  const std::size_t ram = name_of(step, id).ram;
  const std::uint64_t seed = CBIT_TRY(step.keys.number("seed", 0, bit_mask(63))).value_or(2);
  return [=](Run& run) -> StepResult {
    std::string done = CBIT_TRY(migrate(run, id, seed));
    CBIT_TRY(compare_after_migration(run, id, ram));
    return done;
  };
}

// ---- the firmware itself --------------------------------------------------------------------------------

enum class FirmwareCommand : std::uint8_t {
  launch_start,
  activate,
  deactivate,
  decommission,
  df_flush,
  wbinvd
};
constexpr Word<FirmwareCommand> firmware_words[] = {
    {"launch-start", FirmwareCommand::launch_start}, {"activate", FirmwareCommand::activate},
    {"deactivate", FirmwareCommand::deactivate},     {"decommission", FirmwareCommand::decommission},
    {"df-flush", FirmwareCommand::df_flush},         {"wbinvd", FirmwareCommand::wbinvd}};
constexpr std::string_view firmware_keys[] = {"command", "handle", "asid", "policy"};

struct FirmwareRequest {
  FirmwareCommand command{};
  std::uint32_t handle = 0;
  std::uint32_t asid = 0;
  spec::SevPolicy policy;
};

StepResult issue(Run& run, const FirmwareRequest& request) {
  kernel::Kvm& kvm = *vm_part(run).kvm;
  if (run.bed().machine().sev_firmware() == nullptr)
    return trouble_in_step("the machine has no SEV: give it sev-asids");
  CBIT_TRY(tried(kvm.sev_platform_init()));
  machine::SevFirmware& firmware = kvm.firmware();
  machine::SevFirmware::LaunchStart start{.policy = request.policy};
  spec::SevStatusCode status{};
  switch (request.command) {
    case FirmwareCommand::launch_start: status = firmware.launch_start(start); break;
    case FirmwareCommand::activate: status = firmware.activate(request.handle, request.asid); break;
    case FirmwareCommand::deactivate: status = firmware.deactivate(request.handle); break;
    case FirmwareCommand::decommission: status = firmware.decommission(request.handle); break;
    case FirmwareCommand::df_flush: status = firmware.df_flush(); break;
    case FirmwareCommand::wbinvd: kvm.wbinvd_on_all_cpus(); break;
  }
  CBIT_TRY(tried(kernel::issued(status)));
  if (request.command == FirmwareCommand::launch_start) return fmt::format("handle {}", start.handle);
  return std::string{"success"};
}

OrError<Action> parse_firmware(StepParser& step) {
  const auto number = [&](std::string_view key) { return step.keys.number(key, 0, bit_mask(32)); };
  FirmwareRequest request;
  request.command = CBIT_TRY(step.keys.need("command", step.keys.word("command", firmware_words)));
  request.handle = static_cast<std::uint32_t>(CBIT_TRY(number("handle")).value_or(1));
  request.asid = static_cast<std::uint32_t>(CBIT_TRY(number("asid")).value_or(0));
  request.policy = spec::SevPolicy{{static_cast<std::uint32_t>(CBIT_TRY(number("policy")).value_or(0))}};
  return [request](Run& run) { return issue(run, request); };
}

constexpr std::span<const std::string_view> no_keys{};

OrError<Action> parse_snp_enable(StepParser&) {
  return [](Run& run) -> StepResult {
    if (const auto done = vm_part(run).kvm->snp_enable(); !done)
      return trouble_in_step(errno_text(done.error()));
    return std::string{"SNP enabled"};
  };
}

constexpr StepKind sev_step_kinds[] = {
    {"vm", vm_keys, parse_vm},
    {"vm-launch", launch_keys, parse_launch},
    {"vm-launch-start", start_keys, parse_start},
    {"vm-launch-update", range_keys, parse_update},
    {"vm-launch-vmsa", only_vm_keys, parse_update_vmsa},
    {"vm-launch-measure", measure_keys, parse_measure},
    {"vm-launch-secret", data_step_keys, parse_secret},
    {"vm-launch-finish", only_vm_keys, parse_finish},
    {"vm-share", share_keys, parse_share},
    {"vm-debug", range_keys, parse_debug},
    {"vm-remap", remap_keys, parse_remap},
    {"vm-migrate", migrate_guest_keys, parse_migrate_guest},
    {"vm-destroy", only_vm_keys, parse_destroy},
    {"vmm-write", data_step_keys, parse_vmm_write},
    {"vmm-read", range_keys, parse_vmm_read},
    {"sev-firmware", firmware_keys, parse_firmware},
    {"snp-enable", no_keys, parse_snp_enable},
};

}  // namespace

std::span<const StepKind> sev_steps() { return sev_step_kinds; }

}  // namespace cbit::lab
