"""Receipts: a random text at the end of an answer, which the journal has too. An answer with it comes from the mock, and from this call."""

import os

from mock_servers.answers import Json
from mock_servers.journal import Journal

#: what every receipt matches
PATTERN = "receipt-[0-9a-f]{32}"


def with_receipt(result: Json, message: Json, journal: Journal) -> Json:
    """The result of the call in `message` with a receipt, if the call succeeded. Journals the receipt before the answer leaves."""
    if message["method"] != "tools/call" or result["isError"]:
        return result
    receipt = f"receipt-{os.urandom(16).hex()}"
    journal.write("receipt", request=message["id"], receipt=receipt)
    return {**result, "content": [*result["content"], {"type": "text", "text": receipt}]}
