#include "lab/peek.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "lab/experiment/gpu_part.hpp"
#include "lab/experiment/run.hpp"
#include "watch/facts.hpp"

namespace cbit::lab {
namespace {

constexpr std::uint64_t default_length = 256;
constexpr std::uint64_t length_max = 64 * 1024;
constexpr std::size_t bytes_per_row = 16;

OrError<std::size_t> find_buffer(const Experiment& experiment, std::string_view name) {
  const auto found = std::ranges::find(experiment.buffers, name, &ExperimentBuffer::name);
  if (found != experiment.buffers.end()) return static_cast<std::size_t>(found - experiment.buffers.begin());
  std::vector<std::string_view> known;
  for (const ExperimentBuffer& buffer : experiment.buffers) known.push_back(buffer.name);
  return usage_error(
      fmt::format("the experiment has no buffer \"{}\"", name),
      did_you_mean(name, known, fmt::format("use --buffer with one of {}", fmt::join(known, ", "))));
}

OrError<Range> range_of(const ExperimentBuffer& buffer, const PeekOptions& options) {
  const std::uint64_t rest = options.offset < buffer.bytes ? buffer.bytes - options.offset : 0;
  const std::uint64_t length = options.length.value_or(std::min(rest, default_length));
  if (length == 0 || length > rest)
    return usage_error(fmt::format("{} bytes from offset {} do not lie in the buffer's {}", length,
                                   options.offset, buffer.bytes),
                       "use a smaller --offset or --length");
  if (length > length_max)
    return usage_error(fmt::format("{} bytes are too many to look at", length), "use --length 64K or less");
  return Range{options.offset, length};
}

// One look at the buffer, from all sides.
class Looker {
 public:
  Looker(Run& run, std::size_t buffer, const Range& range)
      : run_{&run}, id_{buffer}, buffer_{&run.buffer(buffer)}, range_{range} {}

  [[nodiscard]] Peek look() {
    Peek peek{.at = buffer_->phys(range_.offset), .offset = range_.offset};
    peek.views.push_back(judged("owner", owner_name(), by_owner()));
    peek.views.push_back(by_device());
    peek.views.push_back(judged("host", "the host's software, without a key", by_memory(no_key)));
    peek.views.push_back(judged("dram", "a probe on the memory chips", by_probe()));
    peek.host_pages = guess_pages();
    return peek;
  }

 private:
  [[nodiscard]] std::string owner_name() const {
    return std::string{buffer_->owner == nullptr ? "the kernel's CPU" : buffer_->owner->name(range_.offset)};
  }

  [[nodiscard]] std::optional<Bytes> by_owner() {
    Bytes bytes(range_.bytes);
    if (!run_->cpu_read({.buffer = id_}, range_.offset, bytes)) return std::nullopt;
    return bytes;
  }

  template <class Read>
  [[nodiscard]] std::optional<Bytes> by_frame(Read&& read) const {
    Bytes bytes(range_.bytes);
    const auto done = run_->each_frame(
        *buffer_, range_, [&](PhysAddr at, std::uint64_t from, std::uint64_t size) -> Result<void> {
          return read(at, ByteSpan{bytes}.subspan(from, size));
        });
    if (!done) return std::nullopt;
    return bytes;
  }
  [[nodiscard]] std::optional<Bytes> by_memory(KeyId key) const {
    return by_frame([&](PhysAddr at, ByteSpan to) { return run_->memory().peek(at, to, key); });
  }
  [[nodiscard]] std::optional<Bytes> by_probe() const {
    return by_frame([&](PhysAddr at, ByteSpan to) { return run_->memory().probe(at, to); });
  }

  [[nodiscard]] std::vector<PeekPage> guess_pages() const {
    std::vector<PeekPage> pages;
    Bytes bytes(page_size);
    static_cast<void>(
        run_->each_frame(*buffer_, range_, [&](PhysAddr at, std::uint64_t, std::uint64_t) -> Result<void> {
          const bool read = run_->memory().peek(at.page(), bytes, no_key).has_value();
          pages.push_back({at.page(), read ? watch::look_at(watch::PageBytes{bytes.data(), page_size})
                                           : watch::PageLook{}});
          return {};
        }));
    return pages;
  }

