// virtio in mixed fleets: each guest with each device, each IOMMU and each kernel. Every row is a run: the
// driver probes the disk, writes blocks one by one, and reads them back.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

#include "explain/cause_names.hpp"
#include "explain/tables/tables.hpp"
#include "testbed/virtio_disk.hpp"

namespace cbit::explain {
namespace {

constexpr std::uint64_t blocks = 8;
constexpr std::uint64_t block_bytes = page_size;

// ---- the dimensions ----

struct Guest {
  std::string_view name;
  Platform platform;
  bool legacy_driver;
  bool knows_flag;  // and the virtio-iommu, which is younger
};
constexpr Guest guests[] = {
    {"legacy 0.9", Platform::plain, true, false},    {"1.0 without the flag", Platform::plain, false, false},
    {"with the flag", Platform::plain, false, true}, {"SEV", Platform::sev, false, true},
    {"POWER secure", Platform::pef, false, true},
};

struct Hardware {
  std::string_view name;
  dev::VirtioOptions options;
};
constexpr Hardware devices[] = {
    {"legacy", {.iommu_platform = false, .legacy = true}},
    {"transitional, flag not offered", {.iommu_platform = false, .transitional = true}},
    {"transitional, flag offered", {.iommu_platform = true, .transitional = true}},
    {"modern, flag offered", {.iommu_platform = true, .requires_platform = false}},
    {"modern, flag required", {.iommu_platform = true, .requires_platform = true}},
};

struct Translation {
  std::string_view name;
  IommuMode mode;
  bool virtio;
};
constexpr Translation translations[] = {
    {"none", IommuMode::none, false},
    {"emulated", IommuMode::translated, false},
    {"emulated, passthrough", IommuMode::passthrough, false},
    {"virtio-iommu", IommuMode::translated, true},
    {"virtio-iommu, bypass", IommuMode::passthrough, true},
};

struct KernelKind {
  std::string_view name;
  bool check;
  bool rfc;
};
constexpr KernelKind kernels[] = {{"check", true, false}, {"no check", false, false}, {"RFC", false, true}};

// ---- one run ----

// What is counted while the blocks are written.
class Watcher final : public EventSink {
 public:
  void on_event(const Event& event) override {
    if (std::holds_alternative<GuestExit>(event.payload)) ++exits;
    if (std::holds_alternative<SwiotlbAllocated>(event.payload)) ++bounces;
    if (const auto* message = std::get_if<KernelMessage>(&event.payload)) words = message->text;
    if (const auto* access = std::get_if<DeviceAccess>(&event.payload);
        access != nullptr && access->requester == disk)
      (access->through_iommu ? translated : direct) += 1;
  }
  RequesterId disk = 0;
  std::uint64_t exits = 0, bounces = 0, translated = 0, direct = 0;
  std::string words;
};

struct Outcome {
  std::string works, copies, translates, exits, bounces, reach, causes;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// The machine, booted, with the IOMMU's driver where the guest has one.
class Trial {
 public:
  static OrError<Outcome> run(const Guest& guest, const Hardware& device, const Translation& translation,
                              const KernelKind& kernel, std::uint64_t seed) {
    Trial trial{guest, device, translation, kernel};
    CBIT_TRY(trial.boot(seed));
    return trial.perform();
  }

 private:
  Trial(const Guest& guest, const Hardware& device, const Translation& translation, const KernelKind& kernel)
      : guest_{guest}, device_{device}, translation_{translation}, kernel_{kernel} {}

  OrError<void> boot(std::uint64_t seed) {
    testbed::TestbedConfig config;
    config.machine = {.platform = guest_.platform,
                      .memory_bytes = 64ull << 20,
                      .virtio_iommu = translation_.virtio,
                      .virtual_machine = true,
                      .seed = seed};
    config.dma.iommu = translation_.mode;
    // Without it a secure POWER guest has no pool (platform_traits.hpp).
    config.dma.swiotlb.force = guest_.platform == Platform::pef;
    config.dma.swiotlb.slots = 2048;
    bed_ = CBIT_TRY(testbed::Testbed::create(config, {&watcher_}));
    // A guest that does not know virtio-iommu leaves its devices in no domain.
    if (translation_.virtio)
      iommu_ = CBIT_TRY(testbed::GuestViommu::create(*bed_, translation_.mode == IommuMode::passthrough,
                                                     guest_.knows_flag));
    return {};
  }

