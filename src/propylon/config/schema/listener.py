"""`listen`: the addresses where clients connect."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from propylon.config.addresses import Address
from propylon.config.schema.base import Finding, Model
from propylon.config.types import ExistingFile, Int, ListenAddress, TrustedPeer


class ProxyProtocolConfig(Model):
    """Which peers send a PROXY protocol header before the first request."""

    from_: tuple[TrustedPeer, ...] = Field(
        alias="from", min_length=1, description="Networks of the load balancers that send the PROXY protocol header."
    )


class ListenerTlsConfig(Model):
    """The certificate that clients see."""

    certificate: ExistingFile = Field(description="PEM file of the certificate and its chain.")
    key: ExistingFile | None = Field(
        default=None, description="PEM file of its private key, if the certificate's file does not have it."
    )


class ListenerConfig(Model):
    """One address where clients connect."""

    address: ListenAddress = Field(
        description="HOST:PORT, :PORT for all interfaces, [IPv6]:PORT, or unix:/path for a Unix socket."
    )
    proxy_protocol: ProxyProtocolConfig | None = Field(
        default=None, description="Take the client's address from the PROXY protocol header that these peers send."
    )
    tls: ListenerTlsConfig | None = Field(default=None, description="Speak TLS: clients use https.")
    backlog: Annotated[Int, Field(ge=1, le=65535)] = Field(
        default=1024, description="How many connections the system may hold until they are accepted."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """The PROXY header would have to be read before the handshake, which is not done yet."""
        if data.get("tls") is not None and data.get("proxy_protocol") is not None:
            yield Finding(("tls",), "'tls' and 'proxy_protocol' exclude each other on one listener", "remove one")


def _listener(value: Any) -> Any:
    """Accept an address alone."""
    if isinstance(value, str | Address):
        return {"address": value}
    if isinstance(value, Mapping | ListenerConfig):
        return value
    raise ValueError("should be an address, or {address, tls, proxy_protocol, backlog}")


def _list_of_listeners(value: Any) -> Any:
    """Accept one listener instead of a list."""
    return value if isinstance(value, list | tuple) and not isinstance(value, Address) else [value]


_Listener = Annotated[ListenerConfig, BeforeValidator(_listener, json_schema_input_type=str | ListenerConfig)]

Listeners = Annotated[
    tuple[_Listener, ...],
    Field(min_length=1),
    BeforeValidator(
        _list_of_listeners,
        json_schema_input_type=str | ListenerConfig | Annotated[list[_Listener], Field(min_length=1)],
    ),
]
"""One listener or a list of them, each an address or a mapping."""
