import numpy as np

from wmrun.envs.driver import Transitions
from wmrun.run.episodes import Episode, EpisodeMeter


def rows(reward, is_first, is_last, broken=(), slots=(0, 1)):
    return Transitions(
        slots=np.array(slots),
        obs={},
        action=np.zeros((len(slots), 1), np.float32),
        reward=np.array(reward, np.float32),
        is_first=np.array(is_first),
        is_last=np.array(is_last),
        is_terminal=np.array(is_last),
        broken=broken,
        errors=(),
        info={},
    )


def test_slots_end_their_episodes_apart():
    meter = EpisodeMeter(2)
    assert meter.add(rows([0, 0], [True, True], [False, False])) == []
    assert meter.add(rows([1, 5], [False, False], [True, False])) == [Episode(0, 1.0, 1)]
    assert meter.add(rows([0, 5], [True, False], [False, True])) == [Episode(1, 10.0, 2)]


def test_an_episode_that_a_failure_cut_off_is_not_counted():
    meter = EpisodeMeter(2)
    meter.add(rows([0, 0], [True, True], [False, False]))
    meter.add(rows([7, 7], [False, False], [False, False]))
    meter.add(rows([0, 1], [True, False], [False, False], broken=(0,)))
    assert meter.add(rows([2, 1], [False, False], [True, True])) == [
        Episode(0, 2.0, 1),
        Episode(1, 9.0, 3),
    ]


def test_slots_without_a_row_keep_what_they_have_so_far():
    meter = EpisodeMeter(3)
    meter.add(rows([0, 0], [True, True], [False, False], slots=(0, 2)))
    meter.add(rows([4], [False], [False], slots=(2,)))
    meter.add(rows([0, 1], [True, False], [False, False], slots=(1, 2)))
    assert meter.add(rows([3, 1], [False, False], [True, True], slots=(0, 2))) == [
        Episode(0, 3.0, 1),
        Episode(2, 6.0, 3),
    ]
