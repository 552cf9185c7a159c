/*
 * What a Linux driver's C file calls, over a machine of cbit: the DMA API with its neighbours, by the
 * kernel's names and with its signatures (those of 6.1).
 *
 * A driver needs no change: put the folder cbit/driver/ on the include path, and its <linux/pci.h>,
 * <linux/dma-mapping.h>, <linux/module.h> ... lead here. Its module is part of the program, and is loaded
 * into each machine that cbit/sandbox.h makes, which is also where the test plays the hardware.
 * What this header does not declare, cbit does not have: the compiler says so.
 *
 * Memory. The driver works on kernel memory by plain pointers, the machine keeps its bytes under its keys.
 * So each allocation has host memory of its own, and the two are brought together at each call that
 * reaches the machine (memory, DMA, registers, time, interrupts), and around probe(), remove() and
 * interrupt handlers:
 *
 *   before the call   what the driver has stored since goes into the machine's memory, byte by byte, as
 *                     stores of its CPU through the kernel's page table
 *   after it          the driver's memory shows what that CPU would load now
 *
 * Devices act within such calls only, so the driver's loads find what they would find on the machine. What
 * differs from a real CPU:
 *   - Stores reach the machine at the next call, in the order of addresses; one that does not change its
 *     byte is none.
 *   - Loads are not seen: no cause rests on a load alone.
 *   - Memory that the kernel has not mapped loads as ff; a store there is dropped, and the kernel's log
 *     says so.
 *   - kmalloc() gives whole pages, so no other object shares a page with a buffer.
 *   - Static data, the stack and vmalloc() are the host's alone. The DMA API takes them for vmalloc
 *     memory, and refuses them as Linux does.
 * __iomem pointers point at nothing: a plain load faults, readl() and its kin reach the device.
 *
 * Errors: as the kernel's functions report them. No exception leaves a function; when the host itself has
 * no memory left for the machine's own books, the program ends. What Linux would die of (kfree() of what
 * is not allocated) is refused, and the kernel's log says so.
 * Threading: one thread per machine. A call without a device goes to the machine that this thread made,
 * entered (cbit_sandbox_enter) or named by a device last; where there is none it fails, or does nothing.
 */
#ifndef CBIT_LINUX_H
#define CBIT_LINUX_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- types ---- */
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef long long s64;
typedef u64 dma_addr_t;
typedef u64 phys_addr_t;
typedef u64 resource_size_t;
typedef unsigned int gfp_t;

#define __iomem
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define SZ_1K 0x400
#define SZ_2K 0x800
#define SZ_4K 0x1000
#define SZ_64K 0x10000
#define SZ_256K 0x40000
#define SZ_1M 0x100000
#define ALIGN(x, a) (((x) + (a)-1) & ~((__typeof__(x))(a)-1))
#define PAGE_ALIGN(x) ALIGN(x, PAGE_SIZE)
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define offset_in_page(p) ((unsigned long)(p) & ~PAGE_MASK)
#define upper_32_bits(n) ((u32)((u64)(n) >> 32))
#define lower_32_bits(n) ((u32)(n))
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

/* x86 is little-endian. */
typedef u16 __le16;
typedef u32 __le32;
typedef u64 __le64;
static inline __le16 cpu_to_le16(u16 x) { return x; }
static inline __le32 cpu_to_le32(u32 x) { return x; }
static inline __le64 cpu_to_le64(u64 x) { return x; }
static inline u16 le16_to_cpu(__le16 x) { return x; }
static inline u32 le32_to_cpu(__le32 x) { return x; }
static inline u64 le64_to_cpu(__le64 x) { return x; }

/* Stores of one CPU are in order on x86; these keep the compiler from moving them. */
#define barrier() __asm__ __volatile__("" ::: "memory")
#define mb() barrier()
#define wmb() barrier()
#define rmb() barrier()
#define dma_wmb() barrier()
#define dma_rmb() barrier()

/* ---- modules: loaded into each machine when it is made ---- */
void cbit_add_module(int (*init)(void), void (*exit)(void));
#define module_init(function) \
  __attribute__((constructor)) static void cbit_init_##function(void) { cbit_add_module(function, NULL); } \
  CBIT_NOTHING
#define module_exit(function) \
  __attribute__((constructor)) static void cbit_exit_##function(void) { cbit_add_module(NULL, function); } \
  CBIT_NOTHING
