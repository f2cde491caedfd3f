"""What is said about observations, on rows made by hand."""

from __future__ import annotations

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.diagnose.observation_watch import FEW_FRAMES, ObservationWatch

VECTOR = spaces.Box((2,), "float32", -1, 1, role="VECTOR")
IMAGE = spaces.Box((4, 4, 3), "uint8", 0, 255, role="IMAGE_HWC")


def names(watch: ObservationWatch) -> list[str]:
    return [finding.name for finding in watch.findings()]


def feed(watch: ObservationWatch, key: str, rows: list[np.ndarray], slot: int = 0) -> None:
    for step, row in enumerate(rows):
        watch.add(np.array([slot]), {key: row[None]}, np.array([step == 0]), step)


def frame(value: int) -> np.ndarray:
    made = np.zeros((4, 4, 3), np.uint8)
    made[0, 0] = value
    return made


def test_values_within_the_space_are_not_mentioned() -> None:
    watch = ObservationWatch({"vector": VECTOR})
    feed(watch, "vector", [np.array([-1, 1], np.float32), np.array([0, 0.5], np.float32)])
    assert names(watch) == []


def test_the_first_nan_is_named_with_slot_element_and_step() -> None:
    watch = ObservationWatch({"vector": VECTOR})
    feed(watch, "vector", [np.zeros(2, np.float32), np.array([0, np.nan], np.float32)], slot=3)
    (finding,) = watch.findings()
    assert finding.name == "nan-observation"
    assert "element [1] of slot 3 is nan at step 1" in finding.message


def test_a_value_outside_its_bounds_is_named_once() -> None:
    watch = ObservationWatch({"vector": VECTOR})
    feed(watch, "vector", [np.array([0, 1.5], np.float32), np.array([0, 2.5], np.float32)])
    (finding,) = watch.findings()
    assert finding.name == "out-of-range"
    assert "1.5" in finding.message


def test_frames_of_one_colour_are_blank_even_where_the_colour_changes() -> None:
    watch = ObservationWatch({"image": IMAGE})
    feed(watch, "image", [np.full((4, 4, 3), value, np.uint8) for value in range(20)])
    assert names(watch) == ["blank-frames"]


def test_an_episode_that_shows_one_frame_for_too_long_is_stuck() -> None:
    watch = ObservationWatch({"image": IMAGE})
    feed(watch, "image", [frame(1)] * FEW_FRAMES)
    assert names(watch) == ["constant-frames"]


def test_frames_that_change_in_time_are_fine_even_if_they_rest_later() -> None:
    watch = ObservationWatch({"image": IMAGE})
    feed(watch, "image", [*[frame(1)] * (FEW_FRAMES - 1), frame(2), *[frame(1)] * FEW_FRAMES])
    assert names(watch) == []
