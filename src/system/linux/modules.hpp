// The modules of a running kernel: where their code is, their symbols, their unwind tables. Read from the
// guest's memory, which may hold anything.
//
// A module's addresses are used again when it is gone: whoever watches forgets it with the kernel
// (free_module()). Threading: that of the machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "linux/guest_memory.hpp"
#include "linux/kernel.hpp"

namespace cbit::linux {

struct CodeRange {
  VirtAddr first;
  std::uint64_t bytes = 0;

  [[nodiscard]] bool contains(VirtAddr at) const { return at >= first && at - first < bytes; }
};

struct Module {
  VirtAddr at;  // struct module
  std::string name;
  CodeRange core;
  CodeRange init;  // gone once the module is initialized
  SymbolTable symbols;
  OrcTable orc;

  [[nodiscard]] bool has_code(VirtAddr ip) const { return core.contains(ip) || init.contains(ip); }
};

// struct module at an address; nullopt: it is none, or not laid out yet.
[[nodiscard]] std::optional<Module> read_module(const Kernel& kernel, const GuestMemory& memory, VirtAddr at);

class ModuleMap {
 public:
  // Takes a module in, in place of the one that was there.
  void add(Module module);
  void forget(VirtAddr at) { modules_.erase(at); }
  void forget_init(VirtAddr at);
  void clear() { modules_.clear(); }
  // All that `head` (the symbol `modules`) lists and that are not known yet.
  void read_list(const Kernel& kernel, const GuestMemory& memory, VirtAddr head);

  [[nodiscard]] std::size_t size() const { return modules_.size(); }
  // nullptr: no module's code.
  [[nodiscard]] const Module* find(VirtAddr ip) const;
  [[nodiscard]] const Module* named(std::string_view name) const;
  [[nodiscard]] const Module* at(VirtAddr module) const;
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [at, module] : modules_) visit(*module);
  }

 private:
  std::map<VirtAddr, std::unique_ptr<const Module>> modules_;  // by the address of struct module
};

}  // namespace cbit::linux
