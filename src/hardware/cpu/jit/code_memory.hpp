// Memory for generated code: executed through one mapping, written through another, so that no page is ever
// writable where it is executable.
//
// Threading: one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace cbit::cpu::jit {

class CodeMemory {
 public:
  // nullptr: the host does not let a program execute what it wrote.
  [[nodiscard]] static std::unique_ptr<CodeMemory> create(std::size_t bytes);
  ~CodeMemory();
  CodeMemory(const CodeMemory&) = delete;
  CodeMemory& operator=(const CodeMemory&) = delete;

  // Where the next piece of code will lie.
  [[nodiscard]] const std::byte* next() const { return executable_ + used_; }
  [[nodiscard]] std::size_t left() const { return bytes_ - used_; }
  [[nodiscard]] std::size_t used() const { return used_; }
  // The bytes to write that piece to; at most left().
  [[nodiscard]] std::span<std::byte> take(std::size_t bytes);
  // In a process that another has made: what is written from now on is its own. False: the system refuses,
  // and nothing is to be run here any more.
  [[nodiscard]] bool part();
  // Everything behind the first `used` bytes is free again, and no longer occupies the host's memory.
  void cut_to(std::size_t used);

 private:
  CodeMemory(std::size_t bytes, std::byte* executable, std::byte* writable)
      : bytes_{bytes}, executable_{executable}, writable_{writable} {}

  std::size_t bytes_;
  std::byte* executable_;
  std::byte* writable_;
  // Code is called through pointers: clang's -fsanitize=function looks for a mark in front of it.
  std::size_t used_ = 16;
};

}  // namespace cbit::cpu::jit
