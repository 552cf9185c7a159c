# shellcheck shell=dash
# A disk is read while cbit records: what it recorded, and what the kernel's own counters say.

tracing=/sys/kernel/tracing
cbit record --seconds 600 --output /recording.txt &
recorder=$!
until [ "$(cat "$tracing/instances/cbit-$recorder/tracing_on" 2> /dev/null)" = 1 ]; do sleep 0.1; done
echo > "$tracing/trace"
dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct 2> /dev/null || echo "trouble the disk cannot be read"
# What the kernel's own buffer, which nobody has touched, has of the same time.
echo "bounces $(grep -c swiotlb_bounced "$tracing/trace")"
# The shell has it ignore what Ctrl-C sends.
kill -TERM "$recorder"
wait "$recorder"
echo "record_status $?"
echo "recording $(gzip < /recording.txt | base64 -w 0)"
echo "instances $(ls "$tracing/instances")"

# One that is killed leaves its instance, and the next takes it away.
cbit record --seconds 600 --output /dev/null &
recorder=$!
until [ -e "$tracing/instances/cbit-$recorder/tracing_on" ]; do sleep 0.1; done
kill -KILL "$recorder"
wait "$recorder"
echo "abandoned $(ls "$tracing/instances")"
cbit record --seconds 1 --device 'no such' > /dev/null 2>&1
echo "bad_device_status $?"
cbit record --seconds 1 --device '0000:ff:*' > /other.txt
echo "other_status $?"
echo "other_events $(grep -c -v -e '^#' -e io_tlb_used /other.txt)"
echo "left $(ls "$tracing/instances")"

umount "$tracing"
rmdir /sys/kernel/debug/tracing 2> /dev/null
umount /sys/kernel/debug
echo "unmounted $(cbit record 2>&1 | tr '\n' ' ')"
