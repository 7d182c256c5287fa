"""Temporal self-rewarding preference data: made, judged, paired, versioned, trained on, measured.

Importing this package loads nothing heavy: torch, vLLM and DuckDB come with the stage that needs them.
"""

__version__ = "0.1.0"
