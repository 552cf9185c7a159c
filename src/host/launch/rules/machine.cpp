#include <algorithm>
#include <array>

#include "base/format.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

bool is_i440fx(std::string_view type) {
  return type == "pc" || type.starts_with("pc-i440fx") || type == "isapc";
}

void judge_type(Case& guest) {
  const std::string_view type = guest.machine_type();
  const QemuOption* const machine = guest.machine_with("type");
  if (type.starts_with("microvm")) {
    guest.find(rule("machine-microvm"), machine, {},
               guest.in_language("-machine q35", "<type arch='x86_64' machine='q35'>hvm</type>"));
  } else if (is_i440fx(type)) {
    guest.find(
        rule("machine-without-pci-express"), machine, fmt::format("the machine is {}", type),
        guest.in_language(machine != nullptr ? Case::with(*machine, {{"type", "q35"}}) : "-machine q35",
                          "<type arch='x86_64' machine='q35'>hvm</type>"));
  }
}

void judge_irqchip(Case& guest) {
  // QEMU takes both spellings.
  const auto dashed = guest.machine("kernel-irqchip");
  const auto irqchip = dashed ? dashed : guest.machine("kernel_irqchip");
  const QemuOption* option = guest.machine_with(dashed ? "kernel-irqchip" : "kernel_irqchip");
  auto value = irqchip;
  for (const QemuOption* const accel : guest.all("accel"))
    if (const auto own = accel->value("kernel-irqchip")) {
      value = own;
      option = accel;
    }
  const bool wrong = guest.protection() == Protection::tdx ? value && value != "split" : is_off(value);
  if (!wrong) return;
  guest.find(rule("irqchip-in-user-space"), option, {},
             guest.in_language(Case::with(*option, {{"kernel-irqchip", "split"}}, {"kernel_irqchip"}),
                               guest.protection() == Protection::tdx ? "<ioapic driver='qemu'/>"
                                                                     : "<ioapic driver='kvm'/>"));
}

// SEV-ES and up: the registers are the guest's own.
void judge_encrypted_state(Case& guest) {
  if (!guest.has_encrypted_state()) return;
  const QemuOption* const machine = guest.machine_with("smm");
  if (is_on(guest.machine("smm")))
    guest.find(rule("smm-with-encrypted-state"), machine, {},
               guest.in_language(Case::with(*machine, {{"smm", "off"}}), "<smm state='off'/>"));
  judge_irqchip(guest);
  if (const QemuOption* const pic = guest.machine_with("pic");
      guest.protection() == Protection::tdx && is_on(guest.machine("pic")))
    guest.find(rule("pic-with-tdx"), pic, {}, guest.in_language(Case::with(*pic, {{"pic", "off"}}), ""));
  const auto on_reboot = guest.command().value("action", "reboot");
  if (guest.last("no-reboot") == nullptr && on_reboot != "shutdown")
    guest.find(rule("reboot-ends-the-guest"), nullptr, {},
               guest.in_language("-no-reboot", "<on_reboot>destroy</on_reboot>"));
}

// Models whose definition in target/i386/cpu.c has no CPUID_EXT_RDRAND; of each, versions as well.
bool has_no_rdrand(std::string_view model) {
  constexpr std::array without{"qemu64",     "qemu32",     "kvm64",       "kvm32",      "486",
                               "pentium",    "pentium2",   "pentium3",    "coreduo",    "core2duo",
                               "n270",       "athlon",     "phenom",      "Conroe",     "Penryn",
                               "Nehalem",    "Westmere",   "SandyBridge", "Opteron_G1", "Opteron_G2",
                               "Opteron_G3", "Opteron_G4", "Opteron_G5"};
  return std::ranges::any_of(without, [model](std::string_view name) {
    return model == name || (model.starts_with(name) && (model.substr(name.size()).starts_with("-v") ||
                                                         model.substr(name.size()) == "-IBRS"));
  });
}

