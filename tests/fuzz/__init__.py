"""Coverage-guided fuzzing of the parsers of the proxy.

    python -m tests.fuzz [TARGET ...]

runs each target for its share of FUZZ_SECONDS (`tox -e fuzz` installs what it needs). `corpus/TARGET/` holds the inputs from which each
target starts. The test of this package runs every one of them. An input that fails belongs into the corpus, under a name that says
what it is.
"""
