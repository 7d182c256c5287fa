"""Engines by checkpoint: opened when first asked for; where too many are loaded, the least recently used takes the new
checkpoint's weights if it can, or is closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from toolkit.config import Engine as Settings
from toolkit.engines.local import open_local
from toolkit.engines.protocol import Engine, Swapping
from toolkit.precision import resolve_device

Opener = Callable[[Path, Settings, bool], Engine]


def open_engine(path: Path, settings: Settings, trust_remote_code: bool) -> Engine:
    """The engine of `settings.kind`, loaded with this checkpoint, here or on a cluster."""
    if settings.kind != "ray":
        return open_local(path, settings, trust_remote_code)
    from toolkit.engines.ray import RayEngine

    return RayEngine(path, settings, trust_remote_code)


class EnginePool:
    """At most `settings.resident` loaded engines."""

    def __init__(self, settings: Settings, trust_remote_code: bool = False, opener: Opener = open_engine) -> None:
        self._settings, self._trust, self._open = settings, trust_remote_code, opener
        self._engines: dict[str, Engine] = {}  # least recently used first

    def has(self, key: str) -> bool:
        return key in self._engines

    def get(self, key: str, path: Path) -> Engine:
        """The engine of this checkpoint, opened if need be."""
        engine = self._engines.pop(key, None)
        if engine is None:
            engine = self._swapped(path) or self._open(path, self._settings, self._trust)
        self._engines[key] = engine
        return engine

    def _swapped(self, path: Path) -> Engine | None:
        """Room for this checkpoint: an engine that took its weights, or None where one was closed or none is needed."""
        while len(self._engines) >= self._settings.resident:
            oldest = self._engines.pop(next(iter(self._engines)))
            if isinstance(oldest, Swapping) and oldest.swap(path):
                return oldest
            oldest.close()
        return None

    def release(self) -> None:
        """Give memory to a trainer: on a GPU every engine ends; a CPU's memory holds both."""
        if resolve_device(self._settings.device) == "gpu":
            self.close()

    def close(self) -> None:
        while self._engines:
            self._engines.pop(next(iter(self._engines))).close()
