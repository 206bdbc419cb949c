"""How an API server is reached: the service account of a pod, and kubeconfig files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from propylon.services.discovery import _kubernetes_access as module
from propylon.services.discovery._kubernetes_access import AccessError, Pem, from_kubeconfig, in_cluster

SERVER = "https://10.0.0.1:6443"


def kubeconfig(folder: Path, user: dict[str, Any] | None = None, **cluster: Any) -> Path:
    """A file with the contexts `dev`, which is the current one, and `bare`, which has no user."""
    data = {
        "apiVersion": "v1", "kind": "Config", "current-context": "dev",
        "contexts": [
            {"name": "bare", "context": {"cluster": "c"}},
            {"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
    }  # fmt: skip
    path = folder / "config"
    path.write_text(yaml.safe_dump(data))
    return path


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_current_context_says_server_namespace_and_token(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, {"token": "t1"}), None)
    assert (access.server, access.namespace, access.headers()) == (SERVER, "shop", {"authorization": "Bearer t1"})
    assert access.tls(tmp_path).verify is True


def test_another_context_may_be_named(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, {"token": "t1"}), "bare")
    assert (access.namespace, access.headers()) == (None, {})
    with pytest.raises(AccessError, match="has no context 'prod'"):
        from_kubeconfig(kubeconfig(tmp_path), "prod")


def test_files_are_found_beside_the_kubeconfig_and_inline_data_counts_before_them(tmp_path: Path) -> None:
    for name in ("ca.crt", "me.crt", "me.key"):
        (tmp_path / name).write_text(f"file {name}")
    user = {"client-certificate": "me.crt", "client-key": "me.key", "client-key-data": base64_of("inline key")}
    path = kubeconfig(tmp_path, user, **{"certificate-authority": "ca.crt", "tls-server-name": "api.test"})
    folder = tmp_path / "inline"
    folder.mkdir()
    tls = from_kubeconfig(path, None).tls(folder)
    assert (tls.ca, tls.certificate, tls.server_name) == (tmp_path / "ca.crt", tmp_path / "me.crt", "api.test")
    assert tls.key is not None
    assert tls.key.read_text() == "inline key"


def test_a_token_file_is_read_each_time_and_counts_before_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t1\n")
    access = from_kubeconfig(kubeconfig(tmp_path, {"token": "old", "tokenFile": "token"}), None)
    assert access.headers() == {"authorization": "Bearer t1"}
    (tmp_path / "token").write_text("t2\n")
    assert access.headers() == {"authorization": "Bearer t2"}
    (tmp_path / "token").write_text("t\n3")
    with pytest.raises(AccessError, match="characters that no token has"):
        access.headers()
    (tmp_path / "token").unlink()
    with pytest.raises(AccessError, match="the token cannot be read: No such file"):
        access.headers()


def test_verification_may_be_switched_off(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, **{"insecure-skip-tls-verify": True}), None)
    assert access.tls(tmp_path).verify is False


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"exec": {"command": "aws"}}, r"runs a program for its credentials \(exec\): give a token"),
        ({"auth-provider": {"name": "gcp"}}, "uses an auth-provider: give a token"),
        ({"username": "u", "password": "p"}, "uses a password, which API servers no longer take"),
        ({"as": "admin"}, "acts as another user"),
        ({"client-key-data": "hunter2!"}, "client-key-data is no base64"),
    ],
)
def test_what_is_not_supported_is_refused_with_a_way_out(tmp_path: Path, user: dict[str, Any], says: str) -> None:
    with pytest.raises(AccessError, match=says) as caught:
        from_kubeconfig(kubeconfig(tmp_path, user), None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ({"proxy-url": "http://proxy"}, "is reached by a proxy"),
        ({"server": "10.0.0.1:6443"}, "the cluster's server '10.0.0.1:6443'"),
        ({"server": None}, "the cluster's server"),
        ({"server": "unix:/run/x"}, "is no URL with https://"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_refused(tmp_path: Path, cluster: dict[str, Any], says: str) -> None:
    with pytest.raises(AccessError, match=says):
        from_kubeconfig(kubeconfig(tmp_path, **cluster), None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "it has no keys"),
        ("[]", "it has no keys"),
        ("{}", "has no current-context: give context"),
        ("current-context: dev", "has no context 'dev'"),
        ("current-context: dev\ncontexts: 7", "has no context 'dev'"),
        ("current-context: dev\ncontexts: [{name: dev, context: {cluster: c}}]", "has no cluster 'c'"),
        ("a: [\ntoken: hunter2\n}", "cannot be read: line 3, column 1: "),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_an_error_in_words(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(AccessError, match=says) as caught:
        from_kubeconfig(path, None)
    assert "hunter2" not in str(caught.value)


def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, **{"certificate-authority": "ca.crt"}), None)
    with pytest.raises(AccessError, match=r"cannot be read: No such file or directory \(.*ca\.crt\)"):
        access.tls(tmp_path)


def in_pod(folder: Path, monkeypatch: pytest.MonkeyPatch, host: str = "10.96.0.1", port: str = "443") -> None:
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)


def test_a_pod_has_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pod(tmp_path, monkeypatch)
    (tmp_path / "token").write_text("t1")
    (tmp_path / "namespace").write_text("shop")
    access = in_cluster()
    assert (access.server, access.namespace, access.verify) == ("https://10.96.0.1:443", "shop", True)
    assert access.ca == Pem(tmp_path / "ca.crt")
    assert access.headers() == {"authorization": "Bearer t1"}


def test_a_pod_of_an_ipv6_cluster_and_one_without_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pod(tmp_path, monkeypatch, "fd00::1", "6443")
    access = in_cluster()
    assert (access.server, access.namespace) == ("https://[fd00::1]:6443", None)


def test_outside_of_a_cluster_a_kubeconfig_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(AccessError, match="give kubeconfig"):
        in_cluster()
