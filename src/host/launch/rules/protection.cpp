#include "base/format.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

constexpr QemuVersion with_confidential_guest_support{6, 0}, with_kernel_hashes{6, 2}, with_snp{9, 1},
    with_tdx{10, 1}, with_igvm{10, 1};

// The object for a protection, with the host's values where they are known.
std::string object_text(const Case& guest) {
  const facts::GuestSupport* const host = guest.context().host;
  const unsigned c_bit = host != nullptr ? host->c_bit.value_or(51) : 51;
  switch (guest.protection()) {
    case Protection::tdx: return "tdx-guest,id=tdx0";
    case Protection::sev_snp:
      return fmt::format("sev-snp-guest,id=sev0,cbitpos={},reduced-phys-bits=1,policy=0x30000", c_bit);
    case Protection::sev_es:
      return fmt::format("sev-guest,id=sev0,cbitpos={},reduced-phys-bits=1,policy=0x5", c_bit);
    default: return fmt::format("sev-guest,id=sev0,cbitpos={},reduced-phys-bits=1,policy=0x1", c_bit);
  }
}

std::string launch_security_text(Protection protection) {
  switch (protection) {
    case Protection::tdx: return "<launchSecurity type='tdx'/>";
    case Protection::sev_snp:
      return "<launchSecurity type='sev-snp'><policy>0x30000</policy></launchSecurity>";
    case Protection::sev_es: return "<launchSecurity type='sev'><policy>0x5</policy></launchSecurity>";
    default: return "<launchSecurity type='sev'><policy>0x1</policy></launchSecurity>";
  }
}

bool is_protection_object(const QemuOption& object) {
  const auto type = object.value("qom-type");
  return type == "sev-guest" || type == "sev-snp-guest" || type == "tdx-guest";
}

std::string_view link_name(const Case& guest) {
  return guest.qemu_is_at_least(with_confidential_guest_support) ? "confidential-guest-support"
                                                                 : "memory-encryption";
}

// The link -machine -> -object.
void judge_link(Case& guest) {
  const auto current = guest.machine("confidential-guest-support");
  const auto id = current ? current : guest.machine("memory-encryption");
  const QemuOption* const machine =
      guest.machine_with(current ? "confidential-guest-support" : "memory-encryption");
  if (!id) {
    for (const QemuOption* const object : guest.all("object"))
      if (is_protection_object(*object))
        return guest.find(rule("protection-object-unused"), object, {},
                          fmt::format("-machine {},{}={}", guest.machine_type(), link_name(guest),
                                      object->value("id").value_or("ID")));
    const std::string object = object_text(guest);
    const bool is_tdx = guest.protection() == Protection::tdx;
    const bool guessed = !is_tdx && (guest.context().host == nullptr || !guest.context().host->c_bit);
    return guest.find(
        rule("not-encrypted"), nullptr,
        guessed ? "the position of the host's C-bit is not known; 51 is that of EPYC since 7003" : "",
        guest.in_language(
            fmt::format("-machine q35,{}={} -object {}", link_name(guest), is_tdx ? "tdx0" : "sev0", object),
            launch_security_text(guest.protection()), "confidential_guest = true"));
  }
  if (guest.object() == nullptr)
    return guest.find(rule("protection-object-missing"), machine, fmt::format("no -object has id={}", *id),
                      "-object " + object_text(guest));
  if (!is_protection_object(*guest.object()))
    return guest.find(
        rule("protection-object-of-other-kind"), guest.object(),
        fmt::format("its type is {}", guest.object()->value("qom-type").value_or("missing")),
        guest.in_language("-object " + object_text(guest), launch_security_text(guest.protection())));
  if (!current && guest.qemu_is_at_least(with_confidential_guest_support))
    guest.find(
        rule("memory-encryption-is-old"), machine, {},
        Case::with(*machine, {{"confidential-guest-support", std::string{*id}}}, {"memory-encryption"}));
}

