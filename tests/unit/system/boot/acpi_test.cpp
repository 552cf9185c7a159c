// Expected values: ACPI Specification 6.3, 5.2 and 20.2; offsets are written as in its tables. iasl, where it
// is there, is the judge of what it understands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

#include "boot/acpi/aml.hpp"
#include "boot/acpi/tables.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;

constexpr PhysAddr end_of_tables{0x400'0000};

// Tables by signature, as a kernel finds them from the RSDP on.
class AcpiMemory {
 public:
  explicit AcpiMemory(const PcDescription& pc = {}) : tables_{make_acpi_tables(pc, end_of_tables)} {
    const auto xsdt = load<std::uint64_t>(tables_.rsdp, 24);
    const Bytes root = table_at(xsdt);
    for (std::size_t at = 36; at + 8 <= root.size(); at += 8) {
      const Bytes table = table_at(load<std::uint64_t>(root, at));
      found_[signature(table)] = table;
    }
    found_["DSDT"] = table_at(load<std::uint64_t>(found_["FACP"], 140));
  }
  [[nodiscard]] static std::string signature(ConstByteSpan table) {
    return {reinterpret_cast<const char*>(table.data()), 4};
  }
  [[nodiscard]] Bytes table_at(std::uint64_t at) const {
    const std::uint64_t offset = at - tables_.tables.value();
    EXPECT_LT(offset, tables_.bytes.size());
    const auto length = load<std::uint32_t>(tables_.bytes, offset + 4);
    const auto first = tables_.bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    return {first, first + length};
  }
  [[nodiscard]] const Bytes& operator[](const std::string& signature) { return found_[signature]; }
  [[nodiscard]] const std::map<std::string, Bytes>& all() const { return found_; }
  [[nodiscard]] const AcpiTables& tables() const { return tables_; }

 private:
  AcpiTables tables_;
  std::map<std::string, Bytes> found_;
};

unsigned sum(ConstByteSpan bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), 0u,
                         [](unsigned total, std::byte b) { return total + std::to_integer<unsigned>(b); }) &
         0xff;
}

TEST(AcpiTables, AllSumToZero) {
  AcpiMemory acpi;
  EXPECT_EQ(sum(ConstByteSpan{acpi.tables().rsdp}.first(20)), 0u);
  EXPECT_EQ(sum(acpi.tables().rsdp), 0u);
  for (const auto& [signature, table] : acpi.all()) EXPECT_EQ(sum(table), 0u) << signature;
  for (const char* signature : {"FACP", "APIC", "MCFG", "SSDT", "DSDT"})
    EXPECT_TRUE(acpi.all().contains(signature)) << signature;
}

TEST(AcpiTables, EndWhereTheyShall) {
  const AcpiMemory acpi;
  EXPECT_EQ(acpi.tables().tables + acpi.tables().bytes.size(), end_of_tables);
  EXPECT_EQ(acpi.tables().facs + page_size, acpi.tables().tables);
  EXPECT_TRUE(acpi.tables().facs.is_aligned(page_size));
}

TEST(AcpiTables, AreFoundByTheRsdtAsByTheXsdt) {
  const AcpiMemory acpi;
  const Bytes& rsdp = acpi.tables().rsdp;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(rsdp.data()), 8), "RSD PTR ");
  EXPECT_EQ(load<std::uint8_t>(rsdp, 15), 2);
  EXPECT_EQ(load<std::uint32_t>(rsdp, 20), 36u);
  const Bytes rsdt = acpi.table_at(load<std::uint32_t>(rsdp, 16));
  const Bytes xsdt = acpi.table_at(load<std::uint64_t>(rsdp, 24));
  ASSERT_EQ((rsdt.size() - 36) / 4, (xsdt.size() - 36) / 8);
  for (std::size_t i = 0; i < (xsdt.size() - 36) / 8; ++i)
    EXPECT_EQ(load<std::uint32_t>(rsdt, 36 + i * 4), load<std::uint64_t>(xsdt, 36 + i * 8));
}

