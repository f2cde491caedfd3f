"""`wmrun list`, `wmrun show` and `wmrun plugins`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wmrun.cli.app import main
from wmrun.cli.list import list_components
from wmrun.errors import ExitCode
from wmrun.registry import KINDS


def ends(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_list_shows_built_in_and_third_party_components_side_by_side(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("list", "latent") == ExitCode.OK
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["kind", "name", "package", "summary"]
    assert [row[:3] for row in rows[2:]] == [
        ["latent", "categorical", "wmrun"],
        ["latent", "gaussian", "wmrun"],
        ["latent", "onehot", "toy"],
    ]


def test_list_without_a_kind_lists_all_kinds() -> None:
    assert tuple(dict.fromkeys(info.kind for info in list_components())) == KINDS


def test_list_of_an_unknown_kind_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("list", "encoders") == ExitCode.CONFIG
    assert capsys.readouterr().err.endswith("did you mean 'encoder'?\n")


def test_show_tells_package_place_summary_and_options(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("show", "encoder", "dense") == ExitCode.OK
    text = capsys.readouterr().out.splitlines()
    source = toy / "toy_components.py"
    line = source.read_text().splitlines().index("class Dense:") + 1
    assert text[:4] == ["encoder dense (toy 1.0)", f"{source}:{line}", "", "Dense layers."]
    assert text[5].split() == ["option", "type", "default", "help"]
    assert [row.split() for row in text[7:]] == [
        ["layers", "int", "required"],
        ["units", "int", "400"],
    ]


def test_show_writes_defaults_as_an_experiment_would(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends("show", "agent", "toy")
    text = capsys.readouterr().out
    for cells in (
        ("encoder component", "{type: conv, depth: 48}", "reads observations."),
        ("float | null", "null"),
        ("bool", "false"),
        ("list[int]", "[1, 2]"),
    ):
        assert any(all(cell in line for cell in cells) for line in text.splitlines())


def test_show_as_json_holds_the_options(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("show", "encoder", "conv", "--json") == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["location"].startswith(str(toy))
    assert (shown["package"], shown["version"], shown["status"]) == ("toy", "1.0", "ok")
    assert shown["options"][0] == {
        "name": "depth",
        "type": "int",
        "required": False,
        "default": 32,
        "help": "",
    }


def test_tables_are_not_cut_when_stdout_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    ends("list", "encoder")
    summaries = [info.summary for info in list_components("encoder")]
    lines = capsys.readouterr().out.splitlines()[2:]
    assert all(summary in line for summary, line in zip(summaries, lines, strict=True))


def test_plugins_without_any_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("plugins") == ExitCode.OK
    assert capsys.readouterr() == ("", "no other package registers components\n")


def test_plugins_names_package_version_and_exception(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("plugins") == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == 4
    assert all("toy 1.0" in line and "broken: RuntimeError: reading the" in line for line in lines)


def test_show_tells_the_range_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("show", "agent", "dreamer_v2", "--json") == ExitCode.OK
    types = {item["name"]: item["type"] for item in json.loads(capsys.readouterr().out)["options"]}
    assert types["hidden"] == "int >= 1 | null"
    assert types["discount"] == "float >= 0 and <= 1"
