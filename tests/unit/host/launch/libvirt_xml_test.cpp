#include "launch/libvirt_xml.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "launch/rules.hpp"
#include "support/launch_cases.hpp"

namespace cbit::launch {
namespace {

using launch_cases::edit;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string good = R"(<domain type='kvm'>
  <name>encrypted</name>
  <memory unit='GiB'>4</memory>
  <memtune><hard_limit unit='GiB'>5</hard_limit></memtune>
  <vcpu>4</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
  </os>
  <cpu mode='host-passthrough'/>
  <on_reboot>destroy</on_reboot>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' iommu='on'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><model type='virtio'/><driver iommu='on'/><rom enabled='no'/></interface>
    <memballoon model='none'/>
  </devices>
  <launchSecurity type='sev'>
    <cbitpos>51</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
    <policy>0x0001</policy>
  </launchSecurity>
</domain>
)";

std::vector<Finding> judged(const std::string& xml) {
  const auto config = parse_libvirt_domain(xml);
  EXPECT_TRUE(config) << (config ? "" : config.error().message);
  const facts::GuestSupport host = launch_cases::capable_host();
  return config ? judge(*config, {.host = &host}) : std::vector<Finding>{};
}

std::vector<std::string> found_in_xml(const std::string& xml) {
  std::vector<std::string> result;
  for (const Finding& finding : judged(xml)) {
    result.emplace_back(finding.rule->name);
    EXPECT_EQ(finding.write.find("-device"), std::string::npos) << finding.write;
  }
  return result;
}

std::string refusal(std::string_view xml) {
  const auto config = parse_libvirt_domain(xml);
  EXPECT_FALSE(config);
  if (config) return {};
  EXPECT_FALSE(config.error().hint.empty());
  return config.error().message;
}

TEST(LibvirtDomain, IsReadAsQemusOptions) {
  const auto config = parse_libvirt_domain(good);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->language, GuestLanguage::libvirt);
  EXPECT_EQ(config->places.size(), config->command.options.size());
  EXPECT_EQ(config->hard_limit_bytes, 5ull << 30);
  EXPECT_EQ(protection_of(config->command), Protection::sev);
  EXPECT_EQ(config->command.value("m", "size"), "4194304K");
  EXPECT_EQ(config->command.value("device", "driver"), "virtio-net-pci");
}

TEST(LibvirtDomain, IsSilentIfItIsRight) { EXPECT_THAT(found_in_xml(good), IsEmpty()); }

// qemuBuildSEVSNPCommandLine() of libvirt 11.3; <launchSecurity type='tdx'> of 11.6.
TEST(LibvirtDomain, GivesAttestationWhatItsElementsSay) {
  const auto object = [](const std::string& security) {
    const auto config = parse_libvirt_domain("<domain type='kvm'><os><type machine='q35'>hvm</type></os>" +
                                             security + "</domain>");
    EXPECT_TRUE(config);
    return *config->command.last("object");
  };
  const QemuOption snp = object(
      "<launchSecurity type='sev-snp' authorKey='yes' vcek='no'><policy>0x30000</policy>"
      "<idBlock>QQ==</idBlock>"
      "<idAuth>Qg==</idAuth><hostData>Qw==</hostData>"
      "<guestVisibleWorkarounds>RA==</guestVisibleWorkarounds></launchSecurity>");
  for (const auto& [key, value] : {std::pair{"id-block", "QQ=="},
                                   {"id-auth", "Qg=="},
                                   {"host-data", "Qw=="},
                                   {"guest-visible-workarounds", "RA=="},
                                   {"author-key-enabled", "on"},
                                   {"vcek-disabled", "on"}})
    EXPECT_EQ(snp.value(key), value) << key;
  const QemuOption tdx = object(
      "<launchSecurity type='tdx'><policy>0x10000001</policy><mrConfigId>QQ==</mrConfigId>"
      "<mrOwner>Qg==</mrOwner>"
      "<mrOwnerConfig>Qw==</mrOwnerConfig><quoteGenerationService path='/run/qgs'/></launchSecurity>");
  for (const auto& [key, value] : {std::pair{"attributes", "0x10000001"},
                                   {"mrconfigid", "QQ=="},
                                   {"mrowner", "Qg=="},
                                   {"mrownerconfig", "Qw=="},
                                   {"quote-generation-socket.type", "unix"},
                                   {"quote-generation-socket.path", "/run/qgs"}})
    EXPECT_EQ(tdx.value(key), value) << key;
  EXPECT_EQ(object("<launchSecurity type='tdx'><quoteGenerationService/></launchSecurity>")
                .value("quote-generation-socket.path"),
            "/var/run/tdx-qgs/qgs.socket");
}

