"""What a check gets: a sandbox, the process under test, a raw client, scripted upstreams, a census."""

from conformance.workbench.browsers import Browser, Opening
from conformance.workbench.census import Census, Person
from conformance.workbench.client import Proxy
from conformance.workbench.conversation import Heard, Transcript, answering
from conformance.workbench.inbox import Answer, CallResult
from conformance.workbench.mocks import StdioUpstream, Upstream
from conformance.workbench.outcome import Outcome
from conformance.workbench.protected import ProtectedUpstream
from conformance.workbench.remotes import RemoteUpstream
from conformance.workbench.sandbox import Sandbox
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.journal_views import HttpRequest, OAuthRequest, Request, Start

__all__ = [
    "Answer",
    "Browser",
    "CallResult",
    "Census",
    "Heard",
    "HttpRequest",
    "OAuthRequest",
    "Opening",
    "Outcome",
    "Person",
    "ProtectedUpstream",
    "Proxy",
    "RemoteUpstream",
    "Request",
    "Sandbox",
    "Start",
    "StdioUpstream",
    "Transcript",
    "Upstream",
    "Workbench",
    "answering",
    "open_workbench",
]