struct module;
#define THIS_MODULE ((struct module *)NULL)
#ifndef KBUILD_MODNAME
#define KBUILD_MODNAME "driver"
#endif
#ifdef __cplusplus
#define CBIT_NOTHING static_assert(true, "")
#else
#define CBIT_NOTHING _Static_assert(1, "")
#endif
#define MODULE_LICENSE(text) CBIT_NOTHING
#define MODULE_AUTHOR(text) CBIT_NOTHING
#define MODULE_DESCRIPTION(text) CBIT_NOTHING
#define MODULE_VERSION(text) CBIT_NOTHING
#define MODULE_DEVICE_TABLE(bus, table) CBIT_NOTHING
#define MODULE_PARM_DESC(name, text) CBIT_NOTHING
#define module_param(name, type, mode) CBIT_NOTHING /* the test sets the variable, or leaves it */
#define EXPORT_SYMBOL(name) CBIT_NOTHING
#define EXPORT_SYMBOL_GPL(name) CBIT_NOTHING

/* ---- errors in pointers ---- */
#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#endif
#define MAX_ERRNO 4095
static inline bool IS_ERR_VALUE(unsigned long x) { return x >= (unsigned long)-MAX_ERRNO; }
static inline bool IS_ERR(const void *p) { return IS_ERR_VALUE((unsigned long)p); }
static inline long PTR_ERR(const void *p) { return (long)p; }
static inline void *ERR_PTR(long error) { return (void *)error; }
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/* ---- devices ---- */
struct cbit_device;
struct device {
  struct cbit_device *cbit; /* cbit's own */
  void *driver_data;
};
const char *dev_name(const struct device *dev);
static inline void dev_set_drvdata(struct device *dev, void *data) { dev->driver_data = data; }
static inline void *dev_get_drvdata(const struct device *dev) { return dev->driver_data; }

