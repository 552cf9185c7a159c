// Reads what structures of a running kernel hold. Small: made where it is needed.
#pragma once

#include <cstdint>
#include <optional>

#include "linux/fields.hpp"
#include "linux/guest_memory.hpp"

namespace cbit::linux {

class Peek {
 public:
  Peek(const Fields& fields, const GuestMemory& memory) : fields_{&fields}, memory_{&memory} {}

  [[nodiscard]] const Fields& fields() const { return *fields_; }
  [[nodiscard]] const GuestMemory& memory() const { return *memory_; }

  // A member of at most 8 bytes, or a bit field. nullopt: this kernel has it not, or it is not mapped.
  [[nodiscard]] std::optional<std::uint64_t> value(VirtAddr object, Field field) const;
  // nullopt also where the pointer is null.
  [[nodiscard]] std::optional<VirtAddr> pointer(VirtAddr object, Field field) const;
  // Where the member is.
  [[nodiscard]] std::optional<VirtAddr> place(VirtAddr object, Field field) const;

 private:
  const Fields* fields_;
  const GuestMemory* memory_;
};

}  // namespace cbit::linux
