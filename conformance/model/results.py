"""The results of a run: one `Result` for each executed check, and all of them as a `RunReport`.

These structs hold the data for every report format and judge nothing.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec

from conformance.model.evidence import Evidence
from conformance.model.registry import VERSION, Era, Reach
from conformance.model.verdicts import Level, Verdict

#: the lines at the end of stderr that `circumstances` has
STDERR_LINES = 10
#: `stopped_by` of a run whose program answered nothing
NO_ANSWER = "no answer"


class Attempt(msgspec.Struct, frozen=True):
    """One execution of a check."""

    verdict: Verdict
    message: str
    duration_s: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check; `verdict` is that of the last attempt."""

    id: str
    level: Level
    era: Era
    #: the level that decided the verdict, if the profile makes it another one
    counts_as: Level | None = None
    #: None in the report of a runner that did not know it
    reach: Reach | None = None
    verdict: Verdict
    title: str
    statement: str
    #: how the requirement is observed
    observed: str = ""
    #: what went wrong, in one or several lines; empty for `pass`
    message: str
    expected: str | None
    seen: str | None
    #: the first source as text
    source: str
    quote: str | None
    #: the other sources, each with its quote
    further_sources: tuple[str, ...] = ()
    duration_s: float
    evidence: Evidence
    #: one shell line that runs only this check again
    rerun: str
    attempts: tuple[Attempt, ...]
    #: why the baseline expects this verdict (a known failure), or None
    known: str | None = None
    #: the baseline expects a failure here, but the check passes
    stale: bool = False
    #: whether a slower or faster machine could change the verdict
    depends_on_time: bool = False
    #: the verdict is not final: the run was interrupted before the second attempt that it was due
    unrepeated: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, each with its quote."""
        return (self.source + (f': "{self.quote}"' if self.quote else ""), *self.further_sources)

    @property
    def level_text(self) -> str:
        """The level, with the one that it counts as for this program if that differs."""
        return str(self.level) if self.counts_as is None else f"{self.level} as {self.counts_as}"

    @property
    def verdict_words(self) -> str:
        """The verdict, with `known`, `stale` or `not repeated` where it holds."""
        if self.known is not None:
            return f"known {self.verdict}"
        if self.unrepeated:
            return f"{self.verdict}, not repeated"
        return f"stale {self.verdict}" if self.stale else str(self.verdict)

    @property
    def is_required(self) -> bool:
        """Whether the program has to meet the requirement: a MUST, or a DOC that counts as one."""
        return (self.counts_as or self.level) in (Level.MUST, Level.DOC)

    @property
    def is_rerun(self) -> bool:
        """Whether the check gets a second attempt, alone, because load may have caused an unexpected verdict."""
        return self.depends_on_time and self.known is None

    @property
    def explanation(self) -> list[tuple[str, str]]:
        """The explanation of the verdict, in labelled parts."""
        if self.stale:
            text = "the baseline expects a failure here, but the check passes: remove the entry"
            return [("stale", text)]
        if self.expected is not None and self.seen is not None:
            return [("expected", self.expected), ("seen", self.seen)]
        return [("reason", self.message)]

    @property
    def circumstances(self) -> list[tuple[str, str]]:
        """What helps to understand the verdict, in labelled parts: variables, leftovers, and the end of stderr, where there are any."""
        evidence = self.evidence
        told = "\n".join(text for _, text in self.explanation)
        stderr = evidence.stderr_tail.rstrip().splitlines()[-STDERR_LINES:]
        # A check about stderr quotes it, as `repr` writes it.
        is_quoted = bool(stderr) and repr(stderr[-1])[1:-1] in told
        parts = [
            ("variables", "\n".join(evidence.environment)),
            ("left over", "\n".join(evidence.leftovers)),
            ("stderr", "" if is_quoted else "\n".join(stderr)),
        ]
        return [(label, text) for label, text in parts if text.strip()]

    def is_failure(self, *, strict: bool = False) -> bool:
        """Whether this result fails the run. One that is not final does not.

        A requirement that is not required fails the run only with `strict`, for every verdict.
        """
        if self.stale:
            return True
        if self.known is not None or self.unrepeated:
            return False
        if self.verdict is Verdict.HARNESS_ERROR:
            return True
        is_broken = self.verdict.is_red or self.verdict is Verdict.WARN
        return is_broken and (self.is_required or strict)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a run."""

    verdicts: dict[str, int]
    #: the counts above zero for each reach
    reach: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    executed: int
    failures: int
    known: int
    stale: int
    rerun: int
    #: verdicts that are not final, see `Result.unrepeated`
    unrepeated: int = 0
    #: selected requirements without a check
    planned: int
    duration_s: float
    complete: bool
    strict: bool


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a run, in the order of the ids."""

    implementation: str
    command: tuple[str, ...]
    homepage: str
    #: the version in the implementation's answer to `initialize`, or empty
    version: str = ""
    #: how to install the version that its profile describes
    install: str = ""
    results: tuple[Result, ...]
    #: selected checks that did not end before the run did
    not_run: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    duration_s: float = 0.0
    complete: bool = True
    #: what ended an incomplete run: the name of a signal, or `NO_ANSWER`; empty if unknown
    stopped_by: str = ""
    strict: bool = False
    #: the version of the requirements
    specification: str = VERSION
    #: the version of this package, or empty if it is not installed
    runner: str = ""
    #: when the run began, RFC 3339 in UTC
    started: str = ""
    #: the titles of the families of the results
    families: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def unproved(self) -> frozenset[str]:
        """The ids of the checks that failed or warned, and of those that did not run or were not repeated."""
        failed = (one.id for one in self.results if one.is_failure(strict=True) or one.unrepeated)
        return frozenset((*failed, *self.not_run))

    @property
    def why_incomplete(self) -> str:
        """Why the checks of `not_run` did not run, in a few words."""
        if self.stopped_by == NO_ANSWER:
            return "stopped, because the program answered nothing"
        return f"interrupted by {self.stopped_by}" if self.stopped_by else "interrupted"

    def narrowed(self, ids: Collection[str]) -> "RunReport":
        """The part of the report about these requirements."""
        return msgspec.structs.replace(
            self,
            results=tuple(result for result in self.results if result.id in ids),
            not_run=tuple(id_ for id_ in self.not_run if id_ in ids),
            planned=tuple(id_ for id_ in self.planned if id_ in ids),
        )

    @property
    def summary(self) -> Summary:
        return Summary(
            verdicts=count_verdicts(self.results),
            reach=_count_by_reach(self.results),
            executed=sum(result.verdict is not Verdict.NOT_APPLICABLE for result in self.results),
            failures=sum(result.is_failure(strict=self.strict) for result in self.results),
            known=sum(result.known is not None for result in self.results),
            stale=sum(result.stale for result in self.results),
            rerun=sum(len(result.attempts) > 1 for result in self.results),
            unrepeated=sum(result.unrepeated for result in self.results),
            planned=len(self.planned),
            duration_s=self.duration_s,
            complete=self.complete,
            strict=self.strict,
        )


def count_verdicts(results: Sequence[Result]) -> dict[str, int]:
    """The number of results for each verdict, zeros included, the worst first."""
    counts = Counter(result.verdict for result in results)
    return {str(verdict): counts[verdict] for verdict in Verdict}


def _count_by_reach(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    parts = {reach: [result for result in results if result.reach is reach] for reach in Reach}
    return {
        str(reach): {verdict: count for verdict, count in count_verdicts(part).items() if count}
        for reach, part in parts.items()
        if part
    }
