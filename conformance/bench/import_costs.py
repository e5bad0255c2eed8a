"""Runs a module as `python -m` does, and writes what each of its imports costs: `import_costs.py REPORT MODULE ARGUMENT...`.

The report has, by the name of the module, the microseconds of processor time and the kilobytes of memory without nested imports.
Modules inside of the interpreter cost next to nothing and are not in it. Only the standard library, so that it adds no import.
"""

import atexit
import json
import runpy
import sys
import time
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from types import ModuleType
from typing import Any

_PAGE = 4


def _memory() -> int:
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


class _Costs:
    def __init__(self) -> None:
        self.found: dict[str, list[int]] = {}
        #: the costs of the nested imports, for each import that runs
        self._nested: list[list[int]] = []

    def watch(self, loader: type, name: str) -> None:
        """Measure a method of a loader."""
        right = getattr(loader, name)

        def measured(instance: Any, subject: Any) -> ModuleType | None:
            module = subject.name if hasattr(subject, "loader") else subject.__name__
            self._nested.append([0, 0])
            began, before = time.thread_time_ns(), _memory()
            try:
                found: ModuleType | None = right(instance, subject)
                return found
            finally:
                whole = [(time.thread_time_ns() - began) // 1000, _memory() - before]
                nested = self._nested.pop()
                own = self.found.setdefault(module, [0, 0])
                for place in range(2):
                    own[place] += whole[place] - nested[place]
                    if self._nested:
                        self._nested[-1][place] += whole[place]

        setattr(loader, name, measured)


def main(report: str, module: str) -> None:
    """Run the module; its arguments are in `sys.argv`."""
    costs = _Costs()
    for loader, names in (
        (SourceFileLoader, ("exec_module",)),
        (SourcelessFileLoader, ("exec_module",)),
        (ExtensionFileLoader, ("create_module", "exec_module")),
    ):
        for name in names:
            costs.watch(loader, name)

    def write() -> None:
        with open(report, "w", encoding="utf-8") as file:
            json.dump(costs.found, file)

    atexit.register(write)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _, report_path, module_name, *rest = sys.argv
    sys.argv = [module_name, *rest]
    # The folder of this file is no part of the search path of the module.
    del sys.path[0]
    main(report_path, module_name)
