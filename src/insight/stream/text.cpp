#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "stream/report.hpp"
#include "watch/report.hpp"

namespace cbit::stream {
namespace {

std::string mib(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string guest_line(const StreamReport& report) {
  const machine::MachineConfig& machine = report.options.bed.machine;
  std::string text = fmt::format("Guest     {}", to_string(machine.platform));
  if (const std::string_view bit = key_bit_name(machine::traits_of(machine.platform).key_selection);
      !bit.empty())
    text += fmt::format(", {} {}", bit, machine.c_bit);
  const kernel::SwiotlbUsage& pool = report.correct.swiotlb;
  text += fmt::format(", {} MiB, Linux {}; bounce pool {} MiB: {} slots in {} area{}\n",
                      machine.memory_bytes >> 20, to_string(report.options.bed.dma.version),
                      pool.io_tlb_nslabs * kernel::io_tlb_size >> 20, pool.io_tlb_nslabs, pool.areas,
                      pool.areas == 1 ? "" : "s");
  return text;
}

std::string scan_lines(const StreamReport& report, const StreamPass& pass) {
  const auto line = [](std::string_view pages, std::uint64_t count, std::uint64_t sectors) {
    return fmt::format("  {:<13} {:>8}   sectors readable to the host: {}\n", pages, count, sectors);
  };
  std::string text =
      fmt::format("  searched for {} sectors of the disk that can be recognised\n", report.telling_sectors);
  const HostScan& scan = pass.scan;
  const bool encrypts = report.options.bed.machine.platform != Platform::plain;
  text += line(encrypts ? "private pages" : "pages", scan.private_pages, scan.sectors_in_private_pages);
  if (encrypts) text += line("shared pages", scan.shared_pages, scan.sectors_in_shared_pages);
  return text;
}

std::string sample_lines(const StreamPass& pass) {
  std::string text;
  for (const StreamPass::Sample& sample : pass.samples)
    text +=
        fmt::format("  {:<43} {:<14} {}\n", sample.what, fmt::format("{}", sample.at), to_hex(sample.bytes));
  return text;
}

std::string cost_lines(const StreamPass& pass) {
  const watch::CostCounts& counts = pass.counters.counts();
  const kernel::ConversionCost& conversions = pass.conversions;
  return fmt::format(
      "  bounced       {} in {} mappings: {} into the pool, {} out of it; at most {} slots in use\n"
      "  conversions   {} pages in {} calls, {} large pages split, {} TLB flushes, {} cache lines flushed, "
      "{} hypercalls\n"
      "  virtual time  {:.3f} ms\n",
      mib(pass.swiotlb.bytes_bounced), pass.swiotlb.bounces, mib(counts.bounced_to_pool.bytes),
      mib(counts.bounced_from_pool.bytes), counts.slots_used_max, conversions.pages, conversions.calls,
      conversions.large_pages_split, conversions.tlb_flushes, conversions.cache_lines_flushed,
      conversions.hypercalls, static_cast<double>(pass.virtual_ns) / 1e6);
}

std::string digest_line(std::string_view what, const crypt::Sha256Digest& digest, std::string_view verdict) {
  return fmt::format("{:<10}SHA-256 {}  {}\n", what, to_hex(digest), verdict);
}

}  // namespace

std::string to_text(const StreamReport& report) {
  const StreamPass& good = report.correct;
  const StreamPass& raw = report.raw;
  std::string text = fmt::format("Disk      {} of {}\n", mib(good.bytes), safe_line(report.disk));
  text += guest_line(report);
  text += digest_line("Source", report.source, "");
  text += digest_line("In guest", good.in_guest, good.intact ? "equal" : "DIFFERENT");
  text += digest_line("Target", report.target, report.equal ? "equal" : "DIFFERENT");
  text += "\nWhat the host sees, looking at every page that was ever written\n" + scan_lines(report, good) +
          sample_lines(good);
  text += "\nWhat it cost\n" + cost_lines(good);
  text += "\nPage states\n" + good.page_picture;
  if (!good.causes.empty()) text += "\nCauses\n" + watch::render_causes(good.causes);
  text += "\nThe same with one bug: the driver puts physical addresses into its descriptors\n\n";
  text += digest_line("In guest", raw.in_guest, raw.intact ? "equal" : "DIFFERENT");
  text += scan_lines(report, raw);
  if (!raw.causes.empty()) text += "\nCauses\n" + watch::render_causes(raw.causes);
  if (report.files.total != 0)
    text += fmt::format("\nFiles     {} of {} in the new image are what they were\n", report.files.equal,
                        report.files.total);
  return text;
}

}  // namespace cbit::stream
