// SPDX-License-Identifier: Apache-2.0
/*
 * A driver for the ring device: a ring of descriptors in coherent memory, one streaming mapping for each.
 * This file is a Linux driver; it builds against a kernel's headers as it is, and against cbit's.
 *
 * RING_FORGETS_THE_DMA_API builds the wrong variant: the buffer's physical address goes to the device.
 */
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

#include "ring.h"
#include "ring_driver.h"

#define ENTRIES 8

struct ring {
  struct device *dev;
  void __iomem *registers;
  struct ring_descriptor *descriptors;
  dma_addr_t descriptors_dma;
  unsigned int tail;
  unsigned int interrupts;
};

static irqreturn_t ring_interrupt(int irq, void *data)
{
  struct ring *ring = data;

  ring->interrupts++;
  return IRQ_HANDLED;
}

static enum dma_data_direction direction_of(bool to_memory)
{
  return to_memory ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
}

#ifdef RING_FORGETS_THE_DMA_API
static dma_addr_t map(struct ring *ring, void *buffer, size_t bytes, bool to_memory)
{
  return virt_to_phys(buffer);
}

static void unmap(struct ring *ring, dma_addr_t at, size_t bytes, bool to_memory)
{
}
#else
static dma_addr_t map(struct ring *ring, void *buffer, size_t bytes, bool to_memory)
{
  return dma_map_single(ring->dev, buffer, bytes, direction_of(to_memory));
}

static void unmap(struct ring *ring, dma_addr_t at, size_t bytes, bool to_memory)
{
  dma_unmap_single(ring->dev, at, bytes, direction_of(to_memory));
}
#endif

/* Gives the device one buffer, and waits until it has done with it. */
static int transfer(struct ring *ring, void *buffer, size_t bytes, bool to_memory)
{
  struct ring_descriptor *descriptor = &ring->descriptors[ring->tail % ENTRIES];
  dma_addr_t at = map(ring, buffer, bytes, to_memory);
  unsigned int polls = 0;

  if (dma_mapping_error(ring->dev, at)) {
    dev_err(ring->dev, "no mapping for %zu bytes\n", bytes);
    return -ENOMEM;
  }
  descriptor->address = at;
  descriptor->length = bytes;
  descriptor->flags = to_memory ? RING_TO_MEMORY : 0;
  dma_wmb();
  writel(++ring->tail, ring->registers + RING_TAIL);
  while (readl(ring->registers + RING_HEAD) != ring->tail && ++polls < 1000)
    cpu_relax();
  unmap(ring, at, bytes, to_memory);
  return READ_ONCE(descriptor->flags) & RING_DONE ? 0 : -EIO;
}

int ring_exchange(struct pci_dev *pdev, const void *request, void *reply, size_t bytes)
{
  struct ring *ring = pci_get_drvdata(pdev);
  void *buffer = kmalloc(bytes, GFP_KERNEL);
  int error;

  if (!buffer)
    return -ENOMEM;
  memcpy(buffer, request, bytes);
  error = transfer(ring, buffer, bytes, false);
  if (!error)
    error = transfer(ring, buffer, bytes, true);
  if (!error)
    memcpy(reply, buffer, bytes);
  kfree(buffer);
  return error;
}

unsigned int ring_interrupts(struct pci_dev *pdev)
{
  struct ring *ring = pci_get_drvdata(pdev);

  return ring->interrupts;
}

static int ring_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
  struct ring *ring = devm_kzalloc(&pdev->dev, sizeof(*ring), GFP_KERNEL);
  int error;

  if (!ring)
    return -ENOMEM;
  ring->dev = &pdev->dev;
  error = pcim_enable_device(pdev);
  if (error)
    return error;
  error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
  if (error)
    return error;
  error = pcim_iomap_regions(pdev, BIT(0), "ring");
  if (error)
    return error;
  ring->registers = pcim_iomap_table(pdev)[0];
  pci_set_master(pdev);
  ring->descriptors = dma_alloc_coherent(&pdev->dev, ENTRIES * sizeof(*ring->descriptors),
                                         &ring->descriptors_dma, GFP_KERNEL);
  if (!ring->descriptors)
    return -ENOMEM;
  error = request_irq(pdev->irq, ring_interrupt, 0, "ring", ring);
  if (error) {
    dma_free_coherent(&pdev->dev, ENTRIES * sizeof(*ring->descriptors), ring->descriptors,
                      ring->descriptors_dma);
    return error;
  }
  writel(lower_32_bits(ring->descriptors_dma), ring->registers + RING_BASE_LOW);
  writel(upper_32_bits(ring->descriptors_dma), ring->registers + RING_BASE_HIGH);
  writel(ENTRIES, ring->registers + RING_ENTRIES);
  pci_set_drvdata(pdev, ring);
  dev_info(&pdev->dev, "%d descriptors\n", ENTRIES);
  return 0;
}

static void ring_remove(struct pci_dev *pdev)
{
  struct ring *ring = pci_get_drvdata(pdev);

  writel(0, ring->registers + RING_ENTRIES);
  free_irq(pdev->irq, ring);
  dma_free_coherent(&pdev->dev, ENTRIES * sizeof(*ring->descriptors), ring->descriptors,
                    ring->descriptors_dma);
}

static const struct pci_device_id ring_ids[] = { { PCI_DEVICE(RING_VENDOR, RING_DEVICE) }, { 0 } };
MODULE_DEVICE_TABLE(pci, ring_ids);

static struct pci_driver ring_driver = {
  .name = "ring",
  .id_table = ring_ids,
  .probe = ring_probe,
  .remove = ring_remove,
};
module_pci_driver(ring_driver);

MODULE_DESCRIPTION("The ring device of cbit's example");
MODULE_LICENSE("Dual MIT/GPL");
