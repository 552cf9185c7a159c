#include "explain/maps/findings.hpp"

namespace cbit::explain {

void note_findings(Explanation& result, testbed::Testbed& bed, watch::Explainer& explainer,
                   watch::Ending ending) {
  explainer.finish(ending);
  result.causes = explainer.causes();
  result.steps = explainer.steps();
  result.kernel_log = explainer.kernel_log();
  result.conversions = bed.kernel().mm().conversion_cost();
  result.counters = bed.counters();
}

}  // namespace cbit::explain
