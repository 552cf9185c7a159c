#include "dev/nvme/identify.hpp"

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/format.hpp"
#include "base/random.hpp"
#include "dev/nvme/features.hpp"

namespace cbit::dev {
namespace {

using namespace spec::nvme;

constexpr std::string_view model = "cbit NVMe controller";
constexpr std::string_view firmware = "1.0";

// 1.5: ASCII, padded with spaces.
template <std::size_t size>
void put_text(char (&field)[size], std::string_view text) {
  std::ranges::fill(field, ' ');
  std::ranges::copy(text.substr(0, size), field);
}

std::string_view text_of(const auto& field) { return {std::data(field), std::size(field)}; }

// The name that 7.9 makes of the numbers and texts that any controller has.
std::string qualified_name(const IdentifyController& of) {
  return fmt::format("nqn.2014.08.org.nvmexpress:{:04x}{:04x}{}{}", of.vid, of.ssvid, text_of(of.sn),
                     text_of(of.mn));
}

}  // namespace

IdentifyController identify_controller(const NvmeSelf& self) {
  IdentifyController is;
  is.vid = is.ssvid = nvme_pci_vendor;
  put_text(is.sn, self.serial);
  put_text(is.mn, model);
  put_text(is.fr, firmware);
  is.mdts = self.mdts;
  is.ver = version_1_4;
  is.cntrltype = controller::type_io;
  is.acl = nvme_abort_limit;
  is.aerl = nvme_async_event_limit;
  is.frmw = controller::firmware_one_slot_fixed;
  is.lpa = controller::log_page_offset;
  is.elpe = nvme_error_log_entries;
  is.wctemp = nvme_temperature_warning;
  is.cctemp = nvme_temperature_critical;
  is.sqes = submission_log2 << 4 | submission_log2;
  is.cqes = completion_log2 << 4 | completion_log2;
  is.nn = 1;
  is.oncs = controller::compare | controller::dataset_management | controller::write_zeroes |
            controller::select_in_features;
  is.vwc = controller::write_cache_present | controller::flush_all_namespaces;
  is.sgls = controller::sgl_any_alignment | controller::sgl_bit_bucket;
  std::ranges::copy(qualified_name(is), is.subnqn);
  is.psd[0].max_power = 2500;
  return is;
}

IdentifyNamespace identify_namespace(const NvmeNamespace& of) {
  IdentifyNamespace is;
  is.nsze = is.ncap = is.nuse = of.blocks();
  is.dlfeat = deallocated_reads_zeros | write_zeroes_deallocates;
  is.nsattr = of.read_only() ? namespace_write_protected : 0;
  is.lbaf[0].log2 = static_cast<std::uint8_t>(std::countr_zero(of.block_bytes()));
  return is;
}

// RFC 9562, 5.8: version 8 is for whoever makes them his own way.
Bytes namespace_descriptors(const NvmeSelf& self) {
  Bytes list(identify_bytes);
  list[0] = std::byte{descriptor_uuid};
  list[1] = std::byte{uuid_bytes};
  std::uint64_t seed = self.serial.size();
  for (const char c : self.serial) seed = Random{seed ^ static_cast<unsigned char>(c)}.next();
  Random random{seed};
  const ByteSpan uuid = ByteSpan{list}.subspan(4, uuid_bytes);
  store(uuid, 0, random.next());
  store(uuid, 8, random.next());
  uuid[6] = (uuid[6] & std::byte{0x0f}) | std::byte{0x80};
  uuid[8] = (uuid[8] & std::byte{0x3f}) | std::byte{0x80};
  return list;
}

FirmwareSlotLog firmware_slots() {
  FirmwareSlotLog log;
  log.active = 1;
  put_text(log.revisions[0], firmware);
  return log;
}

}  // namespace cbit::dev