  OrError<Outcome> perform() {
    testbed::VirtioDiskConfig config{.bytes = blocks * block_bytes,
                                     .hardware = device_.options,
                                     .driver = {.restricted_access_check = kernel_.check,
                                                .legacy_driver = guest_.legacy_driver,
                                                .dma_api_if_encrypted = kernel_.rfc}};
    if (!guest_.knows_flag) config.driver.refused_features = spec::virtio_feature::access_platform;
    auto disk = testbed::VirtioDisk::create(*bed_, config);
    if (!disk) return Outcome{fmt::format("no: QEMU: {}", disk.error().message), "", "", "", "", "", ""};
    disk_ = std::move(*disk);
    watcher_.disk = disk_->parent().requester;
    const auto probed = disk_->probe();
    Outcome outcome = probed ? use(*disk_->driver()) : refused(probed.error());
    disk_->remove();
    if (iommu_ != nullptr) iommu_->remove();
    outcome.causes = causes();
    return outcome;
  }

  [[nodiscard]] Outcome refused(kernel::Errno error) const {
    const std::string words = disk_->hardware().status() == 1 ? "no driver binds" : watcher_.words;
    return {fmt::format("no: {}, {}", kernel::errno_name(error), words), "", "", "", "", "", ""};
  }

  Outcome use(kernel::VirtioBlkDriver& driver) {
    kernel::Mm& mm = bed_->kernel().mm();
    paging::Mmu& cpu = bed_->kernel().cpu(0);
    const VirtAddr buffer = mm.alloc_pages(blocks).value_or(VirtAddr{});
    const VirtAddr secret = mm.alloc_pages(1).value_or(VirtAddr{});
    const Bytes text = pattern_bytes(blocks * block_bytes, 7);
    Outcome outcome;
    if (!cpu.write(buffer, text) || !cpu.write(secret, ConstByteSpan{text}.first(page_size))) return outcome;
    watcher_.exits = watcher_.bounces = watcher_.translated = watcher_.direct = 0;
    Result<void, kernel::Errno> done;
    for (std::uint64_t i = 0; done && i < blocks; ++i)
      done = driver.write(cpu, i * block_bytes / dev::sector_size, buffer + i * block_bytes, block_bytes);

    const Watcher cost = watcher_;
    outcome.works = verdict(driver, done, buffer, text);
    outcome.translates = cost.translated == 0 ? "nobody" : std::string{translation_name()};
    if (outcome.works == "yes") {
      outcome.copies = cost.bounces != 0 ? "SWIOTLB" : "nobody";
      outcome.exits = per_block(cost.exits);
      outcome.bounces = per_block(cost.bounces);
    }
    outcome.reach = reach(driver, secret, text);
    mm.free_pages(buffer, blocks);
    mm.free_pages(secret, 1);
    return outcome;
  }

  std::string verdict(kernel::VirtioBlkDriver& driver, Result<void, kernel::Errno> done, VirtAddr buffer,
                      ConstByteSpan text) {
    if (!done) return fmt::format("up, but {}", kernel::errno_name(done.error()));
    if (!std::ranges::equal(disk_->medium().contents().first(text.size()), text))
      return "up, but the disk has noise";
    paging::Mmu& cpu = bed_->kernel().cpu(0);
    Bytes back(text.size());
    if (!cpu.write(buffer, back)) return "up, but the buffer is gone";
    done = driver.read(cpu, 0, buffer, text.size());
    if (!done) return fmt::format("up, but reading: {}", kernel::errno_name(done.error()));
    if (!cpu.read(buffer, back) || !std::ranges::equal(back, text)) return "up, but reads noise";
    return "yes";
  }

  [[nodiscard]] std::string_view translation_name() const {
    if (translation_.virtio) return "virtio-iommu";
    return machine::traits_of(guest_.platform).iommu == machine::IommuKind::spapr ? "TCE table"
                                                                                  : "emulated IOMMU";
  }

  [[nodiscard]] static std::string per_block(std::uint64_t count) {
    return count % blocks == 0 ? fmt::format("{}", count / blocks)
                               : fmt::format("{:.1f}", static_cast<double>(count) / blocks);
  }

