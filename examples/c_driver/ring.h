/* The ring device: what the driver and the test's hardware agree on. */
#ifndef RING_H
#define RING_H

#define RING_VENDOR 0x1234
#define RING_DEVICE 0x5249

/* Registers, 32 bits each. */
#define RING_BASE_LOW 0x00
#define RING_BASE_HIGH 0x04
#define RING_ENTRIES 0x08
#define RING_TAIL 0x0c /* a write: there are descriptors up to here */
#define RING_HEAD 0x10 /* how many the device has done */

/* A descriptor, as it lies in coherent memory. */
struct ring_descriptor {
  unsigned long long address; /* on the bus */
  unsigned int length;
  unsigned int flags;
};
#define RING_TO_MEMORY 1u /* the device fills the buffer; else it reads it */
#define RING_DONE 2u      /* set by the device */

#endif
