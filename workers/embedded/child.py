"""Child processes that never outlive their supervisor, and the end of those that a killed supervisor left."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Repository root: where `python -m workers…` and `graph.app` are found."""

GRACE_S = 10.0
"""Seconds between the polite signal and SIGKILL."""

POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: secrets travel in `environ`, never in `command`, which every user of the machine can read."""

    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    user: int | None = None
    """User id to run as; None keeps the own one."""
    group: int | None = None
    cwd: Path = ROOT
    stop_signal: signal.Signals = signal.SIGTERM


class Child:
    """One running process, recorded in a pid file until it has ended.

    The kernel sends it the stop signal when the thread that started it dies, kill -9 included; the pid file is for
    what that misses. A session of its own keeps the terminal's Ctrl-C away from it: the supervisor decides the order.
    """

    def __init__(self, program: Program, pid_file: Path, log: Path | None = None) -> None:
        """Starts the program; output goes to `log`, or to the supervisor's own output without one."""
        self._stop_signal = program.stop_signal
        self._pid_file = pid_file
        self._asked = False
        supervisor = os.getpid()

        def die_with_supervisor() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(program.stop_signal))
            if os.getppid() != supervisor:  # it died before the line above
                os._exit(1)

        with open(log, "wb") if log else nullcontext() as output:
            self.process = subprocess.Popen(  # noqa: S603 - commands are ours
                program.command,
                env=program.environ,
                cwd=program.cwd,
                user=program.user,
                group=program.group,
                extra_groups=None if program.user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                preexec_fn=die_with_supervisor,  # one system call, no locks: safe after a fork
            )
        pid_file.write_text(f"{self.process.pid} {_started(self.process.pid)} {int(self._stop_signal)}\n")

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Whether `ready` became true while the process lived and before the timeout."""
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            if ready():
                return self.running
            time.sleep(POLL_S)
        return False

    def wait(self) -> int:
        """Exit status, once the process has ended by itself."""
        status = self.process.wait()
        self._pid_file.unlink(missing_ok=True)
        return status

    def ask_to_stop(self) -> None:
        """Sends the stop signal, once, without waiting."""
        if self.running and not self._asked:
            self._asked = True
            self.process.send_signal(self._stop_signal)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ends the process: its stop signal, then SIGKILL after the grace period. Does nothing when it has ended."""
        self.ask_to_stop()
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.wait()

    def kill(self) -> None:
        """Ends the process as a crash would (kill -9)."""
        self.process.kill()
        self.wait()


def end_leftovers(pid_files: Path) -> None:
    """Ends the children that a killed supervisor recorded in this folder and that still live."""
    for pid_file in sorted(pid_files.glob("*.pid")):
        words = pid_file.read_text().split()
        if len(words) == 3:
            pid, started, stop_signal = words
            end_process(int(pid), signal.Signals(int(stop_signal)), lambda p, s=started: _started(p) == s)
        pid_file.unlink()


def end_process(pid: int, stop_signal: signal.Signals, is_ours: Callable[[int], bool]) -> None:
    """Ends a process that is not a child of this one, if the number still means the process that we started."""
    for sig in (stop_signal, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        if is_ours(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, sig)
        while is_ours(pid) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def _started(pid: int) -> str:
    """Start time of a live process in clock ticks since boot (proc(5), stat field 22); empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return "" if fields[0] == "Z" else fields[19]
