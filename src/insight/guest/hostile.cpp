#include "guest/hostile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "base/words.hpp"
#include "dev/e1000/e1000_pci.hpp"
#include "dev/nvme/nvme_pci.hpp"
#include "dev/virtio/virtio_pci.hpp"

namespace cbit::guest {
namespace {

constexpr std::size_t acts_max = 1'000'000;
constexpr std::size_t last_max = 3;
constexpr std::size_t kept_max = 4096;
constexpr unsigned tries_max = 64;

struct KindRow {
  HostileKind kind;
  std::string_view name;
  unsigned values;
};
constexpr KindRow kinds[] = {
    {HostileKind::used_id, "used-id", 1},
    {HostileKind::used_length, "used-length", 1},
    {HostileKind::used_twice, "used-twice", 0},
    {HostileKind::dma, "dma", 2},
    {HostileKind::overwrite, "overwrite", 2},
    {HostileKind::save, "save", 1},
    {HostileKind::restore, "restore", 1},
    {HostileKind::move, "move", 2},
    {HostileKind::swap, "swap", 2},
};

const KindRow& row_of(HostileKind kind) { return *std::ranges::find(kinds, kind, &KindRow::kind); }

OrError<HostileAct> parse_line(std::string_view line) {
  const std::vector<std::string_view> words = words_of(line);
  const auto no_line = [&] {
    return bad_input(
        fmt::format("\"{}\" is no act", safe_line(line)),
        "write \"push NUMBER used-id VALUE\" or \"ns TIME overwrite ADDRESS VALUE\": docs/hostile.md");
  };
  if (words.size() < 3) return no_line();
  const auto row = std::ranges::find(kinds, words[2], &KindRow::name);
  if (row == std::end(kinds) || words.size() != 3 + row->values) return no_line();
  if (words[0] != (is_of_a_push(row->kind) ? "push" : "ns")) return no_line();
  HostileAct act{.kind = row->kind};
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (i == 2) continue;
    const auto value = parse_number(words[i]);
    if (!value) return no_line();
    (i == 1 ? act.when : i == 3 ? act.first : act.second) = *value;
  }
  return act;
}

// nullptr: it cannot lie.
dev::ForgeableDevice* forgeable(bus::PciFunction& card) {
  if (auto* const virtio = dynamic_cast<dev::VirtioPci*>(&card)) return &virtio->device();
  if (auto* const nvme = dynamic_cast<dev::NvmePci*>(&card)) return &nvme->controller();
  if (auto* const e1000 = dynamic_cast<dev::E1000Pci*>(&card)) return &e1000->device();
  return nullptr;
}

}  // namespace

bool is_of_a_push(HostileKind kind) {
  return kind == HostileKind::used_id || kind == HostileKind::used_length || kind == HostileKind::used_twice;
}

std::string to_string(const HostileAct& act) {
  const KindRow& row = row_of(act.kind);
  std::string text = fmt::format("{} {} {}", is_of_a_push(act.kind) ? "push" : "ns", act.when, row.name);
  if (row.values > 0) text += fmt::format(" {:#x}", act.first);
  if (row.values > 1) text += fmt::format(" {:#x}", act.second);
  return text;
}

OrError<std::vector<HostileAct>> parse_hostile_script(std::string_view text) {
  std::vector<HostileAct> acts;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, std::min(end, text.find('#'))));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    if (acts.size() == acts_max)
      return bad_input(fmt::format("line {}: more than {} acts", number, acts_max), "split the script");
    auto act = parse_line(line);
    if (!act) {
      act.error().message = fmt::format("line {}: {}", number, act.error().message);
      return tl::unexpected{std::move(act.error())};
    }
    acts.push_back(*act);
  }
  return acts;
}

Hostile::Hostile(Pc& pc, HostilePlan plan, std::function<void(const HostileAct&)> told)
    : pc_{&pc},
      plan_{std::move(plan)},
      told_{std::move(told)},
      random_{plan_.seed},
      timer_{pc.clock(), [this] { on_time(); }} {
  for (const auto& card : pc.cards())
    if (auto* const device = forgeable(*card)) devices_.push_back(device);
  for (dev::ForgeableDevice* const device : devices_) device->set_forger(this);
  if (plan_.script) {
    for (const HostileAct& act : *plan_.script)
      (is_of_a_push(act.kind) ? at_push_ : at_time_).emplace(act.when, act);
    if (!at_time_.empty()) timer_.start(at_time_.begin()->first);
    return;
  }
  if (plan_.by_devices) plan_next_push();
  plan_next_time();
}

Hostile::~Hostile() {
  for (dev::ForgeableDevice* const device : devices_) device->set_forger(nullptr);
}

// ---- what comes next, from the seed ---------------------------------------------------------------------

void Hostile::plan_next_push() {
  constexpr HostileKind ways[] = {HostileKind::used_id, HostileKind::used_length, HostileKind::used_twice};
  HostileAct act{.kind = ways[random_.below(std::size(ways))],
                 .when = pushes_ + 1 + random_.below(2 * plan_.every)};
  // Small numbers name buffers that there are; large ones are beyond all bounds.
  if (act.kind != HostileKind::used_twice) act.first = random_.next() >> (32 + random_.below(32));
  at_push_.emplace(act.when, act);
}

