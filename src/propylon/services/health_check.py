"""One health check of one address: send a request, and evaluate the response.

Rules of the file: a check returns a reason or `None`, and raises nothing but its own cancellation. It opens a new
connection, as an endpoint that accepts no connections is unhealthy even if existing ones work; and it does not count in
the statistics of requests. TLS and Host are as for requests. At most `MAX_BODY_BYTES` of a response are read.
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
    from propylon.outbound.tls import EndpointTls
    from propylon.services.settings import HealthCheck

MAX_BODY_BYTES: Final = 64 * 1024
USER_AGENT: Final = "propylon-health"
HAVE_A_BODY: Final = frozenset(("POST", "PUT", "PATCH"))
"""Methods whose requests state that their body is empty (RFC 9110 8.6)."""

_KEEP_NOTHING: Final = PoolLimits(idle=0)


@dataclass(frozen=True, slots=True)
class CheckedAddress:
    """Address and settings of a check: equal ones share one check.

    Attributes:
        url: the address, in canonical form.
        check: the settings.
        tls: TLS with the address.
        server_name: the name to verify in TLS, if not the endpoint's own.
        host: the service's `host:` rule.
    """

    url: str
    check: HealthCheck
    tls: EndpointTls | None
    server_name: str | None
    host: bytes | None

    @property
    def address(self) -> EndpointAddress:
        """The address that is checked."""
        address, port = EndpointAddress.parse(self.url), self.check.port
        if port is None or address.unix_path is not None:
            return address
        host = f"[{address.host}]" if ":" in address.host else address.host
        return EndpointAddress.parse(f"{address.scheme}://{host}:{port}{address.base_path.decode('ascii')}")


class Checker:
    """Performs the checks of one address.

    Attributes:
        what: description of the check, for the log.
    """

    __slots__ = ("_check", "_endpoint", "_opener", "what")

    def __init__(self, checked: CheckedAddress, opener: Opener) -> None:
        """`opener` opens connections to `checked.address`."""
        address = checked.address
        self._check = check = checked.check
        self._opener = opener
        # A pool and vitals of its own: a check does not count as a request.
        pool, vitals = Pool(_KEEP_NOTHING, opener), Vitals(checked.url)
        self._endpoint = Endpoint(checked.url, address, pool, vitals, host=checked.host)
        place = str(address) if check.port is not None else address.base_path.decode("ascii")
        self.what = "a connection" if check.path is None else f"{check.method} {place}{check.path}"
        if check.path is None and check.port is not None:
            self.what += f" to port {check.port}"

    async def run(self) -> str | None:
        """Check once; return why the address is unhealthy, or `None`."""
        check, started = self._check, monotonic()
        try:
            connection = await self._opener(self._endpoint.pool, check.timeout)
        except ConnectError as error:
            return f"{self.what}: {error.detail.removeprefix(f'{self._endpoint.address}: ')}"
        if check.path is None:
            connection.close()
            return None
        request = self._request(check.path)
        left = started + check.timeout - monotonic()
        limit = MAX_BODY_BYTES if check.body else 0
        try:
            response = await request.ask_on(connection, self._endpoint, timeout=left, limit=limit)
        except GatewayError as error:
            if error.code == "attempt.total_timeout":
                return f"{self.what}: no answer within {check.timeout:g} s"
            return f"{self.what}: {error}"
        return self._evaluate(response)

    def _request(self, target: str) -> Subrequest:
        path, mark, query = target.encode("ascii").partition(b"?")
        request = Subrequest(self._check.method.encode("ascii"), path, query if mark else None)
        request.headers.set("user-agent", USER_AGENT)
        for name, value in self._check.headers:
            request.headers.set(name, value)
        if self._check.method in HAVE_A_BODY:
            request.exchange.body = b""
        request.exchange.set_timeouts(response=None, idle=None)  # `timeout` covers the whole check
        return request

    def _evaluate(self, response: SubrequestResponse) -> str | None:
        if response.status not in self._check.statuses:
            return f"{self.what} answered {response.status}"
        if self._check.body and self._check.body not in response.body:
            return f"{self.what} answered {response.status} without {self._check.body.decode()!r}"
        return None
