"""Child processes on Windows: a process group, and a job object that ends with its last handle.

This module follows the documentation (CREATE_NEW_PROCESS_GROUP; JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE); it is not tested on Windows.
The job replaces the process group and the guard: when this process dies, the system closes the handle and ends every process of
the job. A process that the child starts before it is in the job survives.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import subprocess
    from asyncio import windows_utils
    from collections.abc import Mapping, Sequence
    from ctypes import wintypes

    _KILL_ON_JOB_CLOSE = 0x2000
    _EXTENDED_LIMIT_INFORMATION = 9
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.CreateJobObjectW.restype = wintypes.HANDLE

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_ulonglong * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    class Job:
        """A job object that holds a process and everything that it starts."""

        def __init__(self, process_handle: int) -> None:
            self._handle = wintypes.HANDLE(_kernel32.CreateJobObjectW(None, None))
            limits = _ExtendedLimits()
            limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
            _kernel32.SetInformationJobObject(
                self._handle, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
            )
            _kernel32.AssignProcessToJobObject(self._handle, wintypes.HANDLE(process_handle))

        def terminate(self) -> None:
            """End every process of the job."""
            _kernel32.TerminateJobObject(self._handle, 1)

        def close(self) -> None:
            """Close the job, which ends every process that is left in it."""
            _kernel32.CloseHandle(self._handle)

    def popen(
        argv: Sequence[str], environment: Mapping[str, str], cwd: str | None
    ) -> subprocess.Popen[bytes]:
        """Start a program in its own process group and in a folder, with pipes that the event loop can wait for."""
        return windows_utils.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            cwd=cwd,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
