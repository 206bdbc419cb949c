"""The gateway, built in Python or loaded from a YAML file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from propylon.config.load import Loaded
    from propylon.config.schema import GatewayConfig, ListenerConfig
    from propylon.engine.snapshot import Snapshot
    from propylon.keywords import EndpointKeys, GatewayKeys, RouteOptions, ServiceOptions
    from propylon.runtime.modules import Modules
    from propylon.runtime.reload import Reload, Reloader
    from propylon.runtime.worker import Worker

_Policy = TypeVar("_Policy")


class Gateway:
    """A gateway: its configuration and its life cycle.

    The keyword arguments of every method are the keys of the configuration file, with the same meaning; policies may
    also be plain callables and objects. Validation is deferred until the gateway is used, so that all problems are
    reported together.

        gateway = Gateway()
        gateway.route("/users/*", target="http://127.0.0.1:3001", strip="/users", policies=[require_key])
        gateway.run("127.0.0.1:8080")
    """

    def __init__(self, **settings: Unpack[GatewayKeys]) -> None:
        """Accept top-level keys, such as `listen`, `policies`, `trusted_proxies`."""
        from propylon.config.program import Program

        self._program = Program(settings)
        self._modules: Modules | None = None
        self._read: Callable[[], Loaded] | None = None
        self._loaded: Loaded | None = None
        self._listen: tuple[ListenerConfig, ...] | None = None
        self._snapshot: Snapshot | None = None
        self._worker: Worker | None = None
        self._reloader: Reloader | None = None

    @classmethod
    def from_config(
        cls, config: GatewayConfig, base_dir: str | Path = ".", read: Callable[[], Loaded] | None = None
    ) -> Self:
        """Return a gateway for a validated configuration.

        Args:
            base_dir: the folder of its file, which is also searched for modules of policies.
            read: reads the configuration again, for `reload`.
        """
        from propylon.config.load import Loaded

        return cls._of(Loaded(config), base_dir, read)

    @classmethod
    def _of(cls, loaded: Loaded, base_dir: str | Path, read: Callable[[], Loaded] | None) -> Self:
        from propylon.runtime.modules import Modules

        self = cls()
        self._loaded = loaded
        self._modules = Modules(base_dir)
        self._read = read
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return a gateway for a YAML file.

        Raises:
            ConfigError: with every problem of the file.
        """
        from propylon.build.problems import with_build_problems
        from propylon.config.load import load
        from propylon.config.problems import ConfigError
        from propylon.runtime.modules import Modules

        folder = Path(path).parent
        try:
            return cls._of(load(path), folder, lambda: load(path))
        except ConfigError as error:
            Modules(folder)
            raise with_build_problems(error, folder) from None

    def reload_from(self, read: Callable[[], Loaded], modules: Modules) -> None:
        """Set how `reload` reads the configuration, and which modules it imports again."""
        self._read, self._modules = read, modules

    def route(self, path: str | Sequence[str] | None = None, **keys: Unpack[RouteOptions]) -> Self:
        """Add a route: its matchers, its policies, and one of `target`, `service`, `redirect`, `respond`."""
        self._check_mutable()
        self._program.add_route({**({"path": path} if path is not None else {}), **keys})
        return self

    def service(
        self, name: str, endpoints: str | Sequence[str | EndpointKeys] = (), **keys: Unpack[ServiceOptions]
    ) -> Self:
        """Add a named service with its endpoints, or with a provider under `discover`."""
        self._check_mutable()
        self._program.add_service(name, {**({"endpoints": endpoints} if endpoints else {}), **keys})
        return self

    def policy(self, policy: _Policy) -> _Policy:
        """Add a policy to every route; also usable as a decorator."""
        self._check_mutable()
        self._program.add_policy(policy)
        return policy

    def _check_mutable(self) -> None:
        if self._loaded is not None:
            raise RuntimeError("this gateway's configuration is complete: it was loaded, or is in use")

    @property
    def config(self) -> GatewayConfig:
        """The validated configuration. Raises `ConfigError` with every problem."""
        return self.loaded().config

    def loaded(self) -> Loaded:
        """Return the validated configuration with its sources. Raises `ConfigError`."""
        if self._loaded is None:
            from propylon.build.problems import with_build_problems
            from propylon.config.problems import ConfigError

            try:
                self._loaded = self._program.loaded()
            except ConfigError as error:
                raise with_build_problems(error, Path()) from None
        return self._loaded

    def _with_listen(self, loaded: Loaded) -> Loaded:
        """Return the configuration with the address given to `run`."""
        if self._listen is None:
            return loaded
        return replace(loaded, config=loaded.config.model_copy(update={"listen": self._listen}))

    def snapshot(self) -> Snapshot:
        """Compile the configuration.

        Raises:
            ConfigError: with every problem of the configuration.
            BuildError: a configured object cannot be created.
        """
        if self._snapshot is None:
            self._snapshot = self.compiled()
        return self._snapshot

    def compiled(self) -> Snapshot:
        """Compile a new snapshot that shares no service with another one. Raises as `snapshot` does."""
        from propylon.build.snapshot import build_snapshot

        base_dir = Path() if self._modules is None else self._modules.folder
        return build_snapshot(self.config, base_dir=base_dir)

    # running

    def run(self, listen: str | None = None, *, watch: bool = False) -> None:
        """Serve until SIGTERM, SIGINT or SIGUSR2, then drain; SIGHUP reloads the configuration.

        SIGUSR2 announces a restart: WebSockets are closed with 1012 (Service Restart) instead of 1001 (Going Away).

        Args:
            listen: an address to listen on instead of the configured ones.
            watch: reload whenever a file of the configuration, or a Python module beside it, changes.

        Raises:
            SystemExit: it cannot start; Python prints every problem and exits with 1. The cause is what `start` raises.
        """
        from propylon.runtime.process import Process
        from propylon.runtime.refusal import EXPECTED, refusal

        try:
            if listen is not None:
                self._listen_at(listen)
            Process(self).run(watch)
        except EXPECTED as error:
            raise SystemExit(refusal(error, self._loaded)) from error

    def _listen_at(self, address: str) -> None:
        """Listen on an address instead of the configured ones. Raises `ConfigError`."""
        from propylon.config.program import Program

        if self._loaded is None:
            self._program.listen_at(address)
            self._listen = self.config.listen
        else:
            self._listen = Program({"listen": address}).loaded().config.listen
            self._loaded = self._with_listen(self._loaded)

    async def start(self) -> None:
        """Start to serve in the running event loop; on a free port of 127.0.0.1 if no address is configured.

        Raises:
            ConfigError, BuildError: the configuration is wrong.
            TlsError: a certificate cannot be used.
            ListenError: an address cannot be listened on.
        """
        from propylon.runtime.reload import Reloader
        from propylon.runtime.worker import Worker

        if self._loaded is None:
            self._program.listen_by_default("127.0.0.1:0")

        if self._worker is not None:
            raise RuntimeError("this gateway runs already")
        worker = Worker(self.snapshot(), self.config.listen)
        await worker.start()
        self._worker = worker
        self._reloader = Reloader(worker, self.loaded(), self._reread, self._adopt, self._modules)

    async def stop(self, *, restart: bool = False) -> None:
        """Drain exchanges in flight, then close everything.

        Args:
            restart: close WebSockets with 1012 (Service Restart) instead of 1001 (Going Away).
        """
        if self._worker is not None:
            worker, self._worker = self._worker, None
            if self._reloader is not None:
                self._reloader.close()
                self._reloader = None
            self._snapshot = None  # its connections are closed: the next start compiles another one
            await worker.stop(restart)

    async def reload(self, config: GatewayConfig | None = None) -> Reload:
        """Apply a configuration while the gateway runs: the given one, or its source read again.

        It is compiled beside the current one and replaces it atomically. Exchanges in flight keep the snapshot they
        began with. A call during a reload is served by the next reload; of several, the last configuration wins.

        Returns:
            the changes.

        Raises:
            ConfigError, BuildError: the configuration is invalid; nothing has changed.
            TlsError, ListenError: a certificate cannot be used, or an address not be bound; nothing has changed.
            RuntimeError: the gateway is not running.
        """
        from propylon.config.load import Loaded

        if self._reloader is None:
            raise RuntimeError("this gateway does not run: start it first")
        return await self._reloader.reload(None if config is None else self._with_listen(Loaded(config)))

    def _reread(self) -> Loaded:
        return self._with_listen(self.loaded() if self._read is None else self._read())

    def _adopt(self, loaded: Loaded, snapshot: Snapshot) -> None:
        """Record the configuration that the worker has switched to."""
        self._loaded, self._snapshot = loaded, snapshot

    @property
    def reloader(self) -> Reloader | None:
        """The reloader while the gateway runs, for `runtime/process.py`."""
        return self._reloader

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    @property
    def addresses(self) -> list[str]:
        """The bound addresses with their actual ports; empty while it is not running."""
        return self._worker.addresses if self._worker is not None else []

    @property
    def url(self) -> str:
        """The URL of the first TCP listener. Raises `RuntimeError` while there is none."""
        for address, listener in zip(self.addresses, self.config.listen, strict=False):
            if not address.startswith("unix:"):
                host, _, port = address.rpartition(":")
                reachable = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
                return f"{'http' if listener.tls is None else 'https'}://{reachable}:{port}"
        raise RuntimeError("this gateway does not listen on TCP, or does not run")

    @property
    def port(self) -> int:
        """The port of the first TCP listener."""
        return int(self.url.rpartition(":")[2])
