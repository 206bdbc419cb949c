"""Header fields by which a proxy tells a service about the client: THE table of what is taken from whom.

Rules of the file:

- A field of `CLAIMS` is taken from trusted proxies only; from anyone else it is removed, since services and frameworks
  believe it. The configuration can add to them.
- A field of `RESTATED` is removed from every request, since the gateway writes it anew.
- A field of `NEVER_TAKEN` is removed from every request: it makes a service handle another request than the one that
  the gateway has checked. Proxies pass it on from clients unchanged, so their word does not help.
- Names are compared with `_` and `.` as `-`, as CGI, WSGI and PHP do. A final `*` stands for any rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDED: Final = bytes.maketrans(b"_.", b"--")
"""Translates a lower-case name to the one that CGI-like services take it for."""

RESTATED: Final = (
    "forwarded", "via", "x-client-cert-fingerprint", "x-client-cert-san", "x-client-cert-serial",
    "x-client-cert-subject", "x-client-cert-verify", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
    "x-forwarded-prefix", "x-forwarded-proto",
)  # fmt: skip

NEVER_TAKEN: Final = (
    # Other methods, paths and hosts.
    "x-host-override", "x-http-host-override", "x-http-method", "x-http-method-override", "x-method-override",
    "x-original-method", "x-original-uri", "x-original-url", "x-rewrite-url",
    # CGI turns it into HTTP_PROXY, which HTTP clients inside the service use (httpoxy).
    "proxy",
    # Next.js skips its own checks of a request that has it (CVE-2025-29927).
    "x-middleware-subrequest",
)  # fmt: skip

ADDRESS: Final = (
    "ali-cdn-real-ip", "cdn-src-ip", "cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "client-ip",
    "cloudfront-viewer-address", "do-connecting-ip", "fastly-client-ip", "fly-client-ip", "forwarded-for",
    "forwarded-for-ip", "http-client-ip", "http-x-forwarded-for", "incap-client-ip", "proxy-client-ip",
    "remote-addr", "remote-host", "true-client-ip", "wl-proxy-client-ip", "x-appengine-remote-addr",
    "x-appengine-user-ip", "x-azure-clientip", "x-azure-socketip", "x-cdn-src-ip", "x-client-ip", "x-client-port",
    "x-cluster-client-ip", "x-coming-from", "x-envoy-external-address", "x-envoy-internal", "x-forwarded",
    "x-nf-client-connection-ip", "x-original-for", "x-original-forwarded-for", "x-original-remote-addr",
    "x-originating-ip", "x-proxyuser-ip", "x-real-ip", "x-real-port", "x-remote-addr", "x-remote-ip",
    "x-remote-port", "x-sucuri-clientip", "x-true-client-ip", "x-true-ip", "x-vercel-forwarded-for",
)  # fmt: skip
"""Other names for the client's address."""

SCHEME: Final = (
    "cf-visitor", "cloudfront-forwarded-proto", "fastly-ssl", "fly-forwarded-port", "fly-forwarded-proto",
    "fly-forwarded-ssl", "front-end-https", "wl-proxy-ssl", "x-appengine-https", "x-arr-ssl", "x-https",
    "x-original-proto", "x-original-scheme", "x-scheme", "x-url-scheme",
)  # fmt: skip
"""Other names for the scheme: a forged one gives wrong links, or cookies without Secure."""

HOST: Final = ("x-host", "x-original-host", "x-real-host")
"""Other names for the host: a forged one poisons links and caches."""

PREFIX: Final = ("script-name", "x-envoy-original-path", "x-script-name")
"""The part of the path that a proxy has stripped: a forged one poisons links."""

USER: Final = (
    "cf-access-authenticated-user-email", "remote-email", "remote-groups", "remote-name", "remote-user",
    "tailscale-user-*", "x-amzn-oidc-*", "x-anonymous-consumer", "x-appengine-user-*", "x-auth-request-*",
    "x-authenticated-groups", "x-authenticated-scope", "x-authenticated-user", "x-authenticated-userid",
    "x-authentik-*", "x-consumer-*", "x-credential-identifier", "x-goog-authenticated-user-*",
    "x-goog-iap-jwt-assertion", "x-ms-client-principal", "x-ms-client-principal-*", "x-ms-token-*",
    "x-pomerium-claim-*", "x-pomerium-jwt-assertion", "x-proxy-user", "x-remote-extra-*", "x-remote-group",
    "x-remote-groups", "x-remote-user", "x-token-subject", "x-user-info", "x-userinfo", "x-vouch-*",
    "x-webauth-*",
)  # fmt: skip
"""Who the user is, in the words of proxies that authenticate."""

CERTIFICATE: Final = (
    "client-cert", "client-cert-chain", "ssl-client-*", "wl-proxy-client-*", "x-amzn-mtls-*", "x-arr-clientcert",
    "x-client-cert", "x-client-cert-*", "x-client-verify", "x-ssl-cert", "x-ssl-client-*",
)  # fmt: skip
"""Which certificate the client has shown: RFC 9440, and the fields of other proxies."""

CLAIMS: Final = (*ADDRESS, *SCHEME, *HOST, *PREFIX, *USER, *CERTIFICATE, "x-forwarded-*")

ANYONE: Final = 0
TRUSTED: Final = 1
NOBODY: Final = 2


class Names:
    """A set of field names, of which some may end in `*`."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, names: Iterable[str]) -> None:
        folded = [name.lower().encode("ascii").translate(FOLDED) for name in names]
        self._exact = frozenset(name for name in folded if not name.endswith(b"*"))
        self._prefixes = tuple(name[:-1] for name in folded if name.endswith(b"*"))

    def __contains__(self, name: bytes) -> bool:
        return name in self._exact or name.startswith(self._prefixes)


_REMOVED: Final = Names((*RESTATED, *NEVER_TAKEN))
_CLAIMS: Final = Names(CLAIMS)
_MATCHERS: Final = (
    (Names(("x-forwarded-for", *ADDRESS)), "clients"),
    (Names(("x-forwarded-proto", "x-forwarded-protocol", "x-forwarded-scheme", "x-forwarded-ssl", *SCHEME)), "scheme"),
    (Names(("x-forwarded-host", "x-forwarded-server", *HOST)), "host"),
)
NO_NAMES: Final = Names(())


def taken_from(name: bytes, further: Names = NO_NAMES) -> int:
    """Return from whom a field is taken: ANYONE, only TRUSTED proxies, or NOBODY.

    Args:
        name: in lower case.
        further: names of the configuration, besides `CLAIMS`.
    """
    folded = name.translate(FOLDED)
    if folded in _REMOVED:
        return NOBODY
    return TRUSTED if folded in _CLAIMS or folded in further else ANYONE


def verified_as(name: bytes) -> str | None:
    """Return the matcher (clients, scheme or host) for what a field claims; `None` if there is none."""
    folded = name.translate(FOLDED)
    return next((matcher for names, matcher in _MATCHERS if folded in names), None)
