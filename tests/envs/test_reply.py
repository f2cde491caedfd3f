"""Replies read into rows, and the replies that no correct server sends."""

from __future__ import annotations

import numpy as np
import pytest
from wmrun_envserver.wire import messages, spaces, tensors

from wmrun.envs.errors import EnvDataError, EnvProtocolError
from wmrun.envs.reply import read_rows
from wmrun.envs.rows import SlotFailure

OBS_SPACE = {
    "image": spaces.Box((2, 2, 3), "uint8", role="IMAGE_HWC"),
    "vector": spaces.Box((3,), "float32", role="VECTOR"),
}
IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
VECTOR = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def reply() -> messages.Rows:
    return messages.Rows(
        slot=[0, 1],
        obs=[tensors.encode(IMAGE), tensors.encode(VECTOR)],
        reward=[0.1, -2.0],
        terminated=[True, False],
        truncated=[False, False],
        is_first=[False, True],
        episode=[3, 4],
        step_in_episode=[7, 0],
        status=[messages.SLOT_OK, messages.SLOT_RESTARTED],
        info=[messages.InfoColumn(key="lives", rows=[1], values=tensors.encode(np.array([2])))],
        errors=[messages.SlotError(slot=1, reason="ENV_FAILED", message="boom")],
    )


def test_arrays_are_those_that_were_sent_in_leaf_order() -> None:
    rows = read_rows(reply(), OBS_SPACE, 2)
    assert list(rows.obs) == ["image", "vector"]
    np.testing.assert_array_equal(rows.obs["image"], IMAGE)
    np.testing.assert_array_equal(rows.obs["vector"], VECTOR)
    assert rows.reward.tolist() == [0.1, -2.0]
    assert rows.terminated.tolist() == [True, False]
    assert rows.truncated.tolist() == [False, False]
    assert rows.is_first.tolist() == [False, True]


def test_failures_are_told_by_slot() -> None:
    message = reply()
    rows = read_rows(message, OBS_SPACE, 2)
    assert (rows.broken, rows.failed) == ((1,), ())
    assert rows.errors == (SlotFailure((1,), "ENV_FAILED", "boom"),)
    message.status[0] = messages.SLOT_FAILED
    assert read_rows(message, OBS_SPACE, 2).failed == (0,)


def test_what_is_said_of_several_slots_is_told_once() -> None:
    message = reply()
    message.errors.add(slot=0, reason="ENV_FAILED", message="its process ended")
    message.errors.add(slot=1, reason="ENV_FAILED", message="its process ended")
    rows = read_rows(message, OBS_SPACE, 2)
    assert rows.errors == (
        SlotFailure((1,), "ENV_FAILED", "boom"),
        SlotFailure((0, 1), "ENV_FAILED", "its process ended"),
    )


def test_info_belongs_to_the_slots_that_reported_it() -> None:
    column = read_rows(reply(), OBS_SPACE, 2).info["lives"]
    assert (column.slots.tolist(), column.values.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("space", "values", "words"),
    [
        (spaces.Discrete(3, start=1), [1, 4], 'leaf "obs", row 1: 4 is not in [1, 3]'),
        (
            spaces.MultiDiscrete([2, 3]),
            [[1, 2], [-1, 0]],
            'leaf "obs", row 1, element [0]: -1 is not in [0, 1]',
        ),
        (
            spaces.MultiBinary((1,)),
            [[2], [0]],
            'leaf "obs", row 0, element [0]: 2 is not in [0, 1]',
        ),
    ],
    ids=["Discrete", "MultiDiscrete", "MultiBinary"],
)
def test_a_class_that_the_space_does_not_have_is_refused(
    space: spaces.LeafSpace, values: list, words: str
) -> None:
    message = reply()
    del message.obs[:]
    message.obs.append(tensors.encode(np.array(values, space.dtype)))
    with pytest.raises(EnvDataError) as caught:
        read_rows(message, {"obs": space}, 2)
    assert caught.value.message == f"an observation is outside its space: {words}"
    message.status[:] = [messages.SLOT_FAILED] * 2  # then the values mean nothing
    assert read_rows(message, {"obs": space}, 2).failed == (0, 1)


def test_observations_are_views_of_the_message() -> None:
    obs = read_rows(reply(), OBS_SPACE, 2).obs
    assert not any(values.flags.owndata for values in obs.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slot": [0]}, r"rows of slots \[0\] where one each of 0 to 1"),
        ({"slot": [1, 0]}, r"rows of slots \[1, 0\] where one each of 0 to 1, in order"),
        ({"reward": [1.0]}, "1 values of reward for 2 rows"),
        ({"status": [0, messages.SLOT_ABSENT]}, r"slots \[1\] are absent"),
        ({"obs": [tensors.encode(IMAGE)]}, "1 observation leaves where its space has 2"),
        (
            {"obs": [tensors.encode(IMAGE), tensors.encode(VECTOR[:1])]},
            r"'vector' as float32 \[1, 3\], its space says float32 \[2, 3\]",
        ),
        (
            {"obs": [tensors.encode(IMAGE), tensors.encode(VECTOR.astype(np.float64))]},
            r"'vector' as float64 \[2, 3\], its space says float32",
        ),
        (
            {"obs": [messages.Tensor(dtype=messages.UINT8, shape=[2], data=b"x")] * 2},
            r"malformed row: uint8 tensor of shape \[2\] needs 2 bytes, got 1",
        ),
    ],
)
def test_reply_that_breaks_the_protocol_is_refused(change: dict[str, list], message: str) -> None:
    broken = reply()
    for field, values in change.items():
        broken.ClearField(field)
        getattr(broken, field).extend(values)
    with pytest.raises(EnvProtocolError, match=message):
        read_rows(broken, OBS_SPACE, 2)
