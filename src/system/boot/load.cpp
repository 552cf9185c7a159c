#include "boot/load.hpp"

#include <fmt/format.h>

namespace cbit::boot {

OrError<void> load_plain(machine::Machine& machine, const LoadPlan& plan) {
  const mem::Access loader{{AgentKind::loader, 0}, no_key, machine.tracer().intern("loader")};
  return plan.for_each_page([&](PhysAddr page, auto contents) -> OrError<void> {
    if (const auto written = machine.memory().write(page, contents, loader); !written)
      return bad_input(
          fmt::format("cannot load the page at {:#x}: {}", page.value(), to_string(written.error().kind)));
    return {};
  });
}

}  // namespace cbit::boot