void judge_version(Case& guest) {
  if (!guest.context().qemu) return;
  const auto too_old = [&](const QemuOption* option, std::string_view what, QemuVersion since) {
    if (*guest.context().qemu >= since) return;
    guest.find(rule("option-newer-than-qemu"), option,
               fmt::format("{} needs QEMU {}.{}, this is {}.{}", what, since.release, since.update,
                           guest.context().qemu->release, guest.context().qemu->update));
  };
  if (guest.machine("confidential-guest-support") && guest.language() == GuestLanguage::qemu)
    too_old(guest.machine_with("confidential-guest-support"),
            "confidential-guest-support=", with_confidential_guest_support);
  if (guest.machine("igvm-cfg")) too_old(guest.machine_with("igvm-cfg"), "igvm-cfg=", with_igvm);
  if (guest.object() == nullptr) return;
  if (guest.object()->value("kernel-hashes")) too_old(guest.object(), "kernel-hashes=", with_kernel_hashes);
  if (guest.protection() == Protection::sev_snp) too_old(guest.object(), "sev-snp-guest", with_snp);
  if (guest.protection() == Protection::tdx) too_old(guest.object(), "tdx-guest", with_tdx);
}

// vl.c: without -accel and -machine accel=, a program called kvm or qemu-kvm takes KVM, others TCG.
std::string_view first_accelerator(const Case& guest) {
  const QemuCommand& command = guest.command();
  if (guest.last("enable-kvm") != nullptr) return "kvm";
  for (const QemuOption* const accel : guest.all("accel"))
    if (const auto name = accel->value("accel")) return *name;
  if (const auto list = guest.machine("accel")) return list->substr(0, list->find(':'));
  return command.program.ends_with("kvm") ? "kvm" : "tcg";
}

void judge_accelerator(Case& guest) {
  const std::string_view accelerator = first_accelerator(guest);
  if (accelerator == "kvm") return;
  const QemuOption* const option = guest.last("accel");
  guest.find(rule("needs-kvm"), option, fmt::format("the accelerator is {}", accelerator),
             guest.in_language("-accel kvm", "<domain type='kvm'>"));
}

const facts::Support& support_of(const facts::GuestSupport& host, Protection protection) {
  switch (protection) {
    case Protection::tdx: return host.tdx;
    case Protection::sev_snp: return host.sev_snp;
    case Protection::sev_es: return host.sev_es;
    default: return host.sev;
  }
}

void judge_asids(Case& guest, const facts::GuestSupport& host) {
  if (guest.protection() == Protection::tdx) return;
  const auto free = guest.is_plain_sev() ? host.sev_asids_free : host.sev_es_asids_free;
  if (free && *free == 0)
    return guest.find(rule("asid-exhausted"), guest.object(),
                      fmt::format("no {} ASID is free", to_string(guest.protection())));
  if (!host.asids || !host.first_sev_asid) return;
  // SEV-ES and SNP guests have the ASIDs below EDX, SEV guests the rest.
  const bool none = guest.is_plain_sev() ? *host.first_sev_asid > *host.asids : *host.first_sev_asid <= 1;
  if (none)
    guest.find(rule("asid-exhausted"), guest.object(),
               fmt::format("CPUID 8000001F: {} ASIDs, of which 1 to {} are for SEV-ES and SNP", *host.asids,
                           *host.first_sev_asid - 1));
}

// What is to be done about it is done to the host: no option of the guest's, so nothing to write.
std::string obstacle_text(std::string_view technology, const facts::Support& support) {
  return fmt::format("{}: {}{}{}", technology, support.why_not, support.remedy.empty() ? "" : "; ",
                     support.remedy);
}

void judge_host(Case& guest) {
  const facts::GuestSupport* const host = guest.context().host;
  if (host == nullptr) return;
  if (!host->kvm.usable) guest.find(rule("technology-not-usable"), nullptr, obstacle_text("KVM", host->kvm));
  const facts::Support& support = support_of(*host, guest.protection());
  // On AMD's hosts Kata takes something else than TDX (judge_kata()).
  const bool other =
      guest.language() == GuestLanguage::kata && guest.protection() == Protection::tdx && host->c_bit;
  if (!support.usable && !other)
    return guest.find(rule("technology-not-usable"), guest.object(),
                      obstacle_text(to_string(guest.protection()), support));
  judge_asids(guest, *host);
}

