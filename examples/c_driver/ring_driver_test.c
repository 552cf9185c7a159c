/* The driver's unit test, in C: one exchange with the device, on every platform and every kernel. */
#include <cbit/linux.h>
#include <cbit/sandbox.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring.h"
#include "ring_driver.h"

#define BYTES 1500

/* The hardware: keeps what it is sent, and sends it back with its bits turned. */
struct hardware {
  struct device *dev;
  uint64_t base;
  uint32_t entries, head;
  unsigned char packet[BYTES];
};

static bool serve(struct hardware *hw, uint32_t number)
{
  uint64_t at = hw->base + number % hw->entries * sizeof(struct ring_descriptor);
  struct ring_descriptor descriptor;

  if (!cbit_device_read(hw->dev, at, &descriptor, sizeof descriptor) || descriptor.length != BYTES)
    return false;
  if (descriptor.flags & RING_TO_MEMORY) {
    for (size_t i = 0; i < BYTES; i++)
      hw->packet[i] = (unsigned char)~hw->packet[i];
    if (!cbit_device_write(hw->dev, descriptor.address, hw->packet, BYTES))
      return false;
  } else if (!cbit_device_read(hw->dev, descriptor.address, hw->packet, BYTES)) {
    return false;
  }
  descriptor.flags |= RING_DONE;
  return cbit_device_write(hw->dev, at, &descriptor, sizeof descriptor);
}

static void write_register(void *context, uint64_t offset, unsigned bytes, uint64_t value)
{
  struct hardware *hw = context;

  (void)bytes;
  if (offset == RING_BASE_LOW)
    hw->base = (hw->base & ~0xffffffffull) | value;
  else if (offset == RING_BASE_HIGH)
    hw->base = (hw->base & 0xffffffff) | value << 32;
  else if (offset == RING_ENTRIES)
    hw->entries = (uint32_t)value;
  else if (offset == RING_TAIL)
    while (hw->entries && hw->head != value && serve(hw, hw->head)) {
      hw->head++;
      cbit_raise_interrupt(hw->dev);
    }
}

static uint64_t read_register(void *context, uint64_t offset, unsigned bytes)
{
  struct hardware *hw = context;

  (void)bytes;
  return offset == RING_HEAD ? hw->head : 0;
}

/* What came of an exchange. */
struct outcome {
  int error;
  bool answered;        /* with the request, its bits turned */
  unsigned interrupts;
  size_t left;          /* mappings that remove() forgot */
};

static struct outcome exchange(struct cbit_sandbox *box)
{
  struct hardware hw = {0};
  struct cbit_hardware registers = {.read = read_register, .write = write_register, .context = &hw};
  struct cbit_device_options options = {.name = "0000:00:05.0", .hardware = &registers,
                                        .vendor = RING_VENDOR, .device = RING_DEVICE};
  unsigned char request[BYTES], reply[BYTES] = {0};
  struct outcome outcome = {0};

  hw.dev = cbit_add_device(box, &options);
  if (!hw.dev || cbit_probe_result(hw.dev)) {
    outcome.error = hw.dev ? cbit_probe_result(hw.dev) : -ENODEV;
    return outcome;
  }
  for (size_t i = 0; i < BYTES; i++)
    request[i] = (unsigned char)(i * 7);
  outcome.error = ring_exchange(to_pci_dev(hw.dev), request, reply, BYTES);
  outcome.answered = true;
  for (size_t i = 0; i < BYTES; i++)
    outcome.answered &= reply[i] == (unsigned char)~request[i];
  outcome.interrupts = ring_interrupts(to_pci_dev(hw.dev));
  outcome.left = cbit_remove_device(hw.dev);
  return outcome;
}

static void explain(struct cbit_sandbox *box)
{
  struct cbit_problem problem;

  for (size_t i = 0; cbit_problem_at(box, i, &problem); i++)
    printf("  %s: %s\n%s  remedy: %s\n", problem.name, problem.title, problem.evidence, problem.remedy);
}

/* Returns 1 if this machine sees the driver otherwise than it should. */
static int try(const char *platform, const char *kernel, const char *iommu)
{
  struct cbit_sandbox_options options = {.platform = platform, .kernel = kernel, .iommu = iommu,
                                         .memory_bytes = 512ull << 20};
  struct cbit_sandbox *box = cbit_sandbox_create(&options);
  struct outcome outcome;
  bool good;

  if (!box) {
    printf("%s, Linux %s: %s\n", platform, kernel, cbit_error());
    return 1;
  }
  outcome = exchange(box);
#ifdef RING_FORGETS_THE_DMA_API
  /* On plain memory, nobody notices. In an SEV guest the device reads ciphertext, and cbit says why. */
  bool plain = strcmp(platform, "plain") == 0;
  good = plain ? outcome.answered && cbit_problem_count(box) == 0
               : !outcome.answered && cbit_has_problem(box, "page-still-private");
#else
  /* No driver can help an encrypted guest with an IOMMU that translates, nor a POWER one, which has no bounce
     pool without swiotlb=force. */
  bool hopeless = cbit_has_problem(box, "guest-iommu-skips-bounce") ||
                  cbit_has_problem(box, "guest-iommu-cannot-share") || strcmp(platform, "pef") == 0;
  good = outcome.left == 0 && (hopeless ? outcome.error != 0 || cbit_problem_count(box) != 0
                                        : outcome.error == 0 && outcome.answered && outcome.interrupts == 2 &&
                                              cbit_problem_count(box) == 0);
#endif
  printf("%s, Linux %s, IOMMU %s: error %d, %s, %u interrupts\n", platform, kernel, iommu, outcome.error,
         outcome.answered ? "answered" : "not answered", outcome.interrupts);
  explain(box);
  cbit_sandbox_destroy(box);
  return !good;
}

int main(void)
{
  int wrong = 0;

#ifdef RING_FORGETS_THE_DMA_API
  wrong += try("plain", "6.1", "none");
  wrong += try("sev", "6.1", "none");
#else
  for (size_t p = 0; cbit_platform_word(p); p++)
    for (size_t k = 0; cbit_kernel_word(k); k++)
      for (size_t i = 0; cbit_iommu_word(i); i++)
        wrong += try(cbit_platform_word(p), cbit_kernel_word(k), cbit_iommu_word(i));
#endif
  printf("%d unexpected\n", wrong);
  return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
