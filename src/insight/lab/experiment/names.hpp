// The names of a lab file, resolved while it is loaded: buffers, windows on them, mappings, devices. What is
// known of them before the run is known here, so that most mistakes are found without running.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cbit/dma_types.hpp"
#include "lab/experiment.hpp"
#include "lab/experiment/data.hpp"
#include "lab/experiment/parts.hpp"
#include "lab/experiment/table_reader.hpp"

namespace cbit::lab {

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

enum class BufferKind : std::uint8_t {
  pages,      // alloc_pages()
  coherent,   // dma_alloc_coherent(); a mapping of the same name exists
  dma_pages,  // dma_alloc_pages(); likewise
  bar,        // device memory
  pool,       // a part of the default bounce pool
  ring,       // the memory of a virtqueue
  user,       // memory of a process
  bo,         // a buffer object of a GPU: pages that come, go and move
  area,       // an area of a process that is looked up before each use (user_memory.hpp)
  guest,      // memory of a virtual machine
  process,    // memory of a VMM
};

struct BufferName {
  std::string name;
  BufferKind kind{};
  std::uint64_t bytes = 0;
  bool freed = false;
};

// Another way for a CPU to reach a buffer: a user mapping, a vmap.
struct WindowName {
  std::string name;
  std::size_t buffer = 0;
};

// Bytes of a buffer that a mapping covers.
struct Part {
  std::size_t buffer = 0;
  Range range;
};

enum class MapHow : std::uint8_t {
  single,
  page,
  sg,
  resource,
  raw_phys,
  raw_encrypted,
  coherent,
  pages,   // dma_alloc_pages()
  iova,    // dma_iova_try_alloc()
  region,  // an RDMA memory region
};

inline constexpr Word<MapHow> map_how_words[] = {
    {"single", MapHow::single},     {"page", MapHow::page},         {"sg", MapHow::sg},
    {"resource", MapHow::resource}, {"raw-phys", MapHow::raw_phys}, {"raw-encrypted", MapHow::raw_encrypted},
};

struct MappingName {
  std::string name;
  std::size_t device = 0;
  MapHow how{};
  std::vector<Part> parts;
  std::uint64_t bytes = 0;
  DmaDirection direction = DmaDirection::bidirectional;
  DmaAttrs attrs;
};

template <class T>
class NameTable {
 public:
  explicit NameTable(std::string_view what) : what_{what} {}

  OrError<std::size_t> add(const TableReader& keys, T item) {
    if (find(item.name)) return keys.error("name", taken(item.name), "give it another name");
    items_.push_back(std::move(item));
    return items_.size() - 1;
  }
  // The item that `key` names. The Error lists the names that exist.
  OrError<std::size_t> get(const TableReader& keys, std::string_view key) const {
    const std::string name = CBIT_TRY(keys.need(key, keys.text(key)));
    if (const auto found = find(name)) return *found;
    return keys.error(key, unknown(name), known(name));
  }
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const {
    for (std::size_t i = 0; i < items_.size(); ++i)
      if (items_[i].name == name) return i;
    return std::nullopt;
  }
  [[nodiscard]] const T& operator[](std::size_t index) const { return items_[index]; }
  [[nodiscard]] T& operator[](std::size_t index) { return items_[index]; }
  [[nodiscard]] std::size_t size() const { return items_.size(); }

 private:
  [[nodiscard]] std::string taken(std::string_view name) const;
  [[nodiscard]] std::string unknown(std::string_view name) const;
  [[nodiscard]] std::string known(std::string_view mistyped) const;

  std::string_view what_;
  std::vector<T> items_;
};

struct DeviceName {
  std::string name;
  std::string_view kind;
  bool probed = false;
};

// A key of the key service (steps_mktme.cpp).
struct KeyName {
  std::string name;
};

// What the parser of a step sees: its own keys, and the names so far.
class StepParser {
 public:
  struct Names {
    NameTable<BufferName> buffers{"buffer"};
    NameTable<WindowName> windows{"window"};
    NameTable<MappingName> mappings{"mapping"};
    NameTable<DeviceName> devices{"device"};
    std::uint64_t bytes = 0;            // of all buffers
    std::uint64_t parts_looked_at = 0;  // by all expectations
    Parts parts;                        // the tables of names that only some kinds of steps know
  };

  StepParser(const TableReader& keys_of_step, Names& names_so_far, const Experiment& so_far,
             const ExperimentLimits& what_is_allowed)
      : keys{keys_of_step}, names{names_so_far}, experiment{so_far}, limits{what_is_allowed} {}

  const TableReader& keys;
  Names& names;
  const Experiment& experiment;
  const ExperimentLimits& limits;

  // The CPU that executes the step; 0 unless given.
  OrError<unsigned> cpu() const;
  // The key `device`; may be left out where there is only one of this kind.
  OrError<std::size_t> device(std::string_view kind) const;
  OrError<std::size_t> buffer(std::string_view key = "buffer") const { return names.buffers.get(keys, key); }
  OrError<std::size_t> window() const { return names.windows.get(keys, "through"); }
  OrError<std::size_t> mapping(std::string_view key = "mapping") const {
    return names.mappings.get(keys, key);
  }

  // A buffer of `bytes` named by the key `name`, counted against the limit.
  OrError<std::size_t> new_buffer(BufferKind kind, std::uint64_t bytes);
  // A window on a whole buffer, named by the key `name`.
  OrError<std::size_t> new_window(std::size_t buffer);

  // `offset` and `length` within `total` bytes; by default all that follows the offset.
  OrError<Range> range(std::uint64_t total) const;
  // The same for a transfer that may go out of bounds: a device does as it is told.
  OrError<Range> free_range(std::uint64_t total) const;
  OrError<DmaDirection> direction(DmaDirection fallback) const;
  OrError<DmaAttrs> attrs(DmaAttrs fallback = {}) const;
  // The key `data` for a range: fixed data is as long as the range unless `length` says otherwise.
  // They are made when they are wanted: a file of ten thousand steps holds no bytes but its own.
  struct Contents {
    Range range;
    Data data;
    std::uint64_t place = 0;  // of the data in the buffer

    [[nodiscard]] Bytes bytes() const { return data.bytes(place, range.bytes); }
  };
  OrError<Contents> contents(std::uint64_t total, testbed::Author fallback, bool may_leave) const;
};

}  // namespace cbit::lab