// <driver iommufd=> came with libvirt 12.1, <iommufd> with 12.2 (NEWS.rst).
TEST(LibvirtDomain, GivesDevicesTheIommufdThatTheyOrTheDomainAskFor) {
  const auto has_iommufd = [](std::string_view domain, std::string_view device) {
    const auto config = parse_libvirt_domain(
        fmt::format("<domain type='kvm'><os><type machine='q35'>hvm</type></os>{}<devices>"
                    "<hostdev mode='subsystem' type='pci'>{}</hostdev></devices></domain>",
                    domain, device));
    EXPECT_TRUE(config);
    return std::ranges::any_of(config->command.options, [](const QemuOption& option) {
      return option.value("driver") == "vfio-pci" && option.value("iommufd");
    });
  };
  constexpr std::string_view domain = "<iommufd enabled='yes'/>";
  EXPECT_FALSE(has_iommufd("", ""));
  EXPECT_TRUE(has_iommufd("", "<driver iommufd='yes'/>"));
  EXPECT_TRUE(has_iommufd(domain, ""));
  EXPECT_FALSE(has_iommufd(domain, "<driver iommufd='no'/>"));
}

TEST(LibvirtDomain, IsJudgedByTheSameRules) {
  const struct {
    std::string_view from, to, rule;
  } changes[] = {
      {"bus='virtio'", "bus='virtio' removed='1'", ""},
      {"driver name='qemu' type='raw' iommu='on'", "driver iommu='off'", "flag-not-offered"},
      {"<model type='virtio'/>", "<model type='virtio-transitional'/>", "legacy-virtio"},
      {"<model type='virtio'/>", "<model type='e1000e'/>", "bounced-device"},
      {"<rom enabled='no'/>", "", "option-rom-before-encryption"},
      {"pc-q35-7.2", "pc-i440fx-7.2", "machine-without-pci-express"},
      {"<memballoon model='none'/>", "", "flag-not-acked"},
      {"<memballoon model='none'/>", "<memballoon model='virtio'/>", "flag-not-acked"},
      {"mode='host-passthrough'", "mode='custom'", "cpu-without-rdrand"},
      {"<hard_limit unit='GiB'>5", "<hard_limit>4194304", "memlock-exceeded"},
      {"<cbitpos>51", "<cbitpos>47", "c-bit-position"},
      {"0x0001", "0x0000", "policy-allows-debug"},
      {"type='kvm'", "type='qemu'", "needs-kvm"},
      {"<devices>", "<devices><rng model='virtio'/>", "host-provided-entropy"},
      {"<devices>", "<devices><hostdev mode='subsystem' type='pci'/>", "passed-through-device"},
      {"<devices>", "<devices><filesystem><driver type='virtiofs'/></filesystem>",
       "vhost-user-without-shared-memory"},
      {"<devices>", "<devices><memory model='nvdimm'/>", "nvdimm"},
      {"<devices>", "<devices><iommu model='intel'/>", "emulated-iommu"},
      {"<devices>", "<devices><shmem name='s'><model type='ivshmem-plain'/></shmem>", "ivshmem"},
      {"<devices>", "<devices><vsock model='virtio'/>", "vhost-sees-shared-pages-only"},
      {"<vcpu>4", "<maxMemory slots='4' unit='GiB'>16</maxMemory><vcpu>4", "memory-hotplug"},
      {"</domain>",
       "<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='defer'/></qemu:commandline></domain>",
       "migration-not-possible"},
  };
  for (const auto& [from, to, rule] : changes) {
    const auto names = found_in_xml(edit(good, from, to));
    if (rule.empty()) {
      EXPECT_THAT(names, IsEmpty()) << to;
    } else {
      EXPECT_THAT(names, Contains(std::string{rule})) << to;
    }
  }
}

