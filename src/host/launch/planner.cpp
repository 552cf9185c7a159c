// The decisions: protection, accelerator, firmware, policy. The options follow in plan_options.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "launch/plan.hpp"
#include "launch/plan_options.hpp"
#include "spec/sev.hpp"

namespace cbit::launch {
namespace {

// Strongest first. MKTME is not among them: no QEMU has an object for it.
constexpr Protection preference[] = {Protection::sev_snp, Protection::sev_es, Protection::sev,
                                     Protection::tdx};
constexpr QemuVersion oldest_qemu{6, 0};  // confidential-guest-support=
constexpr QemuVersion kernel_hashes_since{6, 2};
constexpr QemuVersion epyc_v4_since{8, 1};
constexpr QemuVersion igvm_since{10, 1};
constexpr QemuVersion private_dma_since{10, 1};  // VFIO beside guest_memfd: system/ram-block-attributes.c
constexpr std::uint64_t snp_policy_smt = 1 << 16, snp_policy_reserved_one = 1 << 17;

std::string to_text(QemuVersion version) { return fmt::format("{}.{}", version.release, version.update); }

const facts::Support& support_of(const facts::GuestSupport& support, Protection protection) {
  switch (protection) {
    case Protection::sev_snp: return support.sev_snp;
    case Protection::sev_es: return support.sev_es;
    case Protection::sev: return support.sev;
    case Protection::tdx: return support.tdx;
    case Protection::none: break;
  }
  return support.kvm;
}

std::string_view missing_in_firmware(Protection protection) {
  switch (protection) {
    case Protection::sev_es: return "no SEV-ES reset block";
    case Protection::sev_snp: return "no SEV metadata, which SEV-SNP needs";
    case Protection::tdx: return "no TDX metadata";
    case Protection::sev:
    case Protection::none: break;
  }
  return "no table of OVMF, so it is no firmware for encrypted guests";
}

const Firmware* firmware_for(const LaunchSite& site, Protection protection) {
  const auto found =
      std::ranges::find_if(site.firmware, [&](const Firmware& image) { return boots(image, protection); });
  return found == site.firmware.end() ? nullptr : &*found;
}

bool has_private_memory(Protection protection) {
  return protection == Protection::sev_snp || protection == Protection::tdx;
}

Candidate consider(Protection protection, const LaunchRequest& request, const LaunchSite& site) {
  Candidate candidate{.protection = protection};
  const QemuVersion since = first_version_with(protection);
  if (request.accelerator == Accelerator::tcg) {
    candidate.why_not = "--accel tcg emulates the processor, and QEMU's has no memory encryption";
    candidate.remedy = "leave --accel out";
  } else if (const facts::Support& support = support_of(site.support, protection); !support.usable) {
    candidate.why_not = support.why_not;
    candidate.remedy = support.remedy;
  } else if (!site.support.kvm.usable) {
    candidate.why_not = site.support.kvm.why_not;
    candidate.remedy = site.support.kvm.remedy;
  } else if (site.qemu < since) {
    candidate.why_not =
        fmt::format("QEMU {} does not have it; it came with QEMU {}", to_text(site.qemu), to_text(since));
    candidate.remedy = fmt::format("install QEMU {} or later, or name one with --qemu", to_text(since));
  } else if (!request.igvm.empty()) {
    if (protection == Protection::tdx) candidate.why_not = "QEMU starts no trust domain from an IGVM file";
  } else if (has_private_memory(protection) && !request.passed_through.empty() &&
             site.qemu < private_dma_since) {
    candidate.why_not = fmt::format("QEMU {} passes no device through to it; QEMU {} does",
                                    to_text(site.qemu), to_text(private_dma_since));
  } else if (request.firmware != "default" && firmware_for(site, protection) == nullptr) {
    candidate.why_not = site.firmware.empty() ? "no OVMF is installed"
                                              : fmt::format("{} has {}", site.firmware.front().path,
                                                            missing_in_firmware(protection));
    candidate.remedy = "give an image of OVMF that was built for it with --firmware";
  }
  candidate.usable = candidate.why_not.empty();
  return candidate;
}

OrError<void> choose_protection(const LaunchSite& site, LaunchPlan& plan) {
  const LaunchRequest& request = plan.request;
  if (request.protection == Protection::none) return {};
  if (!request.protection) {
    for (const Protection protection : preference)
      plan.candidates.push_back(consider(protection, request, site));
    const auto best = std::ranges::find_if(plan.candidates, &Candidate::usable);
    if (best != plan.candidates.end()) plan.protection = best->protection;
    return {};
  }
  plan.protection = *request.protection;
  const Candidate asked = consider(plan.protection, request, site);
  plan.candidates.push_back(asked);
  if (asked.usable) return {};
  const std::string message =
      fmt::format("{} cannot be used here: {}", to_string(plan.protection), asked.why_not);
  if (!request.force)
    return bad_input(message, fmt::format("{}{}--force plans it all the same, for another host", asked.remedy,
                                          asked.remedy.empty() ? "" : "; "));
  // What the host lacks is said by the rules.
  if (support_of(site.support, plan.protection).usable) plan.risks.push_back(message);
  return {};
}

void choose_accelerator(const LaunchSite& site, LaunchPlan& plan) {
  const Accelerator wish = plan.request.accelerator;
  plan.kvm = wish == Accelerator::kvm || (wish == Accelerator::automatic &&
                                          (site.support.kvm.usable || plan.protection != Protection::none));
  if (!plan.kvm && wish == Accelerator::automatic)
    plan.remarks.push_back(
        fmt::format("KVM cannot be used ({}): QEMU emulates the processor (TCG), which is slow",
                    site.support.kvm.why_not));
}

OrError<void> choose_firmware(const LaunchSite& site, LaunchPlan& plan) {
  if (plan.request.firmware == "default" || !plan.request.igvm.empty()) return {};
  const Firmware* image = firmware_for(site, plan.protection);
  if (image == nullptr && !site.firmware.empty()) image = &site.firmware.front();  // forced
  if (image == nullptr) {
    if (plan.protection != Protection::none)
      return bad_input("no OVMF is installed, and an encrypted guest needs one",
                       "install the package ovmf, or name an image with --firmware");
    plan.remarks.push_back("no OVMF is installed: QEMU's own SeaBIOS boots the guest");
    return {};
  }
  plan.firmware = *image;
  // SNP and TDX have no read-only memory slots, hence no flash (QEMU: docs/system/i386/tdx.rst).
  plan.firmware_in_flash = image->ovmf && !has_private_memory(plan.protection);
  return {};
}

// A guest's addresses lose the C-bit and no more. CPUID 8000001F EBX[11:6] counts what host-physical ones
// lose, 5 on EPYC 7002 and 7003; a guest that is told so keeps 35 bits, 32 GiB, of a default CPU's 40.
constexpr unsigned sev_guest_reduced_phys_bits = 1;

OrError<void> choose_sev_numbers(const LaunchSite& site, LaunchPlan& plan) {
  const auto c_bit = plan.request.c_bit ? plan.request.c_bit : site.support.c_bit;
  if (!c_bit && !plan.request.force)
    return bad_input("the position of the C-bit is not known: CPUID 8000001F cannot be read",
                     "give --cbitpos, as the host has it");
  if (!c_bit)
    plan.risks.push_back(
        "CPUID 8000001F cannot be read here: cbitpos=51 is that of current EPYC processors; QEMU refuses to "
        "start where the host's C-bit is another");
  plan.c_bit = c_bit.value_or(51);
  plan.reduced_phys_bits = plan.request.reduced_phys_bits.value_or(sev_guest_reduced_phys_bits);
  return {};
}

OrError<void> choose_sev_policy(LaunchPlan& plan) {
  const bool es = plan.protection == Protection::sev_es;
  spec::SevPolicy ours;
  ours = ours.with<spec::SevPolicy::NoDebug>(true)
             .with<spec::SevPolicy::NoKeySharing>(true)
             .with<spec::SevPolicy::Es>(es);
  plan.policy = plan.request.policy.value_or(ours.raw);
  if (plan.policy > 0xffff'ffff)
    return usage_error(fmt::format("--policy {:#x} has more than 32 bits", plan.policy),
                       "only SEV-SNP's policy has 64");
  const spec::SevPolicy policy{{static_cast<std::uint32_t>(plan.policy)}};
  if (policy.get<spec::SevPolicy::Es>() && !es)
    return usage_error(
        fmt::format("--policy {:#x} asks for SEV-ES (bit 2), and the plan is for SEV", plan.policy),
        "use --protection sev-es, or clear bit 2");
  if (!policy.get<spec::SevPolicy::Es>() && es)
    return usage_error(fmt::format("--policy {:#x} does not ask for SEV-ES (bit 2)", plan.policy),
                       "set bit 2, or use --protection sev");
  return {};
}

OrError<void> choose_policy(LaunchPlan& plan) {
  if (plan.protection == Protection::sev || plan.protection == Protection::sev_es)
    return choose_sev_policy(plan);
  if (plan.protection != Protection::sev_snp) {
    if (plan.request.policy)
      return usage_error(
          fmt::format("--policy is of SEV guests, and the plan is for {}", to_string(plan.protection)),
          "leave it out, or choose another --protection");
    return {};
  }
  plan.policy = plan.request.policy.value_or(snp_policy_smt | snp_policy_reserved_one);
  if ((plan.policy & snp_policy_reserved_one) == 0)
    return usage_error(fmt::format("--policy {:#x} is none of SEV-SNP: bit 17 must be 1", plan.policy),
                       "0x30000 is QEMU's default: bit 16 allows a host with SMT");
  return {};
}

void choose_kernel_hashes(LaunchPlan& plan) {
  const bool sev = plan.protection == Protection::sev || plan.protection == Protection::sev_es ||
                   plan.protection == Protection::sev_snp;
  if (!sev || plan.request.kernel.empty() || !plan.request.igvm.empty()) return;
  if (plan.qemu < kernel_hashes_since)
    plan.remarks.emplace_back("kernel-hashes=on is left out: it came with QEMU 6.2");
  else if (!plan.firmware || !has_room_for_hashes(*plan.firmware))
    plan.remarks.push_back(fmt::format(
        "kernel-hashes=on is left out: {} has no room for the hashes, which OVMF's AmdSev build has",
        plan.firmware ? plan.firmware->path : "QEMU's own firmware"));
  else
    plan.kernel_hashes = true;
}

std::string choose_cpu(const LaunchPlan& plan) {
  if (!plan.request.cpu_model.empty()) return plan.request.cpu_model;
  if (!plan.kvm) return "max";
  // The processor's signature is in the measured state of a CPU: a named model makes it the same everywhere.
  if (plan.protection == Protection::sev_es || plan.protection == Protection::sev_snp)
    return plan.qemu < epyc_v4_since ? "EPYC-v3" : "EPYC-v4";
  return "host";
}

OrError<void> check_attestation(const LaunchPlan& plan) {
  const AttestationRequest& wish = plan.request.attestation;
  const bool snp = !wish.id_block.empty() || !wish.id_auth.empty() || !wish.host_data.empty() || wish.no_vcek;
  const bool tdx = !wish.mr_config_id.empty() || !wish.mr_owner.empty() || !wish.mr_owner_config.empty() ||
                   !wish.quote_socket.empty();
  const auto refuse = [&](std::string_view options, Protection owner) {
    return usage_error(
        fmt::format("{} are of {}, and the plan is for {}", options, to_string(owner),
                    to_string(plan.protection)),
        fmt::format("leave them out, or use --protection {}", word_of(protection_words, owner)));
  };
  if (snp && plan.protection != Protection::sev_snp)
    return refuse("--id-block, --id-auth, --host-data and --vcek-disabled", Protection::sev_snp);
  if (tdx && plan.protection != Protection::tdx)
    return refuse("--mrconfigid, --mrowner, --mrownerconfig and --quote-socket", Protection::tdx);
  return {};
}

OrError<void> check_igvm(const LaunchPlan& plan) {
  if (plan.request.igvm.empty()) return {};
  if (!plan.request.firmware.empty())
    return usage_error("--igvm contradicts --firmware: an IGVM file has the firmware in it",
                       "give one of them");
  if (plan.qemu < igvm_since)
    return bad_input(fmt::format("QEMU {} knows no IGVM files; they came with QEMU {}", to_text(plan.qemu),
                                 to_text(igvm_since)),
                     "install a later one, or name one with --qemu");
  return {};
}

// QEMU: util/id.c, id_wellformed().
bool is_wellformed_id(std::string_view id) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !id.empty() && letter(id.front()) && std::ranges::all_of(id, [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

OrError<void> name_devices(LaunchRequest& request) {
  std::set<std::string, std::less<>> taken{"ram0", "sev0", "tdx0", "rng0", "console0", "iommufd0", "igvm0"};
  const auto name = [&](std::string& id, std::string_view kind) -> OrError<void> {
    for (unsigned i = 0; id.empty(); ++i)
      if (std::string next = fmt::format("{}{}", kind, i); !taken.contains(next)) id = std::move(next);
    if (!is_wellformed_id(id))
      return usage_error(fmt::format("\"{}\" is no id for QEMU", id),
                         "begin with a letter; letters, digits and - . _ may follow");
    if (!taken.insert(id).second)
      return usage_error(fmt::format("the id \"{}\" is used twice", id), "give each device its own id");
    return {};
  };
  // Given ids first, so that ours avoid them.
  for (const bool given : {true, false}) {
    for (DiskRequest& disk : request.disks)
      if (disk.id.empty() != given) CBIT_TRY(name(disk.id, "disk"));
    for (NetRequest& net : request.nets)
      if (net.id.empty() != given) CBIT_TRY(name(net.id, "net"));
  }
  return {};
}

OrError<void> check_request(const LaunchRequest& request) {
  if (request.kernel.empty() && !request.initrd.empty())
    return usage_error("--initrd is given without a kernel", "add --kernel");
  if (request.kernel.empty() && request.append)
    return usage_error("--append is given without a kernel", "add --kernel");
  if (request.memory_bytes < (1 << 20) || request.memory_bytes % (1 << 20) != 0)
    return usage_error(fmt::format("memory of {} bytes is not whole MiB", request.memory_bytes),
                       "use --memory 2G");
  if (request.cpu_model.find(',') != std::string::npos && request.cpu_model.find(",,") != std::string::npos)
    return usage_error("--cpu has an empty feature", "write model,feature=on");
  return {};
}

}  // namespace

QemuVersion first_version_with(Protection protection) {
  switch (protection) {
    case Protection::tdx: return {10, 1};
    case Protection::sev_snp: return {9, 1};
    case Protection::sev_es:
    case Protection::sev:
    case Protection::none: break;
  }
  return oldest_qemu;
}

OrError<LaunchPlan> plan_launch(const LaunchRequest& request, const LaunchSite& site) {
  CBIT_TRY(check_request(request));
  if (site.qemu < oldest_qemu)
    return bad_input(
        fmt::format("QEMU {} is too old: confidential-guest-support= came with QEMU 6.0", to_text(site.qemu)),
        "install a later one, or name one with --qemu");
  LaunchPlan plan{.request = request, .program = site.qemu_program, .qemu = site.qemu};
  CBIT_TRY(name_devices(plan.request));
  CBIT_TRY(check_igvm(plan));
  CBIT_TRY(choose_protection(site, plan));
  choose_accelerator(site, plan);
  CBIT_TRY(choose_firmware(site, plan));
  const bool sev = plan.protection != Protection::none && plan.protection != Protection::tdx;
  if (sev) CBIT_TRY(choose_sev_numbers(site, plan));
  CBIT_TRY(choose_policy(plan));
  CBIT_TRY(check_attestation(plan));
  choose_kernel_hashes(plan);
  plan.cpu_model = choose_cpu(plan);
  if (!request.kernel.empty())
    plan.append = request.append.value_or(request.console == "none" ? "" : "console=ttyS0");
  plan.options = plan_options(plan);
  return plan;
}

}  // namespace cbit::launch
