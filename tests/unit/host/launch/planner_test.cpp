#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/plan.hpp"
#include "support/launch_sites.hpp"

namespace cbit::launch {
namespace {

using namespace launch_sites;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Protection protections[] = {Protection::sev, Protection::sev_es, Protection::sev_snp,
                                      Protection::tdx};

LaunchPlan planned(const LaunchRequest& request, const LaunchSite& site = capable_site()) {
  const auto plan = plan_launch(request, site);
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? *plan : LaunchPlan{};
}

std::string refusal(const LaunchRequest& request, const LaunchSite& site = capable_site()) {
  const auto plan = plan_launch(request, site);
  EXPECT_FALSE(plan);
  return plan ? "" : plan.error().message + "\n" + plan.error().hint;
}

std::string property(const LaunchPlan& plan, std::string_view option, std::string_view key) {
  const QemuCommand command = command_of(plan);
  const QemuOption* found = command.last(option);
  if (found == nullptr) return "no such option";
  return std::string{found->value(key).value_or("no such property")};
}

// The object of the protection: the one that is no memory and no entropy.
const PlannedOption* guest_object(const LaunchPlan& plan) {
  for (const PlannedOption& option : plan.options)
    if (option.name == "object" && option.properties.front().value.ends_with("-guest")) return &option;
  return nullptr;
}

TEST(Planner, TakesTheStrongestThatTheHostHas) {
  LaunchSite site = capable_site();
  EXPECT_EQ(planned({}, site).protection, Protection::sev_snp);
  site.support.sev_snp = {.why_not = "iommu=pt"};
  EXPECT_EQ(planned({}, site).protection, Protection::sev_es);
  site.support.sev_es = {.why_not = "sev_es=N"};
  EXPECT_EQ(planned({}, site).protection, Protection::sev);
  site.support.sev = {.why_not = "sev=N"};
  const LaunchPlan tdx = planned({}, site);
  EXPECT_EQ(tdx.protection, Protection::tdx);
  ASSERT_EQ(tdx.candidates.size(), 4u);
  EXPECT_EQ(tdx.candidates[0].why_not, "iommu=pt");
  site.support.tdx = {.why_not = "no TDX"};
  const LaunchPlan none = planned({}, site);
  EXPECT_EQ(none.protection, Protection::none);
  EXPECT_EQ(guest_object(none), nullptr);
}

TEST(Planner, PassesOverWhatQemuOrTheFirmwareDoesNotHave) {
  LaunchSite site = capable_site();
  site.qemu = {7, 2};
  const LaunchPlan old = planned({}, site);
  EXPECT_EQ(old.protection, Protection::sev_es);
  EXPECT_EQ(old.candidates[0].why_not, "QEMU 7.2 does not have it; it came with QEMU 9.1");
  site = capable_site();
  site.firmware.front().sev_snp = false;
  EXPECT_EQ(planned({}, site).protection, Protection::sev_es);
  site.firmware.clear();
  EXPECT_EQ(planned({}, site).protection, Protection::none);
}

TEST(Planner, MakesPlansInWhichTheRulesFindNothing) {
  for (const Protection protection : protections) {
    const LaunchRequest request{.protection = protection,
                                .kernel = "/k",
                                .initrd = "/i",
                                .disks = {{.file = "/d"}},
                                .nets = {{}, {.kind = NetKind::tap, .vhost = true}},
                                .vsock_cid = 3};
    const LaunchPlan plan = planned(request);
    EXPECT_THAT(troubles(plan, capable_site()), IsEmpty()) << to_string(protection);
    EXPECT_THAT(plan.risks, IsEmpty());
  }
}

TEST(Planner, GivesEveryOptionAReasonAndASource) {
  for (const Protection protection : protections)
    for (const PlannedOption& option : planned({.protection = protection, .kernel = "/k"}).options) {
      EXPECT_FALSE(option.reason.why.empty()) << option.name;
      EXPECT_FALSE(option.reason.source.empty()) << option.name;
    }
}

TEST(Planner, TakesTheNumbersOfTheHostAndTheUsersFirst) {
  LaunchSite site = capable_site();
  site.support.c_bit = 47;
  site.support.reduced_phys_bits = 5;
  EXPECT_EQ(planned({.protection = Protection::sev}, site).c_bit, 47u);
  EXPECT_EQ(planned({.protection = Protection::sev, .c_bit = 51}, site).c_bit, 51u);
  EXPECT_EQ(planned({.protection = Protection::sev}, site).reduced_phys_bits, 1u) << "not the host's loss";
  EXPECT_EQ(planned({.protection = Protection::sev, .reduced_phys_bits = 5}, site).reduced_phys_bits, 5u);
  site.support.c_bit.reset();
  EXPECT_THAT(refusal({.protection = Protection::sev}, site), HasSubstr("--cbitpos"));
  const LaunchPlan forced = planned({.protection = Protection::sev, .force = true}, site);
  EXPECT_EQ(forced.c_bit, 51u);
  EXPECT_THAT(forced.risks, testing::ElementsAre(HasSubstr("cbitpos=51")));
}

TEST(Planner, RefusesWhatTheHostLacksUnlessForced) {
  LaunchSite site = capable_site();
  site.support.sev_snp = {.why_not = "iommu=pt forbids SNP", .remedy = "boot with iommu=nopt"};
  const std::string message = refusal({.protection = Protection::sev_snp}, site);
  EXPECT_THAT(message, HasSubstr("SEV-SNP cannot be used here: iommu=pt forbids SNP"));
  EXPECT_THAT(message, HasSubstr("boot with iommu=nopt"));
  const LaunchPlan forced = planned({.protection = Protection::sev_snp, .force = true}, site);
  EXPECT_THAT(troubles(forced, site), testing::ElementsAre("technology-not-usable"));
}

TEST(Planner, KeepsPolicyAndProtectionInAgreement) {
  EXPECT_EQ(planned({.protection = Protection::sev}).policy, 0x3u);
  EXPECT_EQ(planned({.protection = Protection::sev_es}).policy, 0x7u);
  EXPECT_EQ(planned({.protection = Protection::sev_snp}).policy, 0x30000u);
  EXPECT_EQ(planned({.protection = Protection::sev_es, .policy = 0x5}).policy, 0x5u);
  EXPECT_THAT(refusal({.protection = Protection::sev, .policy = 0x5}), HasSubstr("bit 2"));
  EXPECT_THAT(refusal({.protection = Protection::sev_es, .policy = 0x1}), HasSubstr("bit 2"));
  EXPECT_THAT(refusal({.protection = Protection::sev_snp, .policy = 0x10000}), HasSubstr("bit 17"));
  EXPECT_THAT(refusal({.protection = Protection::tdx, .policy = 1}), HasSubstr("--policy is of SEV guests"));
  EXPECT_THAT(refusal({.protection = Protection::sev, .policy = 1ull << 40}), HasSubstr("32 bits"));
}

TEST(Planner, MeasuresTheKernelWhereTheFirmwareHasRoomForItsHashes) {
  LaunchSite site = capable_site();
  const LaunchRequest request{.protection = Protection::sev, .kernel = "/k"};
  site.firmware = {ovmf_without_hashes};
  EXPECT_FALSE(planned(request, site).kernel_hashes);
  EXPECT_THAT(planned(request, site).remarks, testing::Contains(HasSubstr("no room for the hashes")));
  site.firmware = {ovmf};
  EXPECT_TRUE(planned(request, site).kernel_hashes);
  EXPECT_FALSE(planned({.protection = Protection::sev}, site).kernel_hashes) << "there is no kernel";
  site.qemu = {6, 1};
  EXPECT_FALSE(planned(request, site).kernel_hashes);
}

TEST(Planner, LeavesEncryptionOutAndKeepsTheDevices) {
  const LaunchRequest with{.protection = Protection::sev, .disks = {{.file = "/d"}}, .nets = {{}}};
  LaunchRequest without = with;
  without.protection = Protection::none;
  const QemuCommand encrypted = command_of(planned(with)), clear = command_of(planned(without));
  const auto values = [](const QemuCommand& command, std::string_view option) {
    std::vector<QemuOption> found;
    for (const QemuOption* each : command.all(option)) found.push_back(*each);
    return found;
  };
  EXPECT_EQ(values(encrypted, "device"), values(clear, "device"));
  EXPECT_EQ(values(encrypted, "drive"), values(clear, "drive"));
  EXPECT_EQ(protection_of(clear), Protection::none);
  EXPECT_THAT(planned(without).candidates, IsEmpty()) << "nobody asked for protection";
}

TEST(Planner, EmulatesTheProcessorOnlyWithoutProtection) {
  LaunchSite site = capable_site();
  site.support.kvm = {.why_not = "there is no /dev/kvm"};
  const LaunchPlan plan = planned({.protection = Protection::none}, site);
  EXPECT_EQ(property(plan, "accel", "accel"), "tcg");
  EXPECT_EQ(property(plan, "cpu", "model"), "max");
  EXPECT_THAT(plan.remarks, testing::Contains(HasSubstr("there is no /dev/kvm")));
  EXPECT_EQ(planned({}, site).protection, Protection::none);
  EXPECT_THAT(refusal({.protection = Protection::sev, .accelerator = Accelerator::tcg}),
              HasSubstr("--accel tcg"));
}

TEST(Planner, PutsTheFirmwareIntoFlashOnlyWhereThereIsOne) {
  EXPECT_EQ(property(planned({.protection = Protection::sev}), "drive", "if"), "pflash");
  EXPECT_EQ(property(planned({.protection = Protection::sev_snp}), "drive", "if"), "no such option");
  const QemuCommand snp = command_of(planned({.protection = Protection::sev_snp}));
  ASSERT_NE(snp.last("bios"), nullptr);
  EXPECT_EQ(snp.last("bios")->text, ovmf.path);
  const QemuCommand own = command_of(planned({.protection = Protection::none, .firmware = "default"}));
  EXPECT_EQ(own.last("bios"), nullptr);
  EXPECT_EQ(own.last("drive"), nullptr);
}

TEST(Planner, NamesDevicesOnceAndRefusesIdsThatQemuDoes) {
  const LaunchPlan plan = planned({.disks = {{.file = "/a"}, {.file = "/b"}, {.file = "/c", .id = "root"}}});
  EXPECT_EQ(plan.request.disks[0].id, "disk0");
  EXPECT_EQ(plan.request.disks[1].id, "disk1");
  EXPECT_EQ(plan.request.disks[2].id, "root");
  EXPECT_THAT(refusal({.disks = {{.file = "/a", .id = "x"}, {.file = "/b", .id = "x"}}}),
              HasSubstr("used twice"));
  EXPECT_THAT(refusal({.disks = {{.file = "/a", .id = "ram0"}}}), HasSubstr("used twice"));
  EXPECT_THAT(refusal({.disks = {{.file = "/a", .id = "0x"}}}), HasSubstr("no id for QEMU"));
}

TEST(Planner, RefusesContradictionsInTheRequest) {
  EXPECT_THAT(refusal({.initrd = "/i"}), HasSubstr("--initrd is given without a kernel"));
  EXPECT_THAT(refusal({.append = "quiet"}), HasSubstr("--append is given without a kernel"));
  EXPECT_THAT(refusal({.memory_bytes = 4097}), HasSubstr("whole MiB"));
  LaunchSite site = capable_site();
  site.qemu = {5, 2};
  EXPECT_THAT(refusal({}, site), HasSubstr("QEMU 5.2 is too old"));
}

TEST(Planner, HandsContradictoryOptionsOfTheUsersToTheRules) {
  LaunchRequest request{.protection = Protection::sev};
  request.extra = {
      {.name = "device", .properties = {{"driver", "virtio-scsi-pci"}, {"iommu_platform", "off"}}}};
  const LaunchSite site = capable_site();
  EXPECT_THAT(troubles(planned(request, site), site), testing::Not(IsEmpty()));
}

TEST(Planner, GivesAttestationToTheObjectThatHasIt) {
  const LaunchPlan snp =
      planned({.protection = Protection::sev_snp,
               .attestation = {.id_block = "QQ==", .id_auth = "Qg==", .host_data = "Qw==", .no_vcek = true}});
  const QemuOption object = option_of(*guest_object(snp));
  EXPECT_EQ(object.value("id-block"), "QQ==");
  EXPECT_EQ(object.value("id-auth"), "Qg==");
  EXPECT_EQ(object.value("host-data"), "Qw==");
  EXPECT_EQ(object.value("vcek-disabled"), "on");
  const LaunchPlan tdx = planned(
      {.protection = Protection::tdx, .attestation = {.mr_owner = "QQ==", .quote_socket = "vsock:2:4050"}});
  const QemuOption domain = option_of(*guest_object(tdx));
  EXPECT_EQ(domain.value("mrowner"), "QQ==");
  EXPECT_EQ(domain.value("quote-generation-socket.type"), "vsock");
  EXPECT_EQ(domain.value("quote-generation-socket.cid"), "2");
  EXPECT_EQ(domain.value("quote-generation-socket.port"), "4050");
  EXPECT_THAT(refusal({.protection = Protection::sev_es, .attestation = {.host_data = "Qw=="}}),
              HasSubstr("--protection sev-snp"));
  EXPECT_THAT(refusal({.protection = Protection::sev_snp, .attestation = {.quote_socket = "unix:/q"}}),
              HasSubstr("--protection tdx"));
}

TEST(Planner, BootsAnIgvmFileWithoutOtherFirmware) {
  const LaunchPlan plan =
      planned({.protection = Protection::sev_snp, .kernel = "/k", .igvm = "/coconut-qemu.igvm"});
  EXPECT_EQ(property(plan, "machine", "igvm-cfg"), "igvm0");
  EXPECT_FALSE(plan.firmware);
  EXPECT_FALSE(plan.kernel_hashes);
  EXPECT_EQ(command_of(plan).last("bios"), nullptr);
  EXPECT_THAT(troubles(plan, capable_site()), testing::ElementsAre("kernel-not-measured"));
  EXPECT_THAT(refusal({.protection = Protection::tdx, .igvm = "/i"}), HasSubstr("no trust domain"));
  EXPECT_THAT(refusal({.firmware = "/f", .igvm = "/i"}), HasSubstr("contradicts"));
  LaunchSite old = capable_site();
  old.qemu = {10, 0};
  EXPECT_THAT(refusal({.protection = Protection::sev_snp, .igvm = "/i"}, old), HasSubstr("QEMU 10.1"));
}

TEST(Planner, PassesDevicesThroughOverOneIommufd) {
  const LaunchPlan plan =
      planned({.protection = Protection::sev_snp, .passed_through = {"01:00.0", "0000:02:00.0"}});
  std::vector<std::string> functions, ports;
  unsigned iommufds = 0;
  for (const QemuOption& option : command_of(plan).options) {
    if (option.value("qom-type") == "iommufd") ++iommufds;
    if (option.value("driver") != "vfio-pci") continue;
    EXPECT_EQ(option.value("iommufd"), "iommufd0");
    functions.emplace_back(*option.value("host"));
    ports.emplace_back(*option.value("bus"));
  }
  EXPECT_EQ(iommufds, 1u);
  EXPECT_THAT(functions, testing::ElementsAre("01:00.0", "0000:02:00.0"));
  EXPECT_THAT(ports, testing::ElementsAre("port0", "port1"));
  EXPECT_THAT(troubles(plan, capable_site()), IsEmpty());
  LaunchSite old = capable_site();
  old.qemu = {10, 0};
  EXPECT_THAT(refusal({.protection = Protection::sev_snp, .passed_through = {"01:00.0"}}, old),
              HasSubstr("QEMU 10.1 does"));
  EXPECT_EQ(planned({.passed_through = {"01:00.0"}}, old).protection, Protection::sev_es);
}

}  // namespace
}  // namespace cbit::launch