TEST(LibvirtDomain, WithoutLaunchSecurityIsNotEncrypted) {
  std::string plain = good;
  plain.erase(plain.find("<launchSecurity"), plain.find("</domain>") - plain.find("<launchSecurity"));
  const auto findings = judged(plain);
  ASSERT_FALSE(findings.empty());
  EXPECT_STREQ(findings[0].rule->name.data(), "not-encrypted");
  EXPECT_THAT(findings[0].write, HasSubstr("<launchSecurity type='sev-snp'>"));
}

TEST(LibvirtDomain, MayLeaveOutWhatLibvirtAsksQemuFor) {
  EXPECT_THAT(
      found_in_xml(edit(edit(good, "<cbitpos>51</cbitpos>", ""), "<reducedPhysBits>1</reducedPhysBits>", "")),
      IsEmpty());
}

TEST(LibvirtDomain, OfSevEsAndSnpHasTheirRules) {
  const std::string es = edit(good, "0x0001", "5");
  EXPECT_THAT(found_in_xml(es), IsEmpty());
  EXPECT_THAT(found_in_xml(edit(es, "<vcpu>4", "<vcpu current='2'>4")), Contains("cpu-hotplug"));
  EXPECT_THAT(found_in_xml(edit(es, "<cpu ", "<features><smm state='on'/></features><cpu ")),
              Contains("smm-with-encrypted-state"));
  const std::string snp = edit(edit(good, "type='sev'", "type='sev-snp'"), "0x0001", "0x30000");
  EXPECT_THAT(found_in_xml(snp), Contains("pflash-with-snp-or-tdx"));
  EXPECT_THAT(found_in_xml(edit(snp, "type='pflash'", "type='rom'")), IsEmpty());
}

TEST(LibvirtDomain, NamesTheElement) {
  const auto findings = judged(edit(good, "<devices>",
                                    "<devices><disk><target bus='sata'/></disk>"
                                    "<disk><driver iommu='off'/><target bus='virtio'/></disk>"));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].where, "devices/disk[2]");
  EXPECT_EQ(findings[0].write, "<driver iommu='on'/>");
  EXPECT_THAT(std::string{findings[0].remedy(GuestLanguage::libvirt)}, HasSubstr("<driver iommu='on'/>"));
}

TEST(LibvirtDomain, IsRefusedIfItIsNone) {
  EXPECT_THAT(refusal("<domain"), HasSubstr("malformed at byte"));
  EXPECT_THAT(refusal(""), HasSubstr("malformed"));
  EXPECT_THAT(refusal("<network/>"), HasSubstr("<network>, not a <domain>"));
  EXPECT_THAT(refusal(edit(good, "x86_64", "s390x")), HasSubstr("s390x"));
  EXPECT_THAT(refusal(edit(good, ">4</memory>", ">much</memory>")), HasSubstr("<memory>"));
  EXPECT_THAT(refusal(edit(good, "</domain>",
                           "<qemu:commandline><qemu:arg value='-nosuch'/></qemu:commandline></domain>")),
              HasSubstr("-nosuch"));
}

TEST(LibvirtDomain, DoesNotExpandEntitiesAndIsBounded) {
  EXPECT_THAT(refusal("<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><domain>&b;</domain>"),
              HasSubstr("document type"));
  EXPECT_THAT(refusal(std::string(5u << 20, ' ')), HasSubstr("4 MiB"));
  std::string deep = "<domain type='kvm'>";
  for (int level = 0; level < 200'000; ++level) deep += "<a>";
  EXPECT_THAT(refusal(deep), HasSubstr("malformed"));
  for (int level = 0; level < 200'000; ++level) deep += "</a>";
  EXPECT_TRUE(parse_libvirt_domain(deep + "</domain>"));
}

TEST(LibvirtText, IsToldFromACommandLine) {
  EXPECT_TRUE(looks_like_xml("\n <?xml version='1.0'?><domain/>"));
  EXPECT_TRUE(looks_like_xml("\xef\xbb\xbf<domain/>"));
  EXPECT_FALSE(looks_like_xml("qemu-system-x86_64 -S"));
  EXPECT_FALSE(looks_like_xml(""));
}

}  // namespace
}  // namespace cbit::launch
