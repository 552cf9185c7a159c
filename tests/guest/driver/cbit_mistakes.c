// SPDX-License-Identifier: Apache-2.0
/*
 * A driver for the test DMA device (docs/test-device.md) that makes one mistake: that which the parameter
 * `mistake` names; "none" is a driver as it should be. It says "cbit_mistakes: NAME done" when it is through.
 *
 * Each mistake is a function of its own, so that a report names it.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "engine.h"

#define BYTES 4096
#define PATTERN 0x5a
#define FROM_DEVICE_BYTE 0xa5

static char *mistake = "none";
module_param(mistake, charp, 0444);

static void fill_device(struct engine *engine)
{
  memset_io(engine->registers + LOCAL_MEMORY, FROM_DEVICE_BYTE, BYTES);
}

static int none(struct engine *engine, u8 *buffer)
{
  dma_addr_t at = dma_map_single(engine->dev, buffer, BYTES, DMA_TO_DEVICE);

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  run(engine, COMMAND_READ, at, BYTES);
  dma_unmap_single(engine->dev, at, BYTES, DMA_TO_DEVICE);
  if (readb(engine->registers + LOCAL_MEMORY) != PATTERN)
    return -EIO;

  fill_device(engine);
  at = dma_map_single(engine->dev, buffer, BYTES, DMA_FROM_DEVICE);
  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  run(engine, COMMAND_WRITE, at, BYTES);
  dma_unmap_single(engine->dev, at, BYTES, DMA_FROM_DEVICE);
  return buffer[0] == FROM_DEVICE_BYTE ? 0 : -EIO;
}

static int raw_physical_address(struct engine *engine, u8 *buffer)
{
  run(engine, COMMAND_READ, virt_to_phys(buffer), BYTES);
  return 0;
}

static int no_sync(struct engine *engine, u8 *buffer)
{
  dma_addr_t at = dma_map_single(engine->dev, buffer, BYTES, DMA_FROM_DEVICE);

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  fill_device(engine);
  run(engine, COMMAND_WRITE, at, BYTES);
  /* dma_sync_single_for_cpu() is missing, and the mapping stays. */
  pr_info("cbit_mistakes: the buffer begins with %#x\n", buffer[0]);
  return 0;
}

static int use_after_unmap(struct engine *engine, u8 *buffer)
{
  dma_addr_t at = dma_map_single(engine->dev, buffer, BYTES, DMA_TO_DEVICE);

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  dma_unmap_single(engine->dev, at, BYTES, DMA_TO_DEVICE);
  run(engine, COMMAND_READ, at, BYTES);
  return 0;
}

static int wrong_direction(struct engine *engine, u8 *buffer)
{
  dma_addr_t at = dma_map_single(engine->dev, buffer, BYTES, DMA_TO_DEVICE);

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  fill_device(engine);
  run(engine, COMMAND_WRITE, at, BYTES);
  dma_unmap_single(engine->dev, at, BYTES, DMA_TO_DEVICE);
  return 0;
}

static int double_unmap(struct engine *engine, u8 *buffer)
{
  dma_addr_t at = dma_map_single(engine->dev, buffer, BYTES, DMA_TO_DEVICE);

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  run(engine, COMMAND_READ, at, BYTES);
  dma_unmap_single(engine->dev, at, BYTES, DMA_TO_DEVICE);
  dma_unmap_single(engine->dev, at, BYTES, DMA_TO_DEVICE);
  return 0;
}

static int one_large_mapping(struct engine *engine, u8 *buffer)
{
  const size_t bytes = 1 << 20;
  void *large = kmalloc(bytes, GFP_KERNEL);
  dma_addr_t at;
  int error = 0;

  if (!large)
    return -ENOMEM;
  at = dma_map_single(engine->dev, large, bytes, DMA_TO_DEVICE);
  error = dma_mapping_error(engine->dev, at);
  if (!error)
    dma_unmap_single(engine->dev, at, bytes, DMA_TO_DEVICE);
  kfree(large);
  pr_info("cbit_mistakes: mapping 1 MiB: %d\n", error);
  return 0;
}

static int slot_leak(struct engine *engine, u8 *buffer)
{
  unsigned int made = 0;

  while (made < 100000) {
    dma_addr_t at = dma_map_single(engine->dev, buffer, BYTES, DMA_TO_DEVICE);

    if (dma_mapping_error(engine->dev, at))
      break;
    made++;
  }
  pr_info("cbit_mistakes: %u mappings were made\n", made);
  return 0;
}

