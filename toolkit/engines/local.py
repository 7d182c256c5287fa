"""An engine opened from this process: every kind but the cluster's, whose workers open theirs by this too."""

from __future__ import annotations

from pathlib import Path

from toolkit.config import Engine as Settings
from toolkit.engines.protocol import Engine
from toolkit.errors import RecipeError


def open_local(path: Path, settings: Settings, trust_remote_code: bool) -> Engine:
    """The engine of `settings.kind`, loaded with this checkpoint; only what it needs is imported."""
    match settings.kind:
        case "vllm":
            from toolkit.engines.vllm import VllmEngine

            return VllmEngine(path, settings, trust_remote_code)
        case "transformers":
            from toolkit.engines.transformers import TransformersEngine

            return TransformersEngine(path, settings, trust_remote_code)
        case "openai":
            from toolkit.engines.openai import OpenAIEngine

            return OpenAIEngine(path, settings)
        case "scripted":
            from toolkit.engines.scripted import ScriptedEngine

            return ScriptedEngine(path, settings)
        case "ray":
            raise RecipeError("a worker of a Ray cluster cannot be a Ray cluster", remedy="see engine.cluster.inner")
