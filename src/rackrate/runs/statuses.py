"""What became of a request: answered, or one of the ways in which it can fail."""

from __future__ import annotations

OK = "ok"
"""Status of a request that was answered whole. Any other status names its fault: see FAULTS."""

BROKEN_OFF = "broken-off"
"""The server ended the answer itself before it was whole, and said so."""

FAULTS = {
    "refused": "the connection could not be made",
    "tls": "the TLS handshake failed",
    "reset": "the server closed the connection before the answer was whole",
    "timeout-connect": "no connection in time",
    "timeout-first-token": "no first token in time",
    "timeout-gap": "no further token in time",
    "timeout-total": "the answer took too long",
    "http-429": "rate limited",
    "http-3xx": "redirected; the server is elsewhere",
    "http-4xx": "refused by the server",
    "http-5xx": "failed in the server",
    "malformed": "the answer is not a stream of JSON events",
    "not-streaming": "the answer came in one piece",
    "error-event": "the stream carried an error",
    BROKEN_OFF: "the server broke the answer off",
    "oversize": "the answer is larger than any answer should be",
    "empty": "the answer had no token",
    "unnamed": "failed; the imported file does not say how",
    "stopped": "cut off, since the level or the measurement was ended while it ran",
}
"""Every way in which a request can fail, each counted by itself."""
