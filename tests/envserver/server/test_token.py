from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from wmrun_envserver.__main__ import main
from wmrun_envserver.server.token import TokenError, create_token, read_token

TOKEN = "0123456789abcdef" * 4


def token_file(directory: Path, content: str = TOKEN + "\n", mode: int = 0o600) -> Path:
    path = directory / "token"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_command_writes_256_bits_that_only_the_owner_can_read(tmp_path, capfd):
    before = os.umask(0)
    try:
        assert main(["token", str(tmp_path / "token")]) == 0
    finally:
        os.umask(before)
    written = (tmp_path / "token").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}\n", written)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert read_token(tmp_path / "token") == written.strip()
    assert capfd.readouterr() == ("", "")


def test_every_token_is_another(tmp_path):
    create_token(tmp_path / "a")
    create_token(tmp_path / "b")
    assert read_token(tmp_path / "a") != read_token(tmp_path / "b")


def test_a_file_that_exists_is_not_overwritten(tmp_path, capfd):
    path = token_file(tmp_path)
    assert main(["token", str(path)]) == 2
    assert "the file exists" in capfd.readouterr().err
    assert path.read_text() == TOKEN + "\n"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenError, match="the file exists"):
        create_token(tmp_path / "token")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_a_file_open_to_others_is_refused_with_the_remedy(tmp_path, mode):
    path = token_file(tmp_path, mode=mode)
    with pytest.raises(TokenError, match=f"mode {mode:04o}.*chmod 600"):
        read_token(path)


@pytest.mark.parametrize("content", ["", "secret", TOKEN[:-1], TOKEN + "0", TOKEN[:-1] + "g"])
def test_what_is_no_token_is_refused_and_not_quoted(tmp_path, content):
    with pytest.raises(TokenError, match="expected 64 hex digits") as caught:
        read_token(token_file(tmp_path, content))
    assert not content or content not in str(caught.value)


def test_a_huge_or_missing_file_is_refused(tmp_path):
    with pytest.raises(TokenError, match="larger than 65536 bytes"):
        read_token(token_file(tmp_path, "0" * 2**20))
    with pytest.raises(TokenError, match="No such file or directory"):
        read_token(tmp_path / "nothing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_of_another_user_is_refused_for_that_whatever_its_mode(tmp_path, mode):
    path = token_file(tmp_path, mode=mode)
    os.chown(path, 65534, -1)
    with pytest.raises(TokenError, match=r"belongs to another user \(uid 65534\)") as caught:
        read_token(path)
    assert "chmod" not in str(caught.value)


def test_whoever_may_write_to_the_directory_cannot_make_a_file_of_ours(tmp_path):
    tmp_path.chmod(0o777)
    assert read_token(token_file(tmp_path)) == TOKEN


@pytest.mark.parametrize(
    ("content", "mode"), [(None, 0o600), (TOKEN, 0o644), ("x", 0o600), ("0" * 2**17, 0o600)]
)
def test_every_refusal_names_the_command_that_makes_a_right_file(tmp_path, content, mode):
    path = tmp_path / "none" if content is None else token_file(tmp_path, content, mode)
    with pytest.raises(TokenError, match="`wmrun-envserver token FILE` makes a file"):
        read_token(path)
