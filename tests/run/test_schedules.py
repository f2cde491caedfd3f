import json

from wmrun.run.schedules import Every, TrainRatio


def test_every_fires_once_when_a_multiple_is_passed():
    every = Every(10)
    assert [step for step in range(0, 35, 4) if every(step)] == [12, 20, 32]


def test_every_fires_once_for_several_multiples_passed_at_once():
    every = Every(10)
    assert every(35)
    assert not every(39)
    assert every(40)


def test_every_zero_never_fires():
    assert not any(Every(0)(step) for step in range(100))


def test_every_keeps_its_rhythm_through_a_checkpoint():
    first = Every(10)
    assert first(12)
    second = Every(10)
    second.load(first.save())
    assert not second(19)
    assert second(20)


def updates_after(ratio: TrainRatio, agent_steps: list[int]) -> list[int]:
    counts = []
    for steps in agent_steps:
        ratio.earn(steps)
        count = 0
        while ratio.update_due:
            ratio.pay()
            count += 1
        counts.append(count)
    return counts


def test_train_ratio_of_160_with_batches_of_800_rows_updates_every_fifth_agent_step():
    assert updates_after(TrainRatio(160, 16 * 50), [1] * 10) == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_train_ratio_above_one_batch_pays_several_updates_per_step():
    assert updates_after(TrainRatio(1024, 512), [1, 3]) == [2, 6]


def test_train_ratio_does_not_drift():
    assert sum(updates_after(TrainRatio(1.0, 3), [1] * 3000)) == 1000


def test_an_unpaid_update_survives_a_checkpoint():
    stopped = TrainRatio(300, 200)
    stopped.earn(2)
    stopped.pay()
    resumed = TrainRatio(300, 200)
    resumed.load(stopped.save())
    assert updates_after(resumed, [0, 1]) == [2, 1]


def test_a_burst_is_paid_at_once_when_it_is_due_and_not_before():
    """Dreamer V1: 100 updates of 50 x 50 rows every 500 agent steps."""
    ratio = TrainRatio(500, 50 * 50, burst=100)
    assert updates_after(ratio, [499, 1, 250, 249, 1]) == [0, 100, 0, 0, 100]


def test_a_burst_pays_everything_that_is_owed():
    assert updates_after(TrainRatio(1.0, 1, burst=4), [3, 7, 3, 1]) == [0, 10, 0, 4]


def test_bursts_do_not_drift():
    assert sum(updates_after(TrainRatio(1.0, 3, burst=7), [1] * 2100)) == 700


def test_a_burst_that_was_begun_goes_on_after_a_checkpoint():
    stopped = TrainRatio(1.0, 1, burst=4)
    stopped.earn(5)
    stopped.pay()
    stopped.pay()
    resumed = TrainRatio(1.0, 1, burst=4)
    resumed.load(json.loads(json.dumps(stopped.save())))
    assert updates_after(resumed, [0, 3, 1]) == [3, 0, 4]


def test_a_burst_that_was_not_begun_waits_after_a_checkpoint():
    stopped = TrainRatio(1.0, 1, burst=4)
    stopped.earn(3)
    resumed = TrainRatio(1.0, 1, burst=4)
    resumed.load(stopped.save())
    assert updates_after(resumed, [0, 1]) == [0, 4]
