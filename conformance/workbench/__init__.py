"""What a check gets: a sandbox, the process under test, a raw client, scripted upstreams, a census."""

from conformance.workbench.bench import Outcome, Workbench, open_workbench
from conformance.workbench.census import Census, Person
from conformance.workbench.client import Answer, CallResult, Proxy
from conformance.workbench.mocks import Start, StdioUpstream, Upstream, UpstreamRequest
from conformance.workbench.remotes import HttpRequest, RemoteUpstream
from conformance.workbench.sandbox import Sandbox

__all__ = [
    "Answer",
    "CallResult",
    "Census",
    "HttpRequest",
    "Outcome",
    "Person",
    "Proxy",
    "RemoteUpstream",
    "Sandbox",
    "Start",
    "StdioUpstream",
    "Upstream",
    "UpstreamRequest",
    "Workbench",
    "open_workbench",
]
