#include "watch/explainer.hpp"

#include <utility>

#include "watch/detect/detectors.hpp"

namespace cbit::watch {

Explainer::Explainer(const Tracer& tracer, ExplainerContext context)
    : facts_{tracer, std::move(context)}, book_{tracer, facts_.context().asked} {}

void Explainer::on_event(const Event& event) {
  now_ns_ = event.time_ns;
  const Scene scene{event, facts_, book_};
  for (const auto find :
       {find_access_causes, find_cpu_causes, find_fault_causes, find_api_causes, find_swiotlb_causes,
        find_virtio_causes, find_rdma_causes, find_graphics_causes, find_mktme_causes, find_host_causes})
    find(scene);
  if (const auto* const message = std::get_if<KernelMessage>(&event.payload)) book_.message(message->text);
  if (const auto* const step = std::get_if<StepTaken>(&event.payload)) steps_.push_back(*step);
  facts_.apply(event);
}

void Explainer::finish(Ending ending) {
  find_lost_writes(facts_, book_, now_ns_);
  if (ending == Ending::complete) find_leaks(facts_, book_, now_ns_);
}

}  // namespace cbit::watch
