// A machine in a file, to go on from later: memory as DRAM has it, which is ciphertext where a key protects
// it, and the state of all else, keys included.
//
//   4096 bytes   magic, version, where the state is and how long, its SHA-256
//   the state    facts that the machine was made by, then Pc::transfer() (base/state_stream.hpp)
//   memory       from a page's boundary to the file's end: the machine's RAM, range after range, sparse
//
// Memory is mapped, not read, so that going on takes no longer with more of it. A page of it is as the file
// has it: the SHA-256 is not over memory.
//
// Whoever reads the file has the guest's keys: its mode is 0600.
//
// Errors (input): a file that is no snapshot, or not whole, one of another version, of another machine, each
// with what differs; (output) a file that cannot be written. Threading: one thread, that of the machine.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "guest/pc.hpp"

namespace cbit::guest {

// What a machine was made by, in words: {"memory", "512 MiB"}. Loading wants the same.
struct SnapshotFact {
  std::string name;
  std::string value;
  void transfer(StateStream& s);
  friend bool operator==(const SnapshotFact&, const SnapshotFact&) = default;
};
using SnapshotFacts = std::vector<SnapshotFact>;

// Whether the path leads to anything.
[[nodiscard]] bool snapshot_exists(const std::string& path);

// Takes the place of a file that is there, when all of it is written.
OrError<void> save_snapshot(Pc& pc, SnapshotFacts facts, const std::string& path);

// Into a machine that has been made, and plugged, by these facts, and has not been loaded. `remedy`: what to
// do about a file that is not of this machine.
OrError<void> load_snapshot(Pc& pc, const SnapshotFacts& facts, const std::string& path,
                            const std::string& remedy);

}  // namespace cbit::guest
