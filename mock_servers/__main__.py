"""Starts a mock, as `python -m mock_servers ...` or as `python -I -S .../mock_servers/__main__.py ...`.

The second form needs no installation and no environment, and starts fastest.
"""

import os
import sys

if not __package__:
    # Started by path: the package's folder must not be searched, its modules would hide those of the standard
    # library (http); its parent must.
    _folder = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != _folder]
    sys.path.insert(0, os.path.dirname(_folder))

from mock_servers.cli import main

if __name__ == "__main__":
    main()