TEST(Fadt, SaysWhatHardwareThereIsAndWhatIsNot) {
  AcpiMemory acpi;
  const Bytes& fadt = acpi["FACP"];
  ASSERT_EQ(fadt.size(), 276u);
  EXPECT_EQ(load<std::uint32_t>(fadt, 36), acpi.tables().facs.value());
  EXPECT_EQ(load<std::uint64_t>(fadt, 132), 0u);  // X_FIRMWARE_CTRL, because FIRMWARE_CTRL is there
  EXPECT_EQ(load<std::uint32_t>(fadt, 40), load<std::uint64_t>(fadt, 140));
  EXPECT_EQ(load<std::uint16_t>(fadt, 46), 9u);
  EXPECT_EQ(load<std::uint32_t>(fadt, 48), 0u);  // no SMI command: always in ACPI mode
  EXPECT_EQ(load<std::uint32_t>(fadt, 56), 0x600u);
  EXPECT_EQ(load<std::uint32_t>(fadt, 64), 0x604u);
  EXPECT_EQ(load<std::uint32_t>(fadt, 76), 0x608u);
  EXPECT_EQ(load<std::uint8_t>(fadt, 88), 4);
  EXPECT_EQ(load<std::uint8_t>(fadt, 89), 2);
  EXPECT_EQ(load<std::uint8_t>(fadt, 91), 4);
  EXPECT_EQ(load<std::uint8_t>(fadt, 92), 0);        // no GPEs
  EXPECT_EQ(load<std::uint8_t>(fadt, 108), 0x32);    // century
  EXPECT_EQ(load<std::uint16_t>(fadt, 109), 0b101);  // legacy devices, no VGA; no 8042
  const auto flags = load<std::uint32_t>(fadt, 112);
  EXPECT_EQ(flags & 1u, 1u);                    // WBINVD
  EXPECT_EQ(flags >> 4 & 3u, 3u);               // neither button is a fixed feature
  EXPECT_EQ(flags >> 10 & 1u, 1u);              // RESET_REG
  EXPECT_EQ(flags >> 8 & 1u, 1u);               // 32 bits of PM timer
  EXPECT_EQ(flags >> 20 & 1u, 0u);              // not hardware-reduced
  EXPECT_EQ(load<std::uint8_t>(fadt, 116), 1);  // in I/O space
  EXPECT_EQ(load<std::uint64_t>(fadt, 120), 0xcf9u);
  EXPECT_EQ(load<std::uint8_t>(fadt, 128), 0x06);
  EXPECT_EQ(load<std::uint64_t>(fadt, 152), 0x600u);
  EXPECT_EQ(load<std::uint64_t>(fadt, 176), 0x604u);
  EXPECT_EQ(load<std::uint64_t>(fadt, 212), 0x608u);
}

TEST(Facs, IsASharedPageOfItsOwn) {
  const AcpiMemory acpi;
  EXPECT_EQ(acpi.tables().fixed.size(), page_size);
  EXPECT_EQ(AcpiMemory::signature(acpi.tables().fixed), "FACS");
  EXPECT_EQ(load<std::uint32_t>(acpi.tables().fixed, 4), 64u);
}

struct MadtEntries {
  std::map<unsigned, std::vector<Bytes>> by_type;
  explicit MadtEntries(const Bytes& madt) {
    for (std::size_t at = 44; at + 2 <= madt.size();) {
      const auto length = load<std::uint8_t>(madt, at + 1);
      const auto first = madt.begin() + static_cast<std::ptrdiff_t>(at);
      by_type[load<std::uint8_t>(madt, at)].emplace_back(first, first + length);
      at += length;
    }
  }
};

