#include "isa/table.hpp"
namespace cbit::isa {
std::span<const Row> sse_rows() { return {}; }
}  // namespace cbit::isa