static int unchecked_error(struct engine *engine, u8 *buffer)
{
  const size_t bytes = 1 << 20;
  void *large = kmalloc(bytes, GFP_KERNEL);
  dma_addr_t at;

  if (!large)
    return -ENOMEM;
  at = dma_map_single(engine->dev, large, bytes, DMA_TO_DEVICE);
  run(engine, COMMAND_READ, at, BYTES);
  kfree(large);
  return 0;
}

static int stack_buffer(struct engine *engine, u8 *buffer)
{
  u8 on_stack[64];
  dma_addr_t at;

  memset(on_stack, PATTERN, sizeof(on_stack));
  at = dma_map_single(engine->dev, on_stack, sizeof(on_stack), DMA_TO_DEVICE);
  if (dma_mapping_error(engine->dev, at))
    return 0;
  run(engine, COMMAND_READ, at, sizeof(on_stack));
  dma_unmap_single(engine->dev, at, sizeof(on_stack), DMA_TO_DEVICE);
  return 0;
}

static int freed_while_mapped(struct engine *engine, u8 *buffer)
{
  u8 *lent = kmalloc(BYTES, GFP_KERNEL);
  dma_addr_t at;

  if (!lent)
    return -ENOMEM;
  at = dma_map_single(engine->dev, lent, BYTES, DMA_FROM_DEVICE);
  if (dma_mapping_error(engine->dev, at)) {
    kfree(lent);
    return -ENOMEM;
  }
  kfree(lent);
  run(engine, COMMAND_WRITE, at, BYTES);
  dma_unmap_single(engine->dev, at, BYTES, DMA_FROM_DEVICE);
  return 0;
}

/* An object of a cache of its own. */
static int cache_object_freed_while_mapped(struct engine *engine, u8 *buffer)
{
  struct kmem_cache *cache = kmem_cache_create("cbit_mistakes", BYTES, 0, 0, NULL);
  int error = -ENOMEM;
  dma_addr_t at;
  u8 *lent;

  if (!cache)
    return -ENOMEM;
  lent = kmem_cache_alloc(cache, GFP_KERNEL);
  if (!lent)
    goto destroy;
  at = dma_map_single(engine->dev, lent, BYTES, DMA_FROM_DEVICE);
  kmem_cache_free(cache, lent);
  if (dma_mapping_error(engine->dev, at))
    goto destroy;
  dma_unmap_single(engine->dev, at, BYTES, DMA_FROM_DEVICE);
  error = 0;
destroy:
  kmem_cache_destroy(cache);
  return error;
}

/* Frees whole pages, not an object. */
static int pages_freed_while_mapped(struct engine *engine, u8 *buffer)
{
  const unsigned int order = 1;
  unsigned long lent = __get_free_pages(GFP_KERNEL, order);
  dma_addr_t at;

  if (!lent)
    return -ENOMEM;
  at = dma_map_single(engine->dev, (u8 *)lent + PAGE_SIZE, BYTES, DMA_FROM_DEVICE);
  if (dma_mapping_error(engine->dev, at)) {
    free_pages(lent, order);
    return -ENOMEM;
  }
  free_pages(lent, order);
  dma_unmap_single(engine->dev, at, BYTES, DMA_FROM_DEVICE);
  return 0;
}

/* Takes the bounce buffer for memory of its own. */
static int leak_to_shared(struct engine *engine, u8 *buffer)
{
  const size_t mapped = 16, secret_bytes = 128, behind = 512;
  dma_addr_t at = dma_map_single(engine->dev, buffer, mapped, DMA_TO_DEVICE);
  u8 *secret = buffer + BYTES / 4;

  if (dma_mapping_error(engine->dev, at))
    return -ENOMEM;
  get_random_bytes(secret, secret_bytes);
  if (virt_addr_valid(phys_to_virt(at)))
    memcpy(phys_to_virt(at) + behind, secret, secret_bytes);
  dma_unmap_single(engine->dev, at, mapped, DMA_TO_DEVICE);
  return 0;
}

#define PROC_FILE "cbit_mistakes"

static void *coherent;

