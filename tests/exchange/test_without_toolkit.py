"""A store and its exports are read by who never heard of this toolkit: json, pandas and DuckDB alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.exchange.test_exporting import ANOTHER, ROW, frozen
from toolkit.exchange.exporting import export_pairs
from toolkit.store.database import Store

SHAPES = ("openrlhf", "trl", "sharegpt", "jsonl", "parquet")  # "hf" is a folder of the library datasets
READER = """
import json, pathlib, sys
sys.modules["toolkit"] = None  # so that an import of it fails
import duckdb, pandas
folder = pathlib.Path(sys.argv[1])

def text(side):  # an answer alone, or the turns before it too
    last = side[-1] if isinstance(side, list) else side
    return last if isinstance(last, str) else last.get("content", last.get("value"))

said = {}
for shape in sys.argv[2:]:
    (file,) = json.loads((folder / shape / "manifest.json").read_text(encoding="utf-8"))["files"].keys() - {
        "dataset_info.json", "README.md"}
    file = folder / shape / file
    if file.suffix == ".parquet":
        rows = pandas.read_parquet(file).to_dict("records")
    else:
        rows = [json.loads(line) for line in file.read_bytes().split(b"\\n") if line]
    said[shape] = sorted([text(row["chosen"]), text(row["rejected"]), row["chosen_role"]] for row in rows)
store = duckdb.connect(str(folder / "s.duckdb"), read_only=True)
said["store"] = sorted(store.sql("SELECT chosen_text, rejected_text, chosen_role FROM pairs").fetchall())
print(json.dumps(said))
"""


def test_a_store_and_its_exports_are_read_by_json_pandas_and_duckdb_alone(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        frozen(store, "set", ROW, ANOTHER)
        for shape in SHAPES:
            export_pairs(store, "set", tmp_path / shape, shape)
    line = [sys.executable, "-c", READER, str(tmp_path), *SHAPES]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = sorted([said[2], said[3], said[5]] for said in (ROW, ANOTHER))
    assert json.loads(done.stdout) == dict.fromkeys((*SHAPES, "store"), wanted)
