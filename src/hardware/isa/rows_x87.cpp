#include "isa/table.hpp"
namespace cbit::isa {
std::span<const Row> x87_rows() { return {}; }
}  // namespace cbit::isa
