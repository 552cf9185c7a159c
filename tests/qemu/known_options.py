"""Which options and properties the installed QEMU knows, by its own account (QMP and -help)."""

import json
import re
import subprocess

from vm import HANGS_S, Qmp, QmpError

# Options whose properties QEMU lists under another name (query-command-line-options).
LISTED_AS = {"m": "memory", "smp": "smp-opts", "boot": "boot-opts"}
# The key that a first property without one has.
IMPLIED_KEY = {"device": "driver", "object": "qom-type", "machine": "type", "accel": "accel", "cpu": "model",
               "m": "size", "smp": "cpus", "netdev": "type", "chardev": "backend", "name": "guest",
               "mon": "chardev"}
# Older names of properties that are still taken: QEMU blockdev.c, drive_new().
RENAMED = {"drive": {"readonly"}}
# What -device takes of its own, besides the properties of the device.
OF_EVERY_DEVICE = {"driver", "id", "bus"}


def split(words):
    """(option, its argument or None) for the words after the program."""
    options = []
    for word in words:
        if word.startswith("-"):
            options.append((word.lstrip("-"), None))
        elif options and options[-1][1] is None:
            options[-1] = (options[-1][0], word)
        else:
            raise ValueError(f"{word!r} follows no option")
    return options


def flattened(value, prefix=""):
    """The members of a JSON object, nested ones with dots."""
    for key, member in value.items():
        if isinstance(member, dict):
            yield from flattened(member, f"{prefix}{key}.")
        else:
            yield prefix + key, member


def properties(option, argument):
    """[(key, value)] of `a=b,c=d`, where a doubled comma is one that does not part, or of a JSON object."""
    if argument.startswith("{"):
        return list(flattened(json.loads(argument)))
    found = []
    for number, part in enumerate(re.split(r"(?<!,),(?!,)", argument)):
        key, equals, value = part.replace(",,", ",").partition("=")
        if equals:
            found.append((key, value))
        elif number == 0 and option in IMPLIED_KEY:
            found.append((IMPLIED_KEY[option], key))
        else:
            found.append((key, "on"))
    return found


class KnownOptions:
    """What one QEMU knows; a context manager around a QEMU without a machine."""

    def __init__(self, program):
        self.program = program
        self.qmp = Qmp([program, "-machine", "none", "-S", "-nodefaults", "-display", "none"])
        self.checks = {"device": self.device, "object": self.object, "machine": self.machine,
                       "accel": self.accel, "cpu": self.cpu, "netdev": self.netdev}

    def __enter__(self):
        self.qmp.__enter__()
        version = self.qmp.ask("query-version")["qemu"]
        self.version = (version["major"], version["minor"])
        self.schema = {entry["name"]: entry for entry in self.qmp.ask("query-qmp-schema")}
        self.listed = {entry["option"]: {parameter["name"] for parameter in entry["parameters"]}
                       for entry in self.qmp.ask("query-command-line-options")}
        self.machines = {name: machine["name"] for machine in self.qmp.ask("query-machines")
                         for name in (machine["name"], machine.get("alias")) if name}
        self.cpus = {cpu["name"] for cpu in self.qmp.ask("query-cpu-definitions")}
        helped = subprocess.run([self.program, "-help"], check=True, text=True, stdout=subprocess.PIPE)
        self.options = set(re.findall(r"^--?(\w[\w-]*)", helped.stdout, re.MULTILINE))
        return self

    def __exit__(self, *arguments):
        self.qmp.__exit__(*arguments)

    def takes_argument(self, option):
        """QEMU looks at all options (softmmu/vl.c: qemu_init) before it obeys the first, to print."""
        done = subprocess.run([self.program, "-version", f"-{option}"], text=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=HANGS_S)
        return f"-{option}: requires an argument" in done.stderr

    def unknown(self, words):
        """What QEMU does not know in these words (without the program): one sentence for each."""
        wrong = []
        for option, argument in split(words):
            if option not in self.options:
                wrong.append(f"-{option} is no option")
            elif argument is not None and (option in self.checks or self.listed_properties(option)):
                check = self.checks.get(option, self.by_list)
                wrong += [f"-{option} {argument}: {what}" for what in
                          check(option, properties(option, argument))]
        return wrong

    def listed_properties(self, option):
        return self.listed.get(LISTED_AS.get(option, option), set())

    def by_list(self, option, given):
        return self.without(given, self.listed_properties(option) | RENAMED.get(option, set()) | {"id"})

    @staticmethod
    def without(given, known):
        return [f"no property {key}" for key, _ in given if key not in known]

    def qom_properties(self, command, typename):
        return {entry["name"] for entry in self.qmp.ask(command, typename=typename)}

    def device(self, _, given):
        driver = dict(given).get("driver")
        try:
            known = self.qom_properties("device-list-properties", driver)
        except QmpError as error:
            return [str(error)]
        return self.without(given, known | OF_EVERY_DEVICE)

    def union_members(self, command, case):
        """The members that a command's argument, a union, has in one case; None if it has no such case."""
        union = self.schema[self.schema[command]["arg-type"]]
        members = {member["name"] for member in union["members"]}
        for variant in union["variants"]:
            if variant["case"] == case:
                return members | {member["name"] for member in self.schema[variant["type"]]["members"]}
        return None

    def by_union(self, command, case, given):
        members = self.union_members(command, case)
        if members is None:
            return [f"no type {case}"]
        # Lists are written as `host-nodes.0=1`.
        return [f"no property {key}" for key, _ in given if key.split(".")[0] not in members]

    def object(self, _, given):
        return self.by_union("object-add", dict(given).get("qom-type"), given)

    def netdev(self, _, given):
        return self.by_union("netdev_add", dict(given).get("type"), given)

    def machine(self, option, given):
        machine = dict(given).get("type", "pc")
        if machine not in self.machines:
            return [f"no machine {machine}"]
        known = self.qom_properties("qom-list-properties", f"{self.machines[machine]}-machine")
        # kernel_irqchip and others are listed with the underscore that they were born with; the accelerator's
        # own one is no longer listed, and still taken (system/vl.c: qemu_apply_legacy_machine_options).
        handed_on = {"kernel-irqchip"} & self.qom_properties("qom-list-properties", "kvm-accel")
        listed = {key.replace("_", "-") for key in self.listed_properties(option)}
        return self.without(given, known | listed | handed_on)

    def accel(self, _, given):
        kind = dict(given).get("accel")
        try:
            known = self.qom_properties("qom-list-properties", f"{kind}-accel")
        except QmpError:
            return [f"no accelerator {kind}"]
        return self.without(given, known | {"accel"})

    def cpu(self, _, given):
        model = dict(given).get("model")
        if model not in self.cpus:
            return [f"no CPU model {model}"]
        known = self.qom_properties("qom-list-properties", f"{model}-x86_64-cpu")
        return [f"no feature {key}" for key, _ in given
                if key != "model" and key.lstrip("+-") not in known]
