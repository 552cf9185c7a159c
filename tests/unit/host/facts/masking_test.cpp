#include "facts/masking.hpp"

#include <gtest/gtest.h>

#include <string>

namespace cbit::facts {
namespace {

TEST(Masking, KeepsTheParametersThatSayHowDmaIsSetUp) {
  const std::string line =
      "ro mem_encrypt=on iommu=pt amd_iommu=on swiotlb=65536,force kvm_amd.sev=1 console=ttyS0,115200\n";
  EXPECT_EQ(mask_command_line(line), (Masked{line, 0}));
}

TEST(Masking, MasksTheValuesOfEverythingElseAndKeepsTheNames) {
  EXPECT_EQ(mask_command_line("BOOT_IMAGE=/boot/vmlinuz root=UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427 ro "
                              "ip=10.0.0.2 api.token=hunter2\n"),
            (Masked{"BOOT_IMAGE=<masked> root=<masked> ro ip=<masked> api.token=<masked>\n", 4}));
}

TEST(Masking, CutsParametersAsTheKernelDoes) {
  EXPECT_EQ(mask_command_line("dyndbg=\"file a.c +p; secret\" ro"), (Masked{"dyndbg=<masked> ro", 1}));
  EXPECT_EQ(mask_command_line("\"secret words\" ro"), (Masked{"<masked> ro", 1}));
  EXPECT_EQ(mask_command_line("a=\"unfinished secret"), (Masked{"a=<masked>", 1}));
  EXPECT_EQ(mask_command_line("swiotlb=force -- --token hunter2\n"),
            (Masked{"swiotlb=force -- <masked>\n", 1}));
  EXPECT_EQ(mask_command_line(""), (Masked{"", 0}));
}

TEST(Masking, DoesNotTakeALongerNameForAHarmlessOne) {
  EXPECT_EQ(mask_command_line("memory_secret=1 mem=4G memx=2"),
            (Masked{"memory_secret=<masked> mem=4G memx=<masked>", 2}));
}

TEST(Masking, MasksHardwareAddressesAndUniqueIdentifiers) {
  EXPECT_EQ(mask_identifiers("eth0: 52:54:00:ab:CD:ef, up"), (Masked{"eth0: xx:xx:xx:xx:xx:xx, up", 1}));
  EXPECT_EQ(mask_identifiers("1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
            (Masked{"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", 1}));
  EXPECT_EQ(mask_identifiers("ec0d:9a03:00ca:2f60\n"), (Masked{"xxxx:xxxx:xxxx:xxxx\n", 1}));
  EXPECT_EQ(mask_identifiers("4c4c4544003510448052b4c04f384d32"), (Masked{std::string(32, 'x'), 1}));
  // Also where a word follows that is none of its digits.
  EXPECT_EQ(mask_identifiers("52:54:00:ab:cd:ef:0pa"), (Masked{"xx:xx:xx:xx:xx:xx:0pa", 1}));
  EXPECT_EQ(mask_identifiers("fe80::0pa"), (Masked{"xxxx::0pa", 1}));
}

TEST(Masking, LeavesAddressesOfDevicesAndMemoryAlone) {
  for (const std::string text :
       {"0000:00:04.0", "00001000-0009fbff : System RAM", "[mem 0x000000005f000000-0x000000007f000000]",
        "0000000000000000000000000000000000000000000000000000000000000000", "19:02:41", "0x8086", "f-",
        "a:b:c:d:e:f"})
    EXPECT_EQ(mask_identifiers(text), (Masked{text, 0})) << text;
}

TEST(Masking, MasksFilesThatAreAnIdentifier) {
  EXPECT_EQ(mask_file("/sys/class/dmi/id/product_serial", "VMware-56 4d\n"), (Masked{"<masked>\n", 1}));
  EXPECT_EQ(mask_file("/sys/class/net/eth0/address", "not even one\n"), (Masked{"<masked>\n", 1}));
  EXPECT_EQ(mask_file("/sys/class/dmi/id/product_name", "PowerEdge\n"), (Masked{"PowerEdge\n", 0}));
}

TEST(Masking, KeepsOnlyCapabilitiesOfAProcess) {
  EXPECT_EQ(mask_file("/proc/self/status", "Name:\tcbit\nUid:\t1000\nCapEff:\t00000000a80425fb\n"),
            (Masked{"CapEff:\t00000000a80425fb\n", 2}));
}

TEST(Masking, HidesWhereTheKernelLies) {
  EXPECT_EQ(mask_file("/proc/iomem", "00100000-bfffffff : System RAM\n  01000000-022090c7 : Kernel code\n"),
            (Masked{"00100000-bfffffff : System RAM\n", 1}));
}

TEST(Masking, MasksTheTextsOfAConfiguration) {
  EXPECT_EQ(mask_file("/boot/config-6.1.0",
                      "CONFIG_SWIOTLB=y\nCONFIG_DEFAULT_HOSTNAME=\"prod-7\"\nCONFIG_CMDLINE=\"\"\n"),
            (Masked{"CONFIG_SWIOTLB=y\nCONFIG_DEFAULT_HOSTNAME=\"<masked>\"\nCONFIG_CMDLINE=\"\"\n", 1}));
}

TEST(Masking, KeepsOfAKernelLogWhatIsNeededAndNotWhoBuiltIt) {
  const Masked masked = mask_kernel_log(
      "[    0.000000] Linux version 6.1.0 (me@secret) (gcc 12)\n"
      "[    1.000000] usb 1-1: SerialNumber: 4C530001\n"
      "[    2.000000] Memory Encryption Features active: AMD SEV\n");
  EXPECT_EQ(masked.text,
            "[    0.000000] Linux version 6.1.0 (<masked>)\n"
            "[    2.000000] Memory Encryption Features active: AMD SEV\n");
  EXPECT_EQ(masked.values, 1u);
}

}  // namespace
}  // namespace cbit::facts
