"""Versions of pair sets: frozen, numbered, named, compared by content, stored as what changed.

    name         the newest version             guided (refused where `merge` brought a newer one than the own)
    name@3       a version                      guided@3
    name@best    a tag                          guided@best
    name@TIME    the newest at that time        guided@2026-11-24T10:00 (UTC where no offset is given)
    name-1       the newest of an iteration     guided-1, where no set has this very name

A version is stored whole, or as what it adds to and removes from the one before, whichever is smaller. Every set in
the store is frozen: its fingerprint is computed from its members again whenever it is loaded, and another one is
an error (drift). A number is never given twice, not even after a deletion.

Left out: branches and merges. A set has one line of versions, and any two versions can be compared (diff.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit.errors import InputError, StoreError
from toolkit.records import Drop, Pair, PairSet
from toolkit.redaction import hidden
from toolkit.store.database import Store
from toolkit.trust import paths

WHOLE_BELOW = 2  # a change is stored as such where the set has more than this many pairs for each changed one
_FINGERPRINT = (  # identity.fingerprint in SQL
    "sha256('set' || chr(10) || '[' || "
    "coalesce(string_agg('\"' || p.content || '\"', ',' ORDER BY p.content), '') || ']')[:24]"
)


@dataclass(frozen=True)
class Version:
    """A row of `pair_set`: what is known of a version without its pairs."""

    id: str
    name: str
    version: int
    iteration: int | None
    fingerprint: str
    size: int
    parent: str | None
    base: str | None
    message: str
    created: datetime
    launch: str


def freeze(store: Store, draft: PairSet, launch: str) -> tuple[PairSet, bool]:
    """Store the draft as the next version of its name, or find the version that says the same; whether it was found.

    Pairs, drops and the version enter the store in one transaction.
    """
    with store.transaction():
        store.add(draft.pairs, launch=launch)
        stage(store, (pair.id for pair in draft.pairs))
        version, found = commit(store, draft, launch)
        if not found:
            rows = [{**vars(drop), "pair_set": version.id} for drop in draft.drops]
            store.insert("dropped", rows)
    pairs = members(store, version.id) if found else draft.pairs
    made = PairSet(
        draft.name, version.version, draft.iteration, tuple(pairs), draft.drops, version.parent, version.message
    )
    return made, found


def stage(store: Store, pairs: Iterable[str]) -> None:
    """Name the members of the set to be committed, by pair id."""
    store.query("CREATE OR REPLACE TEMP TABLE staged (pair VARCHAR)")
    store.query("INSERT INTO staged SELECT unnest(?::VARCHAR[])", [list(pairs)])


def commit(store: Store, draft: PairSet, launch: str) -> tuple[Version, bool]:
    """The staged pairs as a version of the draft's name, inside the caller's transaction. All of it is SQL."""
    check_name(draft.name)
    counted = store.query(f"SELECT {_FINGERPRINT} AS f, count(*) AS n FROM staged JOIN pair p ON p.id = staged.pair")
    fingerprint, size = counted[0]["f"], counted[0]["n"]
    same = "SELECT * FROM pair_set WHERE name = ? AND iteration IS NOT DISTINCT FROM ? AND fingerprint = ?"
    if known := store.query(same, [draft.name, draft.iteration, fingerprint]):
        return Version(**known[-1]), True
    newest = _newest(store, draft.name)
    number = _last_number(store, draft.name) + 1
    version = Version(
        f"{draft.name}@{number}", draft.name, number, draft.iteration, fingerprint, size,
        newest.id if newest else None, _write_members(store, f"{draft.name}@{number}", newest, size),
        hidden(draft.message), datetime.now(UTC), launch,
    )  # fmt: skip
    store.insert("pair_set", [{**vars(version), "created": version.created.isoformat()}])
    return version, False


def versions(store: Store, name: str | None = None) -> list[Version]:
    """Every version, or those of one name, in order."""
    rows = store.query("SELECT * FROM pair_set WHERE name = coalesce(?, name) ORDER BY name, version", [name])
    return [Version(**row) for row in rows]


def resolve(store: Store, reference: str) -> Version:
    """The version that a reference means (see the module's text). Raises InputError with what there is."""
    name, at, which = reference.partition("@")
    known = versions(store, name)
    if not known and not at:
        head, dash, iteration = name.rpartition("-")
        known = versions(store, head) if dash and iteration.isdecimal() else []
        known = [version for version in known if version.iteration == int(iteration)]
    if not known:
        raise InputError(_deleted(store, reference) or f"no pair set {reference!r}", remedy=_offer(store))
    if not at:
        return _newest_of(store, known, reference)
    if which.isdecimal():
        found = [version for version in known if version.version == int(which)]
    else:
        found = _tagged(store, known, which)
        if not found and (dated := _as_of(known, which)):
            return _newest_of(store, dated, reference)
    if not found:
        raise InputError(_deleted(store, reference) or f"no version {which!r} of {name}", remedy=_offer(store, name))
    return found[-1]


def _newest_of(store: Store, known: Sequence[Version], reference: str) -> Version:
    """The last of these versions. Raises InputError where it came by `merge` and an earlier one was made here."""
    made_here = "SELECT v.id FROM pair_set v JOIN launch l ON l.id = v.launch WHERE v.name = ? AND l.position > 0"
    own = {row["id"] for row in store.query(made_here, [known[0].name])} & {version.id for version in known}
    if own and known[-1].id not in own:
        last = [version.id for version in known if version.id in own][-1]
        raise InputError(
            f"{reference!r} could mean {last}, made here, or {known[-1].id}, merged from another store",
            remedy=f"name the version: {last} or {known[-1].id}",
        )
    return known[-1]


def members(store: Store, version: str) -> list[Pair]:
    """The pairs of a version, in the order of their ids."""
    ids = [row["pair"] for row in store.query("SELECT pair FROM members($version) ORDER BY pair", {"version": version})]
    found = store.find(Pair, ids)
    return [found[identifier] for identifier in ids if identifier in found]


def load(store: Store, reference: str) -> PairSet:
    """A version with its pairs. Raises StoreError where they are not what was frozen."""
    version = resolve(store, reference)
    made = PairSet(
        version.name, version.version, version.iteration, tuple(members(store, version.id)), _drops(store, version.id),
        version.parent, version.message,
    )  # fmt: skip
    check(version, made.fingerprint, len(made.pairs))
    verify(store, version)  # of the texts, where the line before is of the stored digests
    return made


def check(version: Version, fingerprint: str, size: int) -> None:
    """Raise StoreError where the members of a version have another fingerprint than the frozen one."""
    if (fingerprint, size) != (version.fingerprint, version.size):
        raise StoreError(
            f"{version.id} has drifted: {size} pairs with fingerprint {fingerprint}, frozen were {version.size} with "
            f"{version.fingerprint}",
            where="tables pair and pair_set_change",
            remedy="restore the store from a backup: a frozen set never changes by the toolkit's hand",
        )


def verify(store: Store, version: Version) -> None:
    """`check` in SQL, for sets of any size: members, and the content of each pair from its texts."""
    sql = f"SELECT {_FINGERPRINT} AS f, count(*) AS n FROM members($v) m JOIN pair_contents p ON p.pair = m.pair"
    found = store.query(sql, {"v": version.id})[0]
    check(version, found["f"], found["n"])


def tag(store: Store, reference: str, name: str, launch: str) -> Version:
    """Give a version a name. The same tag on another version of the set moves it."""
    version = resolve(store, reference)
    check_name(name)
    now = datetime.now(UTC).isoformat()
    row = {"name": version.name, "tag": name, "pair_set": version.id, "created": now, "launch": launch}
    store.insert("tag", [row])
    return version


def references(store: Store, version: str) -> list[str]:
    """What refers to a version: trainings with their models, scores of those models, tags."""
    sql = (
        "SELECT 'model ' || m.name || ' (' || m.id || ')' AS what FROM training t JOIN model m ON m.id = t.model "
        "WHERE t.pair_set = $v UNION ALL "
        "SELECT 'score ' || s.task || ' ' || s.metric || ' of ' || m.name FROM training t "
        "JOIN score s ON s.model = t.model JOIN model m ON m.id = t.model WHERE t.pair_set = $v UNION ALL "
        "SELECT 'tag ' || tag FROM tags WHERE pair_set = $v"
    )
    return sorted(row["what"] for row in store.query(sql, {"v": version}))


def pairs_of_this_alone(store: Store, version: str) -> int:
    """How many pairs of a version no other version holds: they go when it is deleted."""
    others = "SELECT m.pair FROM pair_set v, members(v.id) m WHERE v.id <> $v"
    counted = store.query(f"SELECT count(*) AS n FROM members($v) WHERE pair NOT IN ({others})", {"v": version})
    return int(counted[0]["n"])


def delete(store: Store, reference: str, launch: str, *, reason: str = "", force: bool = False) -> Version:
    """Remove a version and the pairs that no other version holds. Answers and verdicts stay.

    Raises StoreError where something refers to it, unless forced; what does is then kept beside the deletion.
    """
    version = resolve(store, reference)
    used = references(store, version.id)
    if used and not force:
        raise StoreError(
            f"{version.id} is referred to by {', '.join(used)}",
            remedy="keep it, or delete it with --force: they will then point to a deleted version",
        )
    row = {
        "id": version.id, "name": version.name, "version": version.version, "fingerprint": version.fingerprint,
        "size": version.size, "reason": reason, "referred_by": used, "deleted": datetime.now(UTC).isoformat(),
        "launch": launch,
    }  # fmt: skip
    with store.transaction():
        for child in store.query("SELECT * FROM pair_set WHERE base = ?", [version.id]):
            _make_whole(store, Version(**child))
        store.insert("pair_set_deleted", [row])
        for table in ("pair_set_change", "dropped", "rejected_row", "tag", "selection"):
            store.query(f"DELETE FROM {table} WHERE pair_set = ?", [version.id])
        store.query("DELETE FROM pair_set WHERE id = ?", [version.id])
        store.query("DELETE FROM pair WHERE id NOT IN (SELECT pair FROM pair_set_change)")
    return version


def _write_members(store: Store, version: str, before: Version | None, size: int) -> str | None:
    """Store the staged pairs as a change of the version before where that is small, else whole; returns the base."""
    if before:
        changes = (
            "SELECT pair, true AS added FROM (SELECT pair FROM staged EXCEPT SELECT pair FROM members($base)) "
            "UNION ALL SELECT pair, false FROM (SELECT pair FROM members($base) EXCEPT SELECT pair FROM staged)"
        )
        store.query(f"CREATE OR REPLACE TEMP TABLE moved AS {changes}", {"base": before.id})
        changed = store.query("SELECT count(*) AS n FROM moved")[0]["n"]
        if changed * WHOLE_BELOW < size:
            store.query("INSERT INTO pair_set_change SELECT ?, pair, added FROM moved ORDER BY pair", [version])
            return before.id
    store.query("INSERT INTO pair_set_change SELECT ?, pair, true FROM staged ORDER BY pair", [version])
    return None


def _make_whole(store: Store, version: Version) -> None:
    store.query("CREATE OR REPLACE TEMP TABLE staged AS SELECT pair FROM members($v)", {"v": version.id})
    store.query("DELETE FROM pair_set_change WHERE pair_set = ?", [version.id])
    _write_members(store, version.id, None, version.size)
    store.query("UPDATE pair_set SET base = NULL WHERE id = ?", [version.id])


def _newest(store: Store, name: str) -> Version | None:
    known = versions(store, name)
    return known[-1] if known else None


def _last_number(store: Store, name: str) -> int:
    sql = (
        "SELECT max(version) AS n FROM (SELECT version FROM pair_set WHERE name = $name UNION ALL "
        "SELECT version FROM pair_set_deleted WHERE name = $name)"
    )
    return store.query(sql, {"name": name})[0]["n"] or 0


def _drops(store: Store, version: str) -> tuple[Drop, ...]:
    sql = "SELECT DISTINCT stage, prompt, reason, pair, detail FROM dropped WHERE pair_set = ? ORDER BY ALL"
    return tuple(Drop(**row) for row in store.query(sql, [version]))


def _tagged(store: Store, known: list[Version], name: str) -> list[Version]:
    rows = store.query("SELECT pair_set FROM tags WHERE name = ? AND tag = ?", [known[0].name, name])
    return [version for version in known if rows and version.id == rows[0]["pair_set"]]


def _as_of(known: list[Version], text: str) -> list[Version]:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return []
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return [version for version in known if version.created <= moment]


def _deleted(store: Store, reference: str) -> str:
    rows = store.query("SELECT deleted, reason FROM pair_set_deleted WHERE id = ?", [reference])
    if not rows:
        return ""
    return f"{reference} was deleted on {rows[0]['deleted']:%Y-%m-%d}: {rows[0]['reason'] or 'no reason given'}"


def _offer(store: Store, name: str | None = None) -> str:
    known = [version.id for version in versions(store, name)]
    return f"one of {', '.join(known[-8:])}" if known else "run a recipe or import a set first"


def check_name(name: str) -> None:
    """Raise InputError where a set or a tag cannot be called this."""
    if not paths.check_name(name, "a set or a tag")[0].isalpha():
        raise InputError(f"{name!r} cannot be the name of a set or a tag", remedy="begin it with a letter")
