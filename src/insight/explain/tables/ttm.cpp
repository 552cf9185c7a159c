// `cbit table ttm`: for each case of the discussion, driver and policy, which mappings of one buffer agree.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "dev/crc32c.hpp"
#include "explain/tables/tables.hpp"
#include "kernel/drm/gpu_driver.hpp"
#include "testbed/testbed.hpp"
#include "testbed/views.hpp"

namespace cbit::explain {
namespace {

constexpr std::uint64_t object_bytes = 4 * page_size;

struct System {
  std::string_view name;  // of the discussion's case
  Platform platform{};
  IommuMode iommu{};
  std::string_view driver;
  kernel::GpuDriverOptions options;
};

kernel::GpuDriverOptions amdgpu(unsigned bits, std::optional<bool> dma_alloc = {}) {
  return {.kind = kernel::GpuDriverKind::amdgpu, .mask_bits = bits, .use_dma_alloc = dma_alloc};
}
kernel::GpuDriverOptions vmwgfx(kernel::VmwMapMode mode) {
  return {.kind = kernel::GpuDriverKind::vmwgfx, .map_mode = mode};
}

std::vector<System> systems() {
  using enum Platform;
  constexpr IommuMode none = IommuMode::none, translated = IommuMode::translated;
  return {
      {"1a", sev, none, "vmwgfx coherent", vmwgfx(kernel::VmwMapMode::select)},
      {"1a", sev, none, "amdgpu 44-bit", amdgpu(44)},
      {"1a", sev_snp, none, "vmwgfx coherent", vmwgfx(kernel::VmwMapMode::select)},
      {"1a'", sme, none, "amdgpu 40-bit", amdgpu(40)},
      {"1b", sme, translated, "amdgpu 40-bit", amdgpu(40)},
      {"1b", sme, translated, "amdgpu 40-bit streaming", amdgpu(40, false)},
      {"1c", sev, none, "amdgpu 44-bit streaming", amdgpu(44, false)},
      {"1c", sev, none, "vmwgfx populate", vmwgfx(kernel::VmwMapMode::map_populate)},
      {"1c", sme, none, "amdgpu 40-bit streaming", amdgpu(40, false)},
      {"1c", sev, none, "shadow", {.kind = kernel::GpuDriverKind::shadow}},
      {"2", sme, none, "amdgpu 64-bit", amdgpu(64)},
      {"2", sme, none, "amdgpu 64-bit streaming", amdgpu(64, false)},
  };
}

// What the DMA layer gave the device: the last mapping that a driver made.
class LastMapping final : public EventSink {
 public:
  void on_event(const Event& event) override {
    if (const auto* mapped = std::get_if<DmaMapped>(&event.payload)) last = *mapped;
  }
  std::optional<DmaMapped> last;
};

// One buffer object in TT on one machine, mapped in every way.
class GraphicsBench {
 public:
  static OrError<std::unique_ptr<GraphicsBench>> create(const System& system, TtmPolicy policy,
                                                        std::uint64_t seed);
  ~GraphicsBench();
  GraphicsBench(const GraphicsBench&) = delete;
  GraphicsBench& operator=(const GraphicsBench&) = delete;

  std::vector<std::string> row(const System& system, TtmPolicy policy);

 private:
  GraphicsBench() = default;
  Result<void, kernel::Errno> map_everything();
  [[nodiscard]] paging::Mmu& cpu() { return bed_->kernel().cpu(0); }
  [[nodiscard]] bool shadow() const { return driver_->options().kind == kernel::GpuDriverKind::shadow; }
  [[nodiscard]] dev::GpuAddr gpu_address() { return driver_->address(*bo_).value_or(dev::GpuAddr{}); }
  void gpu_writes();
  std::string vmap_writes();
  std::string gpu_sees();
  std::string scanout_sees();
  std::string sees(paging::Mmu& by, VirtAddr at, std::uint64_t bytes);
  [[nodiscard]] std::string word(const Bytes& seen);
  static std::string bit_of(paging::Mmu& by, VirtAddr at);
  [[nodiscard]] std::string dma_bit() const;
  [[nodiscard]] std::string causes();

