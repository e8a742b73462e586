"""Where requests go, and how long they may take."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from rackrate.errors import EndpointError, WorkloadError


@dataclass(frozen=True)
class Timeouts:
    """In seconds."""

    connect_s: float = 10.0
    first_token_s: float = 120.0
    gap_s: float = 60.0
    total_s: float = 600.0

    def __post_init__(self) -> None:
        for name, value in (
            ("connect_timeout", self.connect_s),
            ("first_token_timeout", self.first_token_s),
            ("gap_timeout", self.gap_s),
            ("timeout", self.total_s),
        ):
            if not value > 0:
                raise WorkloadError(f"{{{name}}} must be above 0 seconds, got {value:g}", field=name)


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    scheme: str
    host: str
    port: int
    path: str
    """What comes before /v1/..., without a trailing slash."""

    @property
    def url(self) -> str:
        """The base URL, without /v1."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{host}{'' if self.port == default else f':{self.port}'}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine's loopback: by its address, since any name may begin with 127."""
        if self.host.lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    def refuse_key_in_clear(self, key: str | None, *, allowed: bool) -> None:
        """Raises EndpointError where a key would go to another machine for every one between to read."""
        if key is not None and self.scheme == "http" and not self.is_loopback and not allowed:
            raise EndpointError(
                f"{self.url} is plain http on another machine, so that the API key would be sent where others can read "
                "it: give an https URL, forward a port of this machine to it by SSH, unset the key's variable, or add "
                "{allow_plain_http}",
                field="allow_plain_http",
            )


def parse_url(url: str) -> Target:
    """A base URL, with or without /v1 or /v1/chat/completions behind it.

    >>> parse_url("http://127.0.0.1:8000/v1/").url
    'http://127.0.0.1:8000'

    Raises:
        EndpointError: not an http(s) URL, or one that carries a password.
    """
    if "@" in url:
        # whatever else is wrong, a secret is never repeated
        raise EndpointError(
            "{url} holds a password; put the key into an environment variable (see {key_env})",
            fields=("url", "key_env"),
        )
    if "?" in url:
        raise EndpointError("{url} has a query; give the base URL only", field="url")
    if "#" in url:
        raise EndpointError(f"{{url}} {url!r} has a query or fragment; give the base URL only", field="url")
    try:
        parts: SplitResult = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise EndpointError(f"{{url}} {url!r} is not a URL ({error})", field="url") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise EndpointError(f"{{url}} {url!r} is not an http or https URL, such as http://127.0.0.1:8000", field="url")
    if port == 0:
        raise EndpointError(f"{{url}} {url!r} names port 0, on which nobody can listen", field="url")
    path = parts.path.rstrip("/")
    for tail in ("/chat/completions", "/completions", "/models"):
        path = path.removesuffix(tail)
    path = path.rstrip("/").removesuffix("/v1")
    return Target(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme], path)