/* ---- messages: lines of the kernel's log, of all levels; %p is printf's, without extensions ---- */
int _printk(const char *format, ...) __attribute__((format(printf, 1, 2)));
void _dev_printk(const struct device *dev, const char *format, ...) __attribute__((format(printf, 2, 3)));
#ifndef pr_fmt
#define pr_fmt(format) format
#endif
#define KERN_ERR ""
#define KERN_WARNING ""
#define KERN_NOTICE ""
#define KERN_INFO ""
#define KERN_DEBUG ""
#define printk(...) _printk(__VA_ARGS__)
#define pr_err(format, ...) _printk(pr_fmt(format), ##__VA_ARGS__)
#define pr_warn(format, ...) _printk(pr_fmt(format), ##__VA_ARGS__)
#define pr_notice(format, ...) _printk(pr_fmt(format), ##__VA_ARGS__)
#define pr_info(format, ...) _printk(pr_fmt(format), ##__VA_ARGS__)
#define pr_debug(format, ...) _printk(pr_fmt(format), ##__VA_ARGS__)
#define dev_err(dev, ...) _dev_printk(dev, __VA_ARGS__)
#define dev_warn(dev, ...) _dev_printk(dev, __VA_ARGS__)
#define dev_notice(dev, ...) _dev_printk(dev, __VA_ARGS__)
#define dev_info(dev, ...) _dev_printk(dev, __VA_ARGS__)
#define dev_dbg(dev, ...) _dev_printk(dev, __VA_ARGS__)
int dev_err_probe(const struct device *dev, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- memory ---- */
/* The bits are cbit's own. GFP_ATOMIC: the caller may not sleep. */
#define __GFP_ATOMIC 0x01u
#define __GFP_ZERO 0x02u
#define __GFP_NOWARN 0x04u
#define __GFP_DMA 0x08u   /* pages below 16 MiB */
#define __GFP_DMA32 0x10u /* and below 4 GiB */
#define __GFP_NORETRY 0x20u
#define __GFP_COMP 0x40u
#define GFP_KERNEL 0u
#define GFP_NOWAIT __GFP_ATOMIC
#define GFP_ATOMIC __GFP_ATOMIC
#define GFP_DMA __GFP_DMA
#define GFP_DMA32 __GFP_DMA32

/* NULL where the machine has none left, and over 4 MiB (KMALLOC_MAX_SIZE). */
void *kmalloc(size_t size, gfp_t flags);
void kfree(const void *at);
static inline void *kzalloc(size_t size, gfp_t flags) { return kmalloc(size, flags | __GFP_ZERO); }
void *kmalloc_array(size_t n, size_t size, gfp_t flags);
static inline void *kcalloc(size_t n, size_t size, gfp_t flags) {
  return kmalloc_array(n, size, flags | __GFP_ZERO);
}
void *vmalloc(unsigned long size);
void *vzalloc(unsigned long size);
void vfree(const void *at);
/* Freed when the driver lets go of the device. */
void *devm_kmalloc(struct device *dev, size_t size, gfp_t flags);
static inline void *devm_kzalloc(struct device *dev, size_t size, gfp_t flags) {
  return devm_kmalloc(dev, size, flags | __GFP_ZERO);
}
void *devm_kcalloc(struct device *dev, size_t n, size_t size, gfp_t flags);

struct page {
  unsigned long cbit; /* cbit's own */
};
struct page *alloc_pages(gfp_t flags, unsigned int order);
void __free_pages(struct page *page, unsigned int order);
static inline struct page *alloc_page(gfp_t flags) { return alloc_pages(flags, 0); }
static inline void __free_page(struct page *page) { __free_pages(page, 0); }
unsigned long __get_free_pages(gfp_t flags, unsigned int order);
void free_pages(unsigned long at, unsigned int order);
static inline unsigned long __get_free_page(gfp_t flags) { return __get_free_pages(flags, 0); }
static inline unsigned long get_zeroed_page(gfp_t flags) {
  return __get_free_pages(flags | __GFP_ZERO, 0);
}
static inline void free_page(unsigned long at) { free_pages(at, 0); }
int get_order(unsigned long size);
void *page_address(const struct page *page);
phys_addr_t page_to_phys(const struct page *page);
/* Of memory that is not the kernel's: NULL, all ones, false. */
struct page *virt_to_page(const void *at);
phys_addr_t virt_to_phys(const volatile void *at);
bool virt_addr_valid(const void *at);
void *phys_to_virt(phys_addr_t at); /* NULL where nothing is allocated */

/* ---- confidential computing ---- */
/* 0, -EIO where the hypervisor refuses, -ENOMEM, -EFAULT for memory that is not the kernel's. */
int set_memory_encrypted(unsigned long at, int pages);
int set_memory_decrypted(unsigned long at, int pages);
enum cc_attr {
  CC_ATTR_MEM_ENCRYPT,
  CC_ATTR_HOST_MEM_ENCRYPT,
  CC_ATTR_GUEST_MEM_ENCRYPT,
  CC_ATTR_GUEST_STATE_ENCRYPT,
  CC_ATTR_GUEST_UNROLL_STRING_IO,
  CC_ATTR_GUEST_SEV_SNP
};
bool cc_platform_has(enum cc_attr attr);

/* ---- the DMA API ---- */
enum dma_data_direction { DMA_BIDIRECTIONAL = 0, DMA_TO_DEVICE = 1, DMA_FROM_DEVICE = 2, DMA_NONE = 3 };
#define DMA_ATTR_WEAK_ORDERING (1UL << 1)
#define DMA_ATTR_WRITE_COMBINE (1UL << 2)
#define DMA_ATTR_NO_KERNEL_MAPPING (1UL << 4)
#define DMA_ATTR_SKIP_CPU_SYNC (1UL << 5)
#define DMA_ATTR_FORCE_CONTIGUOUS (1UL << 6)
#define DMA_ATTR_ALLOC_SINGLE_PAGES (1UL << 7)
#define DMA_ATTR_NO_WARN (1UL << 8)
#define DMA_ATTR_PRIVILEGED (1UL << 9)
#define DMA_MAPPING_ERROR (~(dma_addr_t)0)
#define DMA_BIT_MASK(n) (((n) == 64) ? ~0ULL : ((1ULL << (n)) - 1))

int dma_set_mask(struct device *dev, u64 mask);
int dma_set_coherent_mask(struct device *dev, u64 mask);
int dma_set_mask_and_coherent(struct device *dev, u64 mask);
u64 dma_get_mask(struct device *dev);
u64 dma_get_required_mask(struct device *dev);
bool dma_addressing_limited(struct device *dev);
size_t dma_max_mapping_size(struct device *dev);
size_t dma_opt_mapping_size(struct device *dev);
bool dma_need_sync(struct device *dev, dma_addr_t dma);
int dma_set_max_seg_size(struct device *dev, unsigned int size);
unsigned int dma_get_max_seg_size(struct device *dev);
int dma_set_seg_boundary(struct device *dev, unsigned long mask);
int dma_set_min_align_mask(struct device *dev, unsigned int mask);

dma_addr_t dma_map_single_attrs(struct device *dev, void *at, size_t size, enum dma_data_direction direction,
                                unsigned long attrs);
void dma_unmap_single_attrs(struct device *dev, dma_addr_t dma, size_t size,
                            enum dma_data_direction direction, unsigned long attrs);
dma_addr_t dma_map_page_attrs(struct device *dev, struct page *page, size_t offset, size_t size,
                              enum dma_data_direction direction, unsigned long attrs);
void dma_unmap_page_attrs(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                          unsigned long attrs);
int dma_mapping_error(struct device *dev, dma_addr_t dma);
void dma_sync_single_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                             enum dma_data_direction direction);
void dma_sync_single_for_device(struct device *dev, dma_addr_t dma, size_t size,
                                enum dma_data_direction direction);
