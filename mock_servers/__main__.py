"""Starts a mock: `python -m mock_servers ...`, or `python -I -S .../mock_servers/__main__.py ...`.

The second form needs no installation and no environment, and starts fastest.
"""

import os
import sys

if not __package__:
    # Started by path. Remove the package's folder from the search path, because its modules would hide modules of the
    # standard library (http), and add its parent.
    _folder = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != _folder]
    sys.path.insert(0, os.path.dirname(_folder))

from mock_servers.cli import main

if __name__ == "__main__":
    main()
