"""Change cookies that services set: path, domain, and the attributes that restrict them.

    policies:
      - cookies:
          path: {/: /shop}
          domain: {shop.internal: shop.example.com}
          secure: true
          http_only: true
          same_site: lax

`path` replaces the beginning of a cookie's path at a segment, as for a service behind `strip: /shop`. `domain` replaces
a domain, or removes it with the value `none`, so that the cookie is for the host of the request only; `domain: none`
removes every domain. `secure` and `http_only` add the attribute (true) or remove it (false). Without `names`, all
cookies are changed; a name may end in `*`. Path and domain of a cookie whose name begins with `__Host-` are kept, since
browsers refuse any others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from propylon.http.cookies import COOKIE_PATH
from propylon.http.set_cookie import CookieEdit, cookie_name

if TYPE_CHECKING:
    from propylon.engine.exchange import Exchange
    from propylon.engine.scope import Scope

_DOMAIN = re.compile(r"\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _path(value: str) -> str:
    if not COOKIE_PATH.fullmatch(value):
        raise ValueError("a path begins with '/' and has neither spaces nor ';'")
    return value


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise ValueError("should be a domain, as example.com, or none")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("should be the name of a cookie; it may end in '*'")
    return value


Path = Annotated[str, AfterValidator(_path)]
Domain = Annotated[str, AfterValidator(_domain)]
CookieName = Annotated[str, AfterValidator(_name)]


class Config(BaseModel):
    """The changes, at least one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[CookieName, ...] | None = Field(default=None, min_length=1, description="Cookies; all by default.")
    path: dict[Path, Path] = Field(default={}, description="Beginnings of paths, each with what replaces it.")
    domain: Literal["none"] | dict[Domain, Domain] = Field(
        default={}, description="Domains, each with what replaces it, or none to remove it."
    )
    secure: bool | None = Field(default=None, strict=True, description="Whether they are sent by https only.")
    http_only: bool | None = Field(default=None, strict=True, description="Whether scripts cannot read them.")
    same_site: Literal["lax", "strict", "none"] | None = Field(
        default=None, description="Whether requests of other sites send them; none needs 'secure: true'."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not (self.path or self.domain or self.same_site) and self.secure is None and self.http_only is None:
            raise ValueError("nothing to change: give 'path', 'domain', 'secure', 'http_only' or 'same_site'")
        if self.same_site == "none" and not self.secure:
            raise ValueError("browsers refuse 'same_site: none' without 'secure: true'")
        return self


class Policy:
    """Changes the cookies of a response."""

    def __init__(self, config: Config, scope: Scope) -> None:
        flags = {b"secure": config.secure, b"httponly": config.http_only}
        domains: dict[str, Any] = {} if config.domain == "none" else config.domain
        self._edit = CookieEdit(
            paths={begin.encode().rstrip(b"/"): to.encode().rstrip(b"/") for begin, to in config.path.items()},
            domains={
                old.lower().removeprefix(".").encode(): None if new == "none" else new.encode()
                for old, new in domains.items()
            },
            any_domain=None if config.domain == "none" else b"",
            flags={name: on for name, on in flags.items() if on is not None},
            same_site=(config.same_site or "").capitalize().encode(),
        )
        names = config.names or ()
        self._exact = None if config.names is None else {name.encode() for name in names if not name.endswith("*")}
        self._begins = tuple(name[:-1].encode() for name in names if name.endswith("*"))

    def on_response(self, x: Exchange) -> None:
        """Edit the Set-Cookie fields."""
        response = x.response
        if response is None or "set-cookie" not in response.headers:
            return
        response.headers.raw = [
            (name, self._edit.apply(value))
            if name.lower() == b"set-cookie" and self._concerns(value)
            else (name, value)
            for name, value in response.headers.raw
        ]

    def _concerns(self, value: bytes) -> bool:
        if self._exact is None:
            return True
        name = cookie_name(value)
        return name in self._exact or name.startswith(self._begins)
