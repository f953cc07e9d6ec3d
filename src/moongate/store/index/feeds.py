"""Feeds of threat intelligence and what they hold.

Entries are written as a generation that nobody sees yet; `show_generation` makes it the one that counts, in
one step. So a feed is never half there, and one that is held back lies ready.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, literal, or_, select, union, update

from moongate.core.feeds import Advisory, FeedRow
from moongate.core.hits import Hit, Indicator
from moongate.store.index.database import Database, Row, by
from moongate.store.schema import (
    blobs,
    commits,
    content_digests,
    feed_advisories,
    feed_indicators,
    feed_rules,
    feeds,
    files,
    reconstructions,
)

_ROWS_AT_ONCE = 1000
_TABLES = (feed_indicators, feed_advisories, feed_rules)
_SURE = 60


class FeedRows:
    """Feeds and their entries."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._feed_put_feed = database.upsert(feeds)
        self._feed_one = prepare(select(feeds).where(by(feeds.c.name)))
        self._feed_list = prepare(select(feeds).order_by(feeds.c.name))
        self._feed_drop_feed = prepare(delete(feeds).where(by(feeds.c.name)))
        self._feed_versions = prepare(select(feeds.c.name, feeds.c.generation).order_by(feeds.c.name))
        self._feed_note_try = prepare(
            update(feeds)
            .values(tried_at=bindparam("tried_"), trouble=bindparam("trouble_"))
            .where(feeds.c.name == bindparam("name_")),
            "name_",
            "tried_",
            "trouble_",
        )
        self._feed_note_fetch = prepare(
            update(feeds)
            .values(
                state=bindparam("state_"),
                fetched_at=bindparam("now_"),
                tried_at=bindparam("now_"),
                trouble="",
            )
            .where(feeds.c.name == bindparam("name_")),
            "name_",
            "state_",
            "now_",
        )
        self._feed_hold = prepare(
            update(feeds)
            .values(held_generation=bindparam("held_"), held_why=bindparam("why_"))
            .where(feeds.c.name == bindparam("name_")),
            "name_",
            "held_",
            "why_",
        )
        self._feed_show = prepare(
            update(feeds)
            .values(generation=bindparam("generation_"), held_generation=None, held_why="")
            .where(feeds.c.name == bindparam("name_")),
            "name_",
            "generation_",
        )
        self._feed_add_indicator = database.upsert(feed_indicators)
        self._feed_add_advisory = database.upsert(feed_advisories)
        self._feed_add_rule = database.upsert(feed_rules)
        self._feed_drop_value = prepare(
            delete(feed_indicators).where(
                by(
                    feed_indicators.c.feed,
                    feed_indicators.c.generation,
                    feed_indicators.c.kind,
                    feed_indicators.c.value,
                )
            ),
            "feed",
            "generation",
            "kind",
            "value",
        )
        self._feed_drop_source = prepare(
            delete(feed_indicators).where(
                by(feed_indicators.c.feed, feed_indicators.c.generation, feed_indicators.c.source)
            ),
            "feed",
            "generation",
            "source",
        )
        self._feed_last = [
            prepare(select(func.max(table.c.generation)).where(by(table.c.feed))) for table in _TABLES
        ]
        self._feed_copies = [prepare(_copy(table), "feed_", "from_", "to_") for table in _TABLES]
        self._feed_drops = [
            prepare(
                delete(table).where(
                    table.c.feed == bindparam("feed_"),
                    table.c.generation != bindparam("keep_"),
                    table.c.generation != bindparam("keep_too_"),
                ),
                "feed_",
                "keep_",
                "keep_too_",
            )
            for table in _TABLES
        ]
        self._feed_counts = [
            prepare(
                select(func.count()).select_from(table).where(by(table.c.feed, table.c.generation)),
                "feed",
                "generation",
            )
            for table in _TABLES
        ]
        counts = and_(
            feeds.c.name == feed_indicators.c.feed, feeds.c.generation == feed_indicators.c.generation
        )
        fresh = or_(feed_indicators.c.expires_at.is_(None), feed_indicators.c.expires_at > bindparam("now_"))
        hit = select(feeds.c.name, feeds.c.fetched_at, *_INDICATOR).select_from(
            feed_indicators.join(feeds, counts)
        )
        self._feed_hits = prepare(hit.where(by(feed_indicators.c.kind, feed_indicators.c.value), fresh),
                             "kind", "value", "now_")  # fmt: skip
        self._feed_indicators = prepare(
            select(*_INDICATOR).where(by(feed_indicators.c.feed, feed_indicators.c.generation)),
            "feed",
            "generation",
        )
        self._feed_advisories = prepare(
            select(feeds.c.name, feeds.c.fetched_at, feed_advisories.c.advisory, feed_advisories.c.told)
            .select_from(
                feed_advisories.join(
                    feeds,
                    and_(
                        feeds.c.name == feed_advisories.c.feed,
                        feeds.c.generation == feed_advisories.c.generation,
                    ),
                )
            )
            .where(by(feed_advisories.c.ecosystem, feed_advisories.c.package)),
            "ecosystem",
            "package",
        )
        self._feed_of_generation = prepare(
            select(
                feed_advisories.c.ecosystem,
                feed_advisories.c.package,
                feed_advisories.c.advisory,
                feed_advisories.c.told,
            ).where(by(feed_advisories.c.feed, feed_advisories.c.generation)),
            "feed",
            "generation",
        )
        self._feed_rules = prepare(
            select(feed_rules.c.feed, feed_rules.c.name, feed_rules.c.source)
            .select_from(
                feed_rules.join(
                    feeds,
                    and_(feeds.c.name == feed_rules.c.feed, feeds.c.generation == feed_rules.c.generation),
                )
            )
            .order_by(feed_rules.c.feed, feed_rules.c.name)
        )
        self._feed_rules_of = prepare(
            select(feed_rules.c.name, feed_rules.c.source).where(
                by(feed_rules.c.feed, feed_rules.c.generation)
            ),
            "feed",
            "generation",
        )
        kept = union(
            select(blobs.c.etag.label("etag"), blobs.c.etag.label("sha256")),
            select(reconstructions.c.etag, reconstructions.c.etag),
            select(content_digests.c.etag, content_digests.c.sha256).join(
                blobs, blobs.c.etag == content_digests.c.etag
            ),
        ).subquery("kept")
        self._feed_kept_hits = prepare(
            select(kept.c.etag, feeds.c.name, feeds.c.fetched_at, *_INDICATOR)
            .select_from(
                kept.join(
                    feed_indicators,
                    and_(feed_indicators.c.value == kept.c.sha256, feed_indicators.c.kind == "sha256"),
                ).join(feeds, counts)
            )
            .where(fresh),
            "now_",
        )
        self._feed_kept_in = prepare(
            select(kept.c.etag)
            .select_from(kept.join(feed_indicators, feed_indicators.c.value == kept.c.sha256))
            .where(
                feed_indicators.c.kind == "sha256",
                feed_indicators.c.confidence >= _SURE,
                by(feed_indicators.c.feed, feed_indicators.c.generation),
            ),
            "feed",
            "generation",
        )
        self._feed_kept_count = prepare(select(func.count(kept.c.etag.distinct())))
        self._feed_named = prepare(
            hit.where(or_(feed_indicators.c.kind == "repo", feed_indicators.c.kind == "author"), fresh),
            "now_",
        )
        self._feed_repos = prepare(select(commits.c.repo).distinct())
        self._feed_etags_of = prepare(
            select(files.c.etag)
            .select_from(files.join(commits, commits.c.commit_number == files.c.commit_number))
            .where(by(commits.c.repo))
            .distinct()
        )

    # -- feeds -----------------------------------------------------------------------------------------------

    def put_feed(self, feed: FeedRow) -> None:
        """Keep a feed as it is told."""
        self._db.run(self._feed_put_feed, *_values(feed))

    def feed(self, name: str) -> FeedRow | None:
        """One feed. A point read."""
        row = self._db.one(self._feed_one, name)
        return None if row is None else _feed(row)

    def feeds(self) -> list[FeedRow]:
        """Every feed, by name."""
        return [_feed(row) for row in self._db.all(self._feed_list)]

    def drop_feed(self, name: str) -> bool:
        """Forget a feed and all it held; whether there was one."""
        with self._db.transaction() as transaction:
            for drop in self._feed_drops:
                transaction.run(drop, name, -1, -1)
            return transaction.run(self._feed_drop_feed, name) > 0

    def feeds_version(self) -> str:
        """Changes whenever another generation of a feed counts. A point read."""
        rows = self._db.all(self._feed_versions)
        return hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()[:16] if rows else ""

    def note_feed_try(self, name: str, now: float, trouble: str) -> None:
        """A fetch did not succeed."""
        self._db.run(self._feed_note_try, name, now, trouble)

    def note_feed_fetch(self, name: str, state: Mapping[str, object], now: float) -> None:
        """What the feed holds is current."""
        self._db.run(self._feed_note_fetch, name, json.dumps(dict(state)), now)

    # -- generations -----------------------------------------------------------------------------------------

    def begin_generation(self, name: str, copied_from: int | None = None) -> int:
        """A number for a new generation, with all that another one holds when that is named."""
        rows = [self._db.one(last, name) for last in self._feed_last]
        feed = self.feed(name)
        used = [int(row[0]) for row in rows if row is not None and row[0] is not None]
        number = 1 + max([*used, feed.generation if feed is not None else 0], default=0)
        if copied_from:
            with self._db.transaction() as transaction:
                for copy in self._feed_copies:
                    transaction.run(copy, name, copied_from, number)
        return number

    def add_indicators(self, name: str, generation: int, told: Iterable[Indicator]) -> None:
        """Write indicators into a generation that nobody sees yet; the last word of each source stays."""
        rows = (
            (name, generation, one.kind, one.value, one.label, one.confidence, one.tlp, one.expires_at,
             one.source)
            for one in told
        )  # fmt: skip
        self._feed_in_batches(self._feed_add_indicator, rows)

    def drop_indicators(
        self, name: str, generation: int, values: Iterable[tuple[str, str]], sources: Iterable[str] = ()
    ) -> None:
        """Take out of a generation that nobody sees yet: values by kind, and all that a source said."""
        self._feed_in_batches(self._feed_drop_value, ((name, generation, *value) for value in values))
        self._feed_in_batches(self._feed_drop_source, ((name, generation, source) for source in sources))

    def add_advisories(self, name: str, generation: int, told: Iterable[Advisory]) -> None:
        """Write advisories into a generation that nobody sees yet."""
        rows = (
            (name, generation, one.ecosystem, one.package, one.id, json.dumps(dict(one.told))) for one in told
        )
        self._feed_in_batches(self._feed_add_advisory, rows)

    def add_rules(self, name: str, generation: int, told: Mapping[str, str]) -> None:
        """Write YARA sources by name into a generation that nobody sees yet."""
        self._feed_in_batches(
            self._feed_add_rule, ((name, generation, rule, source) for rule, source in told.items())
        )

    def show_generation(self, name: str, generation: int) -> None:
        """Make it the one that counts, and forget the others."""
        with self._db.transaction() as transaction:
            transaction.run(self._feed_show, name, generation)
            for drop in self._feed_drops:
                transaction.run(drop, name, generation, generation)

    def hold_generation(self, name: str, generation: int, why: str, shown: int) -> None:
        """Let it wait for approval beside the one that counts; one that waited before is forgotten."""
        with self._db.transaction() as transaction:
            transaction.run(self._feed_hold, name, generation, why)
            for drop in self._feed_drops:
                transaction.run(drop, name, generation, shown)

    def drop_generations(self, name: str) -> None:
        """Forget what neither counts nor waits: leavings of a fetch that did not end."""
        feed = self.feed(name)
        if feed is not None:
            held = feed.held_generation if feed.held_generation is not None else feed.generation
            with self._db.transaction() as transaction:
                for drop in self._feed_drops:
                    transaction.run(drop, name, feed.generation, held)

    def release_held(self, name: str) -> None:
        """Forget the generation that waits."""
        self._db.run(self._feed_hold, name, None, "")
        self.drop_generations(name)

    def generation_counts(self, name: str, generation: int) -> tuple[int, int, int]:
        """How many indicators, advisories and rules a generation holds."""
        rows = [self._db.one(count, name, generation) for count in self._feed_counts]
        indicators, advisories, rules = (int(row[0]) if row is not None else 0 for row in rows)
        return indicators, advisories, rules

    def indicators_of(self, name: str, generation: int) -> list[Indicator]:
        """All indicators of a generation: for export."""
        return [Indicator(*row) for row in self._db.all(self._feed_indicators, name, generation)]

    def advisories_of(self, name: str, generation: int) -> list[Advisory]:
        """All advisories of a generation: for export."""
        rows = self._db.all(self._feed_of_generation, name, generation)
        return [Advisory(row[0], row[1], row[2], json.loads(row[3])) for row in rows]

    def rules_of(self, name: str, generation: int) -> dict[str, str]:
        """The YARA sources of a generation, by name."""
        return dict(self._db.all(self._feed_rules_of, name, generation))

    # -- hits ------------------------------------------------------------------------------------------------

    def hits(self, kind: str, value: str, now: float) -> list[Hit]:
        """What feeds say of a value now. A point read."""
        return [_hit(row) for row in self._db.all(self._feed_hits, kind, value, now)]

    def advisories(self, ecosystem: str, package: str) -> list[tuple[str, float, str, dict[str, Any]]]:
        """Feed, its time, id and content of each advisory about a package. A point read."""
        rows = self._db.all(self._feed_advisories, ecosystem, package)
        return [(row[0], row[1] or 0.0, row[2], json.loads(row[3])) for row in rows]

    def yara_sources(self) -> list[tuple[str, str, str]]:
        """Feed, name and text of every YARA source that counts."""
        return [(row[0], row[1], row[2]) for row in self._db.all(self._feed_rules)]

    def kept_hits(self, now: float) -> list[tuple[str, Hit]]:
        """Kept content that feeds know by its sha256: etag and hit."""
        return [(row[0], _hit(row[1:])) for row in self._db.all(self._feed_kept_hits, now)]

    def named_hits(self, now: float) -> list[Hit]:
        """Every indicator that names a repository or an author."""
        return [_hit(row) for row in self._db.all(self._feed_named, now)]

    def kept_in_generation(self, name: str, generation: int) -> set[str]:
        """Etags of kept content that a generation is sure about."""
        return {row[0] for row in self._db.all(self._feed_kept_in, name, generation)}

    def kept_count(self) -> int:
        """How many different contents are kept."""
        row = self._db.one(self._feed_kept_count)
        return int(row[0]) if row is not None else 0

    def repo_keys(self) -> list[str]:
        """Every repository of which a commit is known, as `models/ns/name`."""
        return [row[0] for row in self._db.all(self._feed_repos)]

    def etags_of_repo(self, key: str) -> list[str]:
        """What the known commits of a repository list."""
        return [row[0] for row in self._db.all(self._feed_etags_of, key)]

    def _feed_in_batches(self, statement: Any, rows: Iterable[tuple[object, ...]]) -> None:
        left = iter(rows)
        while batch := list(islice(left, _ROWS_AT_ONCE)):
            with self._db.transaction() as transaction:
                transaction.run_many(statement, batch)