// target/i386/kvm/tdx.c: tdx_cpu_instance_init() ends QEMU for a class of CPU that has a model; these have
// none.
void judge_cpu_of_tdx(Case& guest, const QemuOption* cpu, std::string_view model) {
  if (model == "host" || model == "max" || model == "base") return;
  guest.find(rule("cpu-model-with-tdx"), cpu,
             cpu != nullptr ? fmt::format("the model is {}", model) : "without -cpu the model is qemu64",
             guest.in_language(cpu != nullptr ? Case::with(*cpu, {{"model", "host"}}) : "-cpu host",
                               "<cpu mode='host-passthrough'/>"));
}

void judge_cpu(Case& guest) {
  const QemuOption* const cpu = guest.last("cpu");
  const std::string_view model = cpu != nullptr ? cpu->value("model").value_or("qemu64") : "qemu64";
  // The module gives every trust domain RDRAND (tdx.c: tdx_fixed1_bits).
  if (guest.protection() == Protection::tdx) return judge_cpu_of_tdx(guest, cpu, model);
  const auto rdrand = cpu != nullptr ? cpu->value("rdrand") : std::nullopt;
  if (is_off(rdrand)) {
    guest.find(rule("cpu-without-rdrand"), cpu, "rdrand is off",
               guest.in_language(Case::with(*cpu, {}, {"rdrand"}), "<cpu mode='host-passthrough'/>"));
  } else if (has_no_rdrand(model) && !is_on(rdrand)) {
    guest.find(rule("cpu-without-rdrand"), cpu, fmt::format("the model is {}", model),
               guest.in_language("-cpu EPYC-v3", "<cpu mode='host-passthrough'/>"));
  }
  const auto phys_bits =
      cpu != nullptr ? parse_qemu_number(cpu->value("phys-bits").value_or("")) : std::nullopt;
  if (!phys_bits || guest.object() == nullptr) return;
  const auto c_bit = parse_qemu_number(guest.object()->value("cbitpos").value_or(""));
  const auto reduced = parse_qemu_number(guest.object()->value("reduced-phys-bits").value_or("1"));
  if (c_bit && reduced && *phys_bits > *reduced && *phys_bits - *reduced > *c_bit)
    guest.find(rule("phys-bits-cover-c-bit"), cpu,
               fmt::format("{} - {} bits, and the C-bit is bit {}", *phys_bits, *reduced, *c_bit),
               guest.in_language(Case::with(*cpu, {}, {"phys-bits"}), ""));
}

// hw/core/machine-smp.c: machine_parse_smp_config().
void judge_cpu_hotplug(Case& guest) {
  if (!guest.has_encrypted_state()) return;
  const auto number = [&](std::string_view key) {
    const auto text = guest.command().value("smp", key);
    return text ? parse_qemu_number(*text) : std::nullopt;
  };
  const auto cpus = number("cpus");
  std::uint64_t topology = 1;
  constexpr std::uint64_t sane = 1u << 20;
  for (const char* const key : {"sockets", "dies", "clusters", "modules", "cores", "threads"})
    topology = std::min(sane, topology * std::clamp<std::uint64_t>(number(key).value_or(1), 1, sane));
  const std::uint64_t present = cpus.value_or(number("maxcpus").value_or(topology));
  const std::uint64_t possible = number("maxcpus").value_or(std::max(present, topology));
  if (possible > present)
    guest.find(rule("cpu-hotplug"), guest.last("smp"),
               fmt::format("{} of {} processors are there at the start", present, possible),
               guest.in_language(fmt::format("-smp {}", present), fmt::format("<vcpu>{}</vcpu>", present)));
}

void judge_migration(Case& guest) {
  for (const std::string_view name : {"incoming", "loadvm", "only-migratable"})
    if (const QemuOption* const option = guest.last(name)) guest.find(rule("migration-not-possible"), option);
}

}  // namespace

void judge_machine(Case& guest) {
  judge_type(guest);
  judge_encrypted_state(guest);
  judge_cpu(guest);
  judge_cpu_hotplug(guest);
  judge_migration(guest);
}

}  // namespace cbit::launch
