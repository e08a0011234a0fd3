"""What several processes say together, and what is left of one that has died."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from litestar.types import HTTPScope

from sync_server import browsers
from sync_server.observing.siblings import Siblings
from sync_server.observing.snapshot import STALE, Sample, Snapshot, histogram, together
from sync_server.observing.tally import BOUNDS, Histogram


def said(*samples: Sample, ago: float = 0.0) -> Snapshot:
    return Snapshot(1000.0 - ago, list(samples))


def values(*snapshots: Snapshot) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(sample.family, sample.labels): sample.value for sample in together(snapshots, 1000.0)}


def test_counters_and_gauges_add_up_and_the_most_of_what_all_see_counts() -> None:
    one = said(Sample("syncs", ("a",), 3), Sample("processes", (), 1), Sample("mails_waiting", ("a",), 2))
    other = said(Sample("syncs", ("a",), 4), Sample("processes", (), 1), Sample("mails_waiting", ("a",), 5))
    third = said(Sample("syncs", ("b",), 1))
    assert values(one, other, third) == {
        ("syncs", ("a",)): 7,
        ("syncs", ("b",)): 1,
        ("processes", ()): 2,
        ("mails_waiting", ("a",)): 5,
    }


def test_what_a_dead_process_counted_stays_and_what_it_had_is_gone() -> None:
    took = Histogram()
    took.observe(0.003)
    samples = [
        Sample("syncs", ("a",), 3),
        Sample("processes", (), 1),
        Sample("database_answers", ("a",), 1),
        histogram("bcrypt_wait_seconds", (), took),
    ]
    quiet, dead = said(*samples, ago=STALE - 0.1), said(*samples, ago=STALE + 0.1)
    assert values(quiet)["processes", ()] == 1
    assert values(dead) == {("syncs", ("a",)): 3, ("bcrypt_wait_seconds", ()): 0.003}


def test_histograms_add_up_bucket_by_bucket() -> None:
    one, other = Histogram(), Histogram()
    for seconds in (0.0005, 0.001, 0.003, 99.0):
        one.observe(seconds)
    other.observe(0.003)
    [sample] = together([said(histogram("bcrypt_wait_seconds", (), each)) for each in (one, other)], 1000.0)
    counts = dict(zip([*BOUNDS, None], sample.counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.001: 2, 0.005: 2, None: 1}


def test_what_an_older_version_says_and_we_do_not_know_is_passed_over() -> None:
    assert values(said(Sample("of_another_version", (), 1))) == {}


def test_who_takes_the_place_of_a_dead_process_goes_on_with_what_that_one_had_counted(tmp_path: Path) -> None:
    one, other = Siblings(tmp_path), Siblings(tmp_path)
    other.tell(said(Sample("syncs", ("a",), 10)))
    one.tell(said(Sample("syncs", ("a",), 3), Sample("processes", (), 1)))
    for _ in range(3):  # each has counted one more before it dies
        one.leave()
        one = Siblings(tmp_path)
        one.tell(said(Sample("syncs", ("a",), 1), Sample("processes", (), 1)))
    assert values(*other.others()) == {("syncs", ("a",)): 6, ("processes", ()): 1}
    assert values(one.with_past(said(Sample("syncs", ("a",), 2)))) == {("syncs", ("a",)): 3 + 1 + 1 + 2}
    assert len(list(tmp_path.glob("*.numbers"))) == 2
    one.leave()
    other.leave()


def test_browsers_are_told_to_stay_with_tls_where_the_proxy_says_that_it_is() -> None:
    def names(scheme: str, path: str, *given: browsers.Header) -> set[bytes]:
        scope = cast("HTTPScope", {"path": path, "scheme": scheme})
        return {name for name, _ in browsers.headers(scope, given)}

    tls = b"strict-transport-security"
    assert tls in names("https", "/api/v1/realms")
    assert tls not in names("http", "/api/v1/realms")
    assert tls not in names("https", "/pull/main")
    assert b"cache-control" not in names("https", "/api/v1/realms", (b"Cache-Control", b"private"))