  std::unique_ptr<testbed::Testbed> bed_;
  LastMapping observer_;
  std::unique_ptr<kernel::UserSpace> user_;
  std::unique_ptr<kernel::GpuDriver> driver_;
  kernel::TtmBo* bo_ = nullptr;
  VirtAddr vmap_, mmap_;
  kernel::TtmKmap kmap_;
  kernel::ConversionCost cost_;
  Bytes data_, old_;
};

OrError<std::unique_ptr<GraphicsBench>> GraphicsBench::create(const System& system, TtmPolicy policy,
                                                              std::uint64_t seed) {
  std::unique_ptr<GraphicsBench> bench{new GraphicsBench};
  testbed::TestbedConfig config;
  config.machine.platform = system.platform;
  config.machine.memory_bytes = 1ull << 30;
  config.machine.seed = seed;
  config.machine.cache = mem::CacheModel::report;
  config.dma.iommu = system.iommu;
  bench->bed_ = CBIT_TRY(testbed::Testbed::create(config));
  kernel::Kernel& kernel = bench->bed_->kernel();
  bench->bed_->tracer().attach(bench->observer_);
  kernel::Device& dev = kernel.add_device({.name = "gpu"});
  const machine::GpuCard card =
      machine::plug_gpu(kernel.machine(), {.device = dev.name, .requester = dev.requester}, 256 * 1024);
  kernel::GpuDriverOptions options = system.options;
  options.policy = policy;
  auto driver = kernel::GpuDriver::probe(kernel, dev, card, options);
  if (driver) bench->driver_ = std::move(*driver);
  if (!driver || !bench->map_everything())
    return bad_input(fmt::format("the driver \"{}\" cannot make its buffer", system.driver));
  return bench;
}

GraphicsBench::~GraphicsBench() {
  if (bo_ != nullptr) driver_->ttm().munmap(*bo_, mmap_);
  driver_.reset();
  if (bed_ != nullptr) bed_->tracer().detach(observer_);
}

Result<void, kernel::Errno> GraphicsBench::map_everything() {
  kernel::TtmDevice& ttm = driver_->ttm();
  const kernel::ConversionCost before = bed_->kernel().mm().conversion_cost();
  bo_ = CBIT_TRY(ttm.bo_init(cpu(), {.bytes = object_bytes, .placement = TtmPlacement::tt}));
  cost_ = bed_->kernel().mm().conversion_cost();
  cost_.pages -= before.pages;
  cost_.tlb_flushes -= before.tlb_flushes;
  cost_.cache_lines_flushed -= before.cache_lines_flushed;
  vmap_ = CBIT_TRY(ttm.vmap(cpu(), *bo_));
  kmap_ = CBIT_TRY(ttm.kmap(cpu(), *bo_, 0, 1));
  auto user = bed_->kernel().mm().create_user_space();
  if (!user) return tl::unexpected{kernel::Errno::enomem};
  user_ = std::move(*user);
  mmap_ = CBIT_TRY(ttm.mmap(*user_, *bo_));
  Bytes touched(1);
  (void)ttm.user_read(*user_, mmap_, touched);  // SNP refuses some; then the page is mapped all the same
  return {};
}

// ---- what is done -----------------------------------------------------------------------------------------

void GraphicsBench::gpu_writes() {
  old_ = Bytes(object_bytes);
  data_ = testbed::authored_bytes(testbed::Author::device, object_bytes);
  (void)driver_->gpu().store(gpu_address(), data_);  // a refusal shows in what the others see
  if (shadow()) (void)driver_->transfer_from_host(cpu(), *bo_);
}

std::string GraphicsBench::vmap_writes() {
  old_ = data_;
  data_ = testbed::authored_bytes(testbed::Author::cpu, object_bytes);
  if (!cpu().write(vmap_, data_)) return "refused";
  if (shadow()) (void)driver_->transfer_to_host(cpu(), *bo_);
  return {};
}

// ---- what is seen -----------------------------------------------------------------------------------------

std::string GraphicsBench::word(const Bytes& seen) {
  if (std::ranges::equal(seen, ConstByteSpan{data_}.first(seen.size()))) return "same";
  // The first page tells what the bytes are.
  const auto first = [](const Bytes& bytes) { return ConstByteSpan{bytes}.first(page_size); };
  const testbed::View view =
      testbed::View::of_bytes(bed_->memory(), driver_->ttm().page_address(*bo_, 0),
                              {seen.begin(), seen.begin() + page_size}, bed_->cpu_key());
  return std::string{to_string(testbed::classify(view, first(data_), first(old_)))};
}

std::string GraphicsBench::sees(paging::Mmu& by, VirtAddr at, std::uint64_t bytes) {
  Bytes seen(bytes);
  return by.read(at, seen) ? word(seen) : "refused";
}

std::string GraphicsBench::gpu_sees() {
  Bytes seen(object_bytes);
  return driver_->gpu().load(gpu_address(), seen) ? word(seen) : "refused";
}

std::string GraphicsBench::scanout_sees() {
  const auto shown = driver_->scanout(cpu(), *bo_);
  return shown && *shown == dev::crc32c(data_) ? "same" : "other";
}

std::string GraphicsBench::bit_of(paging::Mmu& by, VirtAddr at) {
  const auto found = by.translate(at, paging::Intent::read);
  return found ? fmt::format("{}", unsigned{found->selector}) : "-";
}

std::string GraphicsBench::dma_bit() const {
  if (!observer_.last) return "-";
  const std::string bit = observer_.last->encrypted ? "1" : "0";
  return observer_.last->path == DmaPath::swiotlb ? bit + " bounced" : bit;
}

std::string GraphicsBench::causes() {
  std::vector<std::string_view> names;
  for (const watch::Cause& cause : bed_->explainer().causes())
    if (std::ranges::find(names, cause.info->name) == names.end()) names.push_back(cause.info->name);
  std::ranges::sort(names);
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::vector<std::string> GraphicsBench::row(const System& system, TtmPolicy policy) {
  const PhysAddr page = driver_->ttm().page_address(*bo_, 0);
  std::vector<std::string> cells{
      std::string{system.name},
      std::string{to_string(system.platform)} + (system.iommu == IommuMode::none ? "" : " + IOMMU"),
      std::string{system.driver},
      shadow() ? "no TTM" : std::string{to_string(policy)},
      dma_bit(),
      bit_of(cpu(), bed_->kernel().mm().phys_to_virt(page)),
      bit_of(cpu(), vmap_),
      bit_of(user_->mmu(), mmap_)};
  gpu_writes();
  cells.push_back(sees(cpu(), vmap_, object_bytes));
  cells.push_back(sees(user_->mmu(), mmap_, object_bytes));
  cells.push_back(sees(cpu(), kmap_.at, page_size));
  const std::string refused = vmap_writes();
  cells.push_back(refused.empty() ? gpu_sees() : refused);
  cells.push_back(refused.empty() ? scanout_sees() : refused);
  cells.push_back(refused.empty() ? sees(user_->mmu(), mmap_, object_bytes) : refused);
  cells.push_back(fmt::format("{}", cost_.pages));
  cells.push_back(fmt::format("{}", cost_.tlb_flushes));
  cells.push_back(fmt::format("{}", cost_.cache_lines_flushed));
  bed_->explainer().finish(watch::Ending::in_flight);
  cells.push_back(causes());
  return cells;
}

OrError<Table> make_ttm_table(const TableRequest& request) {
  Table table;
  table.columns = {"case",
                   "platform",
                   "driver",
                   "policy",
                   "DMA C",
                   "direct map C",
                   "vmap C",
                   "user C",
                   "GPU wrote: vmap sees",
                   "user sees",
                   "kmap sees",
                   "vmap wrote: GPU sees",
                   "scanout",
                   "user",
                   "pages converted",
                   "TLB flushes",
                   "cache lines flushed",
                   "causes"};
  for (const System& system : systems())
    for (const TtmPolicy policy : ttm_policies) {
      if (system.options.kind == kernel::GpuDriverKind::shadow && policy != TtmPolicy::fixed) continue;
      if (request.wants(system.platform))
        table.rows.push_back(
            CBIT_TRY(GraphicsBench::create(system, policy, request.seed))->row(system, policy));
    }
  table.notes = {
      "C: the encryption bit of the address or IOMMU entry that the GPU uses, and of each page-table entry. "
      "One page has one attribute when all of them are equal.",
      "same: the reader got the bytes that were written. Other words say what it got instead.",
      "kmap maps one page, which is the direct map unless TTM_TT_FLAG_DECRYPTED is set.",
      "Conversions and flushes are those of allocating the 4 pages, on a machine whose caches are not "
      "coherent (no SME_COHERENT)."};
  return table;
}

}  // namespace

TableSpec ttm_table() {
  return {.name = "ttm",
          .title = "Graphics buffers: which mappings of a page agree, by driver and kernel",
          .platforms = each_once(systems(), &System::platform),
          .versions = {},
          .make = make_ttm_table};
}

}  // namespace cbit::explain
