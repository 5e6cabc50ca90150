"""Who may ask: pages of this server, in a browser that reached it by a name that is its own.

A page of another site can make a browser send requests to this machine, and by DNS rebinding it can
give this machine a name of its own; neither knows the token, nor has our Host and Origin.
"""

import hmac
import ipaddress
from collections.abc import Mapping

TOKEN = "x-playground-token"
"""Header."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Of every answer."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine as it calls itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(
    method: str, path: str, headers: Mapping[str, str], *, hosts: frozenset[str], token: str | None
) -> tuple[int, str] | None:
    """Why a request is refused, with the HTTP status; None: it is not.

    Args:
        headers: by their names in lower case.
        hosts: that Host may name; empty: any, which takes a token.
        token: that requests for measurements have to bring.
    """
    host = headers.get("host", "")
    if hosts and host not in hosts:
        return 421, f"Host {host[:80]!r} is not this server's; open {sorted(hosts)[0]}"
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return 403, f"Origin {origin[:80]!r} is another page's; this server answers its own alone"
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and (
        method == "POST"
    ):
        return 403, "the request comes from another site; this server answers its own page alone"
    if not path.startswith("/api/"):
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method == "POST" and kind != "application/json":
        return 415, f"Content-Type is {kind[:80]!r}, expected application/json"
    if token is not None and not hmac.compare_digest(
        headers.get(TOKEN, "").encode(), token.encode()
    ):
        return 401, "the token is wrong or missing; open the address that the program printed"
    return None
