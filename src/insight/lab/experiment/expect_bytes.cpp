// Who sees what: `cpu-sees`, `device-sees`, `gpu-sees`, `host-sees`, `dram-sees`, `pool-sees`, `disk-sees`.
#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "lab/experiment/expect.hpp"
#include "lab/experiment/gpu_part.hpp"

namespace cbit::lab {
namespace {

// Physically contiguous bytes that an observer looked at.
struct Spot {
  PhysAddr at;
  std::uint64_t bytes = 0;
  KeyId owner = no_key;  // the key under which its owner sees it
};

// What an observer got, and where it lies; nullopt: nothing.
struct Observation {
  Bytes seen;
  std::vector<Spot> spots;
};
using Look = std::optional<Observation> (*)(Run&, const Subject&);

// The frames of the buffers; nullopt when one of them does not exist.
std::optional<std::vector<Spot>> buffer_spots(Run& run, const Subject& subject) {
  std::vector<Spot> spots;
  for (const Part& part : subject.parts) {
    if (!run.live_buffer(part.buffer)) return std::nullopt;
    (void)run.each_frame(
        run.buffer(part.buffer), part.range,
        [&](PhysAddr at, std::uint64_t from, std::uint64_t bytes) -> Result<void> {
          spots.push_back({at, bytes, run.key_of(run.buffer(part.buffer), part.range.offset + from)});
          return {};
        });
  }
  return spots;
}

std::optional<Observation> look_at(const std::optional<std::vector<Spot>>& spots,
                                   const std::function<Result<void>(PhysAddr, ByteSpan)>& read) {
  if (!spots) return std::nullopt;
  Observation observation{{}, *spots};
  for (const Spot& spot : *spots) {
    Bytes part(spot.bytes);
    if (!read(spot.at, part)) return std::nullopt;
    observation.seen.insert(observation.seen.end(), part.begin(), part.end());
  }
  return observation;
}

std::optional<Observation> look_as_cpu(Run& run, const Subject& subject) {
  const auto spots = buffer_spots(run, subject);
  if (!spots) return std::nullopt;
  Observation observation{{}, *spots};
  for (const Part& part : subject.parts) {
    Run::Lens lens = subject.lens;
    lens.buffer = part.buffer;
    Bytes bytes(part.range.bytes);
    if (!run.cpu_read(lens, part.range.offset, bytes)) return std::nullopt;
    observation.seen.insert(observation.seen.end(), bytes.begin(), bytes.end());
  }
  return observation;
}

std::optional<Observation> look_as_device(Run& run, const Subject& subject) {
  const auto spots = buffer_spots(run, subject);
  const auto mapping = run.made_mapping(*subject.mapping);
  if (!spots || !mapping) return std::nullopt;
  Observation observation{{}, *spots};
  for (const Run::Segment& segment : Run::locate(**mapping, subject.range)) {
    Bytes bytes(segment.bytes);
    if (!run.port(*subject.device).peek(segment.at, bytes)) return std::nullopt;
    observation.seen.insert(observation.seen.end(), bytes.begin(), bytes.end());
  }
  return observation;
}

// By the GPU's own address of the object: through its page table, or in video memory.
std::optional<Observation> look_as_gpu(Run& run, const Subject& subject) {
  const auto spots = buffer_spots(run, subject);
  const auto object = run.part<GpuPart>().object(subject.lens.buffer);
  if (!spots || !object) return std::nullopt;
  kernel::GpuDriver& driver = run.part<GpuPart>().driver((*object)->device);
  const auto at = driver.address(*(*object)->bo);
  Observation observation{Bytes(subject.range.bytes), *spots};
  if (!at || !driver.gpu().peek(*at + subject.range.offset, observation.seen)) return std::nullopt;
  return observation;
}

std::optional<Observation> look_as_host(Run& run, const Subject& subject) {
  return look_at(buffer_spots(run, subject),
                 [&](PhysAddr at, ByteSpan to) { return run.memory().peek(at, to, no_key); });
}

std::optional<Observation> look_at_dram(Run& run, const Subject& subject) {
  return look_at(buffer_spots(run, subject),
                 [&](PhysAddr at, ByteSpan to) { return run.memory().probe(at, to); });
}

// The host's view of the bounce slots.
std::optional<Observation> look_at_pool(Run& run, const Subject& subject) {
  const auto mapping = run.made_mapping(*subject.mapping);
  if (!mapping) return std::nullopt;
  std::vector<Spot> spots;
  std::uint64_t first = subject.range.offset;  // within the part, once those before it are passed
  std::uint64_t left = subject.range.bytes;
  for (std::size_t i = 0; i < subject.mapped.size() && left != 0; ++i) {
    const std::uint64_t size = subject.mapped[i].range.bytes;
    if (first >= size) {
      first -= size;
      continue;
    }
    const auto bounce = (*mapping)->bounces[i];
    if (!bounce) return std::nullopt;
    const std::uint64_t bytes = std::min(left, size - first);
    spots.push_back({*bounce + first, bytes, run.bed().cpu_key()});
    left -= bytes;
    first = 0;
  }
  return look_at(spots, [&](PhysAddr at, ByteSpan to) { return run.memory().peek(at, to, no_key); });
}

// The bytes that were written last, and the ones before.
std::pair<Bytes, Bytes> shadow_of(Run& run, const Subject& subject) {
  std::pair<Bytes, Bytes> shadow;
  for (const Part& part : subject.parts) {
    const Run::Buffer& buffer = run.buffer(part.buffer);
    const auto append = [&](Bytes& to, ConstByteSpan from) {
      const ConstByteSpan bytes = from.subspan(part.range.offset, part.range.bytes);
      to.insert(to.end(), bytes.begin(), bytes.end());
    };
    append(shadow.first, buffer.now);
    append(shadow.second, buffer.before);
  }
  return shadow;
}

testbed::Sees judge(Run& run, const Observation& observation, ConstByteSpan data, ConstByteSpan old) {
  std::optional<testbed::Sees> verdict;
  std::size_t done = 0;
  for (const Spot& spot : observation.spots) {
    const ConstByteSpan seen = ConstByteSpan{observation.seen}.subspan(done, spot.bytes);
    const testbed::View view =
        testbed::View::of_bytes(run.memory(), spot.at, Bytes{seen.begin(), seen.end()}, spot.owner);
    const testbed::Sees sees =
        testbed::classify(view, data.subspan(done, spot.bytes), old.subspan(done, spot.bytes));
    if (verdict && *verdict != sees) return testbed::Sees::mixed;
    verdict = sees;
    done += spot.bytes;
  }
  return verdict.value_or(testbed::Sees::none);
}

// ---- the checks ------------------------------------------------------------------------------------------

std::optional<Mismatch> check_sees(Run& run, const Subject& subject, Look look, std::string_view key,
                                   testbed::Sees expected) {
  const auto observation = look(run, subject);
  if (!observation) {
    if (expected == testbed::Sees::none) return std::nullopt;
    return Mismatch{std::string{key}, std::string{to_string(expected)}, "none: there was nothing to see", {}};
  }
  const auto [data, old] = shadow_of(run, subject);
  const testbed::Sees sees = judge(run, *observation, data, old);
  if (sees == expected) return std::nullopt;
  return Mismatch{
      std::string{key}, std::string{to_string(expected)}, std::string{to_string(sees)},
      hex_diff(expected == testbed::Sees::old ? old : data, observation->seen, subject.range.offset)};
}

std::optional<Mismatch> check_equals(Run& run, const Subject& subject, Look look, std::string_view key,
                                     const Data& data) {
  const Bytes expected = data.bytes(subject.range.offset, subject.range.bytes);
  const auto observation = look(run, subject);
  if (!observation) return Mismatch{std::string{key}, "these bytes", "none: there was nothing to see", {}};
  if (observation->seen == expected) return std::nullopt;
  return Mismatch{std::string{key}, fmt::format("{} bytes as given", expected.size()), "other bytes",
                  hex_diff(expected, observation->seen, subject.range.offset)};
}

// Fixed data without a `length` looks at as many bytes as it has.
OrError<Subject> narrowed(const StepParser& step, Subject subject, const Data& data, std::string_view key) {
  const std::uint64_t fixed = data.length().value_or(subject.range.bytes);
  if (fixed < subject.range.bytes && !step.keys.has("length")) {
    subject.range.bytes = fixed;
    std::uint64_t left = fixed;
    for (Part& part : subject.parts) {
      part.range.bytes = std::min(part.range.bytes, left);
      left -= part.range.bytes;
    }
    std::erase_if(subject.parts, [](const Part& part) { return part.range.bytes == 0; });
  }
  if (fixed == subject.range.bytes || !data.length()) return subject;
  return step.keys.error(key,
                         fmt::format("\"{}\" has {} bytes, the range {}", key, fixed, subject.range.bytes),
                         "make them equally long");
}

OrError<Check> parse_sees(const StepParser& step, const Subject& subject, std::string_view key, Look look) {
  const TomlValue& value = *step.keys.value(key);
  if (value.kind == TomlValue::Kind::text) {
    const testbed::Sees sees = CBIT_TRY(step.keys.need(key, step.keys.word(key, testbed::sees_words)));
    return [=](Run& run) { return check_sees(run, subject, look, key, sees); };
  }
  const Data data = CBIT_TRY(Data::parse(value, step.keys.file(), key));
  const Subject narrow = CBIT_TRY(narrowed(step, subject, data, key));
  return [=](Run& run) { return check_equals(run, narrow, look, key, data); };
}

template <Look look>
OrError<Check> parse(const StepParser& step, const Subject& subject, std::string_view key) {
  return parse_sees(step, subject, key, look);
}

// Sectors have no shadow: the bytes must be given. `offset` counts from the start of the disk.
OrError<Check> parse_disk_sees(const StepParser& step, const Subject& subject, std::string_view key) {
  const std::size_t device = *subject.device;
  const Data data = CBIT_TRY(Data::parse(*step.keys.value(key), step.keys.file(), key));
  Range range = CBIT_TRY(step.range(step.experiment.devices[device].disk_bytes));
  if (!step.keys.has("length")) range.bytes = std::min(range.bytes, data.length().value_or(range.bytes));
  if (data.length().value_or(range.bytes) != range.bytes)
    return step.keys.error(key, fmt::format("\"{}\" and the range differ in length", key),
                           "make them equally long");
  return [=](Run& run) -> std::optional<Mismatch> {
    const Bytes expected = data.bytes(0, range.bytes);
    Bytes found(range.bytes);
    if (const auto read = run.disk(device).medium().read(range.offset, found); !read)
      return Mismatch{std::string{key}, "these bytes", read.error().message, {}};
    if (found == expected) return std::nullopt;
    return Mismatch{std::string{key}, fmt::format("{} bytes as given", expected.size()), "other bytes",
                    hex_diff(expected, found, range.offset)};
  };
}

constexpr ExpectKey bytes_check_keys[] = {
    {"cpu-sees", Needs::bytes, parse<look_as_cpu>},   {"device-sees", Needs::mapping, parse<look_as_device>},
    {"gpu-sees", Needs::bytes, parse<look_as_gpu>},   {"host-sees", Needs::bytes, parse<look_as_host>},
    {"dram-sees", Needs::bytes, parse<look_at_dram>}, {"pool-sees", Needs::mapping, parse<look_at_pool>},
    {"disk-sees", Needs::disk, parse_disk_sees},
};

}  // namespace

std::span<const ExpectKey> byte_checks() { return bytes_check_keys; }

}  // namespace cbit::lab