  // What the host's software reads in a page of data that nobody gave to a device, and in the ring.
  [[nodiscard]] std::string reach(const kernel::VirtioBlkDriver& driver, VirtAddr secret,
                                  ConstByteSpan text) const {
    kernel::Mm& mm = bed_->kernel().mm();
    Bytes seen(page_size);
    const bool all = bed_->memory().peek(mm.virt_to_phys(secret), seen, no_key) &&
                     std::ranges::equal(seen, text.first(page_size));
    if (all) return "all memory";
    return sees_ring(driver) ? "shared pages" : "ciphertext only";
  }

  // The ring's descriptors as the CPU has them, and as the host has them.
  [[nodiscard]] bool sees_ring(const kernel::VirtioBlkDriver& driver) const {
    paging::Mmu& cpu = bed_->kernel().cpu(0);
    const VirtAddr ring = driver.queue().memory().cpu;
    const auto at = cpu.translate(ring, paging::Intent::read);
    Bytes by_cpu(page_size), by_host(page_size);
    return at && cpu.read(ring, by_cpu) && bed_->memory().peek(at->phys, by_host, no_key) &&
           by_cpu == by_host;
  }

  [[nodiscard]] std::string causes() {
    bed_->explainer().finish();
    CauseNames names;
    names.add(bed_->explainer().causes());
    return names.text();
  }

  const Guest& guest_;
  const Hardware& device_;
  const Translation& translation_;
  const KernelKind& kernel_;
  Watcher watcher_;
  std::unique_ptr<testbed::Testbed> bed_;
  std::unique_ptr<testbed::GuestViommu> iommu_;
  std::unique_ptr<testbed::VirtioDisk> disk_;
};

// ---- the rows ----

struct Row {
  std::vector<std::string> kernels, translations;
  Outcome outcome;
};

std::string all_or(const std::vector<std::string>& names, std::size_t all) {
  return names.size() == all ? std::string{"any"} : fmt::format("{}", fmt::join(names, "; "));
}

// Runs that came out alike in everything are one row: first kernels, then IOMMUs.
OrError<std::vector<Row>> rows_of(const Guest& guest, const Hardware& device, std::uint64_t seed) {
  std::vector<Row> rows;
  for (const Translation& translation : translations) {
    std::vector<Row> here;
    for (const KernelKind& kernel : kernels) {
      const Outcome outcome = CBIT_TRY(Trial::run(guest, device, translation, kernel, seed));
      const auto same = std::ranges::find(here, outcome, &Row::outcome);
      if (same != here.end())
        same->kernels.emplace_back(kernel.name);
      else
        here.push_back({{std::string{kernel.name}}, {std::string{translation.name}}, outcome});
    }
    for (Row& row : here) {
      const auto same = std::ranges::find_if(
          rows, [&](const Row& r) { return r.outcome == row.outcome && r.kernels == row.kernels; });
      if (same != rows.end())
        same->translations.emplace_back(translation.name);
      else
        rows.push_back(std::move(row));
    }
  }
  return rows;
}

OrError<Table> make_virtio_table(const TableRequest& request) {
  Table table{{"guest", "device", "IOMMU", "kernel", "works", "copies", "translates", "exits/4K",
               "bounces/4K", "host reads", "causes"},
              {},
              {}};
  for (const Guest& guest : guests) {
    if (!request.wants(guest.platform)) continue;
    for (const Hardware& device : devices)
      for (const Row& row : CBIT_TRY(rows_of(guest, device, request.seed))) {
        const Outcome& o = row.outcome;
        table.rows.push_back({std::string{guest.name}, std::string{device.name},
                              all_or(row.translations, std::size(translations)),
                              all_or(row.kernels, std::size(kernels)), o.works, o.copies, o.translates,
                              o.exits, o.bounces, o.reach, o.causes});
      }
  }
  table.notes = {
      "Kernel: \"check\" is Linux 6.1, \"no check\" a kernel before the restricted-access check, \"RFC\" one "
      "that uses the DMA API wherever memory is encrypted. Rows that came out alike are one; \"any\" is all "
      "of them.",
      "A guest that does not know the flag has no virtio-iommu driver either: its devices are in no domain, "
      "and config.bypass decides.",
      "Exits and bounces are counted while eight blocks of 4 KiB are written one by one.",
  };
  return table;
}

}  // namespace

TableSpec virtio_table() {
  return {.name = "virtio",
          .title = "virtio in mixed fleets: which guest works with which device and IOMMU, and what it costs",
          .platforms = each_once(guests, &Guest::platform),
          .versions = {},
          .make = make_virtio_table};
}

}  // namespace cbit::explain
