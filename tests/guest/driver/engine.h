/* SPDX-License-Identifier: Apache-2.0 */
/* The test DMA device (docs/test-device.md), as far as the drivers of this folder use it. */
#ifndef CBIT_ENGINE_H
#define CBIT_ENGINE_H

#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/pci.h>

#define REG_SOURCE 0x08
#define REG_DESTINATION 0x10
#define REG_COUNT 0x18
#define REG_COMMAND 0x28
#define REG_STATUS 0x30
#define REG_DELAY 0x60
#define LOCAL_MEMORY 0x100000

#define COMMAND_READ 1  /* memory to the device */
#define COMMAND_WRITE 2 /* the device to memory */
#define STATUS_BUSY 8

struct engine {
  struct pci_dev *pdev;
  struct device *dev;
  void __iomem *registers;
};

static void start(struct engine *engine, u64 command, u64 bus_address, u64 count)
{
  writeq(command == COMMAND_READ ? bus_address : 0, engine->registers + REG_SOURCE);
  writeq(command == COMMAND_READ ? 0 : bus_address, engine->registers + REG_DESTINATION);
  writeq(count, engine->registers + REG_COUNT);
  writeq(command, engine->registers + REG_COMMAND);
}

static void run(struct engine *engine, u64 command, u64 bus_address, u64 count)
{
  start(engine, command, bus_address, count);
  while (readq(engine->registers + REG_STATUS) & STATUS_BUSY)
    cpu_relax();
}

/* The registers, until the driver lets go of the device. */
static int open_engine(struct engine *engine, struct pci_dev *pdev)
{
  int error = pcim_enable_device(pdev);

  if (error)
    return error;
  error = pcim_iomap_regions(pdev, BIT(0), KBUILD_MODNAME);
  if (error)
    return error;
  engine->pdev = pdev;
  engine->dev = &pdev->dev;
  engine->registers = pcim_iomap_table(pdev)[0];
  pci_set_master(pdev);
  return 0;
}

#endif