void judge_c_bit(Case& guest) {
  const facts::GuestSupport* const host = guest.context().host;
  const QemuOption& object = *guest.object();
  const auto written = object.value("cbitpos");
  if (!written && guest.language() != GuestLanguage::qemu) return;  // libvirt and Kata ask the host
  const auto position = written ? parse_qemu_number(*written) : std::optional<std::uint64_t>{0};
  const auto expected = host != nullptr ? host->c_bit : std::nullopt;
  const bool wrong = expected ? position != *expected : !position || *position < 32 || *position > 63;
  if (!wrong) return;
  const std::string right = std::to_string(expected.value_or(51));
  guest.find(rule("c-bit-position"), &object,
             expected ? fmt::format("the host's is {}", *expected) : "no host has this position",
             guest.in_language(Case::with(object, {{"cbitpos", right}}),
                               fmt::format("<cbitpos>{}</cbitpos>", right)));
}

void judge_reduced_phys_bits(Case& guest) {
  const QemuOption& object = *guest.object();
  const auto written = object.value("reduced-phys-bits");
  if (!written && guest.language() != GuestLanguage::qemu) return;
  const auto bits = written ? parse_qemu_number(*written) : std::nullopt;
  if (bits == 1u) return;
  const bool in_range = bits && *bits >= 1 && *bits <= 63;
  guest.find(in_range ? rule("reduced-phys-bits-of-the-host") : rule("reduced-phys-bits-range"), &object, {},
             guest.in_language(Case::with(object, {{"reduced-phys-bits", "1"}}),
                               "<reducedPhysBits>1</reducedPhysBits>"));
}

struct PolicyTrouble {
  const RuleInfo* rule = nullptr;
  std::string detail;
  std::uint64_t better = 0;
};

// SEV API, 3: guest policy.
std::vector<PolicyTrouble> sev_policy_troubles(std::uint64_t policy) {
  constexpr std::uint64_t no_debug = 1, flags = 0x3f, reserved = 0xffc0, api_major_max = 1;
  std::vector<PolicyTrouble> found;
  const std::uint64_t right = (policy & flags) | no_debug;
  if (policy >> 32 != 0 || (policy >> 16 & 0xff) > api_major_max)
    return {{&rule("policy-of-other-object"), "it asks for a version of the API that does not exist", right}};
  if ((policy & reserved) != 0) found.push_back({&rule("policy-reserved-bits"), {}, right});
  if ((policy & no_debug) == 0) found.push_back({&rule("policy-allows-debug"), {}, policy | no_debug});
  return found;
}

constexpr std::uint64_t snp_smt = 1ull << 16, snp_always_one = 1ull << 17, snp_debug = 1ull << 19;
constexpr std::uint64_t snp_single_socket = 1ull << 20;

// arch/x86/kvm/svm/sev.c: snp_launch_start() returns -EINVAL for what is not allowed.
struct SnpPolicyMask {
  spec::KernelRelease since;
  std::uint64_t allowed;
  std::uint64_t by_firmware;  // allowed where the firmware has the feature (sev_get_snp_policy_bits())
  std::uint64_t required;
};
constexpr std::uint64_t snp_base = 0xffff | snp_smt | snp_always_one | snp_debug;
constexpr std::uint64_t snp_features = 0x1full << 21;  // CXL, AES-256-XTS, RAPL, ciphertext hiding, page swap
// Read in 6.12, 6.18 and 7.3. SMT is required by the sources of 6.12, not by those of 6.18: the change was
// sent in May 2025, for 6.17. The bits of features are in 7.3 and not in 6.18.
constexpr SnpPolicyMask snp_policy_masks[] = {
    {{6, 11}, snp_base, 0, snp_always_one | snp_smt},
    {{6, 17}, snp_base | snp_single_socket, 0, snp_always_one},
    {{6, 19}, snp_base | snp_single_socket, snp_features, snp_always_one},
};

const SnpPolicyMask& snp_policy_mask(const std::optional<spec::KernelRelease>& kernel) {
  const SnpPolicyMask* found = std::end(snp_policy_masks) - 1;
  while (kernel && found != std::begin(snp_policy_masks) && *kernel < found->since) --found;
  return *found;
}

