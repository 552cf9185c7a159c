// What a host can do to a guest's memory, by doing it: attack x platform.
#include <algorithm>

#include "explain/tables/tables.hpp"
#include "kernel/kvm/sev_vm.hpp"
#include "testbed/testbed.hpp"
#include "testbed/views.hpp"

namespace cbit::explain {
namespace {

constexpr std::uint64_t block = crypt::cipher_block_size;

// Two pages of a victim, and somebody who reaches their frames without the victim's key.
class Scene {
 public:
  explicit Scene(testbed::Testbed& bed, VirtAddr at) : bed_{&bed}, at_{at} {
    first = testbed::authored_bytes(testbed::Author::cpu, page_size);
    second = testbed::authored_bytes(testbed::Author::before, page_size);
    victim_writes(0, first);
    victim_writes(1, second);
  }

  void victim_writes(unsigned page, ConstByteSpan bytes) {
    static_cast<void>(bed_->kernel().cpu(0).write(at_ + page * page_size, bytes));
  }
  [[nodiscard]] Result<Bytes> victim_reads(unsigned page) {
    Bytes bytes(page_size);
    CBIT_TRY(bed_->kernel().cpu(0).read(at_ + page * page_size, bytes));
    return bytes;
  }
  [[nodiscard]] Result<Bytes> host_reads(unsigned page) {
    Bytes bytes(page_size);
    CBIT_TRY(bed_->memory().read(frame(page), bytes, host()));
    return bytes;
  }
  Result<void> host_writes(unsigned page, std::uint64_t offset, ConstByteSpan bytes) {
    return bed_->memory().write(frame(page) + offset, bytes, host());
  }

  Bytes first;
  Bytes second;

 private:
  [[nodiscard]] PhysAddr frame(unsigned page) const {
    return bed_->kernel().mm().virt_to_phys(at_) + page * page_size;
  }
  [[nodiscard]] static mem::Access host() { return {{AgentKind::host, 0}, no_key, 0}; }

