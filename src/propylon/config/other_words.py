"""Words of other gateways, with what to write instead: keys of a file, and names of policies and algorithms.

Rules of the file: a hint says what to write here, in the words of the configuration; what is not there yet is said to
be so. An entry has the hint, the keys of the same mapping that stand for the words, and the words, which are compared
without case, `-` and `_`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Way(NamedTuple):
    """What to write instead of a word.

    Attributes:
        hint: the way out.
        keys: the keys that stand for it, if it is about one of the same mapping.
    """

    hint: str
    keys: tuple[str, ...] = ()


# What may stand in several places: as a key of the file, of a route or of a service, and as the name of a policy.
_ANYWHERE: Final = (
    (
        "authentication is not there yet: write it in Python, as 'policies: [{python: module:function}]'",
        "",
        "auth authentication authorization jwt oauth2 oidc basicauth basic_auth digestauth forwardauth forward_auth "
        "auth_request auth_basic keyauth key_auth apikey acl auth/validator jwt_auth jwt_authn openid_connect "
        "ldap_auth",
    ),
    (
        "CORS is not there yet: write it in Python, as 'policies: [{python: module:function}]'",
        "",
        "cors access_control security/cors",
    ),
    (
        "limiting the rate is not there yet: write it in Python, as 'policies: [{python: module:function}]'; "
        "'concurrency' of a service bounds requests under way",
        "",
        "rate_limit ratelimit rate_limiting ratelimiting limit_req limit_req_zone limit_count throttle "
        "qos/ratelimit/router rate_limiting_advanced local_ratelimit ratelimits",
    ),
    ("write 'concurrency' of a service", "concurrency", "limit_conn inflightreq"),
    (
        "a cache is not there yet: write it in Python, as 'policies: [{python: module:function}]'",
        "",
        "cache proxy_cache caching cache_ttl expires",
    ),
    (
        "compression is not there yet: write it in Python, as 'policies: [{python: module:function}]'",
        "",
        "compress compression gzip encode brotli",
    ),
    (
        "is not there yet: 'on_done' of a Python policy sees every exchange",
        "",
        "prometheus metrics tracing opentelemetry access_log accesslog telemetry statsd zipkin",
    ),
    (
        "write the policy 'headers': {request: {set: {NAME: VALUE}}}, or 'response'",
        "",
        "header add_header set_header proxy_set_header more_set_headers request_headers response_headers header_up "
        "header_down customrequestheaders customresponseheaders request_headers_to_add response_headers_to_add "
        "request_header requesttransformer request_transformer response_transformer security_headers helmet",
    ),
    (
        "write 'rewrite: /v2/{id}', or 'rewrite: {regex: PATTERN, to: TEXT}'",
        "rewrite",
        "proxy_rewrite stripprefixregex replacepath replacepathregex rewrite_path prefix_rewrite path_rewrite "
        "regex_rewrite rewrite_target uri_replace",
    ),
    (
        "write the policy 'timeout': policies: [{timeout: {response: 5s}}]",
        "",
        "timeout timeouts connect_timeout read_timeout write_timeout proxy_read_timeout proxy_connect_timeout "
        "proxy_send_timeout request_timeout response_timeout",
    ),
    (
        "write 'retry' of a service or a route: retry: {attempts: 3}",
        "retry",
        "retry retries retry_policy proxy_next_upstream num_retries",
    ),
    (
        "write 'breaker' of a service: breaker: {consecutive: 5}",
        "breaker",
        "circuitbreaker circuit_breaker circuit_breakers qos/circuit_breaker",
    ),
    ("it is on: 'health: {passive: ...}' changes it", "health", "outlier_detection"),
    (
        "write 'health' of a service: health: {path: /healthz, interval: 5s}",
        "health",
        "healthcheck health_check healthchecks health_checks health_uri checks active",
    ),
    (
        "write 'clients' in the route: clients: [10.0.0.0/8]",
        "clients",
        "whitelist ipwhitelist ipallowlist ip_restriction allow deny remote_ip allowed_ips",
    ),
    (
        "write the policy 'body_limit': policies: [{body_limit: 10MB}]",
        "",
        "client_max_body_size max_body_size request_body buffering request_size_limiting proxy_body_size",
    ),
    (
        "write 'redirect' in a route, or 'redirect_https: true' in a listener",
        "",
        "redirectscheme redirect_scheme redirectregex return https_redirect redir https_redirect_status_code "
        "ssl_redirect redirect_to_https",
    ),
    (
        "write 'strip: /users', the prefix to remove",
        "strip",
        "stripprefix strip_prefix strip_path strippath strip_uri handle_path uri_strip_prefix strip_listen_path",
    ),
    ("write the prefix in the endpoint's URL: target: http://127.0.0.1:3001/prefix", "", "addprefix add_prefix"),
    ("write the policy 'request_id'", "", "correlation_id request_id_header x_request_id requestid"),
    ("write the policy 'mirror': policies: [{mirror: NAME}]", "", "mirroring"),
    (
        "write 'split' in a route: split: {services: {a: 9, b: 1}}",
        "split",
        "traffic_split weighted weighted_clusters canary",
    ),
    ("write 'respond' in a route", "respond", "request_termination mocking direct_response"),
    ("write 'errors' at the top of the file: errors: {pages: {5xx: FILE}}", "", "errors error_page handle_errors"),
    ("WebSockets pass on every route: 'websocket: only' or 'refuse' in a route", "", "websockets"),
    ("responses are never buffered: remove it", "", "proxy_buffering"),
    ("it is HTTP/1.1: remove it", "", "proxy_http_version"),
    ("it is so by default: 'redirects' changes it", "redirects", "proxy_redirect proxypassreverse"),
    ("write the policy 'cookies'", "", "proxy_cookie_path proxy_cookie_domain proxy_cookie_flags"),
    ("write 'files' in a route: files: {root: DIRECTORY}", "files", "root file_server try_files static alias"),
    (
        "write 'policies', a list",
        "policies",
        "plugins middlewares middleware filters hooks http_filters extra_config handle policy",
    ),
    ("write 'balance: {consistent_hash: {client: true}}' in a service", "", "ip_hash"),
)
_FILE: Final = (
    (
        "write 'listen: 127.0.0.1:8080', or 'listen: 0.0.0.0:8080' for all interfaces",
        "listen",
        "port host bind address listeners listener entrypoints server servers http listen_port frontends "
        "proxy_listen addr node_listen",
    ),
    ("write 'routes', a list", "routes", "routers route endpoints paths location locations rules"),
    ("write 'services'", "services", "upstream upstreams backends clusters targets"),
    (
        "write it in the listener: listen: {address: 0.0.0.0:443, tls: {certificate: FILE, key: FILE}}",
        "",
        "tls ssl certificates cert key https",
    ),
    ("getting certificates by ACME is not there yet", "", "certificatesresolvers"),
    ("ACME is not there yet", "", "acme"),
    (
        "authentication is not there yet: write it in Python, as 'policies: [{python: module:function}]'",
        "",
        "consumers",
    ),
    ("write 'policies', a list", "policies", "global_rules"),
    ("an admin API is not there yet", "", "admin api"),
    ("a dashboard is not there yet", "", "dashboard"),
    ("write 'paths: {double_slashes: keep}'", "paths", "merge_slashes"),
    ("write 'log: {level: info}'", "log", "loglevel log_level logging error_log"),
    ("one process serves: start one for each core, behind 'listen' of its own", "", "worker_processes workers"),
    ("write 'discover' of a service: discover: {dns: {name: users.internal, port: 80}}", "discover", "providers"),
    ("write 'dns: {servers: [127.0.0.1:53]}'", "dns", "resolver"),
    (
        "write 'trusted_proxies: [10.0.0.0/8]'",
        "trusted_proxies",
        "real_ip_header set_real_ip_from trusted_ips trust_proxy",
    ),
    ("write it in a service", "", "balance health retry breaker"),
    ("a file has no version: remove it", "", "version"),
)
_ROUTE: Final = (
    (
        "write 'target: URL' for one endpoint, or 'service: NAME'",
        "target service",
        "upstream upstreams url to proxy_pass proxy backend backends reverse_proxy cluster forward forward_to "
        "destination dest upstream_id service_id target_url upstream_url url_pattern serviceendpoint pass action "
        "handler",
    ),
    (
        "write 'path: /users/*', or 'path_regex'",
        "path",
        "uri paths location prefix uris endpoint listen_path pattern path_prefix",
    ),
    ("write 'service: NAME', and 'endpoints' in that service", "service", "endpoints"),
    ("write 'service: NAME', or 'split: {services: {a: 9, b: 1}}'", "service split", "services"),
    ("write 'path', 'host', 'methods' and 'headers' in the route itself", "path", "match"),
    ("write 'path', 'host', 'methods' and 'headers' instead of a rule", "path", "rule"),
    ("write 'path' and 'service' in the route itself", "path service", "route"),
    ("write 'path_regex'", "path_regex path", "regex"),
    ("write 'methods: [GET]'", "methods", "method verbs"),
    ("write 'host'", "host", "hosts hostname hostnames domains server_name domain"),
    ("write 'query'", "query", "query_params params"),
    (
        "write 'listeners: [NAME]', the name or address of a listener",
        "listeners",
        "entrypoints entrypoint entry_points listener listen_on port ports listen",
    ),
    ("write 'scheme: https', or 'http'", "scheme", "protocol protocols proto"),
    (
        "write 'path_rules: {double_slashes: keep}'",
        "path_rules",
        "merge_slashes double_slashes",
    ),
    ("write 'path_rules: {encoded_slashes: keep}'", "path_rules", "encoded_slashes allow_encoded_slashes"),
    ("write 'path_rules'", "path_rules", "semicolons invalid_utf8 raw_utf8"),
    ("write it in the listener: listen: {address: 0.0.0.0:443, tls: {certificate: FILE, key: FILE}}", "", "tls ssl"),
    ("write 'priority'", "priority", "regex_priority"),
    ("write it in a service, and 'service: NAME' here", "", "balance health breaker hedge concurrency discover"),
    ("write 'host: preserve' in a service", "", "preserve_host passhostheader"),
    ("write 'respond: {status: 404}'", "respond", "status"),
    ("write 'respond: {body: TEXT}'", "respond", "body response"),
    ("it is so: remove it", "", "websocket_upgrade upgrade_configs enable_websocket"),
    ("write the policy 'mirror': policies: [{mirror: NAME}]", "", "mirror"),
    ("write the policy: policies: [request_id]", "", "request_id"),
    ("write the policy: policies: [sse]", "", "sse"),
    ("write the policy 'body_limit': policies: [{body_limit: 10MB}]", "", "body_limit"),
    ("write the policy: policies: [hsts]", "", "hsts"),
    ("write the policy: policies: [{python: module:function}]", "", "python"),
)
_SERVICE: Final = (
    (
        "write 'endpoints: [http://127.0.0.1:3001]'",
        "endpoints",
        "upstream upstreams targets target servers server url urls host_port hosts nodes backend backends instances "
        "dial load_assignment addresses address port protocol image proxy_pass to",
    ),
    ("write 'endpoints' and 'balance'", "endpoints balance", "loadbalancer"),
    (
        "write 'balance' of a service: p2c, round_robin, least_requests, consistent_hash",
        "balance",
        "load_balancing lb_policy lb algorithm strategy",
    ),
    ("write 'balance: least_requests'", "balance", "least_conn"),
    ("write 'balance: sticky'", "balance", "sticky session"),
    (
        "write 'discover' of a service: discover: {dns: {name: users.internal, port: 80}}",
        "discover",
        "discovery service_discovery sd resolver consul dns kubernetes docker discovery_type",
    ),
    ("write 'connections: {idle: 64}'", "connections", "keepalive"),
    ("write 'connections: {max: 100}'", "connections", "max_conns"),
    ("write 'tls' of a service: tls: {ca: FILE}", "tls", "serverstransport ssl proxy_ssl_verify transport_socket"),
    ("write 'tls: {verify: false}', for tests only", "tls", "insecureskipverify tls_insecure_skip_verify"),
    ("write 'host: preserve', or 'host: endpoint'", "host", "passhostheader"),
    ("write 'host: preserve'", "host", "preserve_host"),
    ("it is so: remove it", "", "change_origin"),
    ("routes stand below 'routes' of the file, each with 'service: NAME'", "", "routes"),
    ("a path stands in a route; a prefix in the endpoint's URL: endpoints: [http://h:80/prefix]", "", "path"),
    (
        "write 'health' of a service: health: {path: /healthz, interval: 5s}",
        "health",
        "fail_timeout max_fails unhealthy_threshold",
    ),
)
_LISTENER: Final = (
    ("write 'address: 0.0.0.0:8080'", "address", "host port bind listen"),
    ("write 'tls: {certificate: FILE, key: FILE}'", "tls", "ssl certificate key"),
    ("write 'tls: {certificate: FILE}'", "tls", "cert"),
    ("write 'host' in routes", "", "server_name"),
    ("write 'listeners: [NAME]' in the routes that only this listener has", "", "routes"),
    ("write 'name'", "name", "id label entrypoint entry_point"),
    ("write 'mode: \"0660\"'", "mode", "permissions socket_mode socketmode umask chmod unix_mode"),
    ("write 'owner'", "owner", "user uid socket_owner"),
    ("write 'group'", "group", "gid socket_group"),
    ("HTTP/2 is not there yet: remove it", "", "http2"),
    ("write 'redirect_https: true', or 'redirect' in a route", "redirect_https", "redirect http ssl_redirect"),
    ("write 'proxy_protocol: {from: [10.0.0.0/8]}'", "proxy_protocol", "proxy_protocol_from"),
)
# Of listeners and of services.
_CERTIFICATE: Final = (
    ("write 'certificate'", "certificate", "cert certfile cert_file ssl_certificate certificate_chain crt"),
    ("write 'key'", "key", "keyfile key_file ssl_certificate_key private_key"),
    ("write 'ca'", "ca", "cafile ca_file rootcas"),
    ("write 'verify: false', for tests only", "verify", "insecureskipverify"),
    ("write 'server_name'", "server_name", "sni servername"),
    ("write 'client_certificates: {ca: FILE}'", "client_certificates", "clientauth"),
    ("write 'min_version: 1.2'", "min_version", "ssl_protocols minversion"),
    ("they are chosen for you: remove it", "", "ciphers ssl_ciphers"),
)
_CONDITION: Final = (
    ("write 'listeners: [NAME]'", "listeners", "listener entrypoints entrypoint port"),
    ("write 'scheme: https', or 'http'", "scheme", "protocol protocols proto"),
    ("write 'clients: [10.0.0.0/8]'", "clients", "client ip ips remote_ip remote_addr cidr network networks"),
    ("write 'hosts'", "hosts", "host domain domains hostname server_name"),
)
_PATHS: Final = (("write 'double_slashes: keep'", "double_slashes", "merge_slashes"),)
_ENDPOINT: Final = (
    ("write 'url: http://127.0.0.1:3001'", "url", "target host address server port uri dial"),
    ("write 'priority: 1'", "priority", "backup"),
    ("write 'weight: 0'", "weight", "down"),
)
_RETRY: Final = (
    (
        "write 'attempts', the tries in all",
        "attempts",
        "count max tries retries num_retries max_attempts max_retries limit",
    ),
    ("write 'on: [connect, reset]' and 'statuses: [503]'", "on", "retry_on"),
    ("write 'backoff: 25ms'", "backoff", "initialinterval delay"),
    ("write 'per_try: 1s'", "per_try", "per_try_timeout timeout"),
)
_HEALTH: Final = (
    ("write 'path'", "path", "uri url http_path endpoint"),
    ("write its keys here: {path: /healthz}", "path", "active"),
    ("write 'statuses: 200'", "statuses", "expect_status status expected_statuses"),
    ("write 'healthy: 2'", "healthy", "healthy_threshold rise"),
    ("write 'unhealthy: 3'", "unhealthy", "unhealthy_threshold fall"),
    ("write 'tcp: true', or 'path' for HTTP", "tcp path", "type"),
)
_ALGORITHMS: Final = (
    ("write 'least_requests'", "", "least_conn leastconn least_request least_connections"),
    ("write 'ewma'", "", "least_time latency"),
    ("write {consistent_hash: {client: true}}", "", "ip_hash source"),
    ("write {consistent_hash: {path: true}}", "", "hash uri uri_hash ring_hash maglev consistent_hashing chash"),
    ("write {consistent_hash: {header: NAME}}", "", "header"),
    ("write 'sticky'", "", "cookie session"),
    ("write 'round_robin': it goes by the weights", "", "wrr weighted weighted_round_robin"),
    ("write 'round_robin'", "", "rr static_rr"),
    ("write 'priority: 1' in the other endpoints", "", "first"),
    ("write 'p2c'", "", "two_choices"),
    ("write 'random'", "", "random_choose"),
    ("write the name of the algorithm itself: balance: round_robin", "", "type algorithm method"),
)
_PROVIDERS: Final = (
    ("write {dns: {name: _http._tcp.users.internal}}", "", "srv"),
    ("write 'kubernetes'", "", "k8s"),
    ("write 'endpoints' of the service", "", "static"),
    ("write 'dns'", "", "dnssrv"),
    ("write 'docker'", "", "swarm"),
    ("is not there yet: write {python: module:function}", "", "eureka nacos zookeeper"),
    ("write 'consul'", "", "consul_catalog consulcatalog"),
    ("write the name of the provider itself", "", "type"),
)


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").removesuffix("s")


def _indexed(*tables: Iterable[tuple[str, str, str]]) -> dict[str, Way]:
    """Return the way of each word; later tables take precedence."""
    return {
        _plain(word): Way(hint, tuple(keys.split()))
        for table in tables
        for hint, keys, words in table
        for word in words.split()
    }


_BY_MODEL: Final = {
    "GatewayConfig": _indexed(_ANYWHERE, _FILE),
    "RouteConfig": _indexed(_ANYWHERE, _ROUTE),
    "ServiceConfig": _indexed(_ANYWHERE, _SERVICE),
    "Condition": _indexed(_CONDITION),
    "PathsConfig": _indexed(_PATHS),
    "RoutePathsConfig": _indexed(_PATHS),
    "ListenerConfig": _indexed(_LISTENER),
    "ListenerTlsConfig": _indexed(_CERTIFICATE),
    "CertificateConfig": _indexed(_CERTIFICATE),
    "ServiceTlsConfig": _indexed(_CERTIFICATE),
    "EndpointConfig": _indexed(_ENDPOINT),
    "RetryConfig": _indexed(_RETRY),
    "ServiceRetryConfig": _indexed(_RETRY),
    "HealthConfig": _indexed(_HEALTH),
}
_BY_KIND: Final = {
    "policy": _indexed(_ANYWHERE),
    "balancing algorithm": _indexed(_ALGORITHMS),
    "provider": _indexed(_PROVIDERS),
}


def way_of_key(model: str, word: str) -> Way | None:
    """Return what to write instead of an unknown key of a model, given by the name of its class."""
    return _BY_MODEL.get(model, {}).get(_plain(word))


def way_of_module(kind: str, word: str) -> Way | None:
    """Return what to write instead of an unknown policy, balancing algorithm or provider."""
    return _BY_KIND.get(kind, {}).get(_plain(word))
