"""Containers as endpoints: labels, ports, networks."""

from __future__ import annotations

from typing import Any

import pytest

from propylon.services.discovery import EndpointSpec
from propylon.services.discovery._docker_containers import Selection, endpoints
from tests.support.docker_engine import container

ALL = Selection("users", False, None, "http", None, False, "127.0.0.1")
LABEL = {"propylon.service": "users"}


def urls(*containers: dict[str, Any], **selection: Any) -> list[str]:
    found, problems = endpoints(containers, ALL._replace(**selection))
    assert problems == []
    return [each.url for each in found]


def problem(made: dict[str, Any], **selection: Any) -> str:
    found, problems = endpoints([made], ALL._replace(**selection))
    assert found == []
    return problems[0]


def labelled(name: str = "c", **labels: str) -> dict[str, Any]:
    return container(name, Labels={f"propylon.{key}": value for key, value in labels.items()})


def test_a_container_belongs_to_the_service_that_its_label_names() -> None:
    assert urls(labelled(service="users"), labelled(service="orders"), container("users", Labels={})) == [
        "http://172.17.0.2:8080"
    ]
    assert urls(container("a", Labels=None)) == []


def test_other_names_count_only_for_containers_that_are_enabled() -> None:
    compose = {"com.docker.compose.service": "users"}
    assert urls(container("shop-users-1", Labels=compose)) == []
    assert len(urls(container("shop-users-1", Labels={**compose, "propylon.enable": "true"}))) == 1
    assert len(urls(labelled("users", enable="true"))) == 1
    assert urls(labelled("orders", enable="true")) == []
    assert urls(container("users", Labels={"propylon.enable": "true", "propylon.service": "orders"})) == []
    assert len(urls({**labelled(enable="true"), "Names": ["/web/alias", "/users"]})) == 1


def test_enable_decides_where_labels_are_required_and_false_always_leaves_out() -> None:
    assert urls(labelled(service="users"), require_label=True) == []
    assert len(urls(labelled(service="users", enable=" True "), require_label=True)) == 1
    assert urls(labelled(service="users", enable="false")) == []
    assert problem(labelled(service="users", enable="yes")) == (
        "container c: its label propylon.enable=yes is neither true nor false"
    )


def test_labels_say_port_scheme_and_weight() -> None:
    made = labelled(service="users", port="9000", scheme="https", weight="3")
    assert endpoints([made], ALL._replace(port=7000)) == ([EndpointSpec("https://172.17.0.2:9000", 3)], [])
    assert endpoints([labelled(service="users", weight="0")], ALL)[0] == [EndpointSpec("http://172.17.0.2:8080", 0)]


@pytest.mark.parametrize(
    ("label", "value"),
    [("port", "0"), ("port", "65536"), ("port", "http"), ("port", "-1"), ("weight", "1001"), ("weight", "1.5"),
     ("weight", "²"), ("scheme", "ftp")],
)  # fmt: skip
def test_a_label_that_makes_no_sense_is_named(label: str, value: str) -> None:
    assert f"its label propylon.{label}={value} is n" in problem(labelled(service="users", **{label: value}))


def test_without_a_label_the_setting_and_then_the_lowest_exposed_tcp_port_counts() -> None:
    ports = [
        {"PrivatePort": 53, "Type": "udp"},
        {"PrivatePort": 9000, "Type": "tcp"},
        {"PrivatePort": 80, "Type": "tcp"},
    ]
    assert urls(container("a", Ports=ports)) == ["http://172.17.0.2:80"]
    assert urls(container("a", Ports=ports), port=9000) == ["http://172.17.0.2:9000"]
    assert "give it the label propylon.port" in problem(container("a", Ports=[]))
    assert "give it the label propylon.port" in problem(container("a", Ports=None))


def test_the_network_is_the_labels_then_the_settings_then_the_first() -> None:
    networks = {
        "front": {"IPAddress": "10.1.0.2", "GlobalIPv6Address": ""},
        "back": {"IPAddress": "10.2.0.2", "GlobalIPv6Address": "fd00::2"},
        "six": {"IPAddress": "", "GlobalIPv6Address": "fd00::3"},
        "none": {"IPAddress": ""},
    }
    made = container("a", NetworkSettings={"Networks": networks})
    assert urls(made) == ["http://10.2.0.2:8080"]
    assert urls(made, network="front") == ["http://10.1.0.2:8080"]
    assert urls(made, network="six") == ["http://[fd00::3]:8080"]
    assert urls({**made, "Labels": {**LABEL, "propylon.network": "six"}}, network="front") == ["http://[fd00::3]:8080"]
    assert "not in the network other, but in front, back" in problem(made, network="other")
    assert "has no address in a network" in problem(made, network="none")
    assert "has no address in a network" in problem(container("a", NetworkSettings={"Networks": None}))


def test_a_container_in_the_hosts_network_is_where_the_engine_is() -> None:
    made = container("a", HostConfig={"NetworkMode": "host"}, Ports=[], NetworkSettings={"Networks": {"host": {}}})
    assert "tells no port" in problem(made)
    assert urls(made, port=3000, host="10.0.0.9") == ["http://10.0.0.9:3000"]
    assert urls({**made, "Labels": {**LABEL, "propylon.port": "81"}}, host="fd00::9") == ["http://[fd00::9]:81"]


def test_a_container_that_shares_anothers_network_has_its_address() -> None:
    owner = container("vpn", "172.17.0.7", Labels={})
    made = container("a", HostConfig={"NetworkMode": f"container:{owner['Id']}"}, NetworkSettings={}, Ports=[])
    assert urls(made, owner) == ["http://172.17.0.7:8080"]
    assert "does not run, or is not healthy" in problem(made)


def test_published_ports_are_reached_on_the_host() -> None:
    ports = [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 32768, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 32768, "Type": "tcp"},
        {"IP": "10.0.0.4", "PrivatePort": 81, "PublicPort": 32769, "Type": "tcp"},
        {"PrivatePort": 82, "Type": "tcp"},
    ]
    made = container("a", Ports=ports)
    assert urls(made, published=True, host="10.0.0.9") == ["http://10.0.0.9:32768"]
    assert urls(made, published=True, port=81) == ["http://10.0.0.4:32769"]
    assert problem(made, published=True, port=82) == "container a: its port 82 is not published"


def test_one_that_cannot_be_used_takes_no_other_away() -> None:
    found, problems = endpoints([container("a", Ports=[]), container("b")], ALL)
    assert [each.url for each in found] == ["http://172.17.0.2:8080"]
    assert len(problems) == 1
