// The translator: turns blocks that run often into code of the host.
//
// What an operation means stays with the interpreter's functions: an operation without code of its own calls
// its function, and so does everything rare. The code keeps guest registers in the host's inside a block, and
// goes from block to block by pointers that CodeCache keeps (cpu/translation.hpp).
//
// Threading: one thread, the machine's.
#pragma once

#include <asmjit/x86.h>

#include <memory>
#include <optional>

#include "cpu/code_cache.hpp"
#include "cpu/jit/block_emitter.hpp"
#include "cpu/jit/code_memory.hpp"

namespace cbit::cpu::jit {

class Translator {
 public:
  // With room for so many bytes of code: a whole number of pages, and more than the largest block has, 256
  // KiB. `wanted`: Standstill::wanted() of processors on threads. nullptr where this host has no
  // translator, or does not let programs execute what they wrote.
  [[nodiscard]] static std::unique_ptr<Translator> create(std::size_t bytes,
                                                          const std::atomic<std::uint32_t>* wanted = nullptr);

  enum class Result : std::uint8_t { done, full, refused };
  // Gives the path's first block its code, if there is room, which goes through all of them.
  [[nodiscard]] Result translate(const CodePath& path);
  // No translation is used any more, and none runs.
  void clear();
  // CodeMemory::part()
  [[nodiscard]] bool part() { return memory_->part(); }

  [[nodiscard]] const SharedCode& shared() const { return shared_; }
  [[nodiscard]] std::size_t bytes() const { return memory_->used(); }

 private:
  explicit Translator(std::unique_ptr<CodeMemory> memory) : memory_{std::move(memory)} {}
  [[nodiscard]] bool emit_shared_code();
  [[nodiscard]] std::optional<LoopState> loop_of(const CodePath& path) const;
  // Moves what was assembled to where it was assembled for.
  [[nodiscard]] bool place(asmjit::CodeHolder& code);

  std::unique_ptr<CodeMemory> memory_;
  SharedCode shared_;
  std::size_t shared_bytes_ = 0;
};

}  // namespace cbit::cpu::jit
