"""The models of the configuration: one for each part of the file, `GatewayConfig` for all of it.

The description of every field is its documentation: JSON Schema and the reference pages are generated from it.
"""

from propylon.config.schema.base import Finding, Model
from propylon.config.schema.gateway import DEFAULT_LISTEN, GatewayConfig
from propylon.config.schema.listener import (
    CertificateConfig,
    ClientCertificatesConfig,
    ListenerConfig,
    ListenerTlsConfig,
    ProxyProtocolConfig,
)
from propylon.config.schema.policy import Condition, PolicyEntry
from propylon.config.schema.rewriting import QueryEditConfig, RewriteConfig
from propylon.config.schema.route import RouteConfig
from propylon.config.schema.service import EndpointConfig, ServiceConfig, ServiceConnectionsConfig, ServiceTlsConfig
from propylon.config.schema.settings import (
    DnsConfig,
    ErrorsConfig,
    FieldNamesConfig,
    ForwardedConfig,
    LimitsConfig,
    LogConfig,
    PathsConfig,
    TimeoutsConfig,
)

__all__ = [
    "DEFAULT_LISTEN",
    "CertificateConfig",
    "ClientCertificatesConfig",
    "Condition",
    "DnsConfig",
    "EndpointConfig",
    "ErrorsConfig",
    "FieldNamesConfig",
    "Finding",
    "ForwardedConfig",
    "GatewayConfig",
    "LimitsConfig",
    "ListenerConfig",
    "ListenerTlsConfig",
    "LogConfig",
    "Model",
    "PathsConfig",
    "PolicyEntry",
    "ProxyProtocolConfig",
    "QueryEditConfig",
    "RewriteConfig",
    "RouteConfig",
    "ServiceConfig",
    "ServiceConnectionsConfig",
    "ServiceTlsConfig",
    "TimeoutsConfig",
]
