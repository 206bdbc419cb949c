"""Files of other programs: each is recognized as a whole, by one problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from propylon.config.load import load
from propylon.config.problems import ConfigError

PEERS = {
    "nginx.conf": "an nginx configuration (it has 'events')",
    "nginx-site.conf": "an nginx configuration (it has 'server')",
    "traefik.yaml": "a Traefik configuration (it has 'http')",
    "traefik-static.yaml": "a Traefik configuration (it has 'entryPoints')",
    "traefik.toml": "a Traefik configuration (it has '[entryPoints]')",
    "kong.yaml": "a Kong configuration (it has '_format_version')",
    "Caddyfile": "a Caddy configuration (it has 'handle_path')",
    "caddy-short.conf": "a Caddy configuration (it has 'reverse_proxy')",
    "caddy.json": "a Caddy configuration (it has 'apps')",
    "krakend.json": "a KrakenD configuration (it has 'endpoints')",
    "envoy.yaml": "an Envoy configuration (it has 'static_resources')",
    "haproxy.cfg": "a HAProxy configuration (it has 'mode')",
    "apisix.yaml": "an APISIX configuration (it has 'routes')",
    "httpd.conf": "an Apache httpd configuration (it has '<VirtualHost')",
    "ingress.yaml": "a Kubernetes object (it has 'apiVersion')",
    "compose.yaml": "a Docker Compose file (it has 'services')",
    "openapi.yaml": "an OpenAPI description (it has 'openapi')",
}
FILES = Path(__file__).parent / "other_gateways"


def test_every_file_of_a_peer_is_expected() -> None:
    assert {path.name for path in FILES.iterdir()} == set(PEERS)


@pytest.mark.parametrize("name", PEERS)
def test_a_whole_file_of_a_peer_is_recognized(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(FILES / name)
    [problem] = raised.value.problems
    assert problem.message == f"this is {PEERS[name]}"
    assert "docs/configuration.md" in str(problem.hint)
