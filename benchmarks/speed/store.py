"""The store against its peers: selection, versions, ingest, growth. Every contender in a process of its own.

    python benchmarks/speed/store.py --out benchmarks/results/store.json

Seconds depend on the machine and on what else runs on it; the ratios are the message. DVC takes part where `dvc` is on
the PATH (python -m venv D; D/bin/pip install dvc; PATH=D/bin:$PATH). What runs is in store_selection.py and
store_versions.py.

Left out: several writers, remote storage, and data beyond this machine's disk.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from harness import Benchmark, Contenders, Found, Part

PEERS = ("duckdb", "pandas", "pyarrow", "datasets")
WIDTHS = (10, 10, 9, 9, 8, 14, 9)
run = Contenders("store_contenders.py").run
may_fail = Contenders("store_contenders.py", may_fail=True).run


def selection(options: argparse.Namespace, folder: Path) -> Found:
    """21 judged answers a prompt to the pairs of both phases; slow contenders on a share, scaled linearly."""
    full = options.prompts
    plan = {
        ("select_sql", "hex"): full,
        ("select_pandas", "hex"): full,
        ("select_pandas_apply", "hex"): min(full, options.share // 10),
        ("select_datasets", "hex"): min(full, options.share),
        ("select_sql", "integer"): full,
        ("select_pandas", "integer"): full,
    }
    contenders: dict[str, dict[str, Found]] = {"hex": {}, "integer": {}}
    for (name, ids), n in plan.items():
        times = options.repeat if n == full else 1
        contenders[ids][name] = _selected(folder, name, ids, n, times)
    for by_name in contenders.values():
        for found in by_name.values():
            found["measured_seconds"] = found["seconds"]
            for field in ("seconds", "cpu_seconds"):
                found[field] = round(found[field] * full / found["measured_prompts"], 3)
    compared = {ids: _against("select_sql", by_name, "seconds") for ids, by_name in contenders.items()}
    integers = {f"{name}_integer": found for name, found in compared["integer"].items()}
    return {"rows": full * 21, "contenders": compared["hex"] | integers}


def _selected(folder: Path, name: str, ids: str, n: int, times: int) -> Found:
    """The median of some runs, refused where it selected other pairs than select_sql on the same rows."""
    path = folder / f"{ids}-{n}.parquet"
    if not path.exists():
        run("rows", path=str(path), prompts=n, ids=ids)
    found = _median([run(name, path=str(path), out=str(folder / name), prompts=n) for _ in range(times)])
    if name != "select_sql":
        expected = run("select_sql", path=str(path), out=str(folder / "check"), prompts=n)
        if found["answer"] != expected["answer"]:
            raise SystemExit(f"{name} selected other pairs than select_sql on {n} prompts: {found}, {expected}")
    return found | {"measured_prompts": n, "measured_rows": n * 21}


def versions(options: argparse.Namespace, folder: Path) -> Found:
    """A version in which one in a hundred of the pairs changed: seconds and bytes, here and with the peers."""
    n, path, out = options.pairs, str(folder / "store.duckdb"), str(folder / "set")
    base = run("store_base", path=path, prompts=n, size=options.text)
    contenders = {
        "store_commit": run(
            "store_commit", path=path, prompts=n, changed=max(1, n // 100), size=options.text, rounds=options.rounds
        )
    }
    questions = run("store_questions", path=path, prompts=n)
    contenders["copy_file"] = run("copy_file", path=path, prompts=n)
    exported = run("export_set", path=path, out=out, prompts=n)
    contenders["save_datasets"] = run("save_datasets", out=out, prompts=n)
    if dvc := shutil.which("dvc"):
        contenders["dvc_add"] = run("dvc_add", out=out, dvc=dvc, prompts=n)
    else:
        contenders["dvc_add"] = {
            "not_measured": "dvc is not on the PATH: pip install dvc into an environment of its own"
        }
    staged = run("stage_from_python", path=path, prompts=n)
    lineage = may_fail("lineage", path=path, prompts=n)
    for found in contenders.values():
        found["measured_prompts"] = n
    compared = _against("store_commit", _against("store_commit", contenders, "seconds"), "bytes_added")
    more = {
        "base": base,
        "questions": questions,
        "lineage": lineage,
        "staged_from_python": staged,
        "parquet_bytes": exported["bytes"],
    }
    return {"pairs": n, "text_characters": options.text, "contenders": compared} | more


def ingest(options: argparse.Namespace, folder: Path) -> Found:
    """Answers of 1 KB streamed in through Store.add, a commit for each batch of 256."""
    arguments = {"answers": options.answers, "batch": 256, "size": 1024}
    return {"contenders": {"ingest": run("ingest", path=str(folder / "ingest.duckdb"), **arguments)}} | arguments


def growth(options: argparse.Namespace, folder: Path) -> Found:
    """Selection, commit and the store's own selection at three sizes each; texts of 64 characters."""
    points: list[Found] = []
    for n in options.growth:
        rows, path = str(folder / "growth.parquet"), str(folder / f"growth-{n}.duckdb")
        run("rows", path=rows, prompts=n, ids="hex")
        picked = run("select_sql", path=rows, out=str(folder / "growth"), prompts=n)
        run("store_base", path=path, prompts=n, size=64)
        made = run("store_commit", path=path, prompts=n, changed=max(1, n // 100), size=64, rounds=1)
        Path(path).unlink()
        points.append({"prompts": n, "selection": picked, "commit": made})
    stored = []
    for n in options.judged:
        path = str(folder / f"judged-{n}.duckdb")
        run("judged_base", path=path, prompts=n)
        stored.append({"prompts": n} | run("select_store", path=path, prompts=n))
        Path(path).unlink()
    return {"points": points, "select_in_sql": stored}


def _in_a_folder(part: Callable[[argparse.Namespace, Path], Found]) -> Part:
    """The part in a temporary folder of its own."""

    def measured(options: argparse.Namespace) -> Found:
        with tempfile.TemporaryDirectory(prefix="store-benchmark-") as folder:
            return part(options, Path(folder))

    return measured


PARTS = {one.__name__: _in_a_folder(one) for one in (selection, versions, ingest, growth)}


def _median(found: list[Found]) -> Found:
    ordered = sorted(found, key=lambda one: one["seconds"])
    return ordered[len(ordered) // 2] | {"seconds_each": [one["seconds"] for one in found]}


def _against(base: str, contenders: dict[str, Found], field: str) -> dict[str, Found]:
    """Each contender with its ratio to the toolkit's: 10 is ten times as many."""
    most = contenders[base][field]
    return {
        name: found | ({f"{field}_ratio": round(found[field] / most, 2)} if field in found and most else {})
        for name, found in contenders.items()
    }


def targets(parts: Found) -> list[tuple[str, float, bool]]:
    made: list[tuple[str, float, bool]] = []
    if "selection" in parts:
        contenders = parts["selection"]["contenders"]
        for name in ("select_pandas", "select_pandas_apply", "select_datasets", "select_pandas_integer"):
            ratio = contenders[name]["seconds_ratio"]
            made.append((f"selection at least 10 times faster than {name}", ratio, ratio >= 10))
        peak = contenders["select_sql"]["peak_mb"]
        made.append(("selection under 3 GB", peak, peak < 3 * 1024))
    if "growth" in parts:
        peak = parts["growth"]["select_in_sql"][-1]["peak_mb"]
        made.append(("selection from whole records under 3 GB", peak, peak < 3 * 1024))
    if "ingest" in parts:
        rate = parts["ingest"]["contenders"]["ingest"]["rows_per_second"]
        made.append(("ingest of 10,000 rows a second", rate, rate >= 10_000))
    return made


def table(parts: Found) -> Iterator[str]:
    """The contenders, a line each; the growth, a line a size."""
    heads = ("measured", "seconds", "cpu s", "peak MB", "x time", "bytes", "x bytes")
    yield f"{'part':<11}{'contender':<22}" + "".join(
        f"{head:>{width}}" for head, width in zip(heads, WIDTHS, strict=True)
    )
    for part, result in parts.items():
        for name, found in result.get("contenders", {}).items():
            numbers = [found.get(key, "") for key in ("measured_prompts", "seconds", "cpu_seconds", "peak_mb")]
            numbers += [found.get(key, "") for key in ("seconds_ratio", "bytes_added", "bytes_added_ratio")]
            cells = zip(numbers, WIDTHS, strict=True)
            yield f"{part:<11}{name:<22}" + "".join(f"{number:>{width}}" for number, width in cells)
    if more := parts.get("versions"):
        for name in ("questions", "lineage", "staged_from_python"):
            told = [f"{key} {value}" for key, value in more[name].items() if "seconds" in key or key == "failed"]
            yield f"versions   {name}: {', '.join(told)}"
        yield f"versions   {more['base']['bytes_per_pair']:.0f} bytes a pair, two answers and a prompt"
    for point in parts.get("growth", {}).get("points", []):
        times = f"selection {point['selection']['seconds']:.2f} s, commit {point['commit']['seconds']:.2f} s"
        yield f"growth     {point['prompts']:>9} prompts: {times}"
    for point in parts.get("growth", {}).get("select_in_sql", []):
        yield f"growth     {point['prompts']:>9} prompts: select_in_sql {point['seconds']:.2f} s, {point['peak_mb']} MB"


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1_000_000, help="selection: prompts, 21 answers each")
    parser.add_argument("--share", type=int, default=50_000, help="selection: prompts of the slow contenders")
    parser.add_argument("--repeat", type=int, default=3, help="selection: runs of the fast contenders, median counts")
    parser.add_argument("--pairs", type=int, default=1_000_000, help="versions: pairs of the set")
    parser.add_argument("--text", type=int, default=1024, help="versions: characters of an answer")
    parser.add_argument("--rounds", type=int, default=3, help="versions: commits in a row")
    parser.add_argument("--answers", type=int, default=102_400, help="ingest: answers")
    parser.add_argument("--growth", type=int, nargs=3, default=[100_000, 300_000, 1_000_000], help="growth: prompts")
    parser.add_argument(
        "--judged", type=int, nargs=3, default=[20_000, 200_000, 1_000_000], help="growth: prompts in a store"
    )
    return parser


def _peers(options: argparse.Namespace) -> dict[str, str]:
    found = {name: metadata.version(name) for name in PEERS}
    if dvc := shutil.which("dvc"):
        done = subprocess.run([dvc, "--version"], capture_output=True, text=True, check=False)
        found["dvc"] = done.stdout.strip()
    return found


if __name__ == "__main__":
    Benchmark("store", PARTS, targets, table).main(_options(), _peers)
