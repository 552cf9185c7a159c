/* A driver's call, by the installed headers alone: the kernel's names lead to cbit. */
#include <cbit/sandbox.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>

int main(void) {
  struct cbit_sandbox_options options = {.platform = "sev"};
  struct cbit_sandbox *box = cbit_sandbox_create(&options);
  struct device *dev = box ? cbit_add_device(box, NULL) : NULL;
  void *buffer = kzalloc(64, GFP_KERNEL);
  dma_addr_t at;

  if (!dev || !buffer) return 1;
  at = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
  if (dma_mapping_error(dev, at)) return 1;
  dma_unmap_single(dev, at, 64, DMA_TO_DEVICE);
  kfree(buffer);
  if (cbit_problem_count(box)) return 1;
  cbit_sandbox_destroy(box);
  return 0;
}
