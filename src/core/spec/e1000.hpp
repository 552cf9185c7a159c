// Registers and descriptors of Intel's 82540EM gigabit Ethernet controller, as far as software that drives
// one has a use for them. Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual": 3 (descriptors), 5 (EEPROM), 13 (registers); names as there, and as in Linux 6.1,
// drivers/net/ethernet/intel/e1000/e1000_hw.h.
#pragma once

#include <cstdint>

namespace cbit::spec::e1000 {

inline constexpr std::uint16_t vendor = 0x8086;
inline constexpr std::uint16_t device = 0x100e;

inline constexpr std::uint64_t memory_bytes = 0x20000;  // of BAR 0
inline constexpr std::uint32_t registers_end = 0x6000;

namespace reg {
inline constexpr std::uint32_t ctrl = 0x0000;
inline constexpr std::uint32_t ctrl_dup = 0x0004;
inline constexpr std::uint32_t status = 0x0008;
inline constexpr std::uint32_t eecd = 0x0010;
inline constexpr std::uint32_t eerd = 0x0014;
inline constexpr std::uint32_t ctrl_ext = 0x0018;
inline constexpr std::uint32_t mdic = 0x0020;
inline constexpr std::uint32_t fcal = 0x0028;
inline constexpr std::uint32_t vet = 0x0038;
inline constexpr std::uint32_t icr = 0x00c0;
inline constexpr std::uint32_t itr = 0x00c4;
inline constexpr std::uint32_t ics = 0x00c8;
inline constexpr std::uint32_t ims = 0x00d0;
inline constexpr std::uint32_t imc = 0x00d8;
inline constexpr std::uint32_t rctl = 0x0100;
inline constexpr std::uint32_t fcttv = 0x0170;
inline constexpr std::uint32_t txcw = 0x0178;
inline constexpr std::uint32_t tctl = 0x0400;
inline constexpr std::uint32_t tipg = 0x0410;
inline constexpr std::uint32_t ait = 0x0458;
inline constexpr std::uint32_t ledctl = 0x0e00;
inline constexpr std::uint32_t pba = 0x1000;
inline constexpr std::uint32_t fcrtl = 0x2160;
inline constexpr std::uint32_t fcrth = 0x2168;
inline constexpr std::uint32_t rdbal = 0x2800;  // low, high, length; head and tail
inline constexpr std::uint32_t rdbah = 0x2804;
inline constexpr std::uint32_t rdlen = 0x2808;
inline constexpr std::uint32_t rdh = 0x2810;
inline constexpr std::uint32_t rdt = 0x2818;
inline constexpr std::uint32_t rdtr = 0x2820;
inline constexpr std::uint32_t radv = 0x282c;
inline constexpr std::uint32_t tdbal = 0x3800;
inline constexpr std::uint32_t tdbah = 0x3804;
inline constexpr std::uint32_t tdlen = 0x3808;
inline constexpr std::uint32_t tdh = 0x3810;
inline constexpr std::uint32_t tdt = 0x3818;
inline constexpr std::uint32_t tidv = 0x3820;
inline constexpr std::uint32_t tadv = 0x382c;
inline constexpr std::uint32_t statistics = 0x4000;  // cleared by a read
inline constexpr std::uint32_t gprc = 0x4074;
inline constexpr std::uint32_t gptc = 0x4080;
inline constexpr std::uint32_t gorcl = 0x4088;
inline constexpr std::uint32_t gotcl = 0x4090;
inline constexpr std::uint32_t tpr = 0x40d0;
inline constexpr std::uint32_t tpt = 0x40d4;
inline constexpr std::uint32_t statistics_end = 0x4128;
inline constexpr std::uint32_t rxcsum = 0x5000;
inline constexpr std::uint32_t mta = 0x5200;   // 128 words
inline constexpr std::uint32_t ral = 0x5400;   // 16 pairs
inline constexpr std::uint32_t vfta = 0x5600;  // 128 words
inline constexpr std::uint32_t wuc = 0x5800;
inline constexpr std::uint32_t manc = 0x5820;
}  // namespace reg

inline constexpr unsigned mta_words = 128;
inline constexpr unsigned ra_pairs = 16;
inline constexpr unsigned vfta_words = 128;
inline constexpr std::uint32_t ra_valid = 1u << 31;  // RAH.AV

namespace ctrl {
inline constexpr std::uint32_t fd = 1u << 0;
inline constexpr std::uint32_t slu = 1u << 6;
inline constexpr std::uint32_t speed_1000 = 1u << 9;
inline constexpr std::uint32_t rst = 1u << 26;
inline constexpr std::uint32_t vme = 1u << 30;
inline constexpr std::uint32_t phy_rst = 1u << 31;
}  // namespace ctrl

namespace status {
inline constexpr std::uint32_t fd = 1u << 0;
inline constexpr std::uint32_t lu = 1u << 1;
inline constexpr std::uint32_t speed_1000 = 1u << 7;
}  // namespace status

namespace eecd {
inline constexpr std::uint32_t sk = 1u << 0;
inline constexpr std::uint32_t cs = 1u << 1;
inline constexpr std::uint32_t di = 1u << 2;
inline constexpr std::uint32_t data_out = 1u << 3;
inline constexpr std::uint32_t req = 1u << 6;
inline constexpr std::uint32_t gnt = 1u << 7;
inline constexpr std::uint32_t pres = 1u << 8;
}  // namespace eecd

namespace eerd {
inline constexpr std::uint32_t start = 1u << 0;
inline constexpr std::uint32_t done = 1u << 4;
inline constexpr unsigned address_shift = 8;
inline constexpr unsigned data_shift = 16;
}  // namespace eerd

namespace mdic {
inline constexpr unsigned register_shift = 16;  // 5 bits
inline constexpr unsigned phy_shift = 21;       // 5 bits
inline constexpr std::uint32_t op_write = 1u << 26;
inline constexpr std::uint32_t op_read = 1u << 27;
inline constexpr std::uint32_t ready = 1u << 28;
inline constexpr std::uint32_t interrupt = 1u << 29;
inline constexpr std::uint32_t error = 1u << 30;
}  // namespace mdic

// ICR, ICS, IMS, IMC.
namespace interrupt {
inline constexpr std::uint32_t txdw = 1u << 0;
inline constexpr std::uint32_t txqe = 1u << 1;
inline constexpr std::uint32_t lsc = 1u << 2;
inline constexpr std::uint32_t rxdmt0 = 1u << 4;
inline constexpr std::uint32_t rxo = 1u << 6;
inline constexpr std::uint32_t rxt0 = 1u << 7;
inline constexpr std::uint32_t mdac = 1u << 9;
inline constexpr std::uint32_t all = 0x0001'ffff;
}  // namespace interrupt

namespace rctl {
inline constexpr std::uint32_t en = 1u << 1;
inline constexpr std::uint32_t upe = 1u << 3;
inline constexpr std::uint32_t mpe = 1u << 4;
inline constexpr unsigned rdmts_shift = 8;  // 2 bits
inline constexpr unsigned mo_shift = 12;    // 2 bits
inline constexpr std::uint32_t bam = 1u << 15;
inline constexpr unsigned bsize_shift = 16;  // 2 bits
inline constexpr std::uint32_t vfe = 1u << 18;
inline constexpr std::uint32_t bsex = 1u << 25;
inline constexpr std::uint32_t secrc = 1u << 26;
}  // namespace rctl

namespace tctl {
inline constexpr std::uint32_t en = 1u << 1;
inline constexpr std::uint32_t psp = 1u << 3;
}  // namespace tctl

// 3.3.3, 3.3.6 and 3.3.7: what the first 8 bytes are depends on the type; the bits are of the third word.
struct TxDescriptor {
  std::uint64_t address = 0;
  std::uint32_t lower = 0;
  std::uint32_t upper = 0;  // status, bits 3:0
};
static_assert(sizeof(TxDescriptor) == 16);

namespace txd {
inline constexpr std::uint32_t legacy_length = 0xffff;
inline constexpr unsigned legacy_cso_shift = 16;
inline constexpr std::uint32_t length = 0xf'ffff;
inline constexpr unsigned type_shift = 20;  // 4 bits: 0 context, 1 data
inline constexpr std::uint32_t eop = 1u << 24;
inline constexpr std::uint32_t ic = 1u << 26;  // legacy: insert a checksum
inline constexpr std::uint32_t rs = 1u << 27;
inline constexpr std::uint32_t dext = 1u << 29;
inline constexpr std::uint32_t vle = 1u << 30;
inline constexpr std::uint32_t tse = 1u << 26;        // data, context
inline constexpr std::uint32_t tucmd_ip = 1u << 25;   // context: IPv4
inline constexpr std::uint32_t tucmd_tcp = 1u << 24;  // context: TCP
inline constexpr std::uint32_t done = 1u << 0;        // of `upper`
inline constexpr unsigned legacy_css_shift = 8;
inline constexpr unsigned popts_shift = 8;
inline constexpr unsigned special_shift = 16;
inline constexpr std::uint8_t ixsm = 1;  // POPTS
inline constexpr std::uint8_t txsm = 2;
}  // namespace txd

// 3.2.3
struct RxDescriptor {
  std::uint64_t address = 0;
  std::uint16_t length = 0;
  std::uint16_t checksum = 0;
  std::uint8_t status = 0;
  std::uint8_t errors = 0;
  std::uint16_t special = 0;
};
static_assert(sizeof(RxDescriptor) == 16);

namespace rxd {
inline constexpr std::uint8_t dd = 1u << 0;
inline constexpr std::uint8_t eop = 1u << 1;
inline constexpr std::uint8_t ixsm = 1u << 2;  // no checksum was looked at
inline constexpr std::uint8_t vp = 1u << 3;
}  // namespace rxd

// 5.6: 64 words, whose sum is this.
inline constexpr unsigned eeprom_words = 64;
inline constexpr std::uint16_t eeprom_sum = 0xbaba;

}  // namespace cbit::spec::e1000
