"""Gateway: what a Python program builds, and what a YAML file loads into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from propylon.config.load import Loaded
    from propylon.config.schema import GatewayConfig, ListenerConfig
    from propylon.engine.snapshot import Snapshot
    from propylon.runtime.modules import Modules
    from propylon.runtime.reload import Reload, Reloader
    from propylon.runtime.worker import Worker


class Gateway:
    """A gateway, from its first route to its last request.

    The keyword arguments of every method are the keys of the configuration file, with the same meaning; policies may
    also be plain callables and objects. Nothing is checked before the gateway is used, so that all problems come
    together.

        gateway = Gateway()
        gateway.route("/users/*", target="http://127.0.0.1:3001", strip="/users", policies=[require_key])
        gateway.run("127.0.0.1:8080")
    """

    def __init__(self, **settings: Any) -> None:
        """Take top-level keys, as `listen`, `policies`, `trusted_proxies`."""
        self._data: dict[str, Any] = dict(settings)
        self._data["routes"] = list(settings.get("routes", ()))
        self._data["services"] = dict(settings.get("services", {}))
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
        """Make a gateway of a configuration that has been checked already.

        Args:
            base_dir: the folder of its file, where modules of policies are looked for too.
            read: reads the configuration anew, for `reload`.
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
        """Make a gateway of a YAML file.

        Raises:
            ConfigError: with every problem of the file.
        """
        from propylon.config.load import load

        return cls._of(load(path), Path(path).parent, lambda: load(path))

    def reload_from(self, read: Callable[[], Loaded], modules: Modules) -> None:
        """Let `reload` find the configuration by `read`, with `modules` imported anew."""
        self._read, self._modules = read, modules

    def route(self, path: str | Sequence[str] | None = None, **keys: Any) -> Self:
        """Add a route: what it matches, its policies, and one of `target`, `service`, `redirect`, `respond`."""
        self._change()
        self._data["routes"].append({**({"path": path} if path is not None else {}), **keys})
        return self

    def service(self, name: str, endpoints: Sequence[str | Mapping[str, Any]] = (), **keys: Any) -> Self:
        """Add a service that routes can name: with its endpoints, or with `discover` and what finds them."""
        self._change()
        self._data["services"][name] = {**({"endpoints": list(endpoints)} if endpoints else {}), **keys}
        return self

    def policy(self, policy: Callable[..., Any] | object) -> Any:
        """Add a policy for every route; also usable as a decorator."""
        self._change()
        self._data["policies"] = [*self._data.get("policies", ()), policy]
        return policy

    def _change(self) -> None:
        if self._loaded is not None:
            raise RuntimeError("this gateway's configuration is complete: it was loaded, or is in use")

    @property
    def config(self) -> GatewayConfig:
        """The checked configuration. Raises `ConfigError` with every problem."""
        return self.loaded().config

    def loaded(self) -> Loaded:
        """Return the checked configuration with all that is known of it. Raises `ConfigError`."""
        if self._loaded is None:
            from propylon.config.load import Loaded, validate

            data = {key: value for key, value in self._data.items() if value not in ([], {})}
            self._loaded = Loaded(validate(data))
        return self._loaded

    def _elsewhere(self, loaded: Loaded) -> Loaded:
        """Return the configuration with the address that `run` was told."""
        if self._listen is None:
            return loaded
        return replace(loaded, config=loaded.config.model_copy(update={"listen": self._listen}))

    def snapshot(self) -> Snapshot:
        """Compile the configuration.

        Raises:
            ConfigError: with every problem of the configuration.
            BuildError: what is configured cannot be made.
        """
        if self._snapshot is None:
            self._snapshot = self.compiled()
        return self._snapshot

    def compiled(self) -> Snapshot:
        """Compile the configuration anew: services of its own, which nobody else uses. Raises as `snapshot` does."""
        from propylon.build.snapshot import build_snapshot

        base_dir = Path() if self._modules is None else self._modules.folder
        return build_snapshot(self.config, base_dir=base_dir)

    # running

    def run(self, listen: str | None = None, *, watch: bool = False) -> None:
        """Serve until SIGTERM, SIGINT or SIGUSR2, then finish what is under way; SIGHUP reloads the configuration.

        SIGUSR2 is for whoever starts it anew: clients of WebSockets are then told to come back (1012, not 1001).

        Args:
            listen: an address to listen on instead of the configured ones.
            watch: reload whenever a file of the configuration, or a Python module beside it, changes.

        Raises:
            ConfigError, BuildError: the configuration is wrong.
            ListenError: an address cannot be listened on.
        """
        from propylon.runtime.process import Process

        if listen is not None:
            from propylon.config.load import validate

            self._listen = validate({"listen": listen}).listen
            self._loaded = self._elsewhere(self.loaded())
        Process(self).run(watch)

    async def start(self) -> None:
        """Start to serve in the running event loop; on a free port of 127.0.0.1 if no address is configured.

        Raises as `run` does.
        """
        from propylon.runtime.reload import Reloader
        from propylon.runtime.worker import Worker

        if self._loaded is None and "listen" not in self._data:
            self._data["listen"] = "127.0.0.1:0"

        if self._worker is not None:
            raise RuntimeError("this gateway runs already")
        worker = Worker(self.snapshot(), self.config.listen)
        await worker.start()
        self._worker = worker
        self._reloader = Reloader(worker, self.loaded(), self._read_anew, self._adopt, self._modules)

    async def stop(self, *, restart: bool = False) -> None:
        """Finish what is under way, then close everything.

        Args:
            restart: tell the clients of WebSockets that the gateway comes back (1012), and not that it goes (1001).
        """
        if self._worker is not None:
            worker, self._worker = self._worker, None
            if self._reloader is not None:
                self._reloader.close()
                self._reloader = None
            self._snapshot = None  # its connections are closed: another start compiles it anew
            await worker.stop(restart)

    async def reload(self, config: GatewayConfig | None = None) -> Reload:
        """Take up a new configuration while the gateway runs: the one given, or what it was loaded from, read anew.

        It is compiled beside the one in use, and takes its place at once or not at all. Exchanges under way finish on
        the one they began with. Called while a reload is under way, it is the next one's turn, and the last one wins.

        Returns:
            what is different now.

        Raises:
            ConfigError, BuildError: the configuration is wrong; nothing has changed.
            TlsError, ListenError: a certificate cannot be used, or an address listened on; nothing has changed.
            RuntimeError: the gateway does not run.
        """
        from propylon.config.load import Loaded

        if self._reloader is None:
            raise RuntimeError("this gateway does not run: start it first")
        return await self._reloader.reload(None if config is None else self._elsewhere(Loaded(config)))

    def _read_anew(self) -> Loaded:
        return self._elsewhere(self.loaded() if self._read is None else self._read())

    def _adopt(self, loaded: Loaded, snapshot: Snapshot) -> None:
        """Go on with another configuration: the worker has taken it up."""
        self._loaded, self._snapshot = loaded, snapshot

    @property
    def reloader(self) -> Reloader | None:
        """What reloads it while it runs, for the process that it has to itself."""
        return self._reloader

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    @property
    def addresses(self) -> list[str]:
        """Where it listens, with the real ports; empty while it does not run."""
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
