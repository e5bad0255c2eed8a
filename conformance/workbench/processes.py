"""The table of all processes of the machine: parent, birth, command line and token of each.

On Linux this module reads /proc itself. It reads command line and environment only once for each program that a process executes. The
census takes hundreds of looks at hundreds of unchanged processes. The addresses of the arguments identify a program, since they differ
after each execve; where the kernel hides them, each look reads everything anew. On other systems psutil reads the table.

A look lists the pids first and then reads each process. So a process that forks and exits in between hides its child from that look. The
table keeps the original arguments of a program that overwrites them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import NamedTuple

import psutil

from conformance.workbench.sandbox import TOKEN_VARIABLE

_HAS_PROC = sys.platform == "linux"
_TOKEN = TOKEN_VARIABLE.encode() + b"="
_ENDED = (b"Z", b"X")
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD
#: more bytes than /proc/PID/stat has: about fifty numbers and a name
_STAT_SIZE = 4096


@dataclass(frozen=True)
class ProcessRow:
    """One process. `born`, in units of the platform, distinguishes it from a later process with the same pid."""

    pid: int
    ppid: int
    born: float
    #: False for a zombie, whose parent has not yet collected its status
    lives: bool
    command: str
    token: str | None


def table() -> dict[int, ProcessRow]:
    """All processes except this one and its ancestors, which may mention a sandbox without belonging to it."""
    rows = _read_proc() if _HAS_PROC else _ask_psutil()
    pid = os.getpid()
    while (row := rows.pop(pid, None)) is not None:
        pid = row.ppid
    return rows


def born(pid: int) -> float | None:
    """As in `ProcessRow`; None if there is no such process."""
    if _HAS_PROC:
        stat = _stat(pid)
        return None if stat is None else stat.born
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


class _Stat(NamedTuple):
    name: str
    state: bytes
    ppid: int
    flags: int
    born: float
    #: the addresses of arguments and environment; zeros where the kernel hides them
    image: tuple[bytes, ...]


class _Program(NamedTuple):
    born: float
    image: tuple[bytes, ...]
    command: str
    token: str | None


_programs: dict[int, _Program] = {}


def _read_proc() -> dict[int, ProcessRow]:
    # The youngest first, so that the look reaches a process that forks and exits at once before it has gone.
    pids = sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True)
    rows = {row.pid: row for row in map(_row, pids) if row is not None}
    for gone in _programs.keys() - rows.keys():
        del _programs[gone]
    return rows


def _row(pid: int) -> ProcessRow | None:
    stat = _stat(pid)
    if stat is None:
        return None
    if stat.state in _ENDED or stat.flags & _KERNEL_THREAD:
        return ProcessRow(pid, stat.ppid, stat.born, stat.state not in _ENDED, stat.name, None)
    program = _programs.get(pid)
    if program is None or (program.born, program.image) != (stat.born, stat.image):
        try:
            program = _program(pid, stat)
        except OSError:  # it is ending, or belongs to another user
            program = _Program(stat.born, stat.image, "", None)
        if not program.command:
            now = _stat(pid)
            if now is None:
                return None
            if now.state in _ENDED:
                return ProcessRow(pid, now.ppid, now.born, False, now.name, None)
        elif any(address != b"0" for address in stat.image):
            _programs[pid] = program
    return ProcessRow(pid, stat.ppid, stat.born, True, program.command or stat.name, program.token)


def _stat(pid: int) -> _Stat | None:
    """See proc_pid_stat(5), which counts the fields from 1, including the pid and the name."""
    # System calls instead of a file object, which makes a look at all processes a quarter shorter.
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, _STAT_SIZE)
    except OSError:
        return None
    finally:
        os.close(file)
    # The name may hold any character, even parentheses.
    begin, end = text.index(b"("), text.rindex(b")")
    fields = text[end + 2 :].split()
    name = text[begin + 1 : end].decode(errors="replace")
    image = tuple(fields[45:49])
    return _Stat(name, fields[0], int(fields[1]), int(fields[6]), float(fields[19]), image)


def _program(pid: int, stat: _Stat) -> _Program:
    command = _contents(pid, "cmdline").rstrip(b"\0").replace(b"\0", b" ")
    environment = _contents(pid, "environ").split(b"\0")
    token = next((entry[len(_TOKEN) :].decode() for entry in environment if entry.startswith(_TOKEN)), None)
    return _Program(stat.born, stat.image, command.decode(errors="replace"), token)


def _contents(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.readall()


def _ask_psutil() -> dict[int, ProcessRow]:
    rows = {}
    for process in reversed(list(psutil.process_iter())):
        try:
            with process.oneshot():
                lives = process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
                command = " ".join(process.cmdline()) if lives else ""
                token = _token_of(process) if lives else None
                place = process.ppid(), process.create_time()
                rows[process.pid] = ProcessRow(process.pid, *place, lives, command or process.name(), token)
        except psutil.Error:
            continue  # it has just gone, or belongs to another user
    return rows


def _token_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(TOKEN_VARIABLE)
    except (psutil.Error, OSError):
        return None
