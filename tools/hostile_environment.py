"""An environment in which a test fails if it depends on the machine, for tools/test --hostile-environment.

One core that two other processes keep busy; another locale (Turkish: its decimals have a comma, and its small
I has no dot), time zone, umask and TMPDIR (with a blank); no home; an ordinary user's rights, where the user
is root; the /proc/cpuinfo of another vendor. What cannot be had here is left out, and said.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCALE = "tr_TR"
TIME_ZONE = "AAA-12:45"  # east of Greenwich by a part of an hour; POSIX's spelling needs no file
BURNERS = 2
# Burns while the process $1 lives.
BURNER = 'while kill -0 "$1" 2> /dev/null; do i=0; while [ "$i" -lt 100000 ]; do i=$((i + 1)); done; done'
QEMU = "qemu-system-x86_64"
# Shows a file in place of another one to the command that follows.
SHOW = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def works(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def other_cpuinfo():
    """The captured /proc/cpuinfo of a processor that this machine does not have."""
    here = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    tree = "tdx-host" if "AuthenticAMD" in here else "epyc-snp-iommu-pt"
    return ROOT / "tests/doctor" / tree / "proc/cpuinfo"


class HostileEnvironment:
    """A context manager; `run` is for commands in the environment."""

    def __enter__(self):
        with ExitStack() as stack:
            holder = tempfile.TemporaryDirectory(prefix="cbit hostile environment ")
            self.folder = Path(stack.enter_context(holder))
            self.core = str(min(os.sched_getaffinity(0)))
            self.variables = self.make_variables()
            self.mount = self.way_to_mount()
            self.user = self.way_to_be_ordinary()
            for _ in range(BURNERS):
                burner = subprocess.Popen(["taskset", "-c", self.core, "sh", "-c", BURNER, "sh",
                                           str(os.getpid())], stdin=subprocess.DEVNULL)
                stack.callback(lambda process: (process.kill(), process.wait()), burner)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    @staticmethod
    def say(what):
        print(f"hostile environment: {what}", flush=True)

    def make_variables(self):
        names = ("HOME", "LANG", "LANGUAGE", "TERM", "TMPDIR", "TZ", "COLUMNS", "LINES")
        kept = {name: value for name, value in os.environ.items()
                if name not in names and not name.startswith(("LC_", "XDG_"))}
        temporary = self.folder / "temporary files"
        temporary.mkdir()
        return kept | self.make_locale() | {"HOME": "/nonexistent", "TMPDIR": str(temporary), "COLUMNS": "20",
                                            "TZ": TIME_ZONE, "CBIT_TEST_TZ": TIME_ZONE}

    def make_locale(self):
        name = f"{LOCALE}.UTF-8"
        # localedef warns by its exit status, too.
        localedef = shutil.which("localedef")
        if localedef:
            subprocess.run([localedef, "-i", LOCALE, "-f", "UTF-8", self.folder / name], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not (self.folder / name / "LC_NUMERIC").exists():
            self.say(f"the locale is C; there is no source of {LOCALE} (package locales)")
            return {"LC_ALL": "C", "CBIT_TEST_LOCALE": "C"}
        return {"LC_ALL": name, "CBIT_TEST_LOCALE": name, "LOCPATH": str(self.folder)}

    def way_to_mount(self):
        """The words before a command that may mount, unseen by others; None: nobody here may."""
        way = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        if works([*way, "sh", "-c", SHOW, "sh", other_cpuinfo(), "/proc/cpuinfo", "true"]):
            return way
        self.say("/proc/cpuinfo is this machine's, and QEMU is not hidden: nobody may mount here")
        return None

    def way_to_be_ordinary(self):
        """The words before a command that runs with an ordinary user's rights and sees an ordinary user's id,
        while files that it owns stay its own (user_namespaces(7))."""
        way = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
        if works([*(self.mount or []), *way, "true"]):
            return way
        if os.geteuid() == 0:
            self.say("the user is root: there are no user namespaces here")
        return []

    def shown(self, file, place):
        return [*self.mount, "sh", "-c", SHOW, "sh", str(file), place] if self.mount else []

    def run(self, command, without_qemu=False, **variables):
        """The exit status of a command in this environment; with `without_qemu`, QEMU cannot be found."""
        words = self.shown(other_cpuinfo(), "/proc/cpuinfo")
        if without_qemu:
            words += self.shown("/dev/null", os.path.realpath(shutil.which(QEMU)))
        words += [*self.user, "taskset", "-c", self.core, *command]
        print("+", *words, flush=True)
        return subprocess.run(words, cwd=ROOT, env=self.variables | variables, stdin=subprocess.DEVNULL,
                              umask=0o077, check=False).returncode
