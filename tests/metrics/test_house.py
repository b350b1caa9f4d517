"""Each figure of the house is told under its own name, in the unit that the name says."""

from __future__ import annotations

from flux_core.database.figures import HOSTED, OURS, Credits, Crowd, Figures
from flux_core.jobs import Lane
from flux_core.metrics import definitions as m
from flux_core.metrics.house import _families

NOW = 1_000_000.0


def figures(**changes: object) -> Figures:
    """Return a look in which no two figures are alike."""
    found = {
        "waiting": {
            (Lane.FAST, "flux-dev", OURS): Crowd(2, NOW - 30),
            (Lane.RELAXED, "flux-schnell", HOSTED): Crowd(3, NOW - 40),
        },
        "resuming": {"bfl": 5},
        "stopped": 7,
        "running": {("flux-dev", "local"): 11, ("flux-dev", ""): 13},
        "expired": 17,
        "undelivered": Crowd(19, NOW - 50),
        "undeliverable": 23,
        "workers": {("local", True): 29, ("local", False): 31},
        "slots": {"local": 37},
        "caps": {"bfl": 2_500_000},
        "reviews": {"report": 41},
        "credits": Credits(reserved=1_500, settled=43_000, refunded=47_250),
        "microdollars": {"bfl": 530_000},
    }
    return Figures(**(found | changes))  # type: ignore[arg-type]


def told(found: Figures) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return what Prometheus is told: (metric, values of its labels in their order) → value."""
    return {
        (family.name, tuple(sample.labels.values())): sample.value
        for family in _families(found, NOW)
        for sample in family.samples
    }


def test_each_figure_has_its_metric_and_its_unit() -> None:
    said = told(figures())
    assert said == {
        ("flux_queue_jobs", ("fast", "flux-dev", "ours")): 2,
        ("flux_queue_jobs", ("relaxed", "flux-schnell", "hosted")): 3,
        ("flux_queue_oldest_seconds", ("fast", "flux-dev", "ours")): 30,
        ("flux_queue_oldest_seconds", ("relaxed", "flux-schnell", "hosted")): 40,
        ("flux_queue_resuming_jobs", ("bfl",)): 5,
        ("flux_queue_stopped_jobs", ()): 7,
        ("flux_running_jobs", ("flux-dev", "local")): 11,
        ("flux_running_jobs", ("flux-dev", "unknown")): 13,
        ("flux_expired_jobs", ()): 17,
        ("flux_outbox_jobs", ()): 19,
        ("flux_outbox_oldest_seconds", ()): 50,
        ("flux_undeliverable_jobs", ()): 23,
        ("flux_workers", ("local", "open")): 29,
        ("flux_workers", ("local", "closed")): 31,
        ("flux_worker_slots", ("local",)): 37,
        ("flux_provider_cap_dollars", ("bfl",)): 2.5,
        ("flux_reviews_open", ("approval",)): 0,
        ("flux_reviews_open", ("report",)): 41,
        ("flux_credits_today", ("reserved",)): 1.5,
        ("flux_credits_today", ("settled",)): 43,
        ("flux_credits_today", ("refunded",)): 47.25,
        ("flux_provider_dollars_today", ("bfl",)): 0.53,
    }
    assert {name for name, _ in said} == {reading.name for reading in m.HOUSE}


def test_an_empty_outbox_is_of_no_age() -> None:
    assert told(figures(undelivered=Crowd(0, 0.0)))["flux_outbox_oldest_seconds", ()] == 0


def test_a_clock_that_was_put_back_makes_nothing_younger_than_new() -> None:
    said = told(figures(undelivered=Crowd(1, NOW + 5), waiting={(Lane.FAST, "flux-dev", OURS): Crowd(1, NOW + 5)}))
    assert said["flux_outbox_oldest_seconds", ()] == 0
    assert said["flux_queue_oldest_seconds", ("fast", "flux-dev", "ours")] == 0
