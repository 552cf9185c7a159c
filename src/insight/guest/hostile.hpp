// A host and devices that attack the guest as it runs: `cbit run --hostile`.
//
// Devices lie about the buffers that they have used, and write to memory that they reach (dev::Forger,
// bus::DmaPort: within their rights). The host writes to the guest's memory as software on the bus does, past
// the key: it overwrites, replays, moves and swaps what it finds there, ciphertext where that is encrypted.
//
// Acts come from a seed, or from a script; the same words give the same acts at the same virtual times, and
// the script of what was done does it again: leave lines out of it to find those that matter.
//
//   push NUMBER used-id|used-length|used-twice VALUE       when a device returns its NUMBERth buffer
//   ns TIME dma ADDRESS VALUE                              at a virtual time; the last of the devices writes
//   ns TIME overwrite|save|restore|move|swap ADDRESS [VALUE or second ADDRESS]
//
// Never ends the machine: what memory refuses is counted. Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "dev/forger.hpp"
#include "guest/pc.hpp"

namespace cbit::guest {

enum class HostileKind : std::uint8_t {
  used_id,      // device: another buffer's, or command's, number
  used_length,  // device: another number of bytes
  used_twice,   // device: the same buffer twice
  dma,          // device: eight bytes somewhere
  overwrite,    // host: eight bytes of DRAM
  save,         // host: keeps a block of 16 bytes as DRAM has it
  restore,      // host: puts back what it kept of that place
  move,         // host: copies a block to another place
  swap,         // host: exchanges what two pages hold
};

struct HostileAct {
  HostileKind kind{};
  std::uint64_t when = 0;    // number of the push for the first three, else nanoseconds of virtual time
  std::uint64_t first = 0;   // address, or the value of the first three
  std::uint64_t second = 0;  // value, or the other address

  friend bool operator==(const HostileAct&, const HostileAct&) = default;
};

[[nodiscard]] bool is_of_a_push(HostileKind kind);
// A line of a script, without its end.
[[nodiscard]] std::string to_string(const HostileAct& act);
// Empty lines, and what stands behind a #, do not count. Errors (input): a line that is none, with its
// number; more than a million.
OrError<std::vector<HostileAct>> parse_hostile_script(std::string_view text);

struct HostilePlan {
  std::uint64_t seed = 1;
  bool by_devices = true;
  bool by_host = false;
  std::uint64_t every = 20;  // buffers, or every_ns: on average between two acts
  std::uint64_t every_ns = 1'000'000;
  std::uint64_t from_ns = 0;
  std::optional<std::vector<HostileAct>> script;  // instead of the seed
};

class Hostile final : private dev::Forger {
 public:
  // Acts from now on; all devices have been plugged into `pc`, which outlives this. `told` is called with
  // each act before it is done.
  Hostile(Pc& pc, HostilePlan plan, std::function<void(const HostileAct&)> told = {});
  Hostile(const Hostile&) = delete;
  Hostile& operator=(const Hostile&) = delete;
  ~Hostile() override;

  struct Done {
    HostileAct act;
    std::uint64_t at_ns = 0;
  };
  [[nodiscard]] std::uint64_t acts() const { return acts_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  // The last few, oldest first.
  [[nodiscard]] const std::deque<Done>& last() const { return last_; }

 private:
  static constexpr std::size_t block_ = 16;
  using Block = std::array<std::byte, block_>;

  bool forge(dev::Returned& told) override;
  void on_time();
  void plan_next_push();
  void plan_next_time();
  [[nodiscard]] HostileAct invent();
  [[nodiscard]] std::uint64_t some_place(bool shared);
  void note(const HostileAct& act);
  void perform(const HostileAct& act);
  void write(std::uint64_t at, ConstByteSpan bytes);
  bool read(std::uint64_t at, ByteSpan bytes);
  void write_by_device(std::uint64_t at, std::uint64_t value);

  Pc* pc_;
  HostilePlan plan_;
  std::function<void(const HostileAct&)> told_;
  Random random_;
  std::vector<dev::ForgeableDevice*> devices_;
  std::multimap<std::uint64_t, HostileAct> at_push_;  // that are to come
  std::multimap<std::uint64_t, HostileAct> at_time_;
  Timer timer_;
  std::map<std::uint64_t, Block> kept_;
  std::uint64_t pushes_ = 0;
  std::uint64_t acts_ = 0;
  std::uint64_t refused_ = 0;
  std::deque<Done> last_;
};

}  // namespace cbit::guest