static inline dma_addr_t dma_map_single(struct device *dev, void *at, size_t size,
                                        enum dma_data_direction direction) {
  return dma_map_single_attrs(dev, at, size, direction, 0);
}
static inline void dma_unmap_single(struct device *dev, dma_addr_t dma, size_t size,
                                    enum dma_data_direction direction) {
  dma_unmap_single_attrs(dev, dma, size, direction, 0);
}
static inline dma_addr_t dma_map_page(struct device *dev, struct page *page, size_t offset, size_t size,
                                      enum dma_data_direction direction) {
  return dma_map_page_attrs(dev, page, offset, size, direction, 0);
}
static inline void dma_unmap_page(struct device *dev, dma_addr_t dma, size_t size,
                                  enum dma_data_direction direction) {
  dma_unmap_page_attrs(dev, dma, size, direction, 0);
}
static inline void dma_sync_single_range_for_cpu(struct device *dev, dma_addr_t dma, unsigned long offset,
                                                 size_t size, enum dma_data_direction direction) {
  dma_sync_single_for_cpu(dev, dma + offset, size, direction);
}
static inline void dma_sync_single_range_for_device(struct device *dev, dma_addr_t dma, unsigned long offset,
                                                    size_t size, enum dma_data_direction direction) {
  dma_sync_single_for_device(dev, dma + offset, size, direction);
}

void *dma_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma, gfp_t flags, unsigned long attrs);
void dma_free_attrs(struct device *dev, size_t size, void *at, dma_addr_t dma, unsigned long attrs);
static inline void *dma_alloc_coherent(struct device *dev, size_t size, dma_addr_t *dma, gfp_t flags) {
  return dma_alloc_attrs(dev, size, dma, flags, 0);
}
static inline void dma_free_coherent(struct device *dev, size_t size, void *at, dma_addr_t dma) {
  dma_free_attrs(dev, size, at, dma, 0);
}
void *dmam_alloc_coherent(struct device *dev, size_t size, dma_addr_t *dma, gfp_t flags);

/* A list is one array: chains are not supported. */
struct scatterlist {
  unsigned long page_link; /* struct page *, and bit 1 for the last entry */
  unsigned int offset;
  unsigned int length;
  dma_addr_t dma_address;
  unsigned int dma_length;
};
struct sg_table {
  struct scatterlist *sgl;
  unsigned int nents;      /* after mapping: DMA segments */
  unsigned int orig_nents; /* entries */
};
#define sg_dma_address(sg) ((sg)->dma_address)
#define sg_dma_len(sg) ((sg)->dma_length)
void sg_init_table(struct scatterlist *sg, unsigned int entries);
void sg_init_one(struct scatterlist *sg, const void *at, unsigned int length);
void sg_set_page(struct scatterlist *sg, struct page *page, unsigned int length, unsigned int offset);
void sg_set_buf(struct scatterlist *sg, const void *at, unsigned int length);
void sg_mark_end(struct scatterlist *sg);
bool sg_is_last(struct scatterlist *sg);
struct page *sg_page(struct scatterlist *sg);
void *sg_virt(struct scatterlist *sg);
phys_addr_t sg_phys(struct scatterlist *sg);
struct scatterlist *sg_next(struct scatterlist *sg);
int sg_nents(struct scatterlist *sg);
int sg_alloc_table(struct sg_table *table, unsigned int entries, gfp_t flags);
void sg_free_table(struct sg_table *table);
#define for_each_sg(list, sg, n, i) for ((i) = 0, (sg) = (list); (i) < (n); (i)++, (sg) = sg_next(sg))
#define for_each_sgtable_sg(table, sg, i) for_each_sg((table)->sgl, sg, (table)->orig_nents, i)
#define for_each_sgtable_dma_sg(table, sg, i) for_each_sg((table)->sgl, sg, (table)->nents, i)

