"""Every metric of flux-bot: its name, unit, labels and meaning.

Labels take few values, all known beforehand: models, providers, error codes, lanes. Who asked for what never is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
"""What this process has counted."""

# When each counter began is of no use here and would double what is told.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

LONG = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)
"""Buckets, in seconds, for what takes from a blink to an afternoon."""
SHORT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

# Jobs in a worker

WAIT = Histogram(
    "flux_job_wait_seconds",
    "From the order to the beginning of the drawing that came of it.",
    ("model", "provider"),
    buckets=LONG,
    registry=REGISTRY,
)
RUN = Histogram(
    "flux_job_run_seconds",
    "The drawing of a job, loading of models apart.",
    ("model", "provider"),
    buckets=LONG,
    registry=REGISTRY,
)
FINISH = Histogram(
    "flux_job_finish_seconds",
    "From the drawn pictures to their place in the picture store and the end of the job.",
    ("provider",),
    buckets=SHORT,
    registry=REGISTRY,
)
STEP = Histogram(
    "flux_step_seconds",
    "One drawing step of a model on our own card; of jobs drawn together, each counts it.",
    ("model",),
    buckets=(*SHORT, 30),
    registry=REGISTRY,
)
PICTURES = Counter("flux_pictures_total", "Pictures drawn and stored.", ("model", "provider"), registry=REGISTRY)
ATTEMPTS = Counter(
    "flux_attempts_total",
    "Jobs that left a worker's hands. outcome: succeeded, refused, failed, cancelled, handed_back, lost.",
    ("model", "provider", "outcome"),
    registry=REGISTRY,
)
FAILURES = Counter(
    "flux_failures_total",
    "Attempts that ended with an error, by its code; some jobs are drawn in a later one.",
    ("model", "provider", "code"),
    registry=REGISTRY,
)
IN_HAND = Gauge(
    "flux_jobs_in_hand", "Jobs that this worker prepares, draws or stores.", ("provider",), registry=REGISTRY
)
COMPANY = Histogram(
    "flux_company_jobs",
    "Jobs in one drawing: 1 where a job was drawn by itself.",
    ("model",),
    buckets=(1, 2, 3, 4, 6, 8),
    registry=REGISTRY,
)
ENGINE_IDLE = Histogram(
    "flux_engine_idle_seconds",
    "From the last step of a drawing to the first of the next one, where that was in the worker's hands already; "
    "loading of models included.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 10),
    registry=REGISTRY,
)
REDRAWN = Counter(
    "flux_redrawn_total",
    "Jobs that were drawn once more at once, in the safest way. reason: broken (numbers that are no colours), blank "
    "(all of one colour), memory.",
    ("model", "reason"),
    registry=REGISTRY,
)
LEANER = Counter(
    "flux_leaner_total",
    "Times that a model ran out of memory and is held in a leaner way for an hour or more. profile: "
    "that way (GPU_PROFILE).",
    ("model", "profile"),
    registry=REGISTRY,
)

# Hosted providers

ORDERS = Counter(
    "flux_provider_orders_total",
    "Orders that were sent to a hosted provider. outcome: taken, refused (for its content), failed, unknown.",
    ("provider", "outcome"),
    registry=REGISTRY,
)
POLLS = Counter(
    "flux_provider_polls_total",
    "Questions to a hosted provider how an order is doing. outcome: answered, missing (it knows of none), failed.",
    ("provider", "outcome"),
    registry=REGISTRY,
)
FAULTS = Counter(
    "flux_provider_faults_total",
    "Jobs on which a hosted provider failed, by the error's code.",
    ("provider", "code"),
    registry=REGISTRY,
)

# The bot

REQUESTS = Counter(
    "flux_discord_requests_total", "Requests to Discord that were answered.", ("status",), registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "flux_discord_request_seconds",
    "From a request to Discord to the beginning of its answer; uploads included.",
    buckets=SHORT,
    registry=REGISTRY,
)
UNANSWERED = Counter(
    "flux_discord_unanswered_total", "Requests to Discord that broke off without an answer.", registry=REGISTRY
)
RATE_LIMITED = Counter(
    "flux_discord_rate_limited_total",
    "Answers 429. scope: user (this bot's own limit), global, shared (of the resource), unknown.",
    ("scope",),
    registry=REGISTRY,
)
ACKNOWLEDGED = Histogram(
    "flux_discord_acknowledged_seconds",
    "From the moment at which Discord made an interaction, as its id tells, to the end of the first answer; Discord "
    "waits for 3 s.",
    buckets=(0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 3),
    registry=REGISTRY,
)
GATEWAY_DROPS = Counter("flux_discord_gateway_drops_total", "Connections to the gateway that ended.", registry=REGISTRY)
GATEWAY_RESUMES = Counter(
    "flux_discord_gateway_resumes_total", "Connections to the gateway that went on where they ended.", registry=REGISTRY
)
DELIVERIES = Counter(
    "flux_deliveries_total",
    "Answers to ended jobs. outcome: the way it took (token, channel, edit, direct), later (tried again) or given_up.",
    ("outcome",),
    registry=REGISTRY,
)
DELIVERY = Histogram(
    "flux_delivery_seconds",
    "From a job's end until Discord has its answer.",
    buckets=(*SHORT, 60, 300, 3600),
    registry=REGISTRY,
)

# Every process

LAG = Histogram(
    "flux_event_loop_lag_seconds",
    "How much later than it wanted a task went on that sleeps four times a second.",
    buckets=QUICK,
    registry=REGISTRY,
)

ProcessCollector(registry=REGISTRY)
"""``process_…``: memory, processor time, open files. Linux only."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A gauge that is read when somebody asks for it."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self) -> GaugeMetricFamily:
        """Return the metric without any value yet."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


DATABASE_UP = Reading("flux_database_up", "1: the database answered just now.")

# What the bot reads from the database

QUEUE_JOBS = Reading(
    "flux_queue_jobs",
    "Jobs that wait and may be claimed. lane: fast, relaxed; venue: ours (our own cards, perhaps hosted providers as "
    "well), hosted (those alone).",
    ("lane", "model", "venue"),
)
QUEUE_OLDEST = Reading(
    "flux_queue_oldest_seconds", "How long the oldest of them has been there.", ("lane", "model", "venue")
)
QUEUE_STOPPED = Reading(
    "flux_queue_stopped_jobs",
    "Jobs that wait and that nobody may claim: for approval, for the end of a pause, or for another job of their "
    "member's.",
)
QUEUE_RESUMING = Reading(
    "flux_queue_resuming_jobs", "Jobs that wait to go on at the hosted provider where they were ordered.", ("provider",)
)
RUNNING_JOBS = Reading(
    "flux_running_jobs", "Jobs that workers have claimed; provider: of that worker, or unknown.", ("model", "provider")
)
EXPIRED_JOBS = Reading(
    "flux_expired_jobs", "Running jobs whose worker has been silent for too long; they go back to the queue soon."
)
OUTBOX_JOBS = Reading("flux_outbox_jobs", "Jobs that have ended and whose answer Discord does not have yet.")
OUTBOX_OLDEST = Reading("flux_outbox_oldest_seconds", "How long ago the first of them ended.")
UNDELIVERABLE = Reading(
    "flux_undeliverable_jobs", "Jobs whose answer no way led to; they wait for their member in /jobs."
)
WORKERS = Reading(
    "flux_workers", "Workers that live. state: open, closed (taking no jobs at the moment).", ("provider", "state")
)
SLOTS = Reading("flux_worker_slots", "Jobs that the open ones draw at once.", ("provider",))
REVIEWS = Reading("flux_reviews_open", "What waits for moderators. kind: approval, report.", ("kind",))
CREDITS = Reading(
    "flux_credits_today",
    "Credits of the jobs asked for today. state: reserved (not ended yet), settled, refunded.",
    ("state",),
)
DOLLARS = Reading(
    "flux_provider_dollars_today",
    "US dollars that hosted providers got today; what is reserved counts.",
    ("provider",),
)
CAPS = Reading("flux_provider_cap_dollars", "The most that a hosted provider may get a day.", ("provider",))

# What the bot reads from its connection

SHARD_UP = Reading("flux_discord_shard_up", "1: the shard is connected to Discord's gateway.", ("shard",))
LATENCY = Reading(
    "flux_discord_gateway_latency_seconds", "From a shard's last heartbeat to Discord's answer.", ("shard",)
)

SHARD_UNKEPT = Reading(
    "flux_shard_unkept",
    "1: no process of the bot keeps this shard. Nothing is told of those that are kept; every bot tells it.",
    ("shard",),
)

# What a worker reads from its providers

PROVIDER_OPEN = Reading(
    "flux_provider_open",
    "1: the hosted provider gets orders; 0: after faults, or without credit or key, it is left alone.",
    ("provider",),
)

GPU_MEMORY = Reading(
    "flux_gpu_memory_bytes", "Memory of the card. kind: used (by anybody), total, ours (by this process).", ("kind",)
)
GPU_BUSY = Reading(
    "flux_gpu_utilisation_ratio", "Part of the last second or so in which the card computed, as its driver says."
)

HOUSE = (
    *(QUEUE_JOBS, QUEUE_OLDEST, QUEUE_STOPPED, QUEUE_RESUMING, RUNNING_JOBS, EXPIRED_JOBS, OUTBOX_JOBS, OUTBOX_OLDEST),
    *(UNDELIVERABLE, WORKERS, SLOTS, REVIEWS, CREDITS, DOLLARS, CAPS),
)
"""Those of the whole house. Every bot tells them all, so they are no sum over bots."""
READINGS = (DATABASE_UP, *HOUSE, SHARD_UP, LATENCY, SHARD_UNKEPT, PROVIDER_OPEN, GPU_MEMORY, GPU_BUSY)


EVENTS = (
    *(
        LEANER,
        WAIT,
        RUN,
        FINISH,
        STEP,
        PICTURES,
        ATTEMPTS,
        FAILURES,
        IN_HAND,
        COMPANY,
        ENGINE_IDLE,
        REDRAWN,
        ORDERS,
        POLLS,
        FAULTS,
        REQUESTS,
    ),
    *(REQUEST_SECONDS, UNANSWERED, RATE_LIMITED, ACKNOWLEDGED, GATEWAY_DROPS, GATEWAY_RESUMES, DELIVERIES, DELIVERY),
    LAG,
)
"""Those that a process counts itself."""


def every() -> Iterator[Reading]:
    """Return the name, the meaning and the labels of each metric of ours."""
    for event in EVENTS:
        (family,) = event.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Reading(name, family.documentation, tuple(event._labelnames))
    yield from READINGS
