#include "lab/experiment/names.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.hpp"
#include "lab/experiment/process_names.hpp"
#include "lab/experiment/vm_names.hpp"

namespace cbit::lab {

template <class T>
std::string NameTable<T>::taken(std::string_view name) const {
  return fmt::format("there is a {} \"{}\" already", what_, name);
}

template <class T>
std::string NameTable<T>::unknown(std::string_view name) const {
  return fmt::format("there is no {} \"{}\" at this point", what_, name);
}

template <class T>
std::string NameTable<T>::known(std::string_view mistyped) const {
  if (items_.empty()) return fmt::format("no step before this one makes a {}", what_);
  constexpr std::size_t listed_max = 10;
  std::vector<std::string_view> names;
  for (const T& item : items_) names.push_back(item.name);
  const auto listed = std::span{names}.first(std::min(names.size(), listed_max));
  return did_you_mean(mistyped, names,
                      fmt::format("so far there are: {}{}", fmt::join(listed, ", "),
                                  names.size() > listed_max ? ", ..." : ""));
}

template class NameTable<BufferName>;
template class NameTable<WindowName>;
template class NameTable<MappingName>;
template class NameTable<DeviceName>;
template class NameTable<ProcessName>;
template class NameTable<KeyName>;
template class NameTable<VmName>;

OrError<unsigned> StepParser::cpu() const {
  const unsigned cpus = experiment.bed.machine.cpus;
  return static_cast<unsigned>(CBIT_TRY(keys.number("cpu", 0, cpus - 1)).value_or(0));
}

OrError<std::size_t> StepParser::device(std::string_view kind) const {
  std::vector<std::size_t> candidates;
  for (std::size_t i = 0; i < names.devices.size(); ++i)
    if (names.devices[i].kind == kind) candidates.push_back(i);
  if (candidates.empty())
    return keys.error("device", fmt::format("there is no device of kind \"{}\"", kind),
                      fmt::format("add a [[device]] with kind = \"{}\"", kind));
  if (!keys.has("device") && candidates.size() == 1) return candidates.front();
  const std::size_t found = CBIT_TRY(names.devices.get(keys, "device"));
  if (names.devices[found].kind == kind) return found;
  return keys.error("device",
                    fmt::format("\"{}\" is no device of kind \"{}\"", names.devices[found].name, kind),
                    "name another device, or another step");
}

OrError<std::size_t> StepParser::new_buffer(BufferKind kind, std::uint64_t bytes) {
  const std::string name = CBIT_TRY(keys.need("name", keys.text("name")));
  if (bytes > limits.bytes - names.bytes)
    return keys.error(
        "size",
        fmt::format("the buffers of this experiment would have more than {} bytes in all", limits.bytes),
        "use smaller buffers");
  names.bytes += bytes;
  return names.buffers.add(keys, {.name = name, .kind = kind, .bytes = bytes});
}

OrError<std::size_t> StepParser::new_window(std::size_t buffer) {
  const std::string name = CBIT_TRY(keys.need("name", keys.text("name")));
  return names.windows.add(keys, {name, buffer});
}

OrError<Range> StepParser::range(std::uint64_t total) const {
  Range range;
  range.offset = CBIT_TRY(keys.number("offset", 0, total - 1)).value_or(0);
  const std::uint64_t rest = total - range.offset;
  range.bytes = CBIT_TRY(keys.number("length", 1, rest)).value_or(rest);
  return range;
}

OrError<Range> StepParser::free_range(std::uint64_t total) const {
  Range range;
  range.offset = CBIT_TRY(keys.number("offset", 0, bit_mask(63))).value_or(0);
  const std::uint64_t rest = range.offset < total ? total - range.offset : 1;
  range.bytes = CBIT_TRY(keys.number("length", 1, limits.bytes)).value_or(rest);
  return range;
}

OrError<DmaDirection> StepParser::direction(DmaDirection fallback) const {
  return CBIT_TRY(keys.word("direction", dma_direction_words)).value_or(fallback);
}

OrError<DmaAttrs> StepParser::attrs(DmaAttrs fallback) const {
  return CBIT_TRY(keys.flags("attrs", dma_attr_words)).value_or(fallback);
}

OrError<StepParser::Contents> StepParser::contents(std::uint64_t total, testbed::Author fallback,
                                                   bool may_leave) const {
  const TomlValue* const value = keys.value("data");
  const Data data = value != nullptr ? CBIT_TRY(Data::parse(*value, keys.file(), "data")) : Data{fallback};
  Range range = CBIT_TRY(may_leave ? free_range(total) : this->range(total));
  const auto fixed = data.length();
  if (fixed && !keys.has("length")) range.bytes = *fixed;
  if (fixed && *fixed < range.bytes)
    return keys.error("data", fmt::format("\"data\" has {} bytes, the range {}", *fixed, range.bytes),
                      "give more data, or a shorter \"length\"");
  const std::uint64_t most = may_leave ? limits.bytes : total - range.offset;
  if (range.bytes > most)
    return keys.error("data",
                      fmt::format("\"data\" has {} bytes, and there is room for {}", range.bytes, most),
                      "give less data, or a smaller \"offset\"");
  return Contents{range, data, std::min(range.offset, bytes_max)};
}

}  // namespace cbit::lab
