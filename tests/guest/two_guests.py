"""Two guests on one wire: taps on a bridge, in a network namespace of their own, which needs no rights where
users may make such."""

import shlex
import subprocess
import tempfile

UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]
WIRE = """
set -e
ip link add wire type bridge
ip link set wire up
for n in 0 1; do
  ip tuntap add tap$n mode tap
  ip link set tap$n master wire
  ip link set tap$n up
done
"""


def cannot_be():
    """Why there can be no such wire on this host; None: there can be one."""
    try:
        done = subprocess.run([*UNSHARE, "sh", "-c", WIRE], text=True, capture_output=True)
    except FileNotFoundError:
        return "there is no unshare"
    return f"no wire can be made: {done.stderr.strip()}" if done.returncode else None


def nic(number, options=""):
    """The words for the guest's end of the wire, 0 or 1."""
    return ["--net", f"tap,ifname=tap{number},mac=52:54:00:12:34:{0x56 + number:x}{options}"]


def run(first, second, timeout):
    """Runs two commands of this host's, each a guest: what subprocess.run() gives of the first, with `peer`
    beside, the output of the second and its console. If the first fails, the second is ended, as it may wait
    in vain."""
    with tempfile.NamedTemporaryFile() as log:
        script = f"""{WIRE}
{shlex.join(map(str, second))} < /dev/null > {log.name} 2>&1 &
{shlex.join(map(str, first))} < /dev/null || {{ status=$?; kill $!; }}
wait
exit ${{status:-0}}"""
        done = subprocess.run([*UNSHARE, "sh", "-c", script], text=True, capture_output=True,
                              errors="replace", timeout=timeout)
        done.peer = log.read().decode(errors="replace")
    return done
