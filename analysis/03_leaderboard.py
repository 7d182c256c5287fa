# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Notebook 03: how good the models are, iteration by iteration, and how their trainings went.

    python -m toolkit browse --notebook leaderboard
    python analysis/03_leaderboard.py --store runs/store.duckdb
    marimo export html analysis/03_leaderboard.py --no-include-code -o board.html -- --store runs/store.duckdb

The exported page holds its data, but fetches marimo's viewer from cdn.jsdelivr.net; `browse` needs no network.
"""

import marimo

app = marimo.App(width="medium", app_title="03 Leaderboard")


@app.cell
def _():
    import marimo as mo

    from toolkit.reporting.notebooks import frames, panels, parts
    from toolkit.reporting.page import training

    return frames, mo, panels, parts, training


@app.cell
def _(frames, mo):
    store = frames.reader(mo.cli_args())
    names = frames.runs(store)
    run = mo.ui.dropdown(names, value=names[0] if names else None, label="Trainings of")
    published = mo.ui.checkbox(value=False, label="the paper's rows (Llama3.1-8B, other judge, no intervals)")
    return published, run, store


@app.cell
def _(mo, panels, published, run, store):
    said = "Every model that was evaluated, and every training step that was logged. M_0 is the model all began with."
    panels.head("03 Leaderboard", said, store, mo.hstack([run, published], justify="start", wrap=True))
    return


@app.cell
def _(panels, parts, published, store):
    board = parts.board(store, published.value)
    panels.leaderboard(board, store)
    return (board,)


@app.cell
def _(board, panels, parts, store):
    panels.section(parts.learning_curves(store, board))
    return


@app.cell
def _(mo, panels, run, store, training):
    mo.stop(run.value is None, panels.without_runs())
    trained = store.section(training.training, run.value)
    panels.section(trained, lambda figure: figure.charts[0].x_name == "step")
    return


if __name__ == "__main__":
    app.run()
