"""Notebook 02: is the training signal fading? Similarity, likelihoods, the directional gradient itself, DPO's weight.

The gradient of DPO is beta times a weight times the directional gradient, grad log pi(chosen) - grad log pi(rejected).
The paper argues from similarity that it fades; here its norm is shown beside similarity, with a noise floor for both.

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

    from toolkit.reporting import charts, frames, panels

    return charts, frames, mo, panels


@app.cell
def _(frames, mo):
    store = frames.reader(mo.cli_args())
    names = frames.runs(store)
    chosen = mo.ui.multiselect(names, value=names, label="Runs")
    return chosen, names, store


@app.cell
def _(chosen, frames, mo, names, panels, store):
    mo.vstack(
        [
            mo.md(
                """
                # 02 Gradient collapse

                Do the two sides of a pair become alike, and does the gradient that tells them apart fade? Filled marks
                are the pairs, hollow dashed ones the **noise floor**: two draws of one model for the same prompt. A
                fall that the floor shares is no collapse of the pairs. Lines are 95 % intervals.
                """
            ),
            mo.md(f"Store: `{store.path.name}`"),
            chosen,
            *([] if frames.diagnosed(store) else [panels.undiagnosed(store, names)]),
        ]
    )
    return


@app.cell
def _(chosen, frames, panels, store):
    course = frames.changes(store, chosen.value, ["gap", "forward.cosine_mean", "forward.cosine_last", "gradient.norm"])
    panels.change("What changed between iterations", course)
    return (course,)


@app.cell
def _(charts, chosen, frames, panels, store):
    cosine = frames.summaries(store, chosen.value, ["forward.cosine_mean"], "parent")
    panels.measured(
        "Similarity: cosine of the two sides' features, mean over their tokens",
        cosine,
        lambda frame: charts.curves(frame, "cosine"),
        "Last layer of the model that is about to be trained.",
    )
    return (cosine,)


@app.cell
def _(charts, cosine, frames, panels):
    bars = frames.published_bars("cosine")
    panels.measured(
        "Beside the paper's bars",
        cosine,
        lambda frame: charts.beside_published(frame, bars, "cosine"),
        f"Grey bars: {frames.PUBLISHED}, read off a figure to about 0.005; its pooling is not stated and no intervals "
        "are given. Their course can be compared, their height cannot.",
    )
    return (bars,)


@app.cell
def _(charts, chosen, frames, panels, store):
    last = frames.summaries(store, chosen.value, ["forward.cosine_last"], "parent")
    panels.measured(
        "Similarity: cosine at the last token", last, lambda frame: charts.curves(frame, "cosine"), "The same layer."
    )
    return (last,)


@app.cell
def _(charts, chosen, frames, panels, store):
    norm = frames.summaries(store, chosen.value, ["gradient.norm"], "parent")
    panels.measured(
        "The directional gradient: ‖∇ log π(chosen) − ∇ log π(rejected)‖",
        norm,
        lambda frame: charts.curves(frame, "norm", zero=True),
        "Exact, over all parameters of the model that is about to be trained. Where it holds while the gap falls, the "
        "signal did not fade: the judge sees less, the gradient does not.",
    )
    return (norm,)


@app.cell
def _(charts, chosen, frames, panels, store):
    layers = frames.parts(store, chosen.value, "gradient.layer/")
    panels.shared("Where the gradient lies: by layer", layers, lambda frame: charts.shares(frame, "layer"))
    return (layers,)


@app.cell
def _(charts, chosen, frames, panels, store):
    groups = frames.parts(store, chosen.value, "gradient.group/")
    panels.shared("Where the gradient lies: by parameter group", groups, lambda frame: charts.shares(frame, "group"))
    return (groups,)


@app.cell
def _(charts, chosen, frames, panels, store):
    weight = frames.summaries(store, chosen.value, ["weight"], "result")
    panels.measured(
        "DPO's weight σ(−margin) after the training",
        weight,
        lambda frame: charts.curves(frame, "weight"),
        "At its start every pair weighs 0.5, since policy and reference are one model. Below 0.5 a pair was learned.",
    )
    return (weight,)


@app.cell
def _(charts, chosen, frames, panels, store):
    moved = frames.moved_pairs(store, chosen.value)
    totals = frames.training_moves(store, chosen.value)
    panels.moved("Likelihoods: what each training did to both sides", moved, totals, charts.displaced)
    return moved, totals


@app.cell
def _(frames, mo, store):
    names_of_all = frames.metric_names(store)
    other = mo.ui.dropdown(names_of_all, value=names_of_all[0] if names_of_all else None, label="Metric")
    mo.vstack([mo.md("## Any other metric"), other])
    return (other,)


@app.cell
def _(charts, chosen, frames, mo, other, panels, store):
    mo.stop(other.value is None)
    metric, _, under = other.value.partition(" @ ")
    any_metric = frames.summaries(store, chosen.value, [metric], under)
    panels.measured(other.value, any_metric, lambda frame: charts.curves(frame, metric))
    return (any_metric,)


if __name__ == "__main__":
    app.run()
