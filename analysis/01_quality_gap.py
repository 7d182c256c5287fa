# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Notebook 01: how far apart the judge finds the two sides of a pair, iteration by iteration.

The gap by the run's own judge with its interval and its floor, as ranks, by fixed judges, and the gap in length.

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

    from toolkit.reporting.notebooks import frames, panels
    from toolkit.reporting.page import curves, pairs

    return curves, frames, mo, pairs, panels


@app.cell
def _(frames, mo):
    store = frames.reader(mo.cli_args())
    names = frames.runs(store)
    run = mo.ui.dropdown(names, value=names[0] if names else None, label="Run")
    beside = mo.ui.multiselect(names, value=names, label="beside")
    return beside, run, store


@app.cell
def _(beside, frames, mo, panels, run, store):
    said = "A pair teaches through the difference between its sides. This page follows that difference over iterations."
    mo.vstack(
        [
            panels.head("01 Quality gap", said, store, mo.hstack([run, beside], justify="start", wrap=True)),
            panels.found(
                "All sets of the store",
                "Means of the stored pairs, as the run's own judge scored them. Imported pairs have no score.",
                frames.all_sets(store),
            ),
        ]
    )
    return


@app.cell
def _(beside, mo, pairs, panels, run, store):
    mo.stop(run.value is None)
    panels.section(store.section(pairs.chance, run.value, beside.value))
    return


@app.cell
def _(beside, curves, mo, panels, run, store):
    mo.stop(run.value is None, panels.without_runs())
    course = store.section(curves.curves, run.value, beside.value)
    panels.section(course, lambda figure: "gap" in figure.title)
    return


@app.cell
def _(mo, pairs, panels, run, store):
    mo.stop(run.value is None)
    spread = store.section(pairs.distributions, run.value)
    panels.section(spread, lambda figure: "gap" in figure.title)
    return


@app.cell
def _(mo, pairs, panels, run, store):
    mo.stop(run.value is None)
    panels.section(store.section(pairs.yields, run.value))
    return


if __name__ == "__main__":
    app.run()
