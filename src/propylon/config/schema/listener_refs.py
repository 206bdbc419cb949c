"""The listeners that routes and conditions name: by the listener's `name`, or by its address.

Rules of the file: an unknown name is a problem when the file is checked, never a route that is open to more listeners
than meant. Names have no ':', addresses have one, so the two cannot be confused.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from propylon.address import AddressError, ListenAddress, listener_ids
from propylon.config.addresses import parse_listen_address
from propylon.config.problems import suggest
from propylon.config.schema.base import Finding, Loc
from propylon.config.schema.listener import ListenerConfig
from propylon.config.schema.policy import CONDITIONS


def listeners_by_name(listeners: Sequence[ListenerConfig]) -> dict[str, str]:
    """Return the id of each listener by its name and by its address."""
    return _by_name([(each.address, each.name) for each in listeners])


def find_listener(text: str, known: Mapping[str, str]) -> str | None:
    """Return the id of the listener that `text` names, `None` for an unknown one.

    Args:
        known: the result of `listeners_by_name`.
    """
    try:
        return known.get(str(ListenAddress.parse(text)))
    except AddressError:
        return known.get(text)


def usual_listener(listeners: Sequence[ListenerConfig], scheme: str) -> str:
    """Return the id of the listener that a request is taken to come by if none is named: the first of its scheme."""
    ids = listener_ids(each.address for each in listeners)
    fitting = [id_ for id_, each in zip(ids, listeners, strict=True) if (each.tls is not None) == (scheme == "https")]
    return (fitting or ids)[0]


def usual_scheme(listeners: Sequence[ListenerConfig]) -> Literal["http", "https"]:
    """Return the scheme of a request that names none: https if the usual listener for http redirects to it."""
    ids = listener_ids(each.address for each in listeners)
    plain = listeners[ids.index(usual_listener(listeners, "http"))]
    return "https" if plain.redirect_https is not None and any(each.tls is not None for each in listeners) else "http"


def listener_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a problem for every listener of routes and conditions that does not exist, and for names that repeat."""
    listen = data.get("listen")
    pairs = [] if listen is None else list(_pairs(listen if isinstance(listen, list | tuple) else [listen]))
    yield from _repeated([name for _, name in pairs])
    known = None if listen is None else _by_name([(address, name) for address, name in pairs if address is not None])
    for loc, name in _references(data):
        if known is not None and find_listener(name, known) is None:
            names = [name for _, name in pairs if name is not None]
            hint = suggest(name, list(known)) or "give it a name below 'listen', or write its address as it is there"
            yield Finding(loc, f"unknown listener {name!r}", hint if names or known else None)
        elif known is None:
            yield Finding(loc, f"unknown listener {name!r}", "write 'listen' with this listener")


def _by_name(pairs: Sequence[tuple[ListenAddress, str | None]]) -> dict[str, str]:
    addresses = [address for address, _ in pairs]
    times = Counter(addresses)
    found: dict[str, str] = {}
    for (address, name), id_ in zip(pairs, listener_ids(addresses), strict=True):
        if times[address] == 1:
            found[str(address)] = id_
        if name is not None:
            found[name] = id_
    return found


def _pairs(listen: Sequence[Any]) -> Iterator[tuple[ListenAddress | None, str | None]]:
    """Yield address and name of listeners that are not validated; `None` for an invalid address."""
    for each in listen:
        written = each.get("address") if isinstance(each, Mapping) else getattr(each, "address", each)
        name = each.get("name") if isinstance(each, Mapping) else getattr(each, "name", None)
        try:
            yield parse_listen_address(written), name if isinstance(name, str) else None
        except ValueError:
            yield None, name if isinstance(name, str) else None


def _repeated(names: Sequence[str | None]) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name is not None and (first := names.index(name)) != index:
            yield Finding(("listen", index, "name"), f"the name {name!r} is already listen.{first}'s")


def _references(data: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Yield every reference to a listener, with its location."""
    yield from _in_policies(("policies",), data.get("policies"))
    services, routes = data.get("services"), data.get("routes")
    for name, service in services.items() if isinstance(services, Mapping) else ():
        yield from _in_policies(("services", name, "policies"), _get(service, "policies"))
    for index, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
        yield from _listed(("routes", index, "listeners"), _get(route, "listeners"))
        yield from _in_policies(("routes", index, "policies"), _get(route, "policies"))
    tests = data.get("tests")
    for index, test in enumerate(tests if isinstance(tests, list | tuple) else ()):
        yield from _listed(("tests", index, "listener"), _get(test, "listener"))


def _in_policies(loc: Loc, policies: Any) -> Iterator[tuple[Loc, str]]:
    for index, entry in enumerate(policies if isinstance(policies, list | tuple) else ()):
        for key in CONDITIONS:
            conditions = _get(entry, key)
            at = (*loc, index, key)
            if not isinstance(conditions, list | tuple):
                yield from _listed((*at, "listeners"), _get(conditions, "listeners"))
                continue
            for number, condition in enumerate(conditions):
                yield from _listed((*at, number, "listeners"), _get(condition, "listeners"))


def _listed(loc: Loc, names: Any) -> Iterator[tuple[Loc, str]]:
    if isinstance(names, str):
        yield loc, names
    elif isinstance(names, Iterable):
        yield from (((*loc, index), name) for index, name in enumerate(names) if isinstance(name, str))


def _get(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)