unsigned int dma_map_sg_attrs(struct device *dev, struct scatterlist *sg, int entries,
                              enum dma_data_direction direction, unsigned long attrs);
void dma_unmap_sg_attrs(struct device *dev, struct scatterlist *sg, int entries,
                        enum dma_data_direction direction, unsigned long attrs);
void dma_sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int entries,
                         enum dma_data_direction direction);
void dma_sync_sg_for_device(struct device *dev, struct scatterlist *sg, int entries,
                            enum dma_data_direction direction);
int dma_map_sgtable(struct device *dev, struct sg_table *table, enum dma_data_direction direction,
                    unsigned long attrs);
void dma_unmap_sgtable(struct device *dev, struct sg_table *table, enum dma_data_direction direction,
                       unsigned long attrs);
static inline unsigned int dma_map_sg(struct device *dev, struct scatterlist *sg, int entries,
                                      enum dma_data_direction direction) {
  return dma_map_sg_attrs(dev, sg, entries, direction, 0);
}
static inline void dma_unmap_sg(struct device *dev, struct scatterlist *sg, int entries,
                                enum dma_data_direction direction) {
  dma_unmap_sg_attrs(dev, sg, entries, direction, 0);
}

struct dma_pool;
/* NULL: no size, or alignment and boundary are no powers of two, or the boundary is less than the size. */
struct dma_pool *dma_pool_create(const char *name, struct device *dev, size_t size, size_t align,
                                 size_t boundary);
void dma_pool_destroy(struct dma_pool *pool);
void *dma_pool_alloc(struct dma_pool *pool, gfp_t flags, dma_addr_t *dma);
void dma_pool_free(struct dma_pool *pool, void *at, dma_addr_t dma);
static inline void *dma_pool_zalloc(struct dma_pool *pool, gfp_t flags, dma_addr_t *dma) {
  return dma_pool_alloc(pool, flags | __GFP_ZERO, dma);
}

/* ---- registers: what no device answers reads as ones ---- */
u8 readb(const volatile void __iomem *at);
u16 readw(const volatile void __iomem *at);
u32 readl(const volatile void __iomem *at);
u64 readq(const volatile void __iomem *at);
void writeb(u8 value, volatile void __iomem *at);
void writew(u16 value, volatile void __iomem *at);
void writel(u32 value, volatile void __iomem *at);
void writeq(u64 value, volatile void __iomem *at);
#define ioread8(at) readb(at)
#define ioread16(at) readw(at)
#define ioread32(at) readl(at)
#define iowrite8(value, at) writeb(value, at)
#define iowrite16(value, at) writew(value, at)
#define iowrite32(value, at) writel(value, at)
void memset_io(volatile void __iomem *to, int value, size_t bytes);
void memcpy_fromio(void *to, const volatile void __iomem *from, size_t bytes);
void memcpy_toio(volatile void __iomem *to, const void *from, size_t bytes);

/* ---- time: the machine's clock goes on, and its devices with it ---- */
void udelay(unsigned long us);
void mdelay(unsigned long ms);
void msleep(unsigned int ms);
void usleep_range(unsigned long least_us, unsigned long most_us);
void cpu_relax(void);

/* ---- interrupts and locks: one CPU; what comes while interrupts are off waits until they are on ---- */
typedef int irqreturn_t;
#define IRQ_NONE 0
#define IRQ_HANDLED 1
#define IRQF_SHARED 0x80ul
typedef irqreturn_t (*irq_handler_t)(int irq, void *argument);
int request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name,
                void *argument);
const void *free_irq(unsigned int irq, void *argument);
int devm_request_irq(struct device *dev, unsigned int irq, irq_handler_t handler, unsigned long flags,
                     const char *name, void *argument);
