// The processes of a lab file by name: in step.names.parts, for all kinds of steps that have to do with them.
#pragma once

#include "lab/experiment/names.hpp"

namespace cbit::lab {

struct ProcessName {
  std::string name;
};

struct ProcessNames {
  NameTable<ProcessName> table{"process"};
};

}  // namespace cbit::lab
