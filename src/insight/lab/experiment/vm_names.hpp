// The names of virtual machines in a lab file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lab/experiment/names.hpp"

namespace cbit::lab {

struct VmName {
  std::string name;
  std::size_t ram = 0;  // buffers
  std::optional<std::size_t> heap;
  std::uint64_t bytes = 0;
};

struct VmNames {
  NameTable<VmName> vms{"vm"};
};

}  // namespace cbit::lab
