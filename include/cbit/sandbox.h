/*
 * Machines for drivers in C (cbit/linux.h): the test makes one, plugs devices, plays their hardware, and
 * asks what went wrong. cbit/sandbox.hpp is the same for C++.
 *
 * Errors: what cannot be made is NULL, and cbit_error() says why, with the remedy; the text is this
 * thread's and lives until its next failure. No exception leaves a function; when the host has no memory
 * left for the machine's own books, the program ends.
 * Threading: one thread per machine, whose devices are its own.
 */
#ifndef CBIT_SANDBOX_H
#define CBIT_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct device; /* cbit/linux.h */
struct cbit_sandbox;

/* NULL and 0 stand for the default. Words are those of `cbit explain`'s options. */
struct cbit_sandbox_options {
  const char *platform;  /* "sev-snp"; plain */
  const char *kernel;    /* "6.6"; 6.1 */
  const char *iommu;     /* "translated"; none */
  const char *swiotlb;   /* the kernel's swiotlb= */
  uint64_t memory_bytes; /* 16 MiB .. 1 TiB; 4 GiB */
  unsigned c_bit;        /* 32 .. 51; 47 */
  uint64_t seed;         /* 1 */
  bool no_dma_debug;
};
const char *cbit_error(void);
/* Loads the program's modules. `options` may be NULL. */
struct cbit_sandbox *cbit_sandbox_create(const struct cbit_sandbox_options *options);
/* Removes the devices that are still there, unloads the modules. NULL is allowed. */
void cbit_sandbox_destroy(struct cbit_sandbox *box);
/* From now on it is this thread's machine for calls that name no device. */
void cbit_sandbox_enter(struct cbit_sandbox *box);
/* The n-th word that an option takes, beginning with 0; NULL after the last. */
const char *cbit_platform_word(size_t n);
const char *cbit_kernel_word(size_t n);
const char *cbit_iommu_word(size_t n);

/* The hardware behind BAR 0: what the driver's readl() and writel() reach. `bytes` is 1, 2, 4 or 8. */
struct cbit_hardware {
  uint64_t (*read)(void *context, uint64_t offset, unsigned bytes);
  void (*write)(void *context, uint64_t offset, unsigned bytes, uint64_t value);
  void *context;
};
struct cbit_device_options {
  const char *name;                     /* "0000:00:01.0" and on */
  const struct cbit_hardware *hardware; /* NULL: the test DMA device (docs/test-device.md), 1234:cb17 */
  uint16_t vendor, device;              /* with hardware of one's own */
  uint64_t bar_bytes;                   /* with it: a power of two, 4 KiB .. 1 MiB; 4 KiB */
  unsigned address_bits;                /* lines that the device drives, 1 .. 64; 64 */
  bool untrusted;                       /* behind an external port */
};
/* Plugs a device, and has the driver whose table names it probe it. At most 64 in one machine,
 * those that were removed included. */
struct device *cbit_add_device(struct cbit_sandbox *box, const struct cbit_device_options *options);
/* What probe() returned; -ENODEV: no driver wants the device. */
int cbit_probe_result(const struct device *dev);
/* Calls the driver's remove(), frees what it manages, and reports the mappings that are left: their number is
 * returned. The device is gone afterwards. */
size_t cbit_remove_device(struct device *dev);

/* The device's own accesses. false: the bus, the platform or the device's own address lines refuse. */
bool cbit_device_read(struct device *dev, uint64_t bus_address, void *to, size_t bytes);
bool cbit_device_write(struct device *dev, uint64_t bus_address, const void *from, size_t bytes);
/* The driver's handler runs, now or when interrupts are on. false: there is none. */
bool cbit_raise_interrupt(struct device *dev);

/* What the host's software reads where the driver's pointer leads: ciphertext where memory is encrypted.
 * false: no kernel memory. */
bool cbit_host_view(struct cbit_sandbox *box, const void *at, void *to, size_t bytes);
uint64_t cbit_bytes_bounced(const struct cbit_sandbox *box);
uint64_t cbit_swiotlb_slots_used(const struct cbit_sandbox *box);

/* Causes (docs/causes.md), in the order in which they were found; texts live until the next such call. */
struct cbit_problem {
  const char *name;           /* "page-still-private" */
  const char *title;
  const char *device;
  const char *evidence;       /* lines */
  const char *kernel_message; /* what Linux prints; "" where it says nothing */
  const char *remedy;
};
size_t cbit_problem_count(struct cbit_sandbox *box);
bool cbit_problem_at(struct cbit_sandbox *box, size_t n, struct cbit_problem *problem);
bool cbit_has_problem(struct cbit_sandbox *box, const char *name);
/* The n-th line of the kernel's log; NULL after the last. */
const char *cbit_log_line(struct cbit_sandbox *box, size_t n);

#ifdef __cplusplus
}
#endif

#endif