/* dma_mmap_coherent() would clear the encryption bit; vm_page_prot has it. */
static int map_encrypted(struct file *file, struct vm_area_struct *vma)
{
  return remap_pfn_range(vma, vma->vm_start, virt_to_phys(coherent) >> PAGE_SHIFT,
                         vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static const struct proc_ops mmap_ops = { .proc_mmap = map_encrypted };

/* insmod is the process. */
static int write_through_user_mapping(const u8 *bytes)
{
  struct file *file = filp_open("/proc/" PROC_FILE, O_RDWR, 0);
  unsigned long at;
  int error = 0;

  if (IS_ERR(file))
    return PTR_ERR(file);
  at = vm_mmap(file, 0, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
  if (IS_ERR_VALUE(at))
    error = (int)at;
  else if (copy_to_user((void __user *)at, bytes, BYTES))
    error = -EFAULT;
  if (!IS_ERR_VALUE(at))
    vm_munmap(at, BYTES);
  filp_close(file, NULL);
  return error;
}

static int coherent_mapped_encrypted(struct engine *engine, u8 *buffer)
{
  dma_addr_t at;
  int error;

  coherent = dma_alloc_coherent(engine->dev, BYTES, &at, GFP_KERNEL);
  if (!coherent)
    return -ENOMEM;
  error = -ENOMEM;
  if (proc_create(PROC_FILE, 0600, NULL, &mmap_ops)) {
    error = write_through_user_mapping(buffer);
    remove_proc_entry(PROC_FILE, NULL);
  }
  if (!error) {
    run(engine, COMMAND_READ, at, BYTES);
    pr_info("cbit_mistakes: the device read %#x\n", readb(engine->registers + LOCAL_MEMORY));
  }
  dma_free_coherent(engine->dev, BYTES, coherent, at);
  return error;
}

/* ioremap() would clear the encryption bit. */
static int encrypted_mmio(struct engine *engine, u8 *buffer)
{
  u8 __iomem *encrypted = ioremap_encrypted(pci_resource_start(engine->pdev, 0) + LOCAL_MEMORY, BYTES);
  u8 seen;

  if (!encrypted)
    return -ENOMEM;
  fill_device(engine);
  seen = readb(encrypted);
  pr_info("cbit_mistakes: the driver read %#x\n", seen);
  iounmap(encrypted);
  return 0;
}

static const struct {
  const char *name;
  int (*make)(struct engine *engine, u8 *buffer);
  unsigned int mask_bits;
  bool keeps_buffer; /* it stays mapped, or full of secrets */
} mistakes[] = {
  { "none", none, 64 },
  { "raw_physical_address", raw_physical_address, 64 },
  { "no_sync", no_sync, 64, true },
  { "use_after_unmap", use_after_unmap, 64 },
  { "wrong_direction", wrong_direction, 64 },
  { "double_unmap", double_unmap, 64 },
  { "one_large_mapping", one_large_mapping, 64 },
  { "slot_leak", slot_leak, 64, true },
  { "unchecked_error", unchecked_error, 64 },
  { "stack_buffer", stack_buffer, 64 },
  { "freed_while_mapped", freed_while_mapped, 64 },
  { "cache_object_freed_while_mapped", cache_object_freed_while_mapped, 64 },
  { "pages_freed_while_mapped", pages_freed_while_mapped, 64 },
  { "coherent_mapped_encrypted", coherent_mapped_encrypted, 64 },
  { "leak_to_shared", leak_to_shared, 64, true },
  { "encrypted_mmio", encrypted_mmio, 64 },
  /* With a device of 32 address lines this one's mask is a lie. */
  { "mask_too_wide", none, 64 },
};

static int make_mistake(struct engine *engine)
{
  u8 *buffer = kmalloc(BYTES, GFP_KERNEL);
  bool keeps_buffer = false;
  int error = -EINVAL;
  unsigned int i;

  if (!buffer)
    return -ENOMEM;
  memset(buffer, PATTERN, BYTES);
  for (i = 0; i < ARRAY_SIZE(mistakes); i++) {
    if (strcmp(mistakes[i].name, mistake))
      continue;
    error = dma_set_mask_and_coherent(engine->dev, DMA_BIT_MASK(mistakes[i].mask_bits));
    if (!error)
      error = mistakes[i].make(engine, buffer);
    keeps_buffer = mistakes[i].keeps_buffer;
    pr_info("cbit_mistakes: %s done (%d)\n", mistake, error);
  }
  if (!keeps_buffer)
    kfree(buffer);
  return error;
}

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
  struct engine engine;
  int error = open_engine(&engine, pdev);

  return error ? error : make_mistake(&engine);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1234, 0xcb17) }, {} };
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver cbit_mistakes = {
  .name = KBUILD_MODNAME,
  .id_table = ids,
  .probe = probe,
};
module_pci_driver(cbit_mistakes);

MODULE_DESCRIPTION("A driver that makes a mistake with its DMA");
/* Not a license that the kernel lists: the module uses nothing that is exported to GPL modules alone. */
MODULE_LICENSE("Apache-2.0");
MODULE_AUTHOR("The cbit authors");