void cbit_irq_off(void);
void cbit_irq_on(void);
typedef struct {
  int cbit;
} spinlock_t;
#define DEFINE_SPINLOCK(name) spinlock_t name
static inline void spin_lock_init(spinlock_t *lock) { lock->cbit = 0; }
static inline void spin_lock(spinlock_t *lock) { lock->cbit = 1; }
static inline void spin_unlock(spinlock_t *lock) { lock->cbit = 0; }
static inline void spin_lock_irq(spinlock_t *lock) {
  cbit_irq_off();
  spin_lock(lock);
}
static inline void spin_unlock_irq(spinlock_t *lock) {
  spin_unlock(lock);
  cbit_irq_on();
}
#define spin_lock_irqsave(lock, flags) ((void)((flags) = 0), spin_lock_irq(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock_irq(lock))

struct completion {
  unsigned int done;
};
static inline void init_completion(struct completion *c) { c->done = 0; }
static inline void reinit_completion(struct completion *c) { c->done = 0; }
static inline void complete(struct completion *c) { c->done++; }
/* There is one thread: what has not been completed by the end of the time-out never is. */
unsigned long wait_for_completion_timeout(struct completion *c, unsigned long jiffies);
#define HZ 1000
static inline unsigned long msecs_to_jiffies(unsigned int ms) { return ms; }

/* ---- PCI: a function has one BAR, number 0, and one interrupt ---- */
struct pci_dev {
  struct device dev;
  unsigned int irq;
  unsigned short vendor;
  unsigned short device;
};
struct pci_device_id {
  u32 vendor, device, subvendor, subdevice, class_, class_mask;
  unsigned long driver_data;
};
#define PCI_ANY_ID (~0u)
#define PCI_DEVICE(v, d) .vendor = (v), .device = (d), .subvendor = PCI_ANY_ID, .subdevice = PCI_ANY_ID
struct pci_driver {
  const char *name;
  const struct pci_device_id *id_table;
  int (*probe)(struct pci_dev *pdev, const struct pci_device_id *id);
  void (*remove)(struct pci_dev *pdev);
  void (*shutdown)(struct pci_dev *pdev);
};
int pci_register_driver(struct pci_driver *driver);
void pci_unregister_driver(struct pci_driver *driver);
#define module_pci_driver(driver) \
  static int driver##_cbit_init(void) { return pci_register_driver(&(driver)); } \
  module_init(driver##_cbit_init); \
  static void driver##_cbit_exit(void) { pci_unregister_driver(&(driver)); } \
  module_exit(driver##_cbit_exit)
struct pci_dev *to_pci_dev(const struct device *dev);
static inline void pci_set_drvdata(struct pci_dev *pdev, void *data) { pdev->dev.driver_data = data; }
static inline void *pci_get_drvdata(struct pci_dev *pdev) { return pdev->dev.driver_data; }
static inline const char *pci_name(const struct pci_dev *pdev) { return dev_name(&pdev->dev); }
int pci_enable_device(struct pci_dev *pdev);
int pcim_enable_device(struct pci_dev *pdev);
void pci_disable_device(struct pci_dev *pdev);
/* Before this, and after pci_clear_master(), the device does not reach memory. */
void pci_set_master(struct pci_dev *pdev);
void pci_clear_master(struct pci_dev *pdev);
int pci_request_regions(struct pci_dev *pdev, const char *name);
void pci_release_regions(struct pci_dev *pdev);
resource_size_t pci_resource_start(struct pci_dev *pdev, int bar);
resource_size_t pci_resource_len(struct pci_dev *pdev, int bar);
void __iomem *pci_iomap(struct pci_dev *pdev, int bar, unsigned long bytes);
void pci_iounmap(struct pci_dev *pdev, void __iomem *at);
int pcim_iomap_regions(struct pci_dev *pdev, int mask, const char *name);
void __iomem *const *pcim_iomap_table(struct pci_dev *pdev);
#define PCI_IRQ_INTX (1u << 0)
#define PCI_IRQ_MSI (1u << 1)
#define PCI_IRQ_MSIX (1u << 2)
#define PCI_IRQ_ALL_TYPES (PCI_IRQ_INTX | PCI_IRQ_MSI | PCI_IRQ_MSIX)
int pci_alloc_irq_vectors(struct pci_dev *pdev, unsigned int least, unsigned int most, unsigned int flags);
void pci_free_irq_vectors(struct pci_dev *pdev);
int pci_irq_vector(struct pci_dev *pdev, unsigned int n);

#ifdef __cplusplus
}
#endif

#endif
