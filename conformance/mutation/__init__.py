"""The kill matrix: known-bad proxies against the checks, so that a check that cannot fail is found.

`conformance.mutants` has the mutants, each the bundled proxy with one mistake; `impostors` has the programs that are no proxy at
all. `plan` says which checks meet which of them, `matrix` what each meeting is worth, `run` has them meet.
"""
