from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from wmrun.tracking.video import write_mp4

RED, GREEN, BLUE, GRAY = (200, 30, 30), (30, 180, 40), (40, 50, 210), (128, 128, 128)


def quarters(height: int, width: int, colours) -> np.ndarray:
    """A frame whose four quarters have these colours."""
    frame = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    frame[:h, :w], frame[:h, w:], frame[h:, :w], frame[h:, w:] = colours
    return frame


def decoded(path: Path) -> tuple[np.ndarray, float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


def test_a_video_plays_back_with_its_frames_enlarged(tmp_path: Path):
    turning = [RED, GREEN, BLUE, GRAY]
    frames = [quarters(64, 64, turning[n % 4 :] + turning[: n % 4]) for n in range(10)]
    write_mp4(tmp_path / "videos" / "a.mp4", np.stack(frames), fps=20)
    shown, fps = decoded(tmp_path / "videos" / "a.mp4")
    assert shown.shape == (10, 256, 256, 3)
    assert fps == 20
    for small, large in zip(frames, shown, strict=True):
        middles = large[64::128, 64::128].astype(int)
        assert np.abs(middles - small[16::32, 16::32]).max() <= 12


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((64, 96), (192, 288)),  # factor 3
        ((85, 85), (340, 340)),  # factor 4
        ((87, 87), (262, 262)),  # factor 3, one row and column more
        ((301, 300), (302, 300)),
        ((480, 640), (480, 640)),
    ],
)
def test_frames_get_even_sides_of_at_least_256_pixels(tmp_path: Path, size, shown):
    write_mp4(tmp_path / "a.mp4", np.full((3, *size, 3), 90, np.uint8), fps=10)
    frames, _ = decoded(tmp_path / "a.mp4")
    assert frames.shape == (3, *shown, 3)
    assert np.abs(frames.astype(int) - 90).max() <= 4


def test_grayscale_frames_are_shown_in_gray(tmp_path: Path):
    frames = np.linspace(20, 235, 6, dtype=np.uint8)[:, None, None, None]
    write_mp4(tmp_path / "a.mp4", np.broadcast_to(frames, (6, 84, 84, 1)), fps=10)
    shown, _ = decoded(tmp_path / "a.mp4")
    assert np.abs(shown.astype(int) - frames).max() <= 6


def test_a_player_can_start_before_the_file_has_arrived(tmp_path: Path):
    write_mp4(tmp_path / "a.mp4", np.zeros((3, 64, 64, 3), np.uint8), fps=10)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    "frames", [np.zeros((3, 64, 64, 3), np.float32), np.zeros((64, 64, 3), np.uint8)]
)
def test_what_is_no_video_is_refused(tmp_path: Path, frames: np.ndarray):
    with pytest.raises(ValueError, match=r"expected uint8 \[T, H, W, C\]"):
        write_mp4(tmp_path / "a.mp4", frames, fps=10)
    assert not list(tmp_path.iterdir())
