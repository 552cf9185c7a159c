// The makers of the tables, one per file of this folder.
#pragma once

#include "lab/table.hpp"

namespace cbit::lab {}  // namespace cbit::lab
