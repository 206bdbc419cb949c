"""`listen`: the addresses where clients connect."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from propylon.address import ListenAddress
from propylon.config.schema.base import Finding, Model
from propylon.config.schema.matching import Path
from propylon.config.types import Bool, ExistingFile, Int, Listed, ListedSome, Listen, Text, TrustedPeer


class ProxyProtocolConfig(Model):
    """Which peers send a PROXY protocol header before the first request."""

    from_: ListedSome[TrustedPeer] = Field(
        alias="from", description="Networks of the load balancers that send the PROXY protocol header."
    )


class CertificateConfig(Model):
    """A certificate and its private key."""

    certificate: ExistingFile = Field(description="PEM file of the certificate and its chain.")
    key: ExistingFile | None = Field(
        default=None, description="PEM file of its private key, if the certificate's file does not have it."
    )


class ClientCertificatesConfig(Model):
    """Client certificates, for all server names."""

    ca: ExistingFile = Field(description="PEM file of the authorities for client certificates.")
    mode: Literal["required", "optional"] = Field(
        default="required", description="Whether connections without a certificate are refused."
    )
    headers: Bool = Field(
        default=False,
        description="Send the certificate's fields to services, as X-Client-Cert-Subject, -San and others.",
    )


def _version(value: Any) -> Any:
    """Accept 1.2 and 1.3 as the floats that YAML reads."""
    return str(value) if isinstance(value, float) else value


class ListenerTlsConfig(Model):
    """TLS of one listener: its certificates and its requirements of clients."""

    certificate: ExistingFile | None = Field(
        default=None, description="PEM file of the certificate and its chain: short for 'certificates' with one."
    )
    key: ExistingFile | None = Field(
        default=None, description="PEM file of its private key, if the certificate's file does not have it."
    )
    certificates: tuple[CertificateConfig, ...] = Field(
        default=(), description="Certificates, chosen by server name (SNI); the first is the default."
    )
    strict_sni: Bool = Field(
        default=False, description="Refuse clients without a server name, or with one that no certificate has."
    )
    min_version: Annotated[
        Literal["1.2", "1.3"], BeforeValidator(_version), WithJsonSchema({"enum": ["1.2", "1.3", 1.2, 1.3]})
    ] = Field(default="1.2", description="The minimum version of TLS.")
    client_certificates: ClientCertificatesConfig | None = Field(
        default=None, description="Request certificates of clients."
    )

    @property
    def pairs(self) -> list[tuple[FilePath, FilePath | None]]:
        """Every certificate with its key, the default first."""
        if self.certificate is not None:
            return [(self.certificate, self.key)]
        return [(each.certificate, each.key) for each in self.certificates]

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """At least one certificate is required, in one of the two forms."""
        short = data.get("certificate") is not None
        if short and data.get("certificates"):
            yield Finding(("certificates",), "'certificate' and 'certificates' exclude each other", "list all of them")
        elif not short and not data.get("certificates"):
            hint = "add certificate: and key:, or certificates: [{certificate: FILE, key: FILE}]"
            yield Finding((), "TLS needs a certificate", hint, needs=("certificate", "certificates"))
        elif not short and data.get("key") is not None:
            yield Finding(
                ("key",),
                "'key' belongs to 'certificate'",
                "put it beside its certificate in the list",
                needs=("certificate",),
            )


ACME_PATHS: Final = ("/.well-known/acme-challenge/*",)
"""Paths by which an authority asks over http, before there is a certificate (RFC 8555 8.3)."""


class RedirectHttpsConfig(Model):
    """A redirect of all requests to https, except for listed paths."""

    port: Annotated[Int, Field(ge=1, le=65535)] = Field(default=443, description="The port of the https listener.")
    except_: Listed[Path] = Field(
        alias="except", default=ACME_PATHS, description="Paths that are not redirected: they go to their routes."
    )


def _redirect_https(value: Any) -> Any:
    """Accept true, false or a port."""
    if value is None or isinstance(value, bool):
        return {} if value else None
    if isinstance(value, Mapping | RedirectHttpsConfig):
        return value
    if isinstance(value, int) and 1 <= value <= 65535:
        return {"port": value}
    raise ValueError("should be true, false, a port from 1 to 65535, or {port, except}")


RedirectHttps = Annotated[
    RedirectHttpsConfig | None,
    BeforeValidator(_redirect_https, json_schema_input_type=bool | int | RedirectHttpsConfig),
]
"""The redirect to https; `None` for none."""


def _mode(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    raise ValueError('should be three octal digits in quotes, as "0660": without them YAML reads another number')


SocketMode = Annotated[
    int,
    PlainValidator(_mode),
    PlainSerializer(lambda mode: f"{mode:04o}"),
    WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$"}),
]
"""The permissions of a file, written in octal."""


class ListenerConfig(Model):
    """One address where clients connect."""

    address: Listen = Field(
        description="HOST:PORT, :PORT for all interfaces, [IPv6]:PORT, or unix:/path for a Unix socket."
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")] | None = Field(
        default=None, description="Name by which routes and conditions refer to it ('listeners'); unique."
    )
    proxy_protocol: ProxyProtocolConfig | None = Field(
        default=None, description="Take the client's address from the PROXY protocol header that these peers send."
    )
    tls: ListenerTlsConfig | None = Field(default=None, description="TLS: clients use https.")
    backlog: Annotated[Int, Field(ge=1, le=65535)] = Field(
        default=1024, description="Length of the system's queue of connections to accept."
    )

    mode: SocketMode | None = Field(
        default=None, description='Mode of the file of a Unix socket, as "0660", which is the default.'
    )
    owner: Text | Annotated[Int, Field(ge=0)] | None = Field(
        default=None, description="Owner of the file of a Unix socket: a user's name or number."
    )
    group: Text | Annotated[Int, Field(ge=0)] | None = Field(
        default=None, description="Group of the file of a Unix socket: its name or number."
    )
    redirect_https: RedirectHttps = Field(
        default=None,
        description="Redirect all requests to https: true, the port to redirect to, or {port, except: [PATHS]}.",
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any], info: ValidationInfo) -> Iterator[Finding]:
        """A listener with TLS cannot redirect to https; only a Unix socket has a file."""
        address = data.get("address")
        if address is not None and not str(address).startswith("unix:"):
            for key in ("mode", "owner", "group"):
                if data.get(key) is not None:
                    yield Finding((key,), f"{key!r} is for Unix sockets only", "remove it")
        if data.get("tls") is not None and data.get("redirect_https") not in (None, False):
            yield Finding(("redirect_https",), "'tls' and 'redirect_https' exclude each other", "use two listeners")


def _listener(value: Any) -> Any:
    """Accept an address alone."""
    if isinstance(value, str | int | ListenAddress) and not isinstance(value, bool):
        return {"address": value}
    if isinstance(value, Mapping | ListenerConfig):
        return value
    raise ValueError("should be an address, or {address, name, tls, redirect_https, proxy_protocol, backlog}")


def _list_of_listeners(value: Any) -> Any:
    """Accept one listener instead of a list."""
    return value if isinstance(value, list | tuple) else [value]


_Listener = Annotated[ListenerConfig, BeforeValidator(_listener, json_schema_input_type=Listen | ListenerConfig)]

Listeners = Annotated[
    tuple[_Listener, ...],
    Field(min_length=1),
    BeforeValidator(
        _list_of_listeners,
        json_schema_input_type=Listen | ListenerConfig | Annotated[list[_Listener], Field(min_length=1)],
    ),
]
"""One listener or a list of them, each an address or a mapping."""
