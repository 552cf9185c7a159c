/* What the driver offers to the rest of the kernel, and to its test. */
#ifndef RING_DRIVER_H
#define RING_DRIVER_H

struct pci_dev;

/* Sends the request, and receives as many bytes. 0 or -errno. */
int ring_exchange(struct pci_dev *pdev, const void *request, void *reply, size_t bytes);
unsigned int ring_interrupts(struct pci_dev *pdev);

#endif
