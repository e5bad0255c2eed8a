"""The soft limit of open files: raised for the process itself, and the old one for its children."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

CODE = """
import resource, subprocess, sys
from dynamic_mcp.process import descriptors
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
descriptors.raise_limit()
descriptors.raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
words = [sys.executable, "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"]
sys.stdout.flush()
subprocess.run(words, preexec_fn=descriptors.restorer())
"""


def test_limit_is_raised_and_children_get_the_old_one() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    own, child = map(int, done.stdout.split())
    assert own > 100
    assert child == 100
