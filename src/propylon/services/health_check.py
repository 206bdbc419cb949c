"""One health check of one address: ask, and judge the answer.

Rules of the file: a check says a reason or nothing, and raises nothing but its own cancellation. It opens a connection
of its own, as an endpoint that takes no further connections is not well, whatever still goes over those there are; and
it leaves no trace in what is counted of requests. TLS and Host are as for requests. At most `MAX_BODY_BYTES` of an
answer are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from propylon.address import EndpointAddress
from propylon.engine.errors import GatewayError
from propylon.engine.subrequest import Subrequest
from propylon.outbound.connect import ConnectError
from propylon.outbound.pool import Pool, PoolLimits
from propylon.services.endpoint import Endpoint
from propylon.services.vitals import Vitals

if TYPE_CHECKING:
    from propylon.engine.subrequest import SubrequestResponse
    from propylon.outbound.pool import Opener
    from propylon.services.settings import HealthCheck

MAX_BODY_BYTES: Final = 64 * 1024
USER_AGENT: Final = "propylon-health"
HAVE_A_BODY: Final = frozenset(("POST", "PUT", "PATCH"))
"""Methods whose requests say that their body is empty (RFC 9110 8.6)."""

_KEEP_NOTHING: Final = PoolLimits(idle=0)


@dataclass(frozen=True, slots=True)
class CheckedAddress:
    """What is checked, and how: equal ones are the same check, whoever wants it.

    Attributes:
        url: the address, in its canonical spelling.
        check: the settings.
        tls_digest: of the TLS settings.
        server_name: the name to check in TLS, if it is not the endpoint's own.
        host: the service's `host:` rule.
    """

    url: str
    check: HealthCheck
    tls_digest: str
    server_name: str | None
    host: bytes | None

    @property
    def address(self) -> EndpointAddress:
        """Where the check goes."""
        address, port = EndpointAddress.parse(self.url), self.check.port
        if port is None or address.unix_path is not None:
            return address
        host = f"[{address.host}]" if ":" in address.host else address.host
        return EndpointAddress.parse(f"{address.scheme}://{host}:{port}{address.base_path.decode('ascii')}")


class Checker:
    """Carries out the checks of one address.

    Attributes:
        what: what is done, for the log.
    """

    __slots__ = ("_check", "_endpoint", "_opener", "what")

    def __init__(self, checked: CheckedAddress, opener: Opener) -> None:
        """`opener` makes connections to `checked.address`."""
        address = checked.address
        self._check = check = checked.check
        self._opener = opener
        # Of its own in all: a check is no request, and what it learns is not learned from requests.
        pool, vitals = Pool(_KEEP_NOTHING, opener), Vitals(checked.url)
        self._endpoint = Endpoint(checked.url, address, pool, vitals, host=checked.host)
        place = str(address) if check.port is not None else address.base_path.decode("ascii")
        self.what = "a connection" if check.path is None else f"{check.method} {place}{check.path}"
        if check.path is None and check.port is not None:
            self.what += f" to port {check.port}"

    async def run(self) -> str | None:
        """Check once; return why the address is not well, or `None`."""
        check, began = self._check, monotonic()
        try:
            connection = await self._opener(self._endpoint.pool, check.timeout)
        except ConnectError as error:
            return f"{self.what}: {error.detail.removeprefix(f'{self._endpoint.address}: ')}"
        if check.path is None:
            connection.close()
            return None
        own = self._request(check.path)
        left = began + check.timeout - monotonic()
        limit = MAX_BODY_BYTES if check.body else 0
        try:
            answer = await own.ask_on(connection, self._endpoint, timeout=left, limit=limit)
        except GatewayError as error:
            if error.code == "attempt.total_timeout":
                return f"{self.what}: no answer within {check.timeout:g} s"
            return f"{self.what}: {error}"
        return self._judge(answer)

    def _request(self, target: str) -> Subrequest:
        path, mark, query = target.encode("ascii").partition(b"?")
        own = Subrequest(self._check.method.encode("ascii"), path, query if mark else None)
        own.headers.set("user-agent", USER_AGENT)
        for name, value in self._check.headers:
            own.headers.set(name, value)
        if self._check.method in HAVE_A_BODY:
            own.exchange.body = b""
        own.exchange.set_timeouts(response=None, idle=None)  # `timeout` covers everything, however long it is
        return own

    def _judge(self, answer: SubrequestResponse) -> str | None:
        if answer.status not in self._check.statuses:
            return f"{self.what} answered {answer.status}"
        if self._check.body and self._check.body not in answer.body:
            return f"{self.what} answered {answer.status} without {self._check.body.decode()!r}"
        return None
