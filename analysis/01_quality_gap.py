"""Notebook 01: how far apart the judge finds the two sides of a pair, iteration by iteration.

The gap by the run's own judge with its interval and its noise floor, as ranks, by fixed judges, and the gap in length.

    python -m toolkit browse --notebook gap
    python analysis/01_quality_gap.py --store runs/store.duckdb
    marimo export html analysis/01_quality_gap.py --no-include-code -o gap.html -- --store runs/store.duckdb

The exported page holds its data, but fetches marimo's viewer from cdn.jsdelivr.net; `browse` needs no network.
"""

import marimo

app = marimo.App(width="medium", app_title="01 Quality gap")


@app.cell
def _():
    import marimo as mo

    from toolkit.reporting import charts, frames, panels

    return charts, frames, mo, panels


@app.cell
def _(frames, mo):
    store = frames.reader(mo.cli_args())
    names = frames.runs(store)
    chosen = mo.ui.multiselect(names, value=names, label="Runs")
    return chosen, names, store


@app.cell
def _(chosen, mo, store):
    mo.vstack(
        [
            mo.md(
                """
                # 01 Quality gap

                A pair teaches through the difference between its sides. This page follows that difference over the
                iterations of each run. Filled marks are the pairs, hollow dashed ones the **noise floor**: two draws of
                one model for the same prompt, nothing selected. Lines are 95 % intervals.
                """
            ),
            mo.md(f"Store: `{store.path.name}`"),
            chosen,
        ]
    )
    return


@app.cell
def _(frames, mo, names, panels, store):
    plain = frames.plain_gaps(store)
    mo.vstack(
        [
            *([] if frames.diagnosed(store) else [panels.undiagnosed(store, names)]),
            mo.md("## The sets"),
            mo.Html("<p>Means of the stored pairs, as the run's own judge scored them. Imported pairs have no score.</p>"),
            mo.Html(panels.table(plain.frame)),
            panels.sql(plain),
        ]
    )
    return (plain,)


@app.cell
def _(charts, chosen, frames, panels, store):
    gap = frames.summaries(store, chosen.value, ["gap"])
    panels.measured(
        "Gap by the run's own judge",
        gap,
        lambda frame: charts.curves(frame, "chosen − rejected (points)", zero=True),
        "Each iteration is judged by its own M_i, so a gap that moves may be the judge moving.",
    )
    return (gap,)


@app.cell
def _(chosen, frames, panels, store):
    fall = frames.changes(store, chosen.value, ["gap", "rank_gap", "text.length_gap"])
    panels.change("Did it change?", fall)
    return (fall,)


@app.cell
def _(charts, frames, gap, panels):
    bars = frames.published_bars("gap")
    panels.measured(
        "Beside the paper's bars",
        gap,
        lambda frame: charts.beside_published(frame, bars, "chosen − rejected (points)"),
        f"Grey bars: {frames.PUBLISHED}, read off a figure to about 0.005, no intervals given. Other model, other judge: "
        "their course can be compared, their height cannot.",
    )
    return (bars,)


@app.cell
def _(charts, chosen, frames, panels, store):
    ranks = frames.summaries(store, chosen.value, ["rank_gap"])
    panels.measured(
        "Gap in ranks",
        ranks,
        lambda frame: charts.curves(frame, "places between the two sides", zero=True),
        "Ranks do not move with the scale of a judge.",
    )
    return (ranks,)


@app.cell
def _(charts, chosen, frames, mo, panels, store):
    judges = [name for name in frames.metric_names(store) if name.startswith("gap/")]
    fixed = {name: frames.summaries(store, chosen.value, [name]) for name in judges}
    mo.vstack(
        [
            panels.measured(
                f"Gap by the fixed judge {name.removeprefix('gap/')}",
                shown,
                lambda frame: charts.curves(frame, "chosen − rejected (points)", zero=True),
                "One judge for every iteration: a gap that moves here is the pairs moving.",
            )
            for name, shown in fixed.items()
        ]
        or [mo.md("## Gap by a fixed judge"), mo.Html(panels.NO_FIXED_JUDGE)]
    )
    return (fixed,)


@app.cell
def _(charts, chosen, frames, panels, store):
    length = frames.summaries(store, chosen.value, ["text.length_gap"])
    panels.measured(
        "Gap in length",
        length,
        lambda frame: charts.curves(frame, "chosen − rejected (characters)", zero=True),
        "Where the chosen side is always the longer one, length may be what is learned.",
    )
    return (length,)


if __name__ == "__main__":
    app.run()
