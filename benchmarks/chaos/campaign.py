"""The fault campaign: a small run is disturbed, started again until it completes, and held row by row against an
undisturbed one (trial.py says when a fault is survived).

    python -m benchmarks.chaos.campaign --out benchmarks/results/chaos.json          # or: make chaos
    python -m benchmarks.chaos.campaign --real --out benchmarks/results/chaos_real.json

`--real` disturbs a run of the embedded model, vLLM and OpenRLHF: at every stage boundary, and each of the two children.
`--without PROTECTION` takes a protection out of every launch: the campaign must then fail.

Left out: power loss (what the disk had acknowledged is taken to be there), Ctrl-C while Python still imports, and more
memory than there is (a child that the kernel would end is ended by the same signal).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.chaos.damage import damages
from benchmarks.chaos.fault import Fault
from benchmarks.chaos.faults import real, running
from benchmarks.chaos.nursery import Nursery
from benchmarks.chaos.stand import Stand
from benchmarks.chaos.trial import Campaign, Outcome
from benchmarks.chaos.victim import PROTECTIONS
from toolkit.provenance import capture
from toolkit.trust.safe_files import write_file

PATIENCE, REAL_PATIENCE = 300.0, 1800.0


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Faults tried and survived, rows lost and rows too many, in all and by kind."""
    kinds = dict.fromkeys(outcome.fault.kind for outcome in outcomes)
    by_kind = {kind: counts([o for o in outcomes if o.fault.kind == kind]) for kind in kinds}
    return {**counts(outcomes), "by_kind": by_kind}


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {
        "tried": len(outcomes),
        "survived": sum(outcome.survived for outcome in outcomes),
        "rows_lost": sum(outcome.lost for outcome in outcomes),
        "rows_doubled": sum(outcome.doubled for outcome in outcomes),
        "launches": sum(outcome.launches for outcome in outcomes),
    }


def row(outcome: Outcome) -> dict[str, Any]:
    """One fault in the report."""
    fault = outcome.fault
    about = {"kind": fault.kind, "fault": fault.name, "ends": fault.ends, "survived": outcome.survived}
    return {**about, "launches": outcome.launches, "seconds": outcome.seconds, "problems": list(outcome.problems)}


def line(outcome: Outcome) -> str:
    what = "survived" if outcome.survived else "NOT SURVIVED: " + "; ".join(outcome.problems)
    return f"{outcome.fault.kind:<34} {outcome.fault.name:<58} {outcome.seconds:>6.1f} s  {what}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--seed", type=int, default=0, help="draws the random moments")
    parser.add_argument("--only", default="", help="faults whose kind or name contains this")
    parser.add_argument("--without", default="", choices=["", *PROTECTIONS], help="protection to take out")
    parser.add_argument("--real", action="store_true", help="the embedded model, vLLM and OpenRLHF; takes long")
    return parser.parse_args()


def begun(options: argparse.Namespace, folder: Path) -> tuple[Campaign, list[Fault]]:
    """The campaign after its undisturbed run, and what it is to try."""
    stand = Stand.real(folder / "stand") if options.real else Stand.made(folder / "stand")
    campaign = Campaign(folder, stand, Nursery(), REAL_PATIENCE if options.real else PATIENCE).begun()
    faults = real() if options.real else running(campaign.steps, campaign.answers(), options.seed) + damages()
    chosen = [fault for fault in faults if options.only in f"{fault.kind} {fault.name}"]
    return replace(campaign, without=options.without), chosen


def report(options: argparse.Namespace, campaign: Campaign, planned: int, outcomes: Sequence[Outcome]) -> None:
    """Written after every fault: what was found so far, of how many."""
    launch = capture("fault campaign", {name: str(value) for name, value in vars(options).items()})
    rows = sum(counted.total() for counted in (campaign.rows or {}).values())
    undisturbed = {"rows": rows, "steps": campaign.steps, "seconds": round(campaign.seconds, 1)}
    about = {"command": "python -m benchmarks.chaos.campaign", "launch": vars(launch), "undisturbed": undisturbed}
    found = {**about, "planned": planned, **summary(outcomes), "faults": [row(outcome) for outcome in outcomes]}
    write_file(options.out, json.dumps(found, indent=2) + "\n")


def main() -> None:
    options = parse()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        Path(name).chmod(0o755)  # for a fault that makes the launch somebody else
        campaign, faults = begun(options, Path(name))
        for fault in faults:
            outcomes.append(campaign.tried(fault))
            print(line(outcomes[-1]), flush=True)
            if options.out:
                report(options, campaign, len(faults), outcomes)
        campaign.nursery.close()
    print(json.dumps(summary(outcomes), indent=2))
    raise SystemExit(0 if all(outcome.survived for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
