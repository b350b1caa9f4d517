"""A job as data, and the states it may go through."""

from __future__ import annotations

import itertools

import pytest

from flux_core.jobs import TRANSITIONS, Job, JobState, Origin, new_job_id
from tests.database.scene import ANNE, a_reply, a_request


def a_job(**changes: object) -> Job:
    return Job(id="1", account=ANNE, request=a_request(), origin=Origin.IMAGINE, cost=1, created_at=0.0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(JobState, 2)))
def test_only_named_transitions_happen(before: JobState, after: JobState) -> None:
    job = a_job(state=before)
    if after in TRANSITIONS[before]:
        assert job.evolve(state=after).state is after
    else:
        with pytest.raises(ValueError, match=f"{before} job cannot become {after}"):
            job.evolve(state=after)


def test_what_has_ended_stays_so() -> None:
    assert {state for state in JobState if state.ended} == set(JobState) - {JobState.QUEUED, JobState.RUNNING}
    assert a_job(state=JobState.FAILED).evolve(delivered_at=1.0).delivered_at == 1.0


def test_ids_are_short_sortable_and_different() -> None:
    ids = [new_job_id() for _ in range(1000)]
    assert ids == sorted(ids), "also those of one millisecond: ids decide between jobs whose turn is the same"
    assert len(set(ids)) == 1000
    assert {len(id) for id in ids} == {24}


def test_the_interaction_token_is_never_shown() -> None:
    assert "a-secret" not in repr(a_reply())
    assert "a-secret" not in repr(a_job(reply_to=a_reply()))
