// NVMe: registers, commands and structures that both sides agree on. NVM Express Base Specification 1.4; the
// same names and values stand in Linux's include/linux/nvme.h. Sizes in bytes; numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/reg.hpp"

namespace cbit::spec::nvme {

// ---- registers, 3.1 ----

enum class Reg : std::uint32_t {
  cap = 0x00,  // 8 bytes
  vs = 0x08,
  intms = 0x0c,
  intmc = 0x10,
  cc = 0x14,
  csts = 0x1c,
  nssr = 0x20,
  aqa = 0x24,
  asq = 0x28,
  asq_high = 0x2c,
  acq = 0x30,
  acq_high = 0x34,
};
inline constexpr std::uint32_t register_bytes = 0x38;
inline constexpr std::uint32_t doorbells = 0x1000;
inline constexpr std::uint32_t doorbell_bytes = 4;  // CAP.DSTRD is 0
inline constexpr std::uint32_t version_1_4 = 0x0001'0400;

struct Cap : Register<Cap, std::uint64_t> {
  using Mpsmax = Field<55, 52>;  // memory page: 2^(12 + n)
  using Mpsmin = Field<51, 48>;
  using CssNvm = Field<37, 37, bool>;
  using Dstrd = Field<35, 32>;
  using To = Field<31, 24>;  // in 500 ms
  using Cqr = Field<16, 16, bool>;
  using Mqes = Field<15, 0>;  // entries less one
};
static_assert(Cap{{std::uint64_t{1} << 37}}.get<Cap::CssNvm>());

struct Cc : Register<Cc, std::uint32_t> {
  using Iocqes = Field<23, 20>;  // entry: 2^n bytes
  using Iosqes = Field<19, 16>;
  using Shn = Field<15, 14>;
  using Ams = Field<13, 11>;
  using Mps = Field<10, 7>;
  using Css = Field<6, 4>;
  using En = Field<0, 0, bool>;
};

struct Csts : Register<Csts, std::uint32_t> {
  using Shst = Field<3, 2>;
  using Cfs = Field<1, 1, bool>;
  using Rdy = Field<0, 0, bool>;
};
inline constexpr std::uint32_t shutdown_complete = 2;  // Csts::Shst

struct Aqa : Register<Aqa, std::uint32_t> {
  using Acqs = Field<27, 16>;  // entries less one
  using Asqs = Field<11, 0>;
};

// ---- queue entries, 4.2 and 4.6 ----

inline constexpr std::uint32_t submission_log2 = 6;
inline constexpr std::uint32_t completion_log2 = 4;

struct Command {
  std::uint8_t opcode = 0;
  std::uint8_t flags = 0;  // Flags
  std::uint16_t cid = 0;
  std::uint32_t nsid = 0;
  std::uint32_t cdw2 = 0;
  std::uint32_t cdw3 = 0;
  std::uint64_t mptr = 0;
  std::uint64_t dptr[2] = {};  // two PRP entries, or an SGL descriptor
  std::uint32_t cdw10 = 0;
  std::uint32_t cdw11 = 0;
  std::uint32_t cdw12 = 0;
  std::uint32_t cdw13 = 0;
  std::uint32_t cdw14 = 0;
  std::uint32_t cdw15 = 0;
};
static_assert(sizeof(Command) == 64 && offsetof(Command, dptr) == 24 && offsetof(Command, cdw10) == 40);

struct Flags : Register<Flags, std::uint8_t> {
  using Psdt = Field<7, 6>;
  using Fuse = Field<1, 0>;
};
enum class Psdt : std::uint8_t { prp = 0, sgl_metadata_buffer = 1, sgl_metadata_segment = 2 };

struct Completion {
  std::uint32_t result = 0;
  std::uint32_t reserved = 0;
  std::uint16_t sq_head = 0;
  std::uint16_t sq_id = 0;
  std::uint16_t cid = 0;
  std::uint16_t status = 0;  // Status in bits 15:1, the phase tag in bit 0
};
static_assert(sizeof(Completion) == 16);

// Type and code, as in a completion's bits 11:1; and two flags of bits 15:14. 4.6.1.
using Status = std::uint16_t;
namespace status {
inline constexpr Status success = 0x000;
inline constexpr Status invalid_opcode = 0x001;
inline constexpr Status invalid_field = 0x002;
inline constexpr Status data_transfer_error = 0x004;
inline constexpr Status internal_error = 0x006;
inline constexpr Status abort_requested = 0x007;
inline constexpr Status invalid_namespace = 0x00b;
inline constexpr Status command_sequence = 0x00c;
inline constexpr Status sgl_invalid_segment = 0x00d;
inline constexpr Status sgl_invalid_count = 0x00e;
inline constexpr Status sgl_invalid_length = 0x00f;
inline constexpr Status sgl_invalid_type = 0x011;
inline constexpr Status prp_invalid_offset = 0x013;
inline constexpr Status write_protected = 0x020;
inline constexpr Status lba_range = 0x080;
inline constexpr Status cq_invalid = 0x100;
inline constexpr Status qid_invalid = 0x101;
inline constexpr Status queue_size = 0x102;
inline constexpr Status async_limit = 0x105;
inline constexpr Status invalid_vector = 0x108;
inline constexpr Status invalid_log_page = 0x109;
inline constexpr Status invalid_queue_deletion = 0x10c;
inline constexpr Status feature_not_saveable = 0x10d;
inline constexpr Status feature_not_changeable = 0x10e;
inline constexpr Status write_fault = 0x280;
inline constexpr Status read_error = 0x281;
inline constexpr Status compare_failed = 0x285;
inline constexpr Status more = 0x2000;  // the error log has an entry
inline constexpr Status do_not_retry = 0x4000;
}  // namespace status

// 4.4.
struct SglDescriptor {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  std::uint8_t reserved[3] = {};
  std::uint8_t type = 0;  // type in bits 7:4; sub type, 0 for an address, in 3:0
};
static_assert(sizeof(SglDescriptor) == 16);
namespace sgl {
inline constexpr std::uint8_t data_block = 0x00;
inline constexpr std::uint8_t bit_bucket = 0x10;
inline constexpr std::uint8_t segment = 0x20;
inline constexpr std::uint8_t last_segment = 0x30;
}  // namespace sgl

// ---- commands: 5 and 6 ----

enum class Admin : std::uint8_t {
  delete_sq = 0x00,
  create_sq = 0x01,
  get_log_page = 0x02,
  delete_cq = 0x04,
  create_cq = 0x05,
  identify = 0x06,
  abort = 0x08,
  set_features = 0x09,
  get_features = 0x0a,
  async_event = 0x0c,
};
enum class Io : std::uint8_t {
  flush = 0x00,
  write = 0x01,
  read = 0x02,
  compare = 0x05,
  write_zeroes = 0x08,
  dataset_management = 0x09,
};

inline constexpr std::uint32_t all_namespaces = 0xffff'ffff;

// Flags of dword 11 of Create I/O Completion Queue and Create I/O Submission Queue: 5.3, 5.4.
inline constexpr std::uint32_t queue_contiguous = 1u << 0;
inline constexpr std::uint32_t queue_interrupts = 1u << 1;

// Dword 12 of Read, Write, Compare, Write Zeroes: 6.
struct RwDword12 : Register<RwDword12, std::uint32_t> {
  using Fua = Field<30, 30, bool>;
  using Deac = Field<25, 25, bool>;  // of Write Zeroes
  using Nlb = Field<15, 0>;          // blocks less one
};

// 6.7.
struct DsmRange {
  std::uint32_t attributes = 0;
  std::uint32_t blocks = 0;
  std::uint64_t first = 0;
};
static_assert(sizeof(DsmRange) == 16);
inline constexpr std::uint32_t dsm_ranges_max = 256;
inline constexpr std::uint32_t dsm_deallocate = 1u << 2;  // dword 11

enum class Cns : std::uint8_t { ns = 0, controller = 1, active_namespaces = 2, ns_descriptors = 3 };

enum class LogPage : std::uint8_t { errors = 1, health = 2, firmware_slots = 3 };

enum class Feature : std::uint8_t {
  arbitration = 0x01,
  power_management = 0x02,
  temperature_threshold = 0x04,
  error_recovery = 0x05,
  volatile_write_cache = 0x06,
  number_of_queues = 0x07,
  interrupt_coalescing = 0x08,
  interrupt_vector = 0x09,
  write_atomicity = 0x0a,
  async_event = 0x0b,
};
inline constexpr std::uint32_t feature_save = 1u << 31;  // dword 10 of Set Features
// Dword 10 of Get Features, bits 10:8.
enum class FeatureSelect : std::uint8_t { current = 0, initial = 1, saved = 2, capabilities = 3 };
inline constexpr std::uint32_t feature_changeable = 1u << 2;
inline constexpr std::uint32_t feature_per_namespace = 1u << 1;

// 5.2: an event's type, what it is, and the log page that tells more, as dword 0 of the completion has them.
struct AsyncEvent {
  std::uint8_t type = 0;
  std::uint8_t info = 0;
  LogPage page{};
  friend bool operator==(const AsyncEvent&, const AsyncEvent&) = default;
};
inline constexpr AsyncEvent invalid_doorbell{0, 0x00, LogPage::errors};
inline constexpr AsyncEvent invalid_doorbell_value{0, 0x01, LogPage::errors};
inline constexpr AsyncEvent temperature_event{1, 0x01, LogPage::health};
inline constexpr std::uint32_t async_temperature = 1u << 1;   // of Feature::async_event
inline constexpr std::uint8_t warning_temperature = 1u << 1;  // of HealthLog::critical_warning

// ---- data structures: 5.14 and 5.15 ----

inline constexpr std::size_t identify_bytes = 4096;

struct PowerState {
  std::uint16_t max_power = 0;  // centiwatts
  std::uint8_t reserved[30] = {};
};
static_assert(sizeof(PowerState) == 32);

struct IdentifyController {
  std::uint16_t vid = 0;
  std::uint16_t ssvid = 0;
  char sn[20] = {};
  char mn[40] = {};
  char fr[8] = {};
  std::uint8_t rab = 0;
  std::uint8_t ieee[3] = {};
  std::uint8_t cmic = 0;
  std::uint8_t mdts = 0;
  std::uint16_t cntlid = 0;
  std::uint32_t ver = 0;
  std::uint8_t reserved84[27] = {};
  std::uint8_t cntrltype = 0;
  std::uint8_t reserved112[144] = {};
  std::uint16_t oacs = 0;
  std::uint8_t acl = 0;
  std::uint8_t aerl = 0;
  std::uint8_t frmw = 0;
  std::uint8_t lpa = 0;
  std::uint8_t elpe = 0;
  std::uint8_t npss = 0;
  std::uint8_t avscc = 0;
  std::uint8_t apsta = 0;
  std::uint16_t wctemp = 0;
  std::uint16_t cctemp = 0;
  std::uint8_t reserved270[242] = {};
  std::uint8_t sqes = 0;
  std::uint8_t cqes = 0;
  std::uint16_t maxcmd = 0;
  std::uint32_t nn = 0;
  std::uint16_t oncs = 0;
  std::uint16_t fuses = 0;
  std::uint8_t fna = 0;
  std::uint8_t vwc = 0;
  std::uint16_t awun = 0;
  std::uint16_t awupf = 0;
  std::uint8_t nvscc = 0;
  std::uint8_t nwpc = 0;
  std::uint16_t acwu = 0;
  std::uint16_t reserved534 = 0;
  std::uint32_t sgls = 0;
  std::uint8_t reserved540[228] = {};
  char subnqn[256] = {};
  std::uint8_t reserved1024[1024] = {};
  PowerState psd[32];
  std::uint8_t vendor[1024] = {};
};
static_assert(sizeof(IdentifyController) == identify_bytes);
static_assert(offsetof(IdentifyController, ver) == 80 && offsetof(IdentifyController, oacs) == 256);
static_assert(offsetof(IdentifyController, wctemp) == 266 && offsetof(IdentifyController, sqes) == 512);
static_assert(offsetof(IdentifyController, sgls) == 536 && offsetof(IdentifyController, subnqn) == 768);
static_assert(offsetof(IdentifyController, psd) == 2048);

namespace controller {
inline constexpr std::uint8_t type_io = 1;                     // CNTRLTYPE
inline constexpr std::uint8_t firmware_one_slot_fixed = 0x03;  // FRMW
inline constexpr std::uint8_t log_page_offset = 1u << 2;       // LPA
inline constexpr std::uint16_t compare = 1u << 0;              // ONCS
inline constexpr std::uint16_t dataset_management = 1u << 2;
inline constexpr std::uint16_t write_zeroes = 1u << 3;
inline constexpr std::uint16_t select_in_features = 1u << 4;
inline constexpr std::uint8_t write_cache_present = 1u << 0;   // VWC
inline constexpr std::uint8_t flush_all_namespaces = 3u << 1;  // takes all_namespaces
inline constexpr std::uint32_t sgl_any_alignment = 1u << 0;    // SGLS
inline constexpr std::uint32_t sgl_bit_bucket = 1u << 16;
}  // namespace controller

struct LbaFormat {
  std::uint16_t metadata_bytes = 0;
  std::uint8_t log2 = 0;
  std::uint8_t performance = 0;
};

struct IdentifyNamespace {
  std::uint64_t nsze = 0;  // blocks
  std::uint64_t ncap = 0;
  std::uint64_t nuse = 0;
  std::uint8_t nsfeat = 0;
  std::uint8_t nlbaf = 0;
  std::uint8_t flbas = 0;
  std::uint8_t reserved27[6] = {};
  std::uint8_t dlfeat = 0;
  std::uint8_t reserved34[65] = {};
  std::uint8_t nsattr = 0;
  std::uint8_t reserved100[28] = {};
  LbaFormat lbaf[16];
  std::uint8_t reserved192[3904] = {};
};
static_assert(sizeof(IdentifyNamespace) == identify_bytes);
static_assert(offsetof(IdentifyNamespace, dlfeat) == 33 && offsetof(IdentifyNamespace, nsattr) == 99);
static_assert(offsetof(IdentifyNamespace, lbaf) == 128);
inline constexpr std::uint8_t deallocated_reads_zeros = 0x01;  // DLFEAT
inline constexpr std::uint8_t write_zeroes_deallocates = 0x08;
inline constexpr std::uint8_t namespace_write_protected = 1u << 0;  // NSATTR

// One of a list of Cns::ns_descriptors, which one of type 0 ends.
inline constexpr std::uint8_t descriptor_uuid = 3;
inline constexpr std::uint8_t uuid_bytes = 16;

struct ErrorLogEntry {
  std::uint64_t count = 0;
  std::uint16_t sq_id = 0;
  std::uint16_t cid = 0;
  std::uint16_t status = 0;         // as in the completion
  std::uint16_t location = 0xffff;  // of the parameter: not told
  std::uint64_t lba = 0;
  std::uint32_t nsid = 0;
  std::uint8_t reserved[36] = {};
};
static_assert(sizeof(ErrorLogEntry) == 64);

struct Count128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};
struct HealthLog {
  std::uint8_t critical_warning = 0;
  std::uint8_t temperature[2] = {};  // kelvins
  std::uint8_t available_spare = 0;  // per cent
  std::uint8_t spare_threshold = 0;
  std::uint8_t percentage_used = 0;
  std::uint8_t reserved6[26] = {};
  Count128 data_units_read;  // of 1000 times 512 bytes, rounded up
  Count128 data_units_written;
  Count128 host_reads;
  Count128 host_writes;
  Count128 busy_minutes;
  Count128 power_cycles;
  Count128 power_on_hours;
  Count128 unsafe_shutdowns;
  Count128 media_errors;
  Count128 error_log_entries;
  std::uint8_t reserved192[320] = {};
};
static_assert(sizeof(HealthLog) == 512 && offsetof(HealthLog, data_units_read) == 32);

struct FirmwareSlotLog {
  std::uint8_t active = 0;
  std::uint8_t reserved1[7] = {};
  char revisions[7][8] = {};
  std::uint8_t reserved64[448] = {};
};
static_assert(sizeof(FirmwareSlotLog) == 512);

}  // namespace cbit::spec::nvme
