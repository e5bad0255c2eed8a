"""What a check gets: a sandbox, the process under test, a raw client, scripted upstreams, a census."""

from conformance.workbench.bench import Outcome, Workbench, open_workbench
from conformance.workbench.census import Census, Person
from conformance.workbench.client import CallResult, Proxy
from conformance.workbench.conversation import Heard, Transcript, answering
from conformance.workbench.inbox import Answer
from conformance.workbench.mocks import Start, StdioUpstream, UpstreamRequest
from conformance.workbench.sandbox import Sandbox

__all__ = [
    "Answer",
    "CallResult",
    "Census",
    "Heard",
    "Outcome",
    "Person",
    "Proxy",
    "Sandbox",
    "Start",
    "StdioUpstream",
    "Transcript",
    "UpstreamRequest",
    "Workbench",
    "answering",
    "open_workbench",
]
