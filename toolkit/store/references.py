"""References between the rows of a store: what each column may name, and the rows that name what is not there."""

from __future__ import annotations

from toolkit.store.database import Store

VERSIONS = (
    "(SELECT id FROM pair_set UNION ALL SELECT id FROM pair_set_deleted)"  # where a deletion may have been forced
)
TRAINED_ON = f"(SELECT id FROM {VERSIONS} UNION ALL SELECT id FROM demonstration_set)"
# A pair or a demonstrated answer; a filter's may have gone with the version that it was dropped from.
DROPPED = """(
    SELECT id FROM pair UNION ALL SELECT id FROM response
    UNION ALL SELECT pair FROM dropped WHERE stage = 'filter' AND EXISTS (FROM pair_set_deleted)
)"""
# Of ratings that are not taught a demonstration set keeps no prompt.
ASKED = """(
    SELECT id FROM prompt
    UNION ALL SELECT prompt FROM dropped WHERE pair_set IN (SELECT id FROM demonstration_set)
)"""
# What the rows of a table may name: by the table, or the query, of what there is. NULL names nothing. Left out is
# dropped.training: a gate that refused, or whose run was killed, noted its drops for a training that nobody made.
REFERENCES = {
    "prompt": "response.prompt pair.prompt control.prompt",
    "model": "response.model judgment.judge comparison.judge pair.judge model.parent training.model training.parent "
    "training.reference score.model item.model metric.model summary.model",
    "response": "judgment.response comparison.first comparison.second pair.chosen pair.rejected demonstration.response "
    "item.answer metric.chosen metric.rejected control.chosen control.rejected",
    "rubric": "judgment.rubric comparison.rubric",
    "pair": "pair_set_change.pair",
    "pair_set": "pair_set_change.pair_set pair_set.base tag.pair_set",
    VERSIONS: "pair_set.parent training.pair_set control.pair_set summary.pair_set change.before change.after "
    "selection.pair_set",
    "(SELECT id FROM pair_set UNION ALL SELECT '')": "rejected_row.pair_set",  # '': of an import of scores alone
    "demonstration_set": "demonstration.demonstration_set training.demonstration_set",
    "training": "model.training training_step.training",
    TRAINED_ON: "dropped.pair_set",
    DROPPED: "dropped.pair",
    ASKED: "dropped.prompt",
    "launch": "prompt.launch model.launch response.launch rubric.launch judgment.launch comparison.launch pair.launch "
    "pair_set.launch pair_set_deleted.launch tag.launch rejected_row.launch demonstration_set.launch training.launch "
    "step.launch score.launch item.launch metric.launch control.launch summary.launch change.launch "
    "selection.launch study_run.launch",
}


def lost_references(store: Store) -> dict[str, list[str]]:
    """Table -> how many of its rows point nowhere, by column; an empty list where none does."""
    lost: dict[str, list[str]] = {}
    for there, columns in REFERENCES.items():
        for column in columns.split():
            table, _, _ = column.partition(".")
            nowhere = f"{column} IS NOT NULL AND NOT EXISTS (FROM {there} x WHERE x.id = {column})"
            n = store.query(f"SELECT count(*) AS n FROM {table} WHERE {nowhere}")[0]["n"]
            lost.setdefault(table, []).extend([f"{column}: {n} rows point nowhere"] if n else [])
    return lost