  // At the address of a mapping that covers the range, or of the GPU's; else at the physical address, as a
  // device without IOMMU would try it.
  [[nodiscard]] PeekView by_device() const {
    const auto& mappings = run_->experiment().mappings;
    for (std::size_t id = mappings.size(); id-- != 0;) {
      const auto offset = offset_in(id);
      if (!offset) continue;
      const auto segments = Run::locate(run_->mapping(id), {*offset, range_.bytes});
      const std::string how = fmt::format("at {} of mapping \"{}\"", segments.front().at, mappings[id].name);
      Bytes bytes;
      for (const Run::Segment& segment : segments) {
        Bytes part(segment.bytes);
        if (!run_->port(mappings[id].device).peek(segment.at, part))
          return {"device", how, {}, testbed::Sees::none};
        bytes.insert(bytes.end(), part.begin(), part.end());
      }
      return judged("device", how, bytes);
    }
    if (auto seen = by_gpu()) return *std::move(seen);
    const mem::KeyView& view = run_->bed().machine().bus().device_view();
    return judged("device",
                  fmt::format("at the physical address {}, not mapped", buffer_->phys(range_.offset)),
                  by_memory(view.key(0)));
  }

  // A buffer object, at the GPU's own address of it; nullopt: it is none, or the GPU has no address of it.
  [[nodiscard]] std::optional<PeekView> by_gpu() const {
    const auto object = run_->part<GpuPart>().object(id_);
    if (!object) return std::nullopt;
    kernel::GpuDriver& driver = run_->part<GpuPart>().driver((*object)->device);
    const auto at = driver.address(*(*object)->bo);
    Bytes bytes(range_.bytes);
    if (!at || !driver.gpu().peek(*at + range_.offset, bytes)) return std::nullopt;
    return judged("device", fmt::format("the GPU, at its address {:#x}", (*at + range_.offset).value()),
                  bytes);
  }

  // Where the range begins in a mapping that the driver holds; nullopt when it does not lie in one.
  [[nodiscard]] std::optional<std::uint64_t> offset_in(std::size_t id) const {
    const Run::Mapping& mapping = run_->mapping(id);
    if (!mapping.made || mapping.ended || mapping.path == DmaPath::error) return std::nullopt;
    std::uint64_t before = 0;
    for (const kernel::ScatterEntry& entry : mapping.sg) {
      const mem::PhysRange covered{entry.phys, entry.length};
      if (covered.contains(buffer_->phys(range_.offset), range_.bytes))
        return before + (buffer_->phys(range_.offset) - entry.phys);
      before += entry.length;
    }
    return std::nullopt;
  }

  // What it is, judged frame by frame against what was written there.
  [[nodiscard]] PeekView judged(std::string_view who, std::string how,
                                const std::optional<Bytes>& seen) const {
    PeekView view{who, std::move(how), seen.value_or(Bytes{}), testbed::Sees::none};
    if (!seen) return view;
    std::optional<testbed::Sees> verdict;
    static_cast<void>(run_->each_frame(
        *buffer_, range_, [&](PhysAddr at, std::uint64_t from, std::uint64_t size) -> Result<void> {
          const std::uint64_t offset = range_.offset + from;
          const auto part = [&](const Bytes& bytes, std::uint64_t first) {
            return ConstByteSpan{bytes}.subspan(first, size);
          };
          const ConstByteSpan bytes = part(*seen, from);
          const testbed::View frame = testbed::View::of_bytes(
              run_->memory(), at, Bytes{bytes.begin(), bytes.end()}, run_->key_of(*buffer_, offset));
          const testbed::Sees sees =
              testbed::classify(frame, part(buffer_->now, offset), part(buffer_->before, offset));
          verdict = verdict && *verdict != sees ? testbed::Sees::mixed : sees;
          return {};
        }));
    view.sees = verdict.value_or(testbed::Sees::none);
    return view;
  }

