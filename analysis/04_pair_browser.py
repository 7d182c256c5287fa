# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Notebook 04: look at the pairs. Search, filter, sort by any number, and read both sides with the judge's own words.

    python -m toolkit browse
    python analysis/04_pair_browser.py --store runs/store.duckdb
    marimo export html analysis/04_pair_browser.py --no-include-code -o pairs.html -- --store runs/store.duckdb

Exported, it shows the first pair and fetches marimo's viewer from cdn.jsdelivr.net; `browse` needs no network.
"""

import marimo

app = marimo.App(width="full", app_title="04 Pair browser")


@app.cell
def _():
    import marimo as mo

    from toolkit.reporting.notebooks import frames, pair_browser, pair_panels, panels

    return frames, mo, pair_browser, pair_panels, panels


@app.cell
def _(frames, mo, pair_browser, panels):
    store = frames.reader(mo.cli_args())
    names = pair_browser.sets(store)
    pair_set = mo.ui.dropdown(names, value=names[0] if names else None, label="Pairs of")
    mo.vstack([panels.heading(1, "04 Pair browser"), panels.text(f"Store: {store.path.name}"), pair_set])
    return pair_set, store


@app.cell
def _(mo, pair_browser, pair_panels, pair_set, store):
    mo.stop(pair_set.value is None, mo.md("The store holds no pairs yet."))
    roles, reasons = pair_browser.lists(store, pair_set.value)
    scores, gaps = pair_browser.limits(store, pair_set.value)
    orders = pair_browser.orders(store, pair_set.value)
    text = mo.ui.text(label="Text contains", placeholder="in prompt or answers")
    role = mo.ui.dropdown(roles, label="Roles")
    score = pair_panels.span("Scores between", scores)
    gap = pair_panels.span("Gap between", gaps)
    state = mo.ui.dropdown(["displaced", "not displaced", "trained on", *reasons], label="Training")
    order = mo.ui.dropdown(list(orders), value="gap", label="Sort by", searchable=True)
    falling = mo.ui.checkbox(value=True, label="largest first")
    mo.hstack([text, role, score, gap, state, order, falling], wrap=True, justify="start", gap=1.5)
    return falling, gap, gaps, order, orders, role, score, scores, state, text


@app.cell
def _(falling, gap, gaps, order, orders, pair_browser, pair_panels, pair_set, role, score, scores, state, store, text):
    metric, model = orders[order.value or "gap"]
    wanted = pair_browser.Wanted(
        pair_set.value,
        text.value,
        role.value or "",
        pair_panels.narrowed(score, scores),
        pair_panels.narrowed(gap, gaps),
        state.value or "",
        metric,
        model,
        falling.value,
    )
    found = pair_browser.pair_rows(store, wanted)
    return found, metric


@app.cell
def _(found, metric, mo, pair_browser, pair_panels, panels):
    rows = pair_panels.choice(found, metric)
    mo.vstack([pair_panels.count(found, pair_browser.LIMIT), rows, panels.sql(found)])
    return (rows,)


@app.cell
def _(mo, pair_panels, rows):
    pair = pair_panels.chosen_pair(rows)
    mo.stop(pair is None, mo.md("Choose a pair above."))
    return (pair,)


@app.cell
def _(pair, pair_browser, pair_panels, pair_set, store):
    one = pair_browser.one_pair(store, pair_set.value, pair)
    pair_panels.both_sides(one)
    return (one,)


@app.cell
def _(pair, pair_browser, pair_panels, store):
    replies = pair_browser.replies(store, pair)
    pair_panels.verdicts(replies)
    return (replies,)


@app.cell
def _(pair, pair_browser, pair_panels, pair_set, store):
    numbers = pair_browser.numbers(store, pair_set.value, pair)
    trainings = pair_browser.trainings(store, pair_set.value, pair)
    pair_panels.pair_numbers(numbers, trainings, store)
    return numbers, trainings


@app.cell
def _(mo, pair_browser, pair_set, panels, store):
    mo.stop(pair_set.value is None)
    dropped = pair_browser.dropped_prompts(store, pair_set.value)
    panels.found("What was dropped, and why", "Up to 50 of them.", dropped)
    return (dropped,)


if __name__ == "__main__":
    app.run()
