#include "linux/probes/probes.hpp"

#include <algorithm>
#include <array>

#include "base/format.hpp"

namespace cbit::linux {
namespace {

// arch/x86/kernel/head64.c: the first C code at the addresses that the kernel is linked to.
constexpr std::string_view first_function = "x86_64_start_kernel";
constexpr std::uint64_t endless_ns = 100'000'000;
constexpr std::uint64_t rflags_if = 1 << 9;

std::vector<const ProbeRow*> all_rows() {
  std::vector<const ProbeRow*> rows;
  for (const auto part : {dma_rows(), dma_sg_rows(), dma_alloc_rows(), swiotlb_rows(), iommu_rows(),
                          memory_rows(), free_rows(), kernel_rows()})
    for (const ProbeRow& row : part) rows.push_back(&row);
  return rows;
}

// Each word of a row's parameters: its name, and whether the function may lack it.
struct Wanted {
  std::string_view name;
  bool optional = false;
};
std::vector<Wanted> words_of(std::string_view parameters) {
  std::vector<Wanted> words;
  while (!parameters.empty()) {
    const std::size_t end = std::min(parameters.find(' '), parameters.size());
    Wanted word{parameters.substr(0, end)};
    if (word.name.ends_with('?')) word = {word.name.substr(0, word.name.size() - 1), true};
    words.push_back(word);
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
  }
  return words;
}

}  // namespace

// ---- the plan for a kernel -------------------------------------------------------------------------------

Probes::Probes(const Kernel& kernel, Tracer& tracer, CallTracker::Processor& processor, Observer& observer)
    : kernel_{&kernel},
      tracer_{&tracer},
      processor_{&processor},
      observer_{&observer},
      tracker_{processor, *this} {
  plan();
  wait_for_kernel();
}

Probes::~Probes() = default;

void Probes::plan() {
  for (const ProbeRow* const row : all_rows()) plan_row(*row);
}

void Probes::plan_row(const ProbeRow& row) {
  const SymbolTable& symbols = kernel_->symbols();
  if (!row.unless.empty() && symbols.count(row.unless) != 0) return;
  const std::size_t count = symbols.count(row.function);
  const bool replaced =
      std::ranges::any_of(all_rows(), [&](const ProbeRow* other) { return other->unless == row.function; });
  if (count == 0 && (row.some_versions || replaced)) return;
  const auto symbol = symbols.find(row.function);
  if (!symbol) {
    missing_.push_back(fmt::format("{}: {}", row.function,
                                   count == 0 ? "no symbol of that name" : "several symbols of that name"));
    return;
  }
  if (auto point = point_of(row, *symbol)) points_.push_back(*point);
}

// Which register has which parameter is asked of the kernel's types, by names.
std::optional<Probes::Point> Probes::point_of(const ProbeRow& row, const Symbol& symbol) {
  Point made{.row = &row, .at = symbol.at};
  const std::vector<Wanted> words = words_of(row.parameters);
  if (words.empty()) return made;
  const auto prototype = kernel_->btf() ? kernel_->btf()->function(row.function) : std::nullopt;
  if (!prototype) {
    missing_.push_back(fmt::format("{}: the kernel's types do not describe it", row.function));
    return std::nullopt;
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto position = prototype->position(words[i].name);
    if (position && *position < arguments_max) {
      made.positions[i] = static_cast<std::uint8_t>(*position);
      made.arguments = std::max(made.arguments, *position + 1);
    } else if (!words[i].optional) {
      missing_.push_back(fmt::format("{}: it has no parameter {}", row.function, words[i].name));
      return std::nullopt;
    }
  }
  return made;
}

// ---- finding the kernel ----------------------------------------------------------------------------------

void Probes::wait_for_kernel() {
  const auto first = kernel_->symbols().find(first_function);
  if (!first || kernel_->banner().empty()) return;
  for (std::uint64_t slide = 0; slide < kernel_map_bytes; slide += kernel_->alignment()) {
    starts_.push_back(first->at + slide);
    processor_->add_probe(starts_.back());
  }
}

void Probes::forget_start() {
  for (const VirtAddr at : starts_) processor_->remove_probe(at);
  starts_.clear();
}

bool Probes::take_kernel(const CpuView& cpu, bool from_start) {
  const auto slide = find_slide(*kernel_, *cpu.memory);
  if (!slide) return false;
  forget_start();
  running_.emplace(*kernel_, *slide);
  context_.emplace(*running_, *tracer_, *observer_);
  context_->complete = from_start;
  init_dropped_ = false;
  for (std::size_t i = 0; i < points_.size(); ++i)
    tracker_.watch(points_[i].at + *slide, static_cast<PointId>(i), points_[i].arguments,
                   points_[i].row->wanted != nullptr);
  if (!from_start)
    if (const auto head = running_->address_of("modules"))
      running_->modules().read_list(*kernel_, *cpu.memory, *head);
  observer_->kernel_found(*running_);
  return true;
}

bool Probes::attach(const CpuView& cpu) { return !running_ && take_kernel(cpu, false); }

void Probes::reset() {
  if (!running_) return;
  finish();
  tracker_.clear();
  context_.reset();
  observer_->kernel_forgotten();
  running_.reset();
  wait_for_kernel();
}

void Probes::finish() {
  if (context_) context_->end_line();
}

// ---- calls -----------------------------------------------------------------------------------------------

void Probes::on_execute(const CpuView& cpu) {
  if (!running_) {
    (void)take_kernel(cpu, true);
    return;
  }
  tracker_.on_execute(cpu);
  if (context_->leaving) return reset();
  if (context_->init_is_freed && !init_dropped_) drop_init_code();
}

void Probes::drop_init_code() {
  init_dropped_ = true;
  for (const Point& point : points_)
    if (kernel_->is_init_text(point.at)) tracker_.forget(point.at + running_->slide());
}

bool Probes::wants(PointId point, const CpuView& cpu) { return points_[point].row->wanted(*context_, cpu); }

bool Probes::on_entry(Call& call, const CpuView& cpu) {
  const Point& point = points_[call.point];
  auto notes = std::make_unique<Notes>();
  notes->row = point.row;
  call.notes = std::move(notes);
  if (point.row->entered == nullptr) return true;
  CallView view{call, {}, cpu, point.positions};
  return point.row->entered(*context_, view);
}

void Probes::on_return(Call& call, std::span<Call> outside, const CpuView& cpu) {
  const Point& point = points_[call.point];
  CallView view{call, outside, cpu, point.positions};
  behind_call_ = true;
  if (point.row->returned != nullptr) point.row->returned(*context_, view);
  behind_call_ = false;
}

void Probes::on_lost(Call& call) {
  const ProbeRow& row = *points_[call.point].row;
  if (row.lost != nullptr && context_) row.lost(*context_);
}

// Up to 6.1 a search can step over its end and go on for ever, with interrupts off.
void Probes::check_progress(const CpuView& cpu, std::uint64_t now_ns) {
  const auto point =
      std::ranges::find_if(points_, [](const Point& each) { return is_bounce_map(*each.row); });
  const bool uninterrupted = (cpu.rflags & rflags_if) == 0;
  Call* const call = context_ && uninterrupted && point != points_.end()
                         ? tracker_.innermost(cpu, static_cast<PointId>(point - points_.begin()))
                         : nullptr;
  if (call == nullptr) {
    searching_.erase(cpu.number);
    return;
  }
  Search& search = searching_[cpu.number];
  if (search.serial != call->serial || !search.running) search = {call->serial, now_ns, true, false};
  if (search.reported || now_ns - search.since_ns < endless_ns) return;
  search.reported = true;
  report_endless_search(*context_, CallView{*call, {}, cpu, point->positions});
}

// ---- questions -------------------------------------------------------------------------------------------

bool Probes::sees_all_mappings() const {
  for (const auto part : {dma_rows(), dma_sg_rows(), dma_alloc_rows(), swiotlb_rows()})
    for (const ProbeRow& row : part)
      if (std::ranges::any_of(missing_, [&](const std::string& missing) {
            return missing.starts_with(fmt::format("{}:", row.function));
          }))
        return false;
  return true;
}

SiteId Probes::site_of(VirtAddr rip) { return context_ ? context_->site_of(rip) : 0; }

SiteId Probes::mapped_by(NameId device, DmaAddr at) const {
  return context_ ? context_->ledger().site(device, at) : 0;
}

}  // namespace cbit::linux