  Run* run_;
  std::size_t id_;
  const Run::Buffer* buffer_;
  Range range_;
};

char printable(std::byte b) {
  const char c = static_cast<char>(b);
  return c >= ' ' && c <= '~' ? c : '.';
}

std::string hex_row(const PeekView& view, std::size_t first) {
  std::string hex;
  std::string text;
  for (std::size_t i = first; i < std::min(first + bytes_per_row, view.bytes.size()); ++i) {
    hex += fmt::format("{:02x}{}", static_cast<unsigned>(view.bytes[i]), i % 2 == 1 ? " " : "");
    text += printable(view.bytes[i]);
  }
  return fmt::format("{:<40} {:<16}", hex, text);
}

// Two views beside each other.
std::string side_by_side(const Peek& peek, const PeekView& left, const PeekView& right) {
  const auto heading = [](const PeekView& view) {
    return fmt::format("{}: {} ({})", view.who, to_string(view.sees), view.how);
  };
  std::string text = fmt::format("{:>8}  {:<57}  {}\n", "", heading(left), heading(right));
  for (std::size_t first = 0; first < std::max(left.bytes.size(), right.bytes.size());
       first += bytes_per_row) {
    std::string row =
        fmt::format("{:08x}  {}  {}", peek.offset + first, hex_row(left, first), hex_row(right, first));
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + '\n';
  }
  return text;
}

// Neighbours that look alike share a line.
std::string guesses(const std::vector<PeekPage>& pages) {
  std::string text;
  for (std::size_t first = 0; first < pages.size();) {
    std::size_t end = first + 1;
    while (end < pages.size() && pages[end].look.looks == pages[first].look.looks &&
           pages[end].at == pages[end - 1].at + page_size)
      ++end;
    text += fmt::format("to the host, by its bytes alone, {} at {} look{} like {} (entropy {:.2f})\n",
                        end - first == 1 ? "the page" : fmt::format("{} pages", end - first), pages[first].at,
                        end - first == 1 ? "s" : "", to_string(pages[first].look.looks),
                        pages[first].look.entropy);
    first = end;
  }
  return text;
}

}  // namespace

OrError<Peek> peek(const Experiment& experiment, const PeekOptions& options) {
  const std::size_t id = CBIT_TRY(find_buffer(experiment, options.buffer));
  const Range range = CBIT_TRY(range_of(experiment.buffers[id], options));
  if (options.step && (*options.step < 1 || *options.step > experiment.steps.size()))
    return usage_error(fmt::format("there is no step {}", *options.step),
                       fmt::format("use --step 1 to {}", experiment.steps.size()));
  const auto run = CBIT_TRY(Run::create(experiment, nullptr));
  std::optional<Peek> seen;
  bool reached = false;
  const ExperimentResult result = run->perform(options.step, [&] {
    reached = true;
    if (run->live_buffer(id)) seen = Looker{*run, id, range}.look();
  });
  if (seen) return *std::move(seen);
  if (!reached)
    return bad_input(
        fmt::format("the experiment stops before that: {}", result.failures.front().mismatch.found),
        "cbit lab run tells what went wrong");
  return bad_input(fmt::format("the buffer \"{}\" does not exist then", options.buffer),
                   "look after an earlier step, with --step");
}

std::string to_text(const Peek& peek) {
  std::string text;
  for (std::size_t i = 0; i + 1 < peek.views.size(); i += 2) {
    if (i != 0) text += '\n';
    text += side_by_side(peek, peek.views[i], peek.views[i + 1]);
  }
  return text + '\n' + guesses(peek.host_pages);
}

std::string to_json(const Peek& peek, std::string_view buffer) {
  nlohmann::ordered_json views = nlohmann::ordered_json::array();
  for (const PeekView& view : peek.views)
    views.push_back({{"who", view.who},
                     {"how", view.how},
                     {"sees", to_string(view.sees)},
                     {"bytes", to_hex(view.bytes)}});
  nlohmann::ordered_json pages = nlohmann::ordered_json::array();
  for (const PeekPage& page : peek.host_pages)
    pages.push_back({{"physical", fmt::format("{:#x}", page.at.value())},
                     {"looks", to_string(page.look.looks)},
                     {"entropy", page.look.entropy},
                     {"why", page.look.why}});
  const nlohmann::ordered_json object{
      {"schema", "cbit-peek-1"}, {"buffer", buffer},
      {"offset", peek.offset},   {"physical", fmt::format("{:#x}", peek.at.value())},
      {"views", views},          {"host_pages", pages}};
  return json_text(object, 2) + '\n';
}

}  // namespace cbit::lab
