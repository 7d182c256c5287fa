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

    from toolkit.reporting import charts, frames, panels

    return charts, frames, mo, panels


@app.cell
def _(frames, mo):
    store = frames.reader(mo.cli_args())
    names = frames.runs(store)
    chosen = mo.ui.multiselect(names, value=names, label="Runs")
    published = mo.ui.checkbox(value=True, label="the paper's rows (Llama3.1-8B, other judge, no intervals)")
    return chosen, names, published, store


@app.cell
def _(chosen, mo, published, store):
    mo.vstack(
        [
            mo.md(
                """
                # 03 Leaderboard

                Every model that was evaluated, and every training step that was logged. M_i is the model at the start
                of iteration i, M_0 the one all began with. Lines are 95 % intervals over the questions of a test.
                """
            ),
            mo.md(f"Store: `{store.path.name}`"),
            mo.hstack([chosen, published], justify="start", wrap=True),
            mo.md("## Scores"),
        ]
    )
    return


@app.cell
def _(frames, panels, published, store):
    board = frames.board(store, published.value)
    panels.leaderboard(board)
    return (board,)


@app.cell
def _(frames, panels, store):
    scores = frames.scores(store)
    panels.beneath(scores)
    return (scores,)


@app.cell
def _(board, charts, chosen, frames, mo, panels, scores):
    curves = frames.learning_curves(board)
    curves = curves[curves["series"].isin(chosen.value) | curves["published"]]
    mo.vstack(
        [
            panels.panel(
                f"Learning curve: {column}", panels.answer(rows, "M_"), charts.learning(rows, column), panels.Shown(scores.sql, rows)
            )
            for column, rows in curves.groupby("column")
            if rows[~rows["published"]]["iteration"].nunique() > 1
        ]
    )
    return (curves,)


@app.cell
def _(charts, chosen, frames, panels, store):
    loss = frames.training_steps(store, chosen.value, "loss")
    panels.trained("Training: loss", loss, lambda frame: charts.steps(frame, "DPO loss"))
    return (loss,)


@app.cell
def _(charts, chosen, frames, panels, store):
    accuracy = frames.training_steps(store, chosen.value, "acc")
    panels.trained(
        "Training: accuracy", accuracy, lambda frame: charts.steps(frame, "share ranked by the implicit reward")
    )
    return (accuracy,)


@app.cell
def _(charts, chosen, frames, panels, store):
    gradient = frames.training_steps(store, chosen.value, "grad_norm")
    panels.trained("Training: gradient norm of a batch", gradient, lambda frame: charts.steps(frame, "gradient norm"))
    return (gradient,)


if __name__ == "__main__":
    app.run()
