# shellcheck shell=dash
# Every virtio device with its feature bits, and what reading each disk of it does to the bounce pool.

echo "cmdline $(cat /proc/cmdline)"

for device in /sys/bus/virtio/devices/*; do
  driver=$(basename "$(readlink "$device/driver")")
  function=$(basename "$(readlink -f "$device/..")")
  echo "virtio $function $driver $(cat "$device/status") $(cat "$device/features")"
done

# The file is there if a pool is (Linux kernel/dma/swiotlb.c: swiotlb_create_debugfs_files).
slots=/sys/kernel/debug/swiotlb/io_tlb_nslabs
[ -e "$slots" ] && echo "pool_slots $(cat "$slots")"

# The events and bytes of one PCI function. A line of the trace has
# "swiotlb_bounced: dev_name: 0000:00:02.0 dma_mask=ffffffffffffffff dev_addr=1234000 size=4096 FORCE".
bounced() {
  awk -v device="$1" '{
    for (i = 1; i < NF; i++) if ($i == "dev_name:" && $(i + 1) == device) {
      match($0, / size=[0-9]+/); bytes += substr($0, RSTART + 6, RLENGTH - 6); events++
    }
  } END { print events + 0, bytes + 0 }' /sys/kernel/tracing/trace
}

for disk in /sys/block/vd* /sys/block/nvme*; do
  [ -e "$disk" ] || continue
  name=$(basename "$disk")
  # A disk belongs to a virtio device or a NVMe controller, and that to a PCI function.
  function=$(readlink -f "$disk/device" | grep -oE '[0-9a-f]{4}(:[0-9a-f]{2}){2}\.[0-7]' | tail -1)
  echo > /sys/kernel/tracing/trace
  sum=$(sha256sum < "/dev/$name" | cut -d' ' -f1)
  echo "disk $name $function $sum $(bounced "$function")"
done
