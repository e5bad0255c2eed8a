"""The kill matrix: known-bad programs run against the checks, which finds every check that cannot fail.

`conformance.mutants` holds the mutants: the bundled proxy with one deliberate mistake each. `null_programs` holds programs that are
no proxy at all. `plan` pairs programs with checks, `matrix` judges each pair, `run` is the command.
"""
