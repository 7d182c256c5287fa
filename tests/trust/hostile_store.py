"""Stores as a stranger might send them, each with one lie. `lie(path, name)` puts it into a copy of an honest store.

DOOR: the file holds something that answers in DuckDB's or the toolkit's place; every opening refuses it by name.
ROWS: the file holds the toolkit's own objects, and rows that contradict each other; `doctor` and `merge` name them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from toolkit.identity import fingerprint
from toolkit.records import Pair, pair_content
from toolkit.store.rows import table_of

Act = Callable[[duckdb.DuckDBPyConnection], object]
SCORES = "CREATE MACRO avg(x) AS system.main.avg(x) + 5"


@dataclass(frozen=True)
class Lie:
    """statements: SQL or a function that puts it in. named: what a refusal or `doctor` must name.
    made_again: an opening for writing replaces it, so `doctor` finds nothing wrong afterwards."""

    statements: tuple[str | Act, ...]
    named: str
    made_again: bool = False


def _again(table: str, old: str, new: str) -> Act:
    """The table made again with another definition, its rows kept where they fit."""

    def act(db: duckdb.DuckDBPyConnection) -> None:
        ((sql,),) = db.execute("SELECT sql FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall()
        assert old in sql, sql
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
        db.execute(sql.replace(old, new))
        db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM old_{table}" if "GENERATED" not in new else "SELECT 1")
        db.execute(f"DROP TABLE old_{table}")

    return act


def _raise_scores(db: duckdb.DuckDBPyConnection) -> None:
    """Every chosen score of a set raised by 5, and what follows from it computed again: id, content, fingerprint."""
    columns = table_of(Pair).columns
    contents: dict[str, str] = {}
    for old, *row in db.execute(f"SELECT id, {', '.join(columns)} FROM pair").fetchall():
        values = dict(zip(columns, row, strict=True)) | {"chosen_score": row[columns.index("chosen_score")] + 5}
        texts = [
            db.execute("SELECT text FROM response WHERE id = ?", [values[side]]).fetchall()[0][0]
            for side in ("chosen", "rejected")
        ]
        values["content"] = pair_content(
            values["prompt"],
            (texts[0], texts[1]),
            (values["chosen_score"], values["rejected_score"]),
            (values["chosen_role"], values["rejected_role"]),
        )
        pair = Pair(**values)
        changes = {"id": pair.id, "chosen_score": pair.chosen_score, "content": pair.content}
        db.execute("UPDATE pair SET chosen_score = ?, content = ? WHERE id = ?", [*list(changes.values())[1:], old])
        db.execute("UPDATE pair SET id = ? WHERE id = ?", [pair.id, old])
        db.execute("UPDATE pair_set_change SET pair = ? WHERE pair = ?", [pair.id, old])
        db.execute("UPDATE dropped SET pair = ? WHERE pair = ?", [pair.id, old])
        contents[pair.id] = pair.content
    for (version,) in db.execute("SELECT id FROM pair_set").fetchall():
        members = [row[0] for row in db.execute("SELECT pair FROM members(?)", [version]).fetchall()]
        print_of = fingerprint(contents[member] for member in members)
        db.execute("UPDATE training SET data = ? WHERE pair_set = ?", [print_of, version])
        db.execute("UPDATE pair_set SET fingerprint = ? WHERE id = ?", [print_of, version])


def _cross_prompts(db: duckdb.DuckDBPyConnection) -> None:
    """In a pair the better answer is one to another prompt; what follows from it is computed again."""
    ((old, prompt, judge, role),) = db.execute("SELECT id, prompt, judge, chosen_role FROM pair LIMIT 1").fetchall()
    sql = (
        "SELECT r.id, r.text, j.score FROM response r JOIN judgment j ON j.response = r.id "
        "WHERE r.prompt <> ? AND j.judge = ? AND r.role = ? AND j.score IS NOT NULL ORDER BY j.score DESC LIMIT 1"
    )
    ((chosen, text, score),) = db.execute(sql, [prompt, judge, role]).fetchall()
    db.execute("UPDATE pair SET chosen = ?, chosen_score = ? WHERE id = ?", [chosen, score, old])
    columns = table_of(Pair).columns
    (row,) = db.execute(f"SELECT {', '.join(columns)} FROM pair WHERE id = ?", [old]).fetchall()
    values = dict(zip(columns, row, strict=True))
    (rejected,) = db.execute("SELECT text FROM response WHERE id = ?", [values["rejected"]]).fetchall()[0]
    scores, roles = (score, values["rejected_score"]), (values["chosen_role"], values["rejected_role"])
    pair = Pair(**values | {"content": pair_content(prompt, (text, rejected), scores, roles)})
    db.execute("UPDATE pair SET id = ?, content = ? WHERE id = ?", [pair.id, pair.content, old])
    db.execute("UPDATE pair_set_change SET pair = ? WHERE pair = ?", [pair.id, old])
    for (version,) in db.execute("SELECT id FROM pair_set").fetchall():
        sql = "SELECT p.content FROM members(?) m JOIN pair p ON p.id = m.pair"
        print_of = fingerprint(row[0] for row in db.execute(sql, [version]).fetchall())
        db.execute("UPDATE training SET data = ? WHERE pair_set = ?", [print_of, version])
        db.execute("UPDATE pair_set SET fingerprint = ? WHERE id = ?", [print_of, version])


DOOR: Mapping[str, Lie] = {
    "avg raised by 5": Lie((SCORES,), "macro avg"),
    "sum and round_even": Lie(
        ("CREATE MACRO sum(x) AS system.main.sum(x) + 5", "CREATE MACRO round_even(x, n) AS x"), "macro round_even"
    ),
    "sha256 as published": Lie(("CREATE MACRO sha256(x) AS 'published'",), "macro sha256"),
    "operator": Lie(('CREATE MACRO "+"(a, b) AS 5',), "macro +"),
    "table function": Lie(("CREATE MACRO json_each(x) AS TABLE SELECT 'a' AS key",), "table macro json_each"),
    "the door's own functions": Lie(
        (
            "CREATE MACRO duckdb_tables() AS TABLE SELECT 'migration' AS table_name",
            "CREATE MACRO duckdb_functions() AS TABLE SELECT 'main' AS schema_name WHERE false",
            "CREATE MACRO current_setting(name) AS true",
        ),
        "macro current_setting",
    ),
    "a schema called system": Lie(
        (
            "CREATE SCHEMA system",
            "CREATE SCHEMA s.system.main",
            "CREATE MACRO s.system.main.duckdb_functions() AS TABLE SELECT 'main' AS schema_name WHERE false",
        ),
        "schema",
    ),
    "view changed": Lie(
        ("CREATE OR REPLACE VIEW answer_scores AS SELECT prompt, 'x' AS response, 9.0 AS score FROM response",),
        "view answer_scores",
        made_again=True,
    ),
    "macro changed": Lie(
        ("CREATE OR REPLACE MACRO members(version) AS TABLE SELECT id AS pair FROM pair",),
        "table macro members",
        made_again=True,
    ),
    "scalar macro with a shipped name": Lie(("CREATE MACRO members(version) AS 5",), "macro members"),
    "another view": Lie(("CREATE VIEW incoming AS FROM pair",), "view incoming"),
    "another table": Lie(("CREATE TABLE known_sets (id VARCHAR)",), "table known_sets"),
    "extra column": Lie(("ALTER TABLE tag ADD COLUMN note VARCHAR",), "table tag"),
    "generated column": Lie(
        (_again("score", '"value" DOUBLE NOT NULL', '"value" DOUBLE GENERATED ALWAYS AS (CAST(n AS DOUBLE) + 5)'),),
        "table score",
    ),
    "default": Lie(("ALTER TABLE tag ALTER COLUMN tag SET DEFAULT upper('x')",), "table tag"),
    "check": Lie((_again("control", "PRIMARY KEY", "CHECK (upper(launch) > ''), PRIMARY KEY"),), "table control"),
    "collation": Lie((_again("tag", "tag VARCHAR", "tag VARCHAR COLLATE NOCASE"),), "table tag"),
    "type of a column": Lie(("ALTER TABLE control ALTER chosen_score TYPE VARCHAR",), "table control"),
    "index with an expression": Lie(("CREATE INDEX sly ON tag ((upper(tag)))",), "index sly"),
    "type": Lie(("CREATE TYPE json_2 AS VARCHAR",), "type json_2"),
    "sequence": Lie(("CREATE SEQUENCE counter",), "sequence counter"),
    "trigger": Lie(
        ("CREATE TRIGGER sly AFTER INSERT ON tag FOR EACH STATEMENT DELETE FROM control",), "trigger sly"
    ),
    "a view for a table": Lie(
        ("ALTER TABLE control RENAME TO control_2", "CREATE VIEW control AS FROM control_2"), "view control"
    ),
    "no primary key": Lie((_again("prompt", "PRIMARY KEY", "NOT NULL"),), "table prompt"),
    "migrations forged": Lie(("DELETE FROM migration WHERE number = 2",), "migration"),
}  # fmt: skip
_SCORED = "(SELECT min(j.id) FROM judgment j JOIN pair p ON p.chosen = j.response WHERE j.status = 'scored')"
_OF_SETS = ("pair_set_change", "training", "dropped")
ROWS: Mapping[str, Lie] = {
    "verdict's score": Lie((f"UPDATE judgment SET score = 5 - score / 2 WHERE id = {_SCORED}",), "judgment"),
    "verdict's reply": Lie((f"UPDATE judgment SET reply = 'Score: 1' WHERE id = {_SCORED}",), "judgment"),
    "verdict made unreadable": Lie(
        (f"UPDATE judgment SET score = NULL, status = 'unreadable' WHERE id = {_SCORED}",), "judgment"
    ),
    "rubric": Lie(("UPDATE rubric SET body = json_merge_patch(body, '{\"scale\": [0, 9]}')",), "rubric"),
    "text of a pair": Lie(
        (
            "UPDATE response SET text = text || '!' WHERE id = "
            "(SELECT min(p.chosen) FROM pair p, members('guided@1') m WHERE m.pair = p.id)",
        ),
        "pair",
    ),
    "text of a prompt": Lie(("UPDATE prompt SET text = 'another' WHERE id = (SELECT min(id) FROM prompt)",), "prompt"),
    "scores of pairs and all that follows": Lie((_raise_scores,), "pair"),
    "content of a pair": Lie(("UPDATE pair SET content = 'x' WHERE id = (SELECT min(id) FROM pair)",), "pair"),
    "fingerprint": Lie(("UPDATE pair_set SET fingerprint = repeat('0', 24) WHERE id = 'guided@1'",), "guided@1"),
    "size": Lie(("UPDATE pair_set SET size = size + 1 WHERE id = 'guided@1'",), "guided@1"),
    "a member taken away": Lie(
        (
            "DELETE FROM pair_set_change WHERE pair_set = 'guided@1' "
            "AND pair = (SELECT min(pair) FROM pair_set_change WHERE pair_set = 'guided@1')",
        ),
        "guided@1",
    ),
    "bases in a circle": Lie(("UPDATE pair_set SET base = 'guided@1' WHERE id = 'guided@1'",), "guided@1"),
    "lost reference": Lie(("DELETE FROM response WHERE id = (SELECT min(chosen) FROM pair)",), "point nowhere"),
    "answer to another prompt": Lie((_cross_prompts,), "another prompt"),
    "training's set": Lie(
        ("UPDATE training SET pair_set = 'anchored@1' WHERE pair_set = 'guided@1'",), "another finger"
    ),
    "training's model": Lie(
        ("UPDATE training SET model = (SELECT max(model) FROM training)",), "another training made"
    ),
    "model's parent": Lie(("UPDATE model SET parent = id WHERE training IS NOT NULL",), "another parent"),
    "a key twice in settings": Lie(
        ("UPDATE training SET settings = '{\"beta\": 9,' || (settings::VARCHAR)[2:]",), "cannot be read"
    ),
    "a key twice in a note": Lie(('UPDATE step SET stats = \'{"name": "M_9", "name": "M_1"}\'',), "its stats"),
    "a version number that leaves no next": Lie(
        (
            "UPDATE pair_set SET id = 'guided@2147483647', version = 2147483647 WHERE id = 'guided@1'",
            *(f"UPDATE {table} SET pair_set = 'guided@2147483647' WHERE pair_set = 'guided@1'" for table in _OF_SETS),
        ),
        "numbers go from 1 to",
    ),
    "training's settings": Lie(("UPDATE training SET settings = '{\"beta\": 9}'",), "training"),
}


def lie(path: Path, lie: Lie) -> Path:
    """The store with this lie in it."""
    with duckdb.connect(str(path)) as db:
        for statement in lie.statements:
            db.execute(statement) if isinstance(statement, str) else statement(db)
    return path


def date_ahead(path: Path, run: str) -> Path:
    """Every launch of the store renamed to `run` and dated a thousand years ahead."""
    return lie(path, Lie((f"UPDATE launch SET run = '{run}', started = started + INTERVAL 1000 YEAR",), ""))


__all__ = ["DOOR", "ROWS", "Lie", "date_ahead", "lie"]
