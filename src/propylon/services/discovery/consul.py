"""Endpoints from Consul: the healthy instances of a service, updated at once.

    discover:
      consul: users                                     # short for {service: users}

    discover:
      consul:
        service: users
        tags: [v2]                                      # all of them are required
        address: https://consul.internal:8501
        token: ${CONSUL_TOKEN}
        tls: {ca: consul-ca.pem}

Consul holds each request until its result changes (a blocking query), so a change arrives within milliseconds without
polling. An empty result (no healthy instance) is applied. On a failure (no leader, a refused token or one without the
required rights, no connection) the last endpoints are kept. Requires the extra `discovery`:
`pip install 'propylon[discovery]'`.

Source: Consul's documentation, "Health HTTP API", "Blocking Queries".
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from propylon.address import AddressError, EndpointAddress
from propylon.config.types import Bool, Duration, Listed, ServiceUrl, Text, short_form
from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext
from propylon.services.discovery._http import ApiResponse, Session, TlsConfig, open_session, require_aiohttp
from propylon.services.endpoint_list import MAX_WEIGHT

DEFAULT_ADDRESS: Final = "http://127.0.0.1:8500"
MARGIN_S: Final = 10.0
"""Seconds for a response in addition to the time that Consul may hold it."""
MIN_INTERVAL_S: Final = 1.0
"""Seconds between two requests when the first had no change; Consul's documentation requires a limit."""
_MAX_WAIT_S: Final = 600.0
_INDEX: Final = "X-Consul-Index"
_FILTERED: Final = "X-Consul-Results-Filtered-By-ACLs"


