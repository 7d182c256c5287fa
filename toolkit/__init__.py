"""Temporal self-rewarding preference data: made, judged, paired, versioned, trained on, measured.

Importing this package loads nothing heavy: DuckDB comes with the first name taken from it, torch and vLLM with the
stage that needs them. The Python API is toolkit.api.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.api import open_lab, open_store

__version__ = "0.1.0"
__all__ = ["__version__", "open_lab", "open_store"]


def __getattr__(name: str) -> Any:
    """open_lab and open_store, when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import toolkit.api as api

    return getattr(api, name)
