"""EndpointSlices as endpoints: conditions, ports, zones, families, and the events of a watch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.services.discovery import DiscoveryError, EndpointSpec
from propylon.services.discovery._kubernetes_slices import MAX_SLICES, ExpiredError, Slices, Wanted
from tests.support.kubernetes_api import draining, pod, slice_of, status

WANTED = Wanted(None, None, "ipv4")
A, B = "http://10.0.0.1:8080", "http://10.0.0.2:8080"


def found(*items: dict[str, Any], **wanted: Any) -> list[EndpointSpec]:
    slices = Slices()
    slices.replace(items, "7")
    return list(slices.found(WANTED._replace(**wanted)))


def urls(*items: dict[str, Any], **wanted: Any) -> list[str]:
    return [each.url for each in found(*items, **wanted)]


@pytest.mark.parametrize(
    ("conditions", "weight"),
    [
        ({}, 1),
        (None, 1),
        ({"ready": None, "serving": None, "terminating": None}, 1),
        ({"ready": True}, 1),
        ({"ready": False}, None),
        ({"ready": False, "serving": False}, None),
        ({"ready": False, "serving": True, "terminating": True}, 0),
        ({"ready": True, "terminating": True}, 0),  # publishNotReadyAddresses
        ({"ready": False, "terminating": True}, None),
        ({"ready": False, "serving": False, "terminating": True}, None),
    ],
)
def test_conditions_decide_who_gets_requests_and_who_drains(conditions: Any, weight: int | None) -> None:
    result = found(slice_of("s", pod("10.0.0.9"), pod("10.0.0.1", conditions=conditions)))
    assert [each.weight for each in result if each.url == A] == ([] if weight is None else [weight])


def test_when_nobody_is_ready_those_that_drain_serve_on() -> None:
    assert found(slice_of("s", draining("10.0.0.1"), draining("10.0.0.2", serving=False))) == [EndpointSpec(A)]


def test_slices_are_merged_and_an_endpoint_in_two_of_them_is_one() -> None:
    one, other = slice_of("s1", pod("10.0.0.2"), draining("10.0.0.1")), slice_of("s2", pod("10.0.0.1"), pod("10.0.0.2"))
    assert found(one, other) == found(other, one) == [EndpointSpec(A), EndpointSpec(B)]


def test_the_first_address_of_an_endpoint_counts() -> None:
    assert urls(slice_of("s", pod("10.0.0.1", addresses=["10.0.0.1", "10.0.0.5"]))) == [A]


def test_a_pod_with_two_families_is_one_endpoint() -> None:
    four = slice_of("s4", pod("10.0.0.1", targetRef={"uid": "u1"}), pod("10.0.0.2"))
    six = slice_of(
        "s6", pod("fd00::1", targetRef={"uid": "u1"}), pod("fd00::3", targetRef={"uid": "u3"}), addressType="IPv6"
    )
    assert urls(four, six) == [A, B, "http://[fd00::3]:8080"]
    assert urls(four, six, family="ipv6") == [B, "http://[fd00::1]:8080", "http://[fd00::3]:8080"]
    assert urls(six) == ["http://[fd00::1]:8080", "http://[fd00::3]:8080"]


def test_a_pod_whose_preferred_address_is_not_ready_is_reached_by_the_other() -> None:
    not_ready = pod("10.0.0.1", targetRef={"uid": "u1"}, conditions={"ready": False})
    six = slice_of("s6", pod("fd00::1", targetRef={"uid": "u1"}), addressType="IPv6")
    assert urls(slice_of("s4", not_ready), six) == ["http://[fd00::1]:8080"]


def test_names_are_used_as_they_are() -> None:
    assert urls(slice_of("s", pod("db.example"), addressType="FQDN")) == ["http://db.example:8080"]


def test_the_zone_is_the_endpoints_unless_a_hint_gives_it_to_others() -> None:
    def hints(*zones: str) -> dict[str, Any]:
        return {"forZones": [{"name": zone} for zone in zones]}

    pods = [pod("10.0.0.1", zone="a"), pod("10.0.0.2", zone="a", hints=hints("b")), pod("10.0.0.3")]
    pods += [pod("10.0.0.4", zone="a", hints=hints("b", "a")), pod("10.0.0.5", zone="a", hints={"forZones": None})]
    assert [each.zone for each in found(slice_of("s", *pods))] == ["a", "b", None, "a", "a"]


def port(name: str | None, number: int | None, protocol: str = "TCP", app: str | None = None) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": protocol, "appProtocol": app}


def test_a_port_is_chosen_by_name_by_number_or_because_it_is_the_only_one() -> None:
    ports = [port("http", 8080), port("metrics", 9090), port("dns", 53, "UDP")]
    item = slice_of("s", pod("10.0.0.1"), ports=ports)
    assert urls(item, port="http") == [A]
    assert urls(item, port=9090) == ["http://10.0.0.1:9090"]
    assert urls(slice_of("s", pod("10.0.0.1"), ports=[port("", 8080), port("dns", 53, "UDP")])) == [A]
    assert urls(slice_of("s", pod("10.0.0.1"), ports=[{"port": 8080}])) == [A]
    with pytest.raises(DiscoveryError, match=r"which port is meant: .* ports: http \(8080\), metrics \(9090\)$"):
        found(item)
    with pytest.raises(DiscoveryError, match="which port is 'admin'"):
        found(item, port="admin")
    with pytest.raises(DiscoveryError, match="which port is 53"):
        found(item, port=53)


@pytest.mark.parametrize("ports", [None, [], [port(None, None)]])
def test_slices_without_ports_stand_for_all_of_them(ports: Any) -> None:
    assert urls(slice_of("s", pod("10.0.0.1"), ports=ports), port=8080) == [A]
    with pytest.raises(DiscoveryError):
        found(slice_of("s", pod("10.0.0.1"), ports=ports))


def test_a_named_port_may_have_another_number_in_each_slice_and_be_missing_in_some() -> None:
    items = [slice_of("s1", pod("10.0.0.1")), slice_of("s2", pod("10.0.0.2"), ports=[port("http", 81)])]
    items.append(slice_of("s3", pod("10.0.0.3"), ports=[port("old", 82)]))
    assert urls(*items, port="http") == [A, "http://10.0.0.2:81"]


def test_a_service_without_pods_has_no_endpoints_whatever_its_ports() -> None:
    assert found(slice_of("s", ports=[]), slice_of("t", endpoints=None, ports=None)) == []
    assert found(slice_of("s", pod("10.0.0.1", conditions={"ready": False}), ports=[])) == []


@pytest.mark.parametrize(
    ("app", "scheme"), [(None, "http"), ("http", "http"), ("HTTPS", "https"), ("kubernetes.io/wss", "https")]
)
def test_the_scheme_is_that_of_the_settings_or_of_the_ports_protocol(app: str | None, scheme: str) -> None:
    item = slice_of("s", pod("10.0.0.1"), ports=[port("web", 8443, app=app)])
    assert urls(item) == [f"{scheme}://10.0.0.1:8443"]
    assert urls(item, scheme="http") == ["http://10.0.0.1:8443"]
    assert urls(item, scheme="https") == ["https://10.0.0.1:8443"]


def event(kind: str, name: str, version: int, *pods: dict[str, Any]) -> dict[str, Any]:
    item = slice_of(name, *pods)
    item["metadata"]["resourceVersion"] = str(version)
    return {"type": kind, "object": item}


CHANGES = st.lists(
    st.tuples(st.sampled_from("st"), st.none() | st.lists(st.sampled_from("123"), max_size=3)), max_size=8
)


@given(CHANGES)
def test_a_watch_leads_to_the_same_as_a_list(changes: list[tuple[str, list[str] | None]]) -> None:
    slices, store = Slices(), {}
    slices.replace([], "1")
    for version, (name, pods) in enumerate(changes, 2):
        if pods is None:
            store.pop(name, None)
            kind = "DELETED"
        else:
            kind = "MODIFIED" if name in store else "ADDED"
            store[name] = slice_of(name, *(pod(f"10.0.0.{each}") for each in pods))
        assert slices.apply(event(kind, name, version, *(store[name]["endpoints"] if pods is not None else ())))
        assert slices.version == str(version)
    assert list(slices.found(WANTED)) == found(*store.values())


def test_a_bookmark_moves_the_version_and_changes_nothing() -> None:
    slices = Slices()
    slices.replace([slice_of("s", pod("10.0.0.1"))], "1")
    assert not slices.apply({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12746"}}})
    assert slices.version == "12746"
    assert len(slices.found(WANTED)) == 1


def test_errors_in_a_stream_are_told_apart() -> None:
    slices = Slices()
    with pytest.raises(ExpiredError):
        slices.apply({"type": "ERROR", "object": status(410, "Expired", "too old")})
    with pytest.raises(DiscoveryError, match="500 etcd is down"):
        slices.apply({"type": "ERROR", "object": status(500, "InternalError", "etcd is down")})


def test_more_slices_than_make_sense_are_refused() -> None:
    slices = Slices()
    with pytest.raises(DiscoveryError, match="more than 10000"):
        slices.replace([slice_of(str(number)) for number in range(MAX_SLICES + 1)], "1")
