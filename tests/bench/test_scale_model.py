"""The simulation of a cluster adds up: nothing is lost, what is known by hand comes out, and a seed says all of it."""

from dataclasses import replace

import numpy as np
import pytest

from bench.scale_model import Cluster, Costs, Course, costs_of_reading, simulate

#: A millisecond for each piece of work, nothing for a task, and nothing that grows.
COSTS = Costs(
    intake_s=0.001,
    intake_database_s=0.0,
    result_s=0.001,
    result_database_s=0.0,
    task_s=0.0,
    task_database_s=0.0,
    turn_s_per_record=0.0,
    record_bytes=100.0,
    result_bytes=50.0,
    id_index_bytes=40.0,
)
#: Two stages; workers that are fast and many.
CLUSTER = Cluster(records=60_000, pipelines=2, stages=2, task=100, hours=0.001)


def taken_before(course: Course, share: float) -> float:
    """The mean time that a record spent inside, in seconds: where the curves of those that came and went cross it."""
    until = int(share * len(course.done))
    steps = np.arange(1, len(course.done) + 1) * course.step_s
    numbers = np.linspace(course.taken[until // 4], course.done[until], 2_000)
    return float((np.interp(numbers, course.done, steps) - np.interp(numbers, course.taken, steps)).mean())


def test_no_record_is_lost_or_made() -> None:
    """In every minute the records that came are those that are done and those that are still within."""
    course = simulate(replace(COSTS, task_s=0.01, turn_s_per_record=1e-6), CLUSTER)

    assert course.taken == pytest.approx(course.done + course.within)
    assert np.all(np.diff(course.done) >= 0)
    assert course.done[-1] == pytest.approx(CLUSTER.records)
    # 100 bytes for each record, and 50 for the result of each of its two stages.
    assert course.store_bytes[-1] == pytest.approx(CLUSTER.records * 200)


def test_a_conductor_is_as_busy_as_its_work_is_long() -> None:
    """A hundred records a second of three milliseconds each keep it busy for three tenths of the time."""
    course = simulate(COSTS, replace(CLUSTER, arrivals_per_s=100.0))

    steady = course.busy["conductor"][4:-4]
    assert steady == pytest.approx(np.full(len(steady), 0.3))


def test_the_slowest_station_says_how_long_it_takes() -> None:
    """Three milliseconds for each of 60,000 records are 180 s; twice the conductors take half, and a step to end in."""
    cluster = replace(CLUSTER, step_s=1.0)
    one, two = simulate(COSTS, cluster), simulate(COSTS, replace(cluster, conductors=2))

    assert one.wall == two.wall == "conductor"
    assert 180 <= one.hours * 3600 <= 183
    assert 90 <= two.hours * 3600 <= 93


def test_workers_that_are_as_many_as_needed_are_the_wall() -> None:
    """One worker that takes a tenth of a second does 36,000 records in an hour, where all else costs nothing."""
    cheap = replace(COSTS, intake_s=1e-6, result_s=1e-6)
    one = replace(
        CLUSTER, records=36_000, pipelines=1, stages=1, task=10, hours=1.01, model_median_s=0.1, model_sigma=0.0
    )
    course = simulate(cheap, one)

    assert (course.workers, course.wall) == (1, "workers")
    assert course.mean_busy["workers"] == pytest.approx(1.0, abs=0.02)
    assert course.hours == pytest.approx(1.0, abs=0.05)


def test_as_many_are_within_as_come_while_one_stays() -> None:
    """Little's law: the records within are those that come in a second, times the seconds that one stays."""
    cluster = replace(CLUSTER, records=600_000, stages=5, hours=0.5, step_s=10.0, arrivals_per_s=150.0)
    course = simulate(COSTS, cluster)

    steady = slice(len(course.done) // 4, int(0.9 * len(course.done)))
    assert course.mean_busy["conductor"] < 0.95
    assert course.within[steady].mean() == pytest.approx(150.0 * taken_before(course, 0.9), rel=0.03)


def test_a_message_for_each_record_meets_the_broker_first() -> None:
    """Two messages for each of two stages of 60,000 records are 240,000, which take 240 s at a thousand a second."""
    cheap = replace(COSTS, intake_s=1e-6, result_s=1e-6)
    cluster = replace(CLUSTER, messages_per_s=1_000.0, step_s=1.0)
    alone, together = simulate(cheap, replace(cluster, task=1)), simulate(cheap, replace(cluster, task=100))

    assert alone.wall == "broker"
    assert 240 <= alone.hours * 3600 <= 245
    assert together.hours < alone.hours / 10


def test_what_each_turn_reads_of_all_records_is_shared_among_parts() -> None:
    """What a turn costs for every record of the job is a tenth of it with ten parts of the tables."""
    slow = replace(COSTS, turn_s_per_record=1e-3)
    whole, parts = simulate(slow, CLUSTER), simulate(slow, replace(CLUSTER, partitions=10))
    least = simulate(COSTS, CLUSTER)

    assert whole.hours > 1.5 * parts.hours
    assert parts.hours > least.hours


@pytest.mark.parametrize(
    ("index", "partitions", "expected"), [(5e9, 1, 0.0), (40e9, 1, 0.0015), (40e9, 4, 0.0), (0.0, 1, 0.0)]
)
def test_an_index_that_memory_holds_is_not_read(index: float, partitions: int, expected: float) -> None:
    """Of 40 GB three quarters are not in 10 GB of memory: a page is read and written for so many of the new ids."""
    cluster = replace(CLUSTER, database_memory=10e9, read_s=0.001, partitions=partitions)

    assert costs_of_reading(index, cluster) == pytest.approx(expected)


def test_a_seed_says_all_of_it() -> None:
    """The same seed gives the same course, another one other workers."""
    cluster = replace(CLUSTER, hours=0.5)
    first, again, other = (simulate(COSTS, cluster, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.done, again.done)
    assert len(first.done) != len(other.done) or not np.array_equal(first.done, other.done)
