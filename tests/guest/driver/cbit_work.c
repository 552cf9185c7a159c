// SPDX-License-Identifier: Apache-2.0
/*
 * A driver for the test DMA device that does a piece of correct work, which the parameter `work` names. The
 * same work is done by the model kernel's experiment model/NAME.toml, and a test compares what happened.
 */
#include <linux/blkdev.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "engine.h"

static char *work = "streaming";
module_param(work, charp, 0444);

static int map_run_unmap(struct engine *engine, void *buffer, size_t bytes, enum dma_data_direction direction)
{
  dma_addr_t at = dma_map_single(engine->dev, buffer, bytes, direction);

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  run(engine, direction == DMA_TO_DEVICE ? COMMAND_READ : COMMAND_WRITE, at, bytes);
  dma_unmap_single(engine->dev, at, bytes, direction);
  return 0;
}

static int streaming(struct engine *engine)
{
  static const size_t sizes[] = { 512, SZ_4K, SZ_4K + 1, SZ_64K };
  unsigned int i;
  int error = 0;

  for (i = 0; !error && i < ARRAY_SIZE(sizes); i++) {
    void *buffer = kzalloc(sizes[i], GFP_KERNEL);

    if (!buffer)
      return -ENOMEM;
    error = map_run_unmap(engine, buffer, sizes[i], DMA_TO_DEVICE);
    if (!error)
      error = map_run_unmap(engine, buffer, sizes[i], DMA_FROM_DEVICE);
    kfree(buffer);
  }
  return error;
}

static int coherent(struct engine *engine)
{
  static const size_t sizes[] = { SZ_4K, 3 * SZ_4K, SZ_64K };
  unsigned int i;

  for (i = 0; i < ARRAY_SIZE(sizes); i++) {
    dma_addr_t at;
    void *memory = dma_alloc_coherent(engine->dev, sizes[i], &at, GFP_KERNEL);

    if (!memory)
      return -ENOMEM;
    run(engine, COMMAND_WRITE, at, 512);
    dma_free_coherent(engine->dev, sizes[i], memory, at);
  }
  return 0;
}

static int large(struct engine *engine)
{
  const size_t bytes = 300 * SZ_1K;
  void *buffer = kmalloc(bytes, GFP_KERNEL);
  dma_addr_t at;

  if (!buffer)
    return -ENOMEM;
  at = dma_map_single(engine->dev, buffer, bytes, DMA_TO_DEVICE);
  if (!dma_mapping_error(engine->dev, at))
    dma_unmap_single(engine->dev, at, bytes, DMA_TO_DEVICE);
  kfree(buffer);
  return 0;
}

/* 256 KiB, the most that a mapping has, until there is no more: with swiotlb=1024 after eight. */
static int exhaustion(struct engine *engine)
{
  const size_t bytes = SZ_256K, most = 64;
  dma_addr_t *all = kcalloc(most, sizeof(*all), GFP_KERNEL);
  void *buffer = kmalloc(bytes, GFP_KERNEL);
  size_t made = 0;

  if (!all || !buffer)
    return -ENOMEM;
  while (made < most) {
    all[made] = dma_map_single(engine->dev, buffer, bytes, DMA_TO_DEVICE);
    if (dma_mapping_error(engine->dev, all[made]))
      break;
    made++;
  }
  while (made-- > 0)
    dma_unmap_single(engine->dev, all[made], bytes, DMA_TO_DEVICE);
  kfree(buffer);
  kfree(all);
  return 0;
}

static int partial_sync(struct engine *engine)
{
  const size_t bytes = 512;
  void *buffer = kzalloc(bytes, GFP_KERNEL);
  dma_addr_t at;

  if (!buffer)
    return -ENOMEM;
  at = dma_map_single(engine->dev, buffer, bytes, DMA_FROM_DEVICE);
  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  run(engine, COMMAND_WRITE, at, bytes);
  dma_sync_single_range_for_cpu(engine->dev, at, 64, 64, DMA_FROM_DEVICE);
  dma_sync_single_range_for_device(engine->dev, at, 64, 64, DMA_FROM_DEVICE);
  dma_unmap_single(engine->dev, at, bytes, DMA_FROM_DEVICE);
  kfree(buffer);
  return 0;
}