  testbed::Testbed* bed_;
  VirtAddr at_;
};

bool same(ConstByteSpan a, ConstByteSpan b) { return std::ranges::equal(a, b); }
ConstByteSpan block_of(const Bytes& bytes, std::uint64_t n) {
  return ConstByteSpan{bytes}.subspan(n * block, block);
}

std::string refused(const Fault& fault) {
  if (fault.kind == FaultKind::rmp_violation) return "refused: RMP";
  if (fault.kind == FaultKind::td_integrity) return "detected: machine check";
  return "fault";
}

// What the victim makes of a range that somebody tampered with.
std::string outcome(const Result<Bytes>& seen, ConstByteSpan attackers, ConstByteSpan before,
                    std::uint64_t first = 0) {
  if (!seen) return refused(seen.error());
  const ConstByteSpan now = ConstByteSpan{*seen}.subspan(first, attackers.size());
  if (same(now, attackers)) return "victim reads the attacker's bytes";
  if (same(now, before)) return "no effect";
  return "victim reads noise";
}

// ---- the attacks ----------------------------------------------------------------------------------------

std::string read_memory(Scene& scene) {
  const auto seen = scene.host_reads(0);
  if (!seen) return refused(seen.error());
  if (same(*seen, scene.first)) return "plaintext";
  return all_zero(*seen) ? "zeros" : "ciphertext";
}

std::string overwrite(Scene& scene) {
  const Bytes mine = testbed::authored_bytes(testbed::Author::device, block);
  if (const auto done = scene.host_writes(0, 0, mine); !done) return refused(done.error());
  return outcome(scene.victim_reads(0), mine, block_of(scene.first, 0));
}

// Puts back what memory held before the victim's last write: of `bytes` bytes.
std::string replay(Scene& scene, std::uint64_t bytes) {
  const auto saved = scene.host_reads(0);
  if (!saved) return refused(saved.error());
  const Bytes old = scene.first;
  const Bytes fresh = testbed::authored_bytes(testbed::Author::device, page_size);
  scene.victim_writes(0, fresh);
  if (const auto done = scene.host_writes(0, 0, ConstByteSpan{*saved}.first(bytes)); !done)
    return refused(done.error());
  const std::string found =
      outcome(scene.victim_reads(0), ConstByteSpan{old}.first(bytes), ConstByteSpan{fresh}.first(bytes));
  return found == "victim reads the attacker's bytes" ? "victim reads its old contents" : found;
}
std::string replay_block(Scene& scene) { return replay(scene, block); }
std::string replay_page(Scene& scene) { return replay(scene, page_size); }

// Copies what memory holds at one place of the victim's to another.
std::string move_block(Scene& scene) {
  const auto page = scene.host_reads(0);
  if (!page) return refused(page.error());
  if (const auto done = scene.host_writes(0, block, block_of(*page, 0)); !done) return refused(done.error());
  const std::string found =
      outcome(scene.victim_reads(0), block_of(scene.first, 0), block_of(scene.first, 1), block);
  return found == "victim reads the attacker's bytes" ? "victim reads the moved contents" : found;
}

std::string move_page(Scene& scene) {
  const auto page = scene.host_reads(0);
  if (!page) return refused(page.error());
  if (const auto done = scene.host_writes(1, 0, *page); !done) return refused(done.error());
  const std::string found = outcome(scene.victim_reads(1), scene.first, scene.second);
  return found == "victim reads the attacker's bytes" ? "victim reads the moved contents" : found;
}

std::string swap_frames(Scene& scene) {
  const auto a = scene.host_reads(0);
  const auto b = scene.host_reads(1);
  if (!a || !b) return refused(a ? b.error() : a.error());
  if (const auto done = scene.host_writes(0, 0, *b); !done) return refused(done.error());
  if (const auto done = scene.host_writes(1, 0, *a); !done) return refused(done.error());
  const std::string found = outcome(scene.victim_reads(0), scene.second, scene.first);
  return found == "victim reads the attacker's bytes" ? "victim reads the other page" : found;
}

struct Attack {
  std::string_view name;
  std::string (*run)(Scene&);
};
constexpr Attack attacks[] = {
    {"read", read_memory},
    {"overwrite 16 bytes", overwrite},
    {"replay a 16-byte block", replay_block},
    {"replay a page", replay_page},
    {"move a block", move_block},
    {"move a page", move_page},
    {"swap two pages' contents", swap_frames},
};

OrError<std::string> attack_cell(const Attack& attack, Platform platform, std::uint64_t seed) {
  testbed::TestbedConfig config;
  config.machine = {.platform = platform, .memory_bytes = 256 << 20, .seed = seed};
  const auto bed = CBIT_TRY(testbed::Testbed::create(config));
  const auto pages = bed->kernel().mm().alloc_pages(2);
  if (!pages) return bad_input("the machine has no two pages for a victim");
  Scene scene{*bed, *pages};
  return attack.run(scene);
}

// ---- the nested page table ------------------------------------------------------------------------------

// Launches a guest with two pages and exchanges their frames in the nested page table.
std::string remap_result(kernel::Kvm& kvm, kernel::SevVm& vm, kernel::Process& vmm, VirtAddr ram,
                         machine::GuestKind kind) {
  const Bytes first = testbed::authored_bytes(testbed::Author::cpu, page_size);
  const Bytes second = testbed::authored_bytes(testbed::Author::before, page_size);
  if (!vmm.write(ram, first) || !vmm.write(ram + page_size, second)) return "fault";
  if (kind != machine::GuestKind::plain) {
    const spec::SevPolicy policy =
        spec::SevPolicy{}.with<spec::SevPolicy::Es>(kind == machine::GuestKind::sev_es);
    std::uint32_t len = sizeof(spec::SevMeasurement);
    if (!vm.launch_start({.policy = policy}) || !vm.launch_update_data({ram, 2 * page_size}) ||
        !vm.launch_measure(len) || !vm.launch_finish())
      return "not launched";
  }
  const auto a = vm.frame(machine::GuestPhysAddr{0});
  const auto b = vm.frame(machine::GuestPhysAddr{page_size});
  if (!a || !b) return "fault";
  machine::Machine& machine = kvm.kernel().machine();
  machine::NestedMemory guest{machine, {.kind = kind, .asid = vm.asid(), .ncr3 = vm.ncr3()}};
  if (kind == machine::GuestKind::sev_snp) {  // RMPUPDATE by the hypervisor, PVALIDATE by the guest
    machine.memory().rmp_update(*a, mem::assigned_page(vm.asid(), 0));
    machine.memory().rmp_update(*b, mem::assigned_page(vm.asid(), 1));
    if (!guest.pvalidate(machine::GuestPhysAddr{0}, true) ||
        !guest.pvalidate(machine::GuestPhysAddr{page_size}, true))
      return "fault";
  }
  if (!vm.remap(machine::GuestPhysAddr{0}, *b) || !vm.remap(machine::GuestPhysAddr{page_size}, *a))
    return "fault";
  Bytes seen(page_size);
  const auto done = guest.read(machine::GuestPhysAddr{0}, seen, true);
  const std::string found = outcome(done ? Result<Bytes>{seen} : tl::unexpected{done.error()}, second, first);
  return found == "victim reads the attacker's bytes" ? "victim reads the other page" : found;
}

OrError<std::string> remap_cell(Platform platform, std::uint64_t seed) {
  const auto hosted_as = machine::traits_of(platform).hosted_as;
  if (!hosted_as) return std::string{"-"};
  const machine::GuestKind kind = *hosted_as;
  testbed::TestbedConfig config;
  config.machine = {.memory_bytes = 256 << 20,
                    .seed = seed,
                    .sev = {.asids = 4, .min_sev_asid = 3},
                    .rmp = kind == machine::GuestKind::sev_snp};
  const auto bed = CBIT_TRY(testbed::Testbed::create(config));
  kernel::Kvm kvm{bed->kernel()};
  const auto vmm = kernel::Process::create(bed->kernel(), {.cap_ipc_lock = true});
  if (!vmm) return bad_input("the host has no memory for a process");
  const auto ram = (*vmm)->mmap(2 * page_size);
  auto vm = kernel::SevVm::create(kvm, **vmm);
  if (!ram || !vm || !(*vm)->set_user_memory_region(machine::GuestPhysAddr{0}, 2 * page_size, *ram))
    return bad_input("the host has no memory for a guest");
  if (kind != machine::GuestKind::plain && !(*vm)->guest_init(kind == machine::GuestKind::sev_es))
    return bad_input("the host has no ASID for a guest");
  std::string found = remap_result(kvm, **vm, **vmm, *ram, kind);
  // What SNP gave to the guest goes back before the host may use it again.
  if (kind == machine::GuestKind::sev_snp)
    for (std::uint64_t page = 0; page < 2; ++page)
      if (const auto frame = (*vmm)->page_at(*ram + page * page_size))
        bed->memory().rmp_update(*frame, mem::RmpEntry{});
  return found;
}

std::vector<Platform> attacked_platforms() {
  std::vector<Platform> attacked;
  for (const machine::PlatformTraits& traits : machine::platform_traits)
    if (traits.attacks_modelled) attacked.push_back(traits.platform);
  return attacked;
}

OrError<Table> make_attacks_table(const TableRequest& request) {
  const std::vector<Platform> attacked =
      request.platform ? std::vector{*request.platform} : attacked_platforms();
  Table table;
  table.columns.emplace_back("attack by the host");
  for (const Platform platform : attacked) table.columns.emplace_back(to_string(platform));
  for (const Attack& attack : attacks) {
    std::vector<std::string> row{std::string{attack.name}};
    for (const Platform platform : attacked)
      row.push_back(CBIT_TRY(attack_cell(attack, platform, request.seed)));
    table.rows.push_back(std::move(row));
  }
  std::vector<std::string> row{"swap two pages in the nested page table"};
  for (const Platform platform : attacked) row.push_back(CBIT_TRY(remap_cell(platform, request.seed)));
  table.rows.push_back(std::move(row));
  table.notes = {
      "Each cell is an attack that was carried out; the words come from comparing the bytes that the victim, "
      "or the host, then read.",
      "sme: the attacker is software or a device that uses an address without the C-bit. There is no nested "
      "page table; TDX keeps the one for private memory in the TDX module, which is not modelled.",
  };
  return table;
}

}  // namespace

TableSpec attacks_table() {
  return {.name = "attacks",
          .title = "What can a host do to a guest's memory?",
          .platforms = attacked_platforms(),
          .versions = {},
          .make = make_attacks_table};
}

}  // namespace cbit::explain
