"""Access to a Kubernetes API server: from a pod of its cluster, or by a kubeconfig file.

Source: Kubernetes' pages "Accessing the Kubernetes API from a Pod" (section "Directly accessing the REST API"),
"Organizing Cluster Access Using kubeconfig Files", and "kubeconfig (v1)" of the configuration reference: inline data
takes precedence over a file, `tokenFile` over `token`, and paths are relative to the folder of the file.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import ValidationError

from propylon.address import AddressError, EndpointAddress
from propylon.services.discovery._http import TlsConfig

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_UNSUPPORTED: Final = {
    "exec": "runs a program for its credentials (exec)",
    "auth-provider": "uses an auth-provider",
    "username": "uses a password, which API servers no longer take",
    "as": "acts as another user (as)",
}


class AccessError(ValueError):
    """The API server cannot be reached with these settings; the message names the remedy."""


class Pem(NamedTuple):
    """PEM text as a file or as data; both None for nothing."""

    path: Path | None = None
    data: bytes | None = None

    def file(self, folder: Path, name: str) -> Path | None:
        """Return the path of the file; data is written to a new one in `folder`."""
        if self.data is None:
            return self.path
        path = folder / name
        path.write_bytes(self.data)
        return path


class Access(NamedTuple):
    """An API server and the credentials for it.

    Attributes:
        server: its URL.
        namespace: the default namespace, if known.
        verify: whether its certificate is verified.
        server_name: the name in its certificate, if not the host's.
        ca: trusted CA certificates.
        certificate, key: a client certificate.
        token: a bearer token.
        token_file: file with the current token.
    """

    server: str
    namespace: str | None
    verify: bool = True
    server_name: str | None = None
    ca: Pem = Pem()
    certificate: Pem = Pem()
    key: Pem = Pem()
    token: str | None = None
    token_file: Path | None = None

    def tls(self, folder: Path) -> TlsConfig:
        """Return the TLS settings; inline data is written to `folder`, which must exist until they are loaded."""
        try:
            return TlsConfig(
                verify=self.verify,
                ca=self.ca.file(folder, "ca.pem") if self.verify else None,
                certificate=self.certificate.file(folder, "certificate.pem"),
                key=self.key.file(folder, "key.pem"),
                server_name=self.server_name,
            )
        except ValidationError as error:
            raise AccessError("; ".join(each["msg"] for each in error.errors())) from None

    def headers(self) -> dict[str, str]:
        """Return the header with the token, read each time since Kubernetes rotates it every hour."""
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise AccessError(f"the token cannot be read: {_cause(error)} ({self.token_file})") from None
        if not token:
            return {}
        if not (token.isascii() and token.isprintable()):
            raise AccessError("the token has characters that no token has")
        return {"authorization": f"Bearer {token}"}


def in_cluster() -> Access:
    """Return the access of a pod's service account. Raises `AccessError` outside a cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise AccessError(
            "this is no pod of a Kubernetes cluster (KUBERNETES_SERVICE_HOST is not set): give kubeconfig"
        )
    try:
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip() or None
    except OSError:
        namespace = None
    return Access(
        f"https://{f'[{host}]' if ':' in host else host}:{port}", namespace,
        ca=Pem(SERVICE_ACCOUNT / "ca.crt"), token_file=SERVICE_ACCOUNT / "token",
    )  # fmt: skip


def from_kubeconfig(path: Path, context: str | None) -> Access:
    """Return the access of a context, by default the current one. Raises `AccessError`."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise AccessError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        data = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise AccessError(f"{path} cannot be read: {_cause(error)}") from None
    if not isinstance(data, Mapping):
        raise AccessError(f"{path} is no kubeconfig: it has no keys")
    name = context or data.get("current-context")
    if not name:
        raise AccessError(f"{path} has no current-context: give context")
    chosen = _named(data, "contexts", "context", name, path)
    cluster = _named(data, "clusters", "cluster", chosen.get("cluster"), path)
    user = _named(data, "users", "user", chosen["user"], path) if chosen.get("user") else {}
    for key, what in _UNSUPPORTED.items():
        if user.get(key):
            raise AccessError(f"the user of context {name!r} {what}: give a token, a tokenFile or a client certificate")
    if cluster.get("proxy-url"):
        raise AccessError(f"the cluster of context {name!r} is reached by a proxy (proxy-url), which is not supported")
    token_file = user.get("tokenFile")
    return Access(
        _server(cluster.get("server"), path), chosen.get("namespace"),
        verify=not cluster.get("insecure-skip-tls-verify"), server_name=cluster.get("tls-server-name"),
        ca=_pem(cluster, "certificate-authority", path),
        certificate=_pem(user, "client-certificate", path), key=_pem(user, "client-key", path),
        token=user.get("token"), token_file=path.parent / token_file if token_file else None,
    )  # fmt: skip


def _named(data: Mapping[str, Any], many: str, one: str, name: object, path: Path) -> Mapping[str, Any]:
    entries = data.get(many)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name:
            found = entry.get(one)
            if isinstance(found, Mapping):
                return found
    raise AccessError(f"{path} has no {one} {name!r}")


def _server(value: object, path: Path) -> str:
    try:
        address = EndpointAddress.parse(str(value))
    except AddressError as error:
        raise AccessError(f"{path}: the cluster's server {error}") from None
    if address.unix_path is not None:
        raise AccessError(f"{path}: the cluster's server {value} is no URL with https://")
    return str(value).rstrip("/")


def _pem(data: Mapping[str, Any], key: str, path: Path) -> Pem:
    inline, file = data.get(f"{key}-data"), data.get(key)
    if inline:
        try:
            return Pem(data=base64.b64decode(str(inline), validate=True))
        except binascii.Error:
            raise AccessError(f"{path}: {key}-data is no base64") from None
    return Pem(path.parent / str(file)) if file else Pem()


def _cause(error: Exception) -> str:
    """Return the cause without the surrounding text, which may contain secrets."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None)}"
    return type(error).__name__ if not isinstance(error, AccessError) else str(error)