/* Pages that lie one behind the other: what is a segment is up to the queue's limits alone. */
static int transfer(struct block_device *disk, struct page *pages, unsigned int bytes, unsigned int offset,
                    blk_opf_t how)
{
  struct bio *bio = bio_alloc(disk, 1, how | REQ_SYNC, GFP_KERNEL);
  int error = -EINVAL;

  if (bio_add_page(bio, pages, bytes, offset) == bytes)
    error = submit_bio_wait(bio);
  bio_put(bio);
  return error;
}

static int transfer_all(struct block_device *disk, struct page *pages)
{
  static const struct {
    unsigned int bytes;
    unsigned int offset;
  } parts[] = { { 512, 0 }, { 1024, 512 }, { SZ_4K, 0 }, { SZ_64K, 0 }, { SZ_512K, 0 } };
  unsigned int i;
  int error = 0;

  for (i = 0; !error && i < ARRAY_SIZE(parts); i++) {
    error = transfer(disk, pages, parts[i].bytes, parts[i].offset, REQ_OP_WRITE);
    if (!error)
      error = transfer(disk, pages, parts[i].bytes, parts[i].offset, REQ_OP_READ);
  }
  return error ? error : blkdev_issue_flush(disk);
}

/* As 6.1 and 6.12 have it. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
typedef struct file *opened_disk;

static opened_disk open_disk(const char *path)
{
  return bdev_file_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE, NULL, NULL);
}

static struct block_device *device_of(opened_disk disk)
{
  return file_bdev(disk);
}

static void close_disk(opened_disk disk)
{
  bdev_fput(disk);
}
#else
typedef struct block_device *opened_disk;

static opened_disk open_disk(const char *path)
{
  return blkdev_get_by_path(path, FMODE_READ | FMODE_WRITE, NULL);
}

static struct block_device *device_of(opened_disk disk)
{
  return disk;
}

static void close_disk(opened_disk disk)
{
  blkdev_put(disk, FMODE_READ | FMODE_WRITE);
}
#endif

/* Requests to the first virtio disk, one at a time, past the page cache. */
static int virtio_blk(struct engine *engine)
{
  const unsigned int order = get_order(SZ_512K);
  opened_disk disk = open_disk("/dev/vda");
  struct page *pages;
  int error = -ENOMEM;

  if (IS_ERR(disk))
    return PTR_ERR(disk);
  pages = alloc_pages(GFP_KERNEL | __GFP_ZERO, order);
  if (pages) {
    error = transfer_all(device_of(disk), pages);
    __free_pages(pages, order);
  }
  close_disk(disk);
  return error;
}

static const struct {
  const char *name;
  int (*make)(struct engine *engine);
} works[] = {
  { "streaming", streaming }, { "coherent", coherent },         { "large", large },
  { "exhaustion", exhaustion }, { "partial_sync", partial_sync }, { "virtio_blk", virtio_blk },
};

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
  struct engine engine;
  int error = open_engine(&engine, pdev);
  unsigned int i;

  if (!error)
    error = dma_set_mask_and_coherent(engine.dev, DMA_BIT_MASK(64));
  for (i = 0; !error && i < ARRAY_SIZE(works); i++) {
    if (strcmp(works[i].name, work))
      continue;
    pr_info("cbit_work: %s begins\n", work);
    error = works[i].make(&engine);
    pr_info("cbit_work: %s done (%d)\n", work, error);
  }
  return error;
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1234, 0xcb17) }, {} };
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver cbit_work = {
  .name = KBUILD_MODNAME,
  .id_table = ids,
  .probe = probe,
};
module_pci_driver(cbit_work);

MODULE_DESCRIPTION("A driver that does work to be compared with the model kernel's");
MODULE_LICENSE("Apache-2.0");
MODULE_AUTHOR("The cbit authors");