def _token(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("should be a token: printable ASCII characters without spaces")
    return value


_Token = Annotated[str, PlainValidator(_token), WithJsonSchema({"type": "string"})]


class Config(BaseModel):
    """Which service, and how to query Consul."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=short_form("string"))

    service: Text = Field(description="Name of the service in Consul.")
    tags: Listed[Text] = Field(default=(), description="Tags that an instance must have (all of them).")
    passing_only: Bool = Field(
        default=True,
        description="Use only instances with all checks passing; false also uses those in warning or critical state.",
    )
    address: ServiceUrl | None = Field(
        default=None, description=f"URL of Consul; by default that of CONSUL_HTTP_ADDR, or {DEFAULT_ADDRESS}."
    )
    token: _Token | None = Field(
        default=None, repr=False, description="ACL token; by default that of CONSUL_HTTP_TOKEN."
    )
    datacenter: Text | None = Field(default=None, description="Data centre; by default that of the agent.")
    namespace: Text | None = Field(default=None, description="Namespace of the service (Consul Enterprise).")
    scheme: Literal["http", "https"] = Field(default="http", description="Scheme of the endpoints.")
    zone_meta: Text | None = Field(
        default=None, description="Metadata key of the zone, in the instance or else in its node."
    )
    wait: Annotated[Duration, Field(ge=1, le=_MAX_WAIT_S)] = Field(
        default=60.0, description="Maximum time of a blocking query."
    )
    tls: TlsConfig = Field(default_factory=TlsConfig, description="TLS with Consul.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return data if isinstance(data, Mapping) else {"service": data}


class Provider:
    """Discovery by blocking queries to Consul."""

    def __init__(self, config: Config, context: ProviderContext) -> None:
        require_aiohttp()
        self._config = config
        self._path = f"/v1/health/service/{quote(config.service, safe='')}"
        self._params = [("tag", tag) for tag in config.tags]
        optional = (
            ("dc", config.datacenter),
            ("ns", config.namespace),
            ("passing", "1" if config.passing_only else None),
        )
        self._params += [(key, value) for key, value in optional if value is not None]

    async def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """Yield the instances, initially and after each change."""
        async with self._session() as session:
            index, last = 0, None
            while True:
                sent_at = time.monotonic()
                response = await self._query(session, index)
                found = self._parse(response.data)
                if found != last:
                    yield found
                    last = found
                else:
                    await asyncio.sleep(self._pause(sent_at))
                index = next_index(index, response.headers.get(_INDEX))

    def _session(self) -> Session:
        token = self._config.token or os.environ.get("CONSUL_HTTP_TOKEN")
        headers = {"x-consul-token": token} if token else {}
        address = _address(self._config.address)
        if address.unix_path is not None:
            return open_session("http://localhost", headers=headers, unix_path=address.unix_path)
        return open_session(str(address), tls=self._config.tls, headers=headers)

    async def _query(self, session: Session, index: int) -> ApiResponse:
        wait = self._config.wait
        params, timeout = self._params, MARGIN_S
        if index:
            # Consul adds a random time of up to a sixteenth, so that waiting clients do not return at once.
            params, timeout = [*params, ("index", str(index)), ("wait", f"{wait:g}s")], wait + wait / 16 + MARGIN_S
        response = await session.get_json(self._path, params=params, timeout=timeout)
        if response.headers.get(_FILTERED, "").lower() == "true":
            # The result omits what the token may not read, and may look like that of a service without instances.
            raise DiscoveryError(f"{session.server}: the token may not read all of the service and its nodes")
        return response

    def _parse(self, data: object) -> list[EndpointSpec]:
        if not isinstance(data, list):
            raise DiscoveryError(f"Consul's answer about {self._config.service} is no list")
        try:
            instances = [self._instance(entry) for entry in data]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DiscoveryError(
                f"Consul's answer about {self._config.service} is none: {type(error).__name__}: {error}"
            ) from None
        return sorted(_scaled(instances), key=lambda found: found.url)

    def _instance(self, entry: dict[str, Any]) -> EndpointSpec:
        node, service = entry["Node"], entry["Service"]
        host = str(service.get("Address") or node["Address"])
        if ":" in host:
            host = f"[{host}]"
        weights = service.get("Weights") or {}
        warns = any(check.get("Status") == "warning" for check in entry.get("Checks") or ())
        weight = int(weights.get("Warning" if warns else "Passing", 1))
        zone = None
        if self._config.zone_meta is not None:
            metas = ((part.get("Meta") or {}) for part in (service, node))
            zone = next((meta[self._config.zone_meta] for meta in metas if meta.get(self._config.zone_meta)), None)
        return EndpointSpec(f"{self._config.scheme}://{host}:{int(service['Port'])}", weight, zone=zone)

    def _pause(self, sent_at: float) -> float:
        """Return seconds until the next request, 0.5 to 1.5 after the last one; 0 if Consul held that one longer."""
        held = time.monotonic() - sent_at
        return max(0.0, MIN_INTERVAL_S * (0.5 + random.random()) - held)  # noqa: S311 - not used as a secret


def next_index(last: int, header: str | None) -> int:
    """Return the index of the next query, by the rules of Consul's documentation on blocking queries.

    An index that goes backwards means that Consul's state was restored: the query restarts with index 0. One that is
    not positive is a defect of some versions, and would not block: it is replaced by 1.
    """
    try:
        index = max(1, int(header or ""))
    except ValueError:
        index = 1
    return index if index >= last else 0


def _address(configured: str | None) -> EndpointAddress:
    """Return the address of Consul: configured, of the environment in the forms of Consul's tools, or the default."""
    text = configured or os.environ.get("CONSUL_HTTP_ADDR") or DEFAULT_ADDRESS
    if text.startswith("unix://"):
        text = f"unix:{text.removeprefix('unix://')}"
    elif "://" not in text and not text.startswith("unix:"):
        text = f"http://{text}"
    try:
        return EndpointAddress.parse(text)
    except AddressError as error:
        raise DiscoveryError(f"CONSUL_HTTP_ADDR: {error}") from None


def _scaled(instances: list[EndpointSpec]) -> list[EndpointSpec]:
    """Scale weights, up to 65535 in Consul, to our range; a weight above 0 stays above 0."""
    heaviest = max((found.weight for found in instances), default=0)
    if heaviest <= MAX_WEIGHT:
        return instances
    return [
        EndpointSpec(found.url, max(1, found.weight * MAX_WEIGHT // heaviest) if found.weight else 0, zone=found.zone)
        for found in instances
    ]