_INDICATOR = (
    feed_indicators.c.kind,
    feed_indicators.c.value,
    feed_indicators.c.label,
    feed_indicators.c.confidence,
    feed_indicators.c.tlp,
    feed_indicators.c.expires_at,
    feed_indicators.c.source,
)


def _copy(table: Any) -> Any:
    others = [column for column in table.c if column.name != "generation"]
    chosen = select(*others, literal(0) + bindparam("to_")).where(
        table.c.feed == bindparam("feed_"), table.c.generation == bindparam("from_")
    )
    return insert(table).from_select([*(column.name for column in others), "generation"], chosen)


def _hit(row: Row) -> Hit:
    return Hit(row[0], row[1] or 0.0, Indicator(*row[2:]))


def _values(feed: FeedRow) -> tuple[object, ...]:
    return (
        feed.name,
        feed.kind,
        feed.url,
        feed.added_at,
        json.dumps(dict(feed.options)),
        json.dumps(dict(feed.state)),
        feed.generation,
        feed.held_generation,
        feed.held_why,
        feed.fetched_at,
        feed.tried_at,
        feed.trouble,
    )


def _feed(row: Row) -> FeedRow:
    name, kind, url, added_at, options, state, *rest = row
    return FeedRow(name, kind, url, added_at, json.loads(options), json.loads(state), *rest)
