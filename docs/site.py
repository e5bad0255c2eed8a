"""Builds the pages of the project as a site. `tox -e docs` runs it.

The pages link to each other by their paths in the repository, so that GitHub shows them too. MkDocs reads one folder only, and not the
one above its configuration. So this program copies every page to a folder with the same layout. A link without a target fails the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("changes", "docs", "examples")
#: The info string of a fence. Only its first word is a language; `tests/docs/pages.py` reads the others.
_INFO = re.compile(r"^(```\w+) .*$", re.MULTILINE)


def main(pages: Path, site: Path) -> int:
    """Copy the pages to ``pages``, and build the site in ``site``. Returns the exit status of MkDocs."""
    for folder in (pages, site):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).glob("*.*"))):
        copy = pages / "pages" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            copy.write_text(_INFO.sub(r"\1", file.read_text(encoding="utf-8")), encoding="utf-8")
        elif file.suffix in (".svg", ".json"):
            shutil.copyfile(file, copy)
    shutil.copyfile(ROOT / "LICENSE", pages / "pages" / "LICENSE")
    configuration = pages / "mkdocs.yml"
    text = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    configuration.write_text(f"docs_dir: pages\n{text}", encoding="utf-8")
    # Not with `--quiet`: the strict mode counts the warnings that are shown.
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(configuration)]
    return subprocess.run([*command, "--site-dir", str(site)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
