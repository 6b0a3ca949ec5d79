"""Two hosts on one Linux machine: ranks on both talk over real TCP, at a rate that is set.

A host is a set of namespaces (network, host name, IPC, and mounts, for a /dev/shm of its own), and
a pair of virtual Ethernet interfaces joins the two. One process holds it all, until a pipe from
this one closes; then the kernel takes away every process on both hosts, and the interfaces.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minigrad.errors import InputError
from minigrad.launch import Launcher, find_launcher, outside_mpi

__all__ = ["Hosts", "Job", "run", "two_hosts"]

ROOT = Path(__file__).parent.parent
TOOLS = ("unshare", "nsenter", "ip", "tc", "mount")
SPACES = {"net": "net", "uts": "uts", "ipc": "ipc", "mount": "mnt"}

TABLE = "127.0.0.1 localhost\n10.0.0.1 a\n10.0.0.2 b\n"
HOST = """# what makes the namespaces that it runs in the host $1
hostname $1
mount --bind hosts /etc/hosts
mount -t tmpfs tmpfs /dev/shm
mount -t sysfs sysfs /sys  # where UCX looks for this host's interfaces
ip link set lo up
"""
PAIR = """# both hosts; b's process is a child of a's
sh -e host a
mkfifo ready
unshare --net --uts --ipc --mount sh -ec 'sh -e host b; echo > ready; exec sleep infinity' &
echo $! > pid
read line < ready
ip link add eth0 type veth peer name eth0 netns $!
ip addr add 10.0.0.1/24 dev eth0
ip link set eth0 up
nsenter --target $! --net sh -ec 'ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up'
wait_for() {  # the link takes a moment
  for try in $(seq 100); do
    if [ "$(sh agent $1 cat /sys/class/net/eth0/operstate)" = up ]; then return; fi
    sleep 0.05
  done
  echo "host $1's interface does not come up" >&2
  exit 1
}
wait_for a
wait_for b
echo ready
exec cat  # until whoever started this closes the pipe, or is gone
"""
AGENT = """#!/bin/sh
# What a launcher takes for ssh: OPTIONS HOST COMMAND
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
export TMPDIR=FOLDER/$host
[ $host = a ] && exec sh -c "$*"
exec nsenter --target $(cat FOLDER/pid) --net --uts --ipc --mount sh -c "$*"
"""

Job = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Hosts:
    """Hosts "a" (10.0.0.1) and "b" (10.0.0.2), held by the process ``holder``."""

    holder: int
    folder: Path

    def on(self, host: str, *words: str) -> list[str]:
        """The command that runs ``words`` on ``host``."""
        enter = [f"--{name}=/proc/{self.holder}/ns/{file}" for name, file in SPACES.items()]
        enter.append(f"--pid=/proc/{self.holder}/ns/pid_for_children")
        return ["nsenter", *enter, "--wd=.", str(self.folder / "agent"), host, shlex.join(words)]

    def shape(self, mbit: int | None) -> None:
        """Let through ``mbit`` Mbit/s each way from here on; ``None`` for all there is."""
        words = "tc qdisc del dev eth0 root 2> /dev/null || true"
        if mbit is not None:
            # what 2 ms let through, or timers would be the limit; yet little beside a gradient
            burst = max(64_000, mbit * 250)
            words = f"tc qdisc replace dev eth0 root tbf rate {mbit}mbit burst {burst} latency 50ms"
        for host in ("a", "b"):
            _succeed(self.on(host, "sh", "-c", words))

    def bytes_sent(self) -> int:
        """What has left host a by its interface, headers included."""
        lines = Path(f"/proc/{self.holder}/net/dev").read_text(encoding="ascii").splitlines()
        (line,) = (line for line in lines if line.strip().startswith("eth0:"))
        return int(line.partition(":")[2].split()[8])


@contextmanager
def two_hosts(mbit: int | None = 400) -> Iterator[Hosts]:
    """Two hosts joined at ``mbit`` Mbit/s (:meth:`Hosts.shape`), until the end of the ``with``.

    Raises :class:`InputError` with the reason where this machine or user cannot have them.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise InputError("two hosts on one machine are made by root, on Linux")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise InputError(f"two hosts on one machine need {', '.join(missing)}, not found here")
    with tempfile.TemporaryDirectory(prefix="minigrad-hosts-") as name:
        folder = Path(name)
        for host in ("a", "b"):
            (folder / host).mkdir()
        texts = {"hosts": TABLE, "host": HOST, "pair": PAIR, "agent": AGENT.replace("FOLDER", name)}
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="ascii")
        (folder / "agent").chmod(0o755)
        alone = "--net --uts --ipc --mount --pid --fork --kill-child --mount-proc"
        with subprocess.Popen(
            ["unshare", *alone.split(), "sh", "-e", "pair"],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        ) as holder:  # fmt: skip
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() != "ready\n":
                said = holder.stderr.read().strip() or "no reason given"
                raise InputError(f"this machine permits no hosts of their own: {said}")
            hosts = Hosts(holder.pid, folder)
            hosts.shape(mbit)
            yield hosts


def run(
    hosts: Hosts, n: int, *python_args: str, timeout: float = 60, env: Mapping[str, str] = {}
) -> Job:
    """Run ``python *python_args`` on ``n`` ranks, ranks 0 to n/2 on host a, the rest on b.

    One thread a rank; ``env`` is added to this environment. Raises what
    :func:`~minigrad.launch.find_launcher` raises, and ``TimeoutExpired``.
    """
    if n < 2 or n % 2:
        raise InputError(f"{n} ranks cannot be shared by two hosts; give an even number")
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    settings = outside_mpi(os.environ) | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    settings |= {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(env)
    words, more = _start(_launcher(), n, str(hosts.folder / "agent"))
    return subprocess.run(
        hosts.on("a", *words, sys.executable, *python_args),
        env=settings | more, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip


def _start(launcher: Launcher, n: int, agent: str) -> tuple[list[str], dict[str, str]]:
    """The launcher's own words and variables: what a person with two machines would give."""
    if launcher.family == "Open MPI":
        flags = "--allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1"
        network = "--mca pml ob1 --mca btl tcp,sm,self --mca btl_tcp_if_include eth0"
        place = f"--host a:{n // 2},b:{n // 2} --prtemca plm_ssh_agent {agent}"
        return [launcher.path, *f"{flags} {network} {place} -n {n}".split()], {}
    place = f"-launcher ssh -launcher-exec {agent} -hosts a,b -ppn {n // 2} -n {n}"
    return [launcher.path, *place.split()], {"FI_PROVIDER": "tcp", "FI_TCP_IFACE": "eth0"}


@cache
def _launcher() -> Launcher:
    return find_launcher()


def _succeed(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise InputError(f"this machine permits no such limit: {done.stderr.strip()}")
