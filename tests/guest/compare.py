"""Two traces of the same work, the model kernel's and a real one's, reduced to what can be compared.

Addresses, times and slot numbers differ by right; which events there are, in which order, of how many bytes,
by which path, may not. Where they do, the model's own last decision before that event is named: its rule, and
the function of Linux that it stands for.
"""

import json

# Of each event, the fields that must agree; events that are not here are not compared.
FIELDS = {
    "set_memory": ("pages", "encrypted"),
    "dma_map": ("kind", "bytes", "direction", "path", "encrypted"),
    "dma_map_failed": ("kind", "bytes", "reason"),
    "dma_unmap": ("kind", "bytes", "direction", "copied_back"),
    "dma_sync": ("bytes", "direction", "for_cpu", "copied"),
    "swiotlb_alloc": ("slots",),
    "swiotlb_bounce": ("bytes", "to_pool"),
    "swiotlb_release": ("slots",),
    "swiotlb_full": ("bytes", "slots_wanted", "segment_slots", "slots_total", "slots_used", "longest_run"),
    "device_access": ("bytes", "write"),
}
# Who shares memory for the kernel itself, and not for a driver.
KERNELS_OWN = ("swiotlb_update_mem_attributes", "atomic_pool_expand", "mem_encrypt_free_decrypted_mem")
# dma_map_single() is dma_map_page() with another spelling.
SPELLINGS = {"single": "page"}


def reduced(events):
    """[(event, its fields, the decision before it)]; device accesses that follow each other are one."""
    told, decision = [], "nothing before"
    for event in events:
        name = event.get("event")
        if name == "step":
            decision = f"{event['rule']} ({event['source']})"
        if name not in FIELDS or str(event.get("site", "")).startswith(KERNELS_OWN):
            continue
        fields = {field: SPELLINGS.get(event[field], event[field]) for field in FIELDS[name]}
        last = told[-1] if told else None
        if name == "device_access" and last and last[0] == name and last[1]["write"] == fields["write"]:
            last[1]["bytes"] += fields["bytes"]
        else:
            told.append((name, fields, decision))
    return told


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def between(events, *parts):
    """What lies between two lines of the kernel's log, of each pair of such lines."""
    inside, end = [], None
    ends = dict(parts)
    for event in events:
        text = event.get("text", "") if event.get("event") == "printk" else ""
        if end is None:
            end = next((last for first, last in ends.items() if first in text), None)
        elif end in text:
            end = None
        else:
            inside.append(event)
    return inside


def difference(model, real):
    """Where the first difference is, in words; None: there is none."""
    model, real = reduced(model), reduced(real)
    for number, ours in enumerate(model):
        theirs = real[number] if number < len(real) else ("the end", {}, "")
        if ours[:2] != theirs[:2]:
            return (f"event {number}: the model has {ours[0]} {ours[1]}, Linux has {theirs[0]} {theirs[1]};\n"
                    f"the model's last decision: {ours[2]}")
    if len(real) > len(model):
        theirs = real[len(model)]
        return f"event {len(model)}: the model has ended, Linux has {theirs[0]} {theirs[1]}"
    return None if model else "there is no event to compare"
