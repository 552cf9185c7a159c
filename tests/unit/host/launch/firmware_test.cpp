#include "launch/firmware.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "support/firmware_image.hpp"

namespace cbit::launch {
namespace {

using namespace firmware_image;

TEST(Firmware, SaysWhatItsTableSays) {
  const auto image =
      build({{sev_es_reset_block, 4, 0x80b004}, {sev_metadata, 4}, {sev_hash_table, 8, 0x80bc00, 0x400}});
  const Firmware firmware = parse_firmware("OVMF.fd", image);
  EXPECT_EQ(firmware, (Firmware{.path = "OVMF.fd",
                                .bytes = image.size(),
                                .ovmf = true,
                                .sev_es = true,
                                .sev_snp = true,
                                .sev_hash_bytes = 0x400}));
  EXPECT_TRUE(boots(firmware, Protection::sev_snp));
  EXPECT_FALSE(boots(firmware, Protection::tdx));
  EXPECT_TRUE(has_room_for_hashes(firmware));
}

TEST(Firmware, WithTdxMetadataBootsATrustDomain) {
  const Firmware firmware =
      parse_firmware("OVMF.fd", build({{sev_metadata, 4, 0x52c}, {tdx_metadata, 4, 0x840}}));
  EXPECT_TRUE(firmware.tdx);
  EXPECT_TRUE(boots(firmware, Protection::tdx));
  EXPECT_FALSE(boots(firmware, Protection::sev_es));
}

TEST(Firmware, HasNoRoomForHashesWhereTheTableGivesNoAddress) {
  // Debian's OVMF has the entry, with zeros: QEMU refuses kernel-hashes=on with it.
  EXPECT_FALSE(has_room_for_hashes(parse_firmware("OVMF.fd", build({{sev_hash_table, 8, 0, 0x400}}))));
  EXPECT_FALSE(has_room_for_hashes(parse_firmware("OVMF.fd", build({{sev_hash_table, 8, 0x1000, 168}}))));
  EXPECT_FALSE(has_room_for_hashes(parse_firmware("OVMF.fd", build({{sev_hash_table, 4, 0x1000, 0}}))));
  EXPECT_TRUE(has_room_for_hashes(parse_firmware("OVMF.fd", build({{sev_hash_table, 8, 0x1000, 176}}))));
}

// target/i386/sev.c: sev_es_parse_reset_block(), sev_es_find_reset_vector().
TEST(Firmware, StartsFurtherProcessorsWhereTheResetBlockHasAnAddress) {
  EXPECT_FALSE(parse_firmware("OVMF.fd", build({{sev_es_reset_block, 4, 0}})).sev_es);
  // SNP guests start theirs in the same way.
  const Firmware without = parse_firmware("OVMF.fd", build({{sev_metadata, 4, 0x52c}}));
  EXPECT_FALSE(boots(without, Protection::sev_snp));
  EXPECT_TRUE(boots(without, Protection::sev));
}

TEST(Firmware, OfTheYear2020HasTheResetBlockAlone) {
  std::vector<std::byte> image(4096);
  put(image, 0x80b004, 4);
  put(image, 22, 2);
  put(image, sev_es_reset_block);
  image.resize(image.size() + 32);
  const Firmware firmware = parse_firmware("OVMF_CODE.fd", image);
  EXPECT_FALSE(firmware.ovmf);
  EXPECT_TRUE(boots(firmware, Protection::sev_es));
  EXPECT_FALSE(boots(firmware, Protection::sev_snp));
}

TEST(Firmware, WithoutATableBootsNoEncryptedGuest) {
  for (const std::size_t bytes : {0u, 1u, 49u, 50u, 262144u}) {
    const Firmware firmware = parse_firmware("bios.bin", std::vector<std::byte>(bytes));
    EXPECT_FALSE(firmware.ovmf);
    EXPECT_TRUE(boots(firmware, Protection::none));
    for (const Protection protection :
         {Protection::sev, Protection::sev_es, Protection::sev_snp, Protection::tdx})
      EXPECT_FALSE(boots(firmware, protection));
  }
}

TEST(Firmware, StopsAtAnEntryThatIsLongerThanTheTable) {
  auto image = build({{tdx_metadata, 4}, {sev_metadata, 4}});
  // The last entry's length, right before its GUID and the footer.
  const std::size_t length_at = image.size() - 32 - 18 - 18;
  image[length_at] = std::byte{0xff};
  image[length_at + 1] = std::byte{0xff};
  const Firmware firmware = parse_firmware("OVMF.fd", image);
  EXPECT_TRUE(firmware.ovmf);
  EXPECT_FALSE(firmware.sev_snp);
  EXPECT_FALSE(firmware.tdx);
}

TEST(Firmware, RefusesWhatIsNoFileAndWhatIsADisk) {
  EXPECT_EQ(read_firmware("/no/such/OVMF.fd").error().code, ExitCode::bad_input);
  EXPECT_NE(read_firmware("/").error().message.find("it is a folder"), std::string::npos);
  const std::string path = testing::TempDir() + "large.fd";
  std::ofstream{path}.seekp(firmware_bytes_max).put('x');
  EXPECT_NE(read_firmware(path).error().message.find("a firmware image has at most 16 MiB"),
            std::string::npos);
}

}  // namespace
}  // namespace cbit::launch