TEST(Madt, ListsProcessorsAndInterruptControllers) {
  AcpiMemory acpi{{.cpus = 3}};
  const Bytes& madt = acpi["APIC"];
  EXPECT_EQ(load<std::uint32_t>(madt, 36), 0xfee0'0000u);
  EXPECT_EQ(load<std::uint32_t>(madt, 40), 1u);  // 8259s, too
  MadtEntries entries{madt};
  ASSERT_EQ(entries.by_type[0].size(), 3u);
  for (unsigned cpu = 0; cpu < 3; ++cpu) {
    EXPECT_EQ(load<std::uint8_t>(entries.by_type[0][cpu], 3), cpu);
    EXPECT_EQ(load<std::uint32_t>(entries.by_type[0][cpu], 4), 1u);
  }
  ASSERT_EQ(entries.by_type[1].size(), 1u);
  EXPECT_EQ(load<std::uint32_t>(entries.by_type[1][0], 4), 0xfec0'0000u);
  EXPECT_EQ(load<std::uint32_t>(entries.by_type[1][0], 8), 0u);
  ASSERT_EQ(entries.by_type[2].size(), 2u);
  EXPECT_EQ(load<std::uint8_t>(entries.by_type[2][0], 3), 0);  // ISA's timer is GSI 2
  EXPECT_EQ(load<std::uint32_t>(entries.by_type[2][0], 4), 2u);
  EXPECT_EQ(load<std::uint8_t>(entries.by_type[2][1], 3), 9);
  EXPECT_EQ(load<std::uint16_t>(entries.by_type[2][1], 8), 0b1101);  // level, active high
  ASSERT_EQ(entries.by_type[4].size(), 1u);
  EXPECT_EQ(load<std::uint8_t>(entries.by_type[4][0], 2), 0xff);
  EXPECT_EQ(load<std::uint8_t>(entries.by_type[4][0], 5), 1);  // LINT1
}

TEST(Madt, GivesProcessorsFrom255OnAnX2ApicEntry) {
  AcpiMemory acpi{{.cpus = 256}};
  MadtEntries entries{acpi["APIC"]};
  EXPECT_EQ(entries.by_type[0].size(), 255u);
  ASSERT_EQ(entries.by_type[9].size(), 1u);
  EXPECT_EQ(load<std::uint32_t>(entries.by_type[9][0], 4), 255u);
  EXPECT_EQ(load<std::uint32_t>(entries.by_type[9][0], 12), 255u);
  EXPECT_EQ(entries.by_type[10].size(), 1u);
}

TEST(Mcfg, CoversTheConfigurationSpace) {
  AcpiMemory acpi{{.ecam = {PhysAddr{0xb000'0000}, 64 << 20}}};
  const Bytes& mcfg = acpi["MCFG"];
  ASSERT_EQ(mcfg.size(), 60u);
  EXPECT_EQ(load<std::uint64_t>(mcfg, 44), 0xb000'0000u);
  EXPECT_EQ(load<std::uint8_t>(mcfg, 54), 0);
  EXPECT_EQ(load<std::uint8_t>(mcfg, 55), 63);
}

// ---- AML ----

std::string hex_of(const AmlWriter& aml) { return to_hex(aml.bytes()); }

TEST(AmlWriter, WritesIntegersAsShortAsTheyGo) {
  const auto integer = [](std::uint32_t value) {
    AmlWriter aml;
    aml.name_integer("\\ABCD", value);
    return hex_of(aml).substr(12);
  };
  EXPECT_EQ(integer(0), "00");
  EXPECT_EQ(integer(1), "01");
  EXPECT_EQ(integer(2), "0a02");
  EXPECT_EQ(integer(0x1234), "0b3412");
  EXPECT_EQ(integer(0x1234'5678), "0c78563412");
}

TEST(AmlWriter, WritesPathsAndPackages) {
  AmlWriter aml;
  aml.name_package("\\_S5_", std::array<std::uint32_t, 2>{5, 1});
  EXPECT_EQ(hex_of(aml),
            "08"
            "5c5f53355f"
            "12"
            "05"
            "02"
            "0a05"
            "01");
  AmlWriter deep;
  deep.name_integer("\\_SB_.PCI0._UID", 0);
  EXPECT_EQ(hex_of(deep),
            "08"
            "5c2f03"
            "5f53425f"
            "50434930"
            "5f554944"
            "00");
  AmlWriter two;
  two.name_integer("\\_SB_.PCI0", 0);
  EXPECT_EQ(hex_of(two),
            "08"
            "5c2e"
            "5f53425f"
            "50434930"
            "00");
}

// Compiles ASL and returns what is behind the table's header; empty without iasl.
Bytes compiled(std::string_view asl) {
  if (std::system("iasl -v > /dev/null 2>&1") != 0) return {};
  const fs::path folder = fs::path{testing::TempDir()} / "cbit-acpi-test";
  fs::create_directories(folder);
  std::ofstream{folder / "t.asl"} << asl;
  const std::string command = "cd '" + folder.string() + "' && iasl -on t.asl > t.log 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream file{folder / "t.aml", std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
  fs::remove_all(folder);
  const ConstByteSpan body = std::as_bytes(std::span{bytes}).subspan(36);
  return {body.begin(), body.end()};
}

TEST(AmlWriter, WritesWhatIaslWrites) {
  std::string asl =
      "DefinitionBlock (\"t.aml\", \"SSDT\", 2, \"T\", \"T\", 1) {\n"
      "External (\\_SB.PCI0, DeviceObj)\n"
      "Name (\\ABCD, 0xC0000000)\nName (\\_S5, Package () {7, 7, 0, 0})\n"
      "Name (\\_SB.PCI0._PRT, Package () {\n";
  AmlWriter aml;
  aml.name_integer("\\ABCD", 0xc000'0000);
  aml.name_package("\\_S5_", std::array<std::uint32_t, 4>{7, 7, 0, 0});
  std::vector<AmlWriter::Row> rows;
  for (std::uint32_t i = 0; i < 100; ++i) {
    rows.push_back({i << 16 | 0xffff, i % 4, 0, 16 + i});
    asl += "Package () {" + std::to_string(rows.back()[0]) + ", " + std::to_string(i % 4) + ", 0, " +
           std::to_string(16 + i) + "}" + (i < 99 ? ",\n" : "})\n}\n");
  }
  aml.name_table("\\_SB_.PCI0._PRT", rows);
  const Bytes expected = compiled(asl);
  if (expected.empty()) GTEST_SKIP() << "iasl is not installed";
  // What iasl makes of External lines comes first.
  EXPECT_THAT(to_hex(expected), testing::EndsWith(to_hex(aml.bytes())));
}

TEST(Ssdt, RoutesEachPinOfEachSlot) {
  const PcDescription pc{.pci_gsi = 20, .pci_gsis = 4};
  EXPECT_EQ(pc.gsi_of(0, 0), 20);
  EXPECT_EQ(pc.gsi_of(0, 3), 23);
  EXPECT_EQ(pc.gsi_of(1, 3), 20);
  EXPECT_EQ(pc.gsi_of(31, 1), 20);
}

// 48882, 5.2: as check_ivrs_checksum() and find_last_devid_acpi() of drivers/iommu/amd/init.c read it.
TEST(Ivrs, HasABlockOfEachTypeForTheIommu) {
  EXPECT_FALSE(AcpiMemory{}.all().contains("IVRS")) << "there is none";
  AcpiMemory acpi{{.amd_iommu = AmdIommuDescription{.function = 0x10,
                                                    .capability = 0x40,
                                                    .registers = PhysAddr{0xfed8'0000},
                                                    .features = 0x8c6,
                                                    .ioapic = 0xa0}}};
  const Bytes& ivrs = acpi["IVRS"];
  ASSERT_EQ(ivrs.size(), 48u + 24 + 16 + 40 + 16);
  EXPECT_EQ(sum(ivrs), 0u);
  EXPECT_EQ(load<std::uint32_t>(ivrs, 36), 0x0020'3041u) << "EFRSup, 48 bits, 48 bits, 64 bits";
  std::size_t at = 48;
  for (const auto& [type, header] : {std::pair{0x10, 24u}, std::pair{0x11, 40u}}) {
    EXPECT_EQ(load<std::uint8_t>(ivrs, at), type);
    EXPECT_EQ(load<std::uint16_t>(ivrs, at + 2), header + 16);
    EXPECT_EQ(load<std::uint16_t>(ivrs, at + 4), 0x10) << "00:02.0";
    EXPECT_EQ(load<std::uint16_t>(ivrs, at + 6), 0x40);
    EXPECT_EQ(load<std::uint64_t>(ivrs, at + 8), 0xfed8'0000u);
    EXPECT_EQ(load<std::uint32_t>(ivrs, at + header), 0x0000'0803u) << "from 00:01.0";
    EXPECT_EQ(load<std::uint32_t>(ivrs, at + header + 4), 0x0000'ff04u) << "to 00:1f.7";
    EXPECT_EQ(load<std::uint64_t>(ivrs, at + header + 8), 0x0100'a000'0000'0048u) << "IOAPIC 0 is 00:14.0";
    at += header + 16;
  }
  EXPECT_EQ(load<std::uint32_t>(ivrs, 48 + 20), 0x8000'0061u) << "HATS, GASup, IASup, XTSup";
  EXPECT_EQ(load<std::uint64_t>(ivrs, 88 + 24), 0x8c6u) << "the feature register";
}

// ACPI 6.4, 5.2.32: as acpi_viot_init() and viot_parse_node() of drivers/acpi/viot.c read it.
TEST(Viot, PutsAllFunctionsBehindTheVirtioIommu) {
  EXPECT_FALSE(AcpiMemory{}.all().contains("VIOT")) << "there is none";
  AcpiMemory acpi{{.virtio_iommu = RequesterId{0x20}}};
  const Bytes& viot = acpi["VIOT"];
  ASSERT_EQ(viot.size(), 48u + 16 + 24);
  EXPECT_EQ(sum(viot), 0u);
  EXPECT_EQ(load<std::uint32_t>(viot, 36), 48u << 16 | 2u) << "two nodes, from offset 48";
  EXPECT_EQ(load<std::uint32_t>(viot, 48), 16u << 16 | 3u);
  EXPECT_EQ(load<std::uint16_t>(viot, 48 + 6), 0x20) << "the virtio-iommu's function";
  EXPECT_EQ(load<std::uint32_t>(viot, 64), 24u << 16 | 1u);
  EXPECT_EQ(load<std::uint32_t>(viot, 64 + 4), 8u) << "the endpoint of 00:01.0";
  EXPECT_EQ(load<std::uint32_t>(viot, 64 + 12), 0xffu << 16 | 8u) << "00:01.0 to 00:1f.7";
  EXPECT_EQ(load<std::uint16_t>(viot, 64 + 16), 48) << "behind the node at 48";
}

// iasl -d takes DSDT and SSDT apart, finds no error, and shows the names with their values.
TEST(AcpiTables, AreUnderstoodByIasl) {
  if (std::system("iasl -v > /dev/null 2>&1") != 0) GTEST_SKIP() << "iasl is not installed";
  AcpiMemory acpi{{.pci_memory = {PhysAddr{0xc000'0000}, 0x1000'0000},
                   .sleep_type_s5 = 5,
                   .amd_iommu = AmdIommuDescription{.registers = PhysAddr{0xfed8'0000}, .features = 0x8c6}}};
  const fs::path folder = fs::path{testing::TempDir()} / "cbit-acpi-tables";
  fs::create_directories(folder);
  const auto write = [&](const char* name, const Bytes& table) {
    std::ofstream file{folder / name, std::ios::binary};
    file.write(reinterpret_cast<const char*>(table.data()), static_cast<std::streamsize>(table.size()));
  };
  write("dsdt.dat", acpi["DSDT"]);
  write("ssdt.dat", acpi["SSDT"]);
  for (const char* signature : {"FACP", "APIC", "MCFG", "IVRS"})
    write((std::string{signature} + ".dat").c_str(), acpi[signature]);
  const auto run = [&](const std::string& words) {
    return std::system(("cd '" + folder.string() + "' && " + words + " > log 2>&1").c_str());
  };
  const auto text_of = [&](const char* name) {
    std::ifstream file{folder / name};
    return std::string{std::istreambuf_iterator<char>{file}, {}};
  };
  EXPECT_EQ(run("iasl -e ssdt.dat -d dsdt.dat"), 0) << text_of("log");
  EXPECT_THAT(text_of("dsdt.dsl"), testing::HasSubstr("Device (PCI0)"));
  EXPECT_EQ(run("iasl -e dsdt.dat -d ssdt.dat"), 0) << text_of("log");
  const std::string ssdt = text_of("ssdt.dsl");
  EXPECT_THAT(ssdt, testing::HasSubstr("Name (\\PMAX, 0xCFFFFFFF)"));
  EXPECT_THAT(ssdt, testing::HasSubstr("Name (\\PLEN, 0x10000000)"));
  EXPECT_THAT(ssdt, testing::HasSubstr("0x001FFFFF"));  // slot 31
  for (const char* signature : {"FACP", "APIC", "MCFG", "IVRS"}) {
    EXPECT_EQ(run(std::string{"iasl -d "} + signature + ".dat"), 0);
    EXPECT_THAT(text_of("log"), testing::Not(testing::HasSubstr("rror"))) << signature;
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace cbit::boot
