"""Run one mutant as a proxy: ``python -m conformance.mutants NAME [CONFIG]``."""

from __future__ import annotations

import sys

from conformance.mutants import Mutant
from conformance.mutants.loading import load_mutant, load_mutants


def main() -> None:
    """Apply the mistake, then be the reference."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--list"
    if name == "--list":
        for known in load_mutants().values():
            print(f"{known.kills}  {known.name}")
        return
    mutant = load_mutant(name)
    if mutant is None:
        sys.exit(f"no mutant is called {name!r}; --list names them")
    if isinstance(mutant, Mutant) and mutant.design is not None:
        mutant.design.apply()
    mutant.apply()
    if isinstance(mutant, Mutant) and mutant.listens:
        from conformance import gateway

        gateway.main(sys.argv[2:])
    from dynamic_mcp.cli import main as run

    run(sys.argv[2:])


if __name__ == "__main__":
    main()
