"""Whole gateways whose endpoints are found in etcd, by Docker and by Kubernetes: requests go where the servers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from propylon import Gateway
from tests.e2e.test_dns_endpoints import once, until_body
from tests.services.discovery.test_kubernetes_access import kubeconfig
from tests.support.client import RawClient
from tests.support.docker_engine import engine
from tests.support.etcd import etcd
from tests.support.front import Fronts
from tests.support.kubernetes_api import api, pod


async def found_by(front: Fronts, **discover: Any) -> RawClient:
    """A client of a new gateway with a service `users`, whose endpoints this provider finds."""
    gateway = Gateway(listen="127.0.0.1:0", timeouts={"drain": "200ms"})
    gateway.service("users", [], discover=discover)
    gateway.route("/*", service="users")
    return await front.client(await front.start(gateway))


async def test_requests_follow_the_keys_of_etcd_and_outlive_it(front: Fronts, tmp_path: Path) -> None:
    one, other = await front.upstream(once(b"one")), await front.upstream(once(b"other"))
    async with etcd(tmp_path) as server:
        await server.put("/users/1", one.url)
        client = await found_by(front, etcd={"endpoints": [server.url], "prefix": "/users/"})
        await until_body(client, b"one")
        await server.put("/users/1", other.url)
        await until_body(client, b"other")
        await server.stop()
        await until_body(client, b"other")


async def test_requests_follow_the_containers_of_docker(front: Fronts, tmp_path: Path) -> None:
    one, other = await front.upstream(once(b"one")), await front.upstream(once(b"other"))
    socket = str(tmp_path / "docker.sock")

    def labels(port: int) -> dict[str, Any]:
        named = {"propylon.service": "users", "propylon.port": str(port)}
        return {"Labels": named, "HostConfig": {"NetworkMode": "host"}, "Ports": []}

    async with engine(unix_path=socket) as (docker, _):
        docker.run("a", **labels(one.port))
        client = await found_by(front, docker={"address": f"unix:{socket}"})
        await until_body(client, b"one")
        docker.run("b", **labels(other.port))
        docker.stop("a")
        await until_body(client, b"other")


async def test_requests_follow_the_pods_of_kubernetes(front: Fronts, tmp_path: Path) -> None:
    one, other = await front.upstream(once(b"one")), await front.upstream(once(b"other"))

    def ports(port: int) -> dict[str, Any]:
        return {"ports": [{"name": "http", "port": port, "protocol": "TCP"}]}

    async with api() as (server, base):
        server.put("users-a", pod("127.0.0.1"), **ports(one.port))
        path = kubeconfig(tmp_path, server=base)
        client = await found_by(front, kubernetes={"kubeconfig": str(path), "port": "http"})
        await until_body(client, b"one")
        server.put("users-b", pod("127.0.0.1"), **ports(other.port))
        server.put(
            "users-a",
            pod("127.0.0.1", conditions={"ready": False, "serving": True, "terminating": True}),
            **ports(one.port),
        )
        await until_body(client, b"other")