std::string bits_text(std::uint64_t bits) {
  std::string text;
  for (unsigned bit = 0; bit < 64; ++bit)
    if ((bits >> bit & 1) != 0) text += fmt::format("{}{}", text.empty() ? "" : ", ", bit);
  return fmt::format("bit{} {}", text.find(',') == std::string::npos ? "" : "s", text);
}

// SNP firmware ABI, 4.3: guest policy.
std::vector<PolicyTrouble> snp_policy_troubles(std::uint64_t policy,
                                               const std::optional<spec::KernelRelease>& kernel) {
  if ((policy & snp_always_one) == 0)
    return {{&rule("policy-of-other-object"), "bit 17 is 0", snp_always_one | snp_smt}};
  const SnpPolicyMask& mask = snp_policy_mask(kernel);
  std::vector<PolicyTrouble> found;
  const std::uint64_t refused = policy & ~(mask.allowed | mask.by_firmware);
  const std::uint64_t missing = mask.required & ~policy;
  if (refused != 0 || missing != 0)
    found.push_back({&rule("policy-refused-by-kvm"),
                     refused != 0 ? fmt::format("{} set", bits_text(refused))
                                  : fmt::format("{} clear", bits_text(missing)),
                     (policy & ~refused) | missing});
  const std::uint64_t doubtful = (policy & mask.by_firmware) | (kernel ? 0 : policy & snp_single_socket);
  if (doubtful != 0)
    found.push_back({&rule("policy-of-newer-hosts"), bits_text(doubtful), policy & ~doubtful});
  if (missing == 0 && (policy & snp_smt) == 0)
    found.push_back({&rule("policy-forbids-smt"), {}, policy | snp_smt});
  if ((policy & snp_debug) != 0) found.push_back({&rule("policy-allows-debug"), {}, policy & ~snp_debug});
  return found;
}

// QEMU's defaults are 0x1 and 0x30000.
std::optional<std::uint64_t> policy_of(const Case& guest) {
  const bool snp = guest.protection() == Protection::sev_snp;
  const auto written = guest.object()->value("policy");
  return written ? parse_qemu_number(*written) : std::optional<std::uint64_t>{snp ? 0x30000u : 1u};
}

void judge_policy(Case& guest) {
  const auto policy = policy_of(guest);
  if (!policy) return;  // QEMU says so itself
  const bool snp = guest.protection() == Protection::sev_snp;
  const facts::GuestSupport* const host = guest.context().host;
  for (PolicyTrouble& trouble :
       snp ? snp_policy_troubles(*policy, host != nullptr ? host->kernel : std::nullopt)
           : sev_policy_troubles(*policy)) {
    const std::string better = fmt::format("{:#x}", trouble.better);
    const std::string detail = fmt::format("policy {:#x}", *policy);
    guest.find(*trouble.rule, guest.object(),
               trouble.detail.empty() ? detail : fmt::format("{}: {}", detail, trouble.detail),
               guest.in_language(Case::with(*guest.object(), {{"policy", better}}),
                                 fmt::format("<policy>{}</policy>", better),
                                 fmt::format("snp_guest_policy = {}", trouble.better)));
  }
}

void judge_debugger(Case& guest) {
  const QemuOption* const gdb = guest.last("gdb");
  const QemuOption* const option = gdb != nullptr ? gdb : guest.last("s");
  if (option == nullptr || (gdb != nullptr && gdb->text == "none")) return;
  const auto policy = guest.object() != nullptr ? policy_of(guest) : std::nullopt;
  const bool sev_without_debug = policy && !guest.has_private_memory() && (*policy & 1) != 0;
  guest.find(sev_without_debug ? rule("policy-forbids-debug") : rule("gdb-reads-ciphertext"), option);
}

}  // namespace

void judge_protection(Case& guest) {
  judge_link(guest);
  judge_version(guest);
  judge_accelerator(guest);
  judge_host(guest);
  const bool is_sev = guest.object() != nullptr && is_protection_object(*guest.object()) &&
                      guest.protection() != Protection::tdx;
  if (is_sev) {
    judge_c_bit(guest);
    judge_reduced_phys_bits(guest);
    judge_policy(guest);
  }
  judge_debugger(guest);
}

}  // namespace cbit::launch