void Hostile::plan_next_time() {
  const std::uint64_t after = std::max(pc_->clock().now_ns(), plan_.from_ns);
  timer_.start(after + 1 + random_.below(2 * plan_.every_ns));
}

// A place that holds something: for a device one that is not encrypted.
std::uint64_t Hostile::some_place(bool shared) {
  const mem::Memory& memory = std::as_const(*pc_).machine().memory();
  const std::vector<mem::PhysRange>& ram = pc_->usable_ram();
  std::uint64_t at = 0;
  for (unsigned tries = 0; tries < tries_max; ++tries) {
    const mem::PhysRange& range = ram[random_.below(ram.size())];
    at = range.first.value() + align_down(random_.below(range.bytes), block_);
    const mem::PageHistory page = memory.history(PhysAddr{at});
    if (page.writer.kind != AgentKind::none && (!shared || page.owner == no_key)) break;
  }
  return at;
}

HostileAct Hostile::invent() {
  const std::uint64_t now = pc_->clock().now_ns();
  const bool by_device = plan_.by_devices && (!plan_.by_host || random_.below(2) == 0);
  if (by_device) return {HostileKind::dma, now, some_place(true), random_.next()};
  constexpr HostileKind ways[] = {HostileKind::overwrite, HostileKind::save, HostileKind::restore,
                                  HostileKind::move, HostileKind::swap};
  HostileAct act{.kind = ways[random_.below(std::size(ways))], .when = now};
  act.first = some_place(false);
  switch (act.kind) {
    case HostileKind::overwrite: act.second = random_.next(); break;
    case HostileKind::restore:
      if (kept_.empty()) {
        act.kind = HostileKind::save;
        break;
      }
      act.first = std::next(kept_.begin(), static_cast<std::ptrdiff_t>(random_.below(kept_.size())))->first;
      break;
    case HostileKind::move: act.second = some_place(false); break;
    case HostileKind::swap:
      act.first = align_down(act.first, page_size);
      act.second = align_down(some_place(false), page_size);
      break;
    default: break;
  }
  return act;
}

// ---- doing it -------------------------------------------------------------------------------------------

bool Hostile::forge(dev::Returned& told) {
  ++pushes_;
  bool twice = false;
  while (!at_push_.empty() && at_push_.begin()->first <= pushes_) {
    const HostileAct act = at_push_.extract(at_push_.begin()).mapped();
    if (plan_.script || pc_->clock().now_ns() >= plan_.from_ns) {
      note(act);
      if (act.kind == HostileKind::used_id) told.id = static_cast<std::uint16_t>(act.first);
      if (act.kind == HostileKind::used_length) told.length = static_cast<std::uint32_t>(act.first);
      twice |= act.kind == HostileKind::used_twice;
    }
    if (!plan_.script) plan_next_push();
  }
  return twice;
}

void Hostile::on_time() {
  if (!plan_.script) {
    perform(invent());
    plan_next_time();
    return;
  }
  while (!at_time_.empty() && at_time_.begin()->first <= pc_->clock().now_ns())
    perform(at_time_.extract(at_time_.begin()).mapped());
  if (!at_time_.empty()) timer_.start(at_time_.begin()->first);
}

void Hostile::note(const HostileAct& act) {
  ++acts_;
  if (told_) told_(act);
  last_.push_back({act, pc_->clock().now_ns()});
  if (last_.size() > last_max) last_.pop_front();
}

void Hostile::perform(const HostileAct& act) {
  note(act);
  Block block{};
  switch (act.kind) {
    case HostileKind::dma: write_by_device(act.first, act.second); break;
    case HostileKind::overwrite: write(act.first, bytes_of(act.second)); break;
    case HostileKind::save:
      if (kept_.size() < kept_max && read(act.first, block)) kept_[act.first] = block;
      break;
    case HostileKind::restore:
      if (const auto found = kept_.find(act.first); found != kept_.end()) write(act.first, found->second);
      break;
    case HostileKind::move:
      if (read(act.first, block)) write(act.second, block);
      break;
    case HostileKind::swap: {
      Bytes one(page_size), other(page_size);
      if (!read(act.first, one) || !read(act.second, other)) break;
      write(act.first, other);
      write(act.second, one);
      break;
    }
    default: break;
  }
}

void Hostile::write(std::uint64_t at, ConstByteSpan bytes) {
  const mem::Access host{.agent = {AgentKind::host, 0}, .key = no_key};
  if (!pc_->machine().memory().write(PhysAddr{at}, bytes, host)) ++refused_;
}

bool Hostile::read(std::uint64_t at, ByteSpan bytes) {
  const mem::Access host{.agent = {AgentKind::host, 0}, .key = no_key};
  const bool done = pc_->machine().memory().read(PhysAddr{at}, bytes, host).has_value();
  if (!done) ++refused_;
  return done;
}

void Hostile::write_by_device(std::uint64_t at, std::uint64_t value) {
  if (devices_.empty() || !devices_.back()->port().store(DmaAddr{at}, value)) ++refused_;
}

}  // namespace cbit::guest
