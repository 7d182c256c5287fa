# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Notebook 02: is the training signal fading? Similarity, likelihoods, the directional gradient itself, DPO's weight.

The gradient of DPO is beta times a weight times the directional gradient, grad log pi(chosen) - grad log pi(rejected).
The paper argues from similarity that it fades; here its norm is shown beside similarity, with a floor for both.

    python -m toolkit browse --notebook gradient
    python analysis/02_gradient_collapse.py --store runs/store.duckdb
    marimo export html analysis/02_gradient_collapse.py --no-include-code -o gradient.html -- --store runs/store.duckdb

The exported page holds its data, but fetches marimo's viewer from cdn.jsdelivr.net; `browse` needs no network.
"""

import marimo

app = marimo.App(width="medium", app_title="02 Gradient collapse")


@app.cell
def _():
    import marimo as mo

    from toolkit.reporting.notebooks import charts, frames, panels, parts
    from toolkit.reporting.page import curves, pairs, training

    return charts, curves, frames, mo, pairs, panels, parts, training


@app.cell
def _(frames, mo):
    store = frames.reader(mo.cli_args())
    names = frames.runs(store)
    run = mo.ui.dropdown(names, value=names[0] if names else None, label="Run")
    beside = mo.ui.multiselect(names, value=names, label="beside")
    return beside, run, store


@app.cell
def _(beside, mo, panels, run, store):
    said = "Do the two sides of a pair become alike, and does the gradient that tells them apart fade?"
    panels.head("02 Gradient collapse", said, store, mo.hstack([run, beside], justify="start", wrap=True))
    return


@app.cell
def _(mo, panels, run, store):
    mo.stop(run.value is None, panels.without_runs())
    panels.verdict(store.verdict(run.value))
    return


@app.cell
def _(beside, curves, mo, panels, run, store):
    mo.stop(run.value is None)
    course = store.section(curves.curves, run.value, beside.value)
    panels.section(course, lambda figure: "gap" not in figure.title)
    return


@app.cell
def _(mo, pairs, panels, run, store):
    mo.stop(run.value is None)
    spread = store.section(pairs.distributions, run.value)
    panels.section(spread, lambda figure: "gap" not in figure.title)
    return


@app.cell
def _(charts, frames, mo, panels, run, store):
    mo.stop(run.value is None)
    where = "Mean share of the squared norm, under the model that was then trained; n and intervals under Numbers."
    layers = frames.shares(store, run.value, "gradient.layer/")
    groups = frames.shares(store, run.value, "gradient.group/")
    mo.vstack(
        [
            panels.found("Where the gradient lies: by layer", where, layers, charts.shares),
            panels.found("Where the gradient lies: by parameter group", where, groups, charts.shares),
        ]
    )
    return


@app.cell
def _(charts, frames, mo, panels, run, store, training):
    mo.stop(run.value is None)
    trained = store.section(training.training, run.value)
    moved = frames.moved_pairs(store, run.value)
    mo.vstack(
        [
            panels.section(trained, lambda figure: figure.charts[0].x_name == "iteration", tables=False),
            panels.found("Both likelihoods of each pair", "A point is a pair.", moved, charts.displaced),
        ]
    )
    return


@app.cell
def _(frames, mo, panels, run, store):
    mo.stop(run.value is None)
    metrics = frames.metric_names(store, run.value)
    metric = mo.ui.dropdown(list(metrics), value=next(iter(metrics), None), label="Metric", searchable=True)
    mo.vstack([panels.heading(2, "Any other metric"), metric])
    return metric, metrics


@app.cell
def _(beside, metric, metrics, mo, panels, parts, run, store):
    mo.stop(metric.value is None)
    any_metric = parts.any_metric(metric.value, *metrics[metric.value])
    panels.section(store.section(any_metric, run.value, beside.value))
    return


if __name__ == "__main__":
    app.run()
