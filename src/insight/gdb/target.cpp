#include "gdb/target.hpp"

#include <algorithm>

namespace cbit::gdb {
namespace {

bool is_break(PointKind kind) {
  return kind == PointKind::software_break || kind == PointKind::hardware_break;
}

cpu::DataWatch watch_of(const Point& point) {
  return {.first = point.at,
          .bytes = point.bytes,
          .reads = point.kind != PointKind::write,
          .writes = point.kind != PointKind::read};
}

}  // namespace

Target::Target(guest::Pc& pc) : pc_{&pc}, inspector_{pc} {
  for (std::size_t number = 0; number < pc.cpu_count(); ++number)
    processors_.push_back({&pc.cpu(number), &pc.chipset().lapic(number)});
}

// ---- memory ---------------------------------------------------------------------------------------------

std::optional<Target::Place> Target::place_of(std::size_t processor, Space space, std::uint64_t at) const {
  if (space == Space::linear) {
    const auto place = processors_[processor].cpu->translate(VirtAddr{at});
    if (!place) return std::nullopt;
    return Place{place->first, place->second};
  }
  const auto [phys, selector] = inspector_.view().layout.split(PtePhys{at});
  if (selector != 0) return Place{phys, inspector_.view().key(selector)};
  return Place{phys, inspector_.key_of_page(phys)};
}

bool Target::read(std::size_t processor, Space space, std::uint64_t at, ByteSpan to) const {
  while (!to.empty()) {
    const std::size_t part = std::min<std::size_t>(to.size(), page_size - at % page_size);
    const auto place = place_of(processor, space, at);
    if (!place || !inspector_.read(*place, to.first(part))) return false;
    to = to.subspan(part);
    at += part;
  }
  return true;
}

bool Target::write(std::size_t processor, Space space, std::uint64_t at, ConstByteSpan from) {
  mem::Memory& memory = pc_->machine().memory();
  while (!from.empty()) {
    const std::size_t part = std::min<std::size_t>(from.size(), page_size - at % page_size);
    const auto place = place_of(processor, space, at);
    if (!place || !memory.contains(place->phys, part)) return false;
    const Agent agent{AgentKind::cpu, processors_[processor].cpu->index()};
    if (!memory.write(place->phys, from.first(part), {.agent = agent, .key = place->key})) return false;
    from = from.subspan(part);
    at += part;
  }
  return true;
}

// ---- what to stop for -----------------------------------------------------------------------------------

bool Target::insert(const Point& point) {
  if (std::ranges::find(points_, point) != points_.end()) return true;
  if (points_.size() == points_max) return false;
  if (is_break(point.kind)) {
    points_.push_back(point);
    for (const Processor& processor : processors_) processor.cpu->add_breakpoint(point.at);
    return true;
  }
  if (point.bytes == 0 || point.at.value() + (point.bytes - 1) < point.at.value()) return false;
  points_.push_back(point);
  update_watches();
  return true;
}

bool Target::has_break_at(VirtAddr at) const {
  return std::ranges::any_of(points_,
                             [at](const Point& point) { return is_break(point.kind) && point.at == at; });
}

void Target::remove(const Point& point) {
  if (std::erase(points_, point) == 0) return;
  if (!is_break(point.kind)) return update_watches();
  if (has_break_at(point.at)) return;
  for (const Processor& processor : processors_) processor.cpu->remove_breakpoint(point.at);
}

void Target::remove_all() {
  while (!points_.empty()) remove(Point{points_.back()});
}

void Target::update_watches() {
  std::vector<cpu::DataWatch> watches;
  for (const Point& point : points_)
    if (!is_break(point.kind)) watches.push_back(watch_of(point));
  for (const Processor& processor : processors_) processor.cpu->set_watches(watches);
}

std::optional<Target::Stop> Target::take_stop() {
  for (std::size_t number = 0; number < processors_.size(); ++number) {
    const auto why = processors_[number].cpu->take_debug_stop();
    if (!why) continue;
    const auto is_it = [&](const Point& point) {
      return is_break(point.kind) ? !why->watch && point.at == why->at : why->watch == watch_of(point);
    };
    const auto point = std::ranges::find_if(points_, is_it);
    if (point != points_.end()) return Stop{number, *point, why->at.value()};
  }
  return std::nullopt;
}

void Target::pause_after_step(std::size_t processor) {
  cpu::Cpu& cpu = *processors_[processor].cpu;
  pause_ = Pause{processor, cpu.position() + 1};
  cpu.pass_breakpoint();
  cpu.pause_at(pause_->position);
}

void Target::forget_pause() {
  if (pause_) processors_[pause_->processor].cpu->pause_at(cpu::never);
  pause_.reset();
}

bool Target::take_pause() {
  if (!pause_ || processors_[pause_->processor].cpu->position() < pause_->position) return false;
  forget_pause();
  return true;
}

bool Target::step(std::size_t processor, bool hold_interrupts, std::uint64_t for_ns) {
  return pc_->step(*processors_[processor].cpu, hold_interrupts, pc_->clock().now_ns() + for_ns);
}

}  // namespace cbit::gdb
