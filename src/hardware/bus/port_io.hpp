// The space of I/O ports, 64 KiB, as IN and OUT reach it. What SystemBus is to memory: it decodes a port to a
// region and an offset in it.
//
// A region says which widths it answers. An access of another width is split into its halves, as the bus of
// an 8-bit device splits what a CPU sends; what nobody answers reads as all ones, and writes to it are lost.
// No access faults. Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <map>

namespace cbit::bus {

class PioRegion {
 public:
  virtual ~PioRegion() = default;
  // `bytes` is 1, 2 or 4, one of the widths that the region was added with; the access lies inside of it.
  // Bits of a result above that width are ignored, those of a value are 0.
  virtual std::uint32_t read(std::uint16_t offset, unsigned bytes) = 0;
  virtual void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) = 0;
};

struct PortRange {
  std::uint16_t first = 0;
  std::uint32_t ports = 0;

  friend bool operator==(const PortRange&, const PortRange&) = default;
};

// The widths that a region answers, and whether it also answers halves and quarters of wider accesses.
struct PortWidths {
  bool byte = false;
  bool word = false;
  bool dword = false;
  bool parts = true;
};
inline constexpr PortWidths byte_ports{.byte = true};
inline constexpr PortWidths word_ports{.word = true};
inline constexpr PortWidths dword_ports{.dword = true};
inline constexpr PortWidths ports_of_any_width{.byte = true, .word = true, .dword = true};
// A register within a wider one of another device: the reset control among the ports of PCI's address.
inline constexpr PortWidths whole_bytes_only{.byte = true, .parts = false};

class PortSpace {
 public:
  struct Hit {
    PioRegion* region = nullptr;
    std::uint16_t offset = 0;
  };

  // The range is not empty, ends within the space and overlaps no other of a common width. The region
  // outlives the space, or is removed.
  void add(PortRange range, PioRegion& region, PortWidths widths = byte_ports);
  // The same where the guest decides about the range (a BAR): false, and nothing is added, if it will not do.
  [[nodiscard]] bool try_add(PortRange range, PioRegion& region, PortWidths widths = byte_ports);
  // What was added with this range for this region; nothing if nothing was.
  void remove(PortRange range, const PioRegion& region);

  // What answers exactly this access, not split; region == nullptr if nothing does.
  [[nodiscard]] Hit find(std::uint16_t port, unsigned bytes) const { return find(port, bytes, false); }

  // bytes: 1, 2 or 4. An access that runs past the last port reads ones there.
  std::uint32_t read(std::uint16_t port, unsigned bytes) { return read(port, bytes, false); }
  void write(std::uint16_t port, unsigned bytes, std::uint32_t value) { write(port, bytes, value, false); }

 private:
  struct Claim {
    std::uint32_t ports = 0;
    PioRegion* region = nullptr;
    bool parts = true;
  };
  using Claims = std::map<std::uint32_t, Claim>;  // by the first port

  [[nodiscard]] Hit find(std::uint32_t port, unsigned bytes, bool part) const;
  std::uint32_t read(std::uint32_t port, unsigned bytes, bool part);
  void write(std::uint32_t port, unsigned bytes, std::uint32_t value, bool part);

  std::array<Claims, 3> claims_;  // of bytes, words, dwords
};

}  // namespace cbit::bus
