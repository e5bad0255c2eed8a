"""Finds out which functions of the reference a check runs, and which of them a mutant changes.

``python -m conformance.mutants.observation run FILE WORD...`` is the reference with the WORDs as its arguments. When one of its functions
runs for the first time, it appends the function's name to FILE, at once, so that SIGKILL loses none.
``python -m conformance.mutants.observation changes [NAME...]`` prints the functions that each mutant and design changes, as JSON.
``python -m conformance.mutants.observation messages FOLDER NAME...`` prints, for each file of recorded messages in the FOLDER, those of the
mutants that would alter one of them.

A mutant that changes messages on the wire stands for itself in these lists, as `message:NAME`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from conformance.errors import HarnessError
from conformance.mutants import ON_THE_WIRE, recording, replace, set_constant
from conformance.mutants.loading import load_designs, load_mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from conformance.mutants import Legitimate, Mutant

_PACKAGE = "dynamic_mcp"
_CONTAINERS = (dict, list, set)
#: what the filter of messages replaces
_FILTERED = frozenset({"frontend/client.py:take_over_stdio", "process/child.py:Child.__init__"})


def main() -> None:
    """Do what the first argument says."""
    what, *words = sys.argv[1:]
    del sys.argv[1:]  # some programs read the command line of the proxy
    if what == "run":
        observe(*words)
    elif what == "changes":
        print(json.dumps(changes(words)))
    else:
        print(json.dumps(message_changes(Path(words[0]), words[1:])))


def observe(file: str, *words: str) -> None:
    """Be the reference, and write down which of its functions run."""
    recording.record(file)
    sink = recording.opened(file)
    root = _root()
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if code not in seen:
            seen.add(code)
            if code.co_filename.startswith(root):
                os.write(sink, f"{_name_of(code, root)}\n".encode())

    threading.settrace(note)
    sys.settrace(note)
    from dynamic_mcp.cli import main as run

    run(words)


def changes(names: Sequence[str]) -> dict[str, list[str] | None]:
    """What `changed_by` says of these mutants and legitimate designs, or of all without a name."""
    programs: dict[str, Mutant | Legitimate] = {**load_mutants(), **load_designs()}
    before = Snapshot()
    return {
        name: in_child(partial(changed_by, name, programs[name].apply, before)) for name in names or programs
    }


def message_changes(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """The mutants that would alter a message of a recording in the folder, by the name of the recording."""
    files = {file.name: recording.read(file) for file in sorted(folder.glob(f"*{recording.SUFFIX}"))}
    found: dict[str, list[str]] = {name: [] for name in files}
    programs: dict[str, Mutant | Legitimate] = {**load_mutants(), **load_designs()}
    for name in names:
        for file in in_child(partial(_altered, programs[name].apply, files)) or ():
            found[file].append(f"{ON_THE_WIRE}{name}")
    return found


def _altered(apply: Callable[[], None], files: dict[str, list[recording.Passed] | None]) -> list[str]:
    apply()
    if not recording.changes_messages():
        return []
    _apply_changes_on_the_wire_only()
    return [name for name, passed in files.items() if passed is None or recording.altered(apply, passed)]


def _apply_changes_on_the_wire_only() -> None:
    """Let further calls of `apply` in this process replace no function and no constant, because the first call has."""
    for name, module in list(sys.modules.items()):
        if name.startswith("conformance.mutants"):
            for change in (replace, set_constant):
                if vars(module).get(change.__name__) is change:
                    vars(module)[change.__name__] = lambda *arguments: None


def in_child(work: Callable[[], list[str] | None]) -> list[str] | None:
    """The result of `work` in a copy of this process, which keeps the changes."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise HarnessError(f"a mutant could not be applied: exit status {os.waitstatus_to_exitcode(status)}")
    found: list[str] | None = json.loads(text)
    return found


class Snapshot:
    """What every loaded module and its classes refer to, by name."""

    def __init__(self) -> None:
        self.values = dict(_attributes())
        self.copies = {
            place: _copy(value) for place, value in self.values.items() if isinstance(value, _CONTAINERS)
        }


def changed_by(name: str, apply: Callable[[], None], before: Snapshot) -> list[str] | None:
    """What a mutant changes: functions of the reference, and messages on the wire. None means that it may be anything.

    A constant that is replaced changes the functions that read it. A library's function that is replaced, or a change that no module or
    class shows, may be seen anywhere. The change stays.
    """
    apply()
    root = _root()
    found: set[str] = set()
    names: set[str] = set()
    for place, value in _attributes():
        is_own = place[0].partition(".")[0] == _PACKAGE
        if place not in before.values:
            if is_own and (place[0], "__name__") in before.values:
                return None  # a name that the reference does not have
            continue  # in a module that the mutant imported
        old = before.values[place]
        if value is old and (place not in before.copies or before.copies[place] == _copy(value)):
            continue
        if not is_own and callable(old):
            return None
        if not is_own:
            continue  # the state of a library, such as the threads after a fork
        code = getattr(_function_of(old), "__code__", None)
        if code is not None and code.co_filename.startswith(root):
            found.add(_name_of(code, root))
        else:
            names.add(place[-1])
    if names:
        found.update(_name_of(code, root) for code in _codes(root) if names.intersection(code.co_names))
    if found & _FILTERED and recording.changes_messages():
        found = found - _FILTERED | {f"{ON_THE_WIRE}{name}"}
    elif found <= _FILTERED:
        return None  # what it does with the filter is not to be seen here
    return sorted(found) or None


def _root() -> str:
    spec = sys.modules.get(_PACKAGE) or __import__(_PACKAGE)
    return str(Path(str(spec.__file__)).parent) + os.sep


def _name_of(code: CodeType, root: str) -> str:
    return f"{code.co_filename.removeprefix(root)}:{code.co_qualname}"


def _attributes() -> Iterator[tuple[tuple[str, ...], object]]:
    """Everything that a module or one of its classes refers to by name, the standard library included."""
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name.partition(".")[0] == "conformance":
            continue
        for attribute, value in list(vars(module).items()):
            if attribute in ("__builtins__", "__warningregistry__"):
                continue
            yield (name, attribute), value
            if isinstance(value, type) and value.__module__ == name:
                for member, inner in list(vars(value).items()):
                    yield (name, attribute, member), inner


def _copy(value: Any) -> object:
    """A copy that compares by identity of what is in it, because comparing values could do anything."""
    if isinstance(value, dict):
        return [(id(key), id(one)) for key, one in value.items()]
    return [id(one) for one in value]


def _function_of(value: object) -> object:
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return getattr(value, "__wrapped__", value)


def _codes(root: str) -> Iterator[CodeType]:
    """The code of every function of the reference, inner ones included."""
    for place, value in _attributes():
        function = _function_of(value)
        if place[0].partition(".")[0] == _PACKAGE and isinstance(function, FunctionType):
            yield from _inner(function.__code__)


def _inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inner(constant)


if __name__ == "__main__":
    main()
