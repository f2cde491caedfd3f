"""Finding, loading and building components."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins import write_plugin
from wmrun.errors import AmbiguousComponent, BrokenPlugin, ExitCode, UnknownComponent
from wmrun.registry import build, get, inventory, names
from wmrun.registry.inventory import inspect_plugins

Install = Callable[..., Path]

ENCODER = """
    class Encoder:
        def __init__(self, shape, *, device, depth: int = 3):
            self.made_of = (shape, device, depth)

        def forward(self, obs): ...
"""


def test_a_component_is_built_from_its_type_options_and_context(install: Install) -> None:
    install(
        "acme", entry_points={"wmrun.encoders": {"e": "acme:Encoder"}}, modules={"acme": ENCODER}
    )
    assert build("encoder", {"type": "e", "depth": 5}, (3, 4), device="cpu").made_of == (
        (3, 4),
        "cpu",
        5,
    )


def test_an_unknown_name_is_answered_with_the_closest_one() -> None:
    with pytest.raises(UnknownComponent) as raised:
        get("encoder", "cn")
    assert raised.value.exit_code == ExitCode.CONFIG
    assert str(raised.value) == (
        "no encoder is called 'cn'\ndid you mean 'cnn'? `wmrun list encoder` lists what there is"
    )


def test_an_unknown_kind_is_answered_with_the_closest_one() -> None:
    with pytest.raises(UnknownComponent) as raised:
        names("encoders")
    assert str(raised.value) == (
        "there is no kind of component called 'encoders'; the kinds are encoder, decoder, latent, "
        "dynamics, head, actor, agent, tracker\ndid you mean 'encoder'?"
    )


def test_a_name_taken_twice_is_refused_until_the_package_is_named(install: Install) -> None:
    for package in ("acme", "zeta"):
        install(
            package,
            version="2.1",
            entry_points={"wmrun.encoders": {"e": f"{package}:Encoder"}},
            modules={package: ENCODER},
        )
    with pytest.raises(AmbiguousComponent) as raised:
        get("encoder", "e")
    assert str(raised.value) == (
        "the encoder name 'e' is taken by acme 2.1 and by zeta 2.1\nwrite acme:e or zeta:e"
    )
    assert get("encoder", "zeta:e").__module__ == "zeta"
    assert names("encoder").count("e") == 1
    status = {info.package: info.status for info in inventory("encoder") if info.name == "e"}
    assert status == {
        "acme": "name also taken by zeta 2.1",
        "zeta": "name also taken by acme 2.1",
    }


def test_a_built_in_name_cannot_be_taken_over(install: Install) -> None:
    install("acme", entry_points={"wmrun.heads": {"mse": "acme:Head"}}, modules={"acme": ""})
    with pytest.raises(AmbiguousComponent, match=r"'mse' is taken by wmrun \S+ and by acme 1\.0"):
        get("head", "mse")


def test_the_first_of_two_copies_of_a_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "2.0"):
        write_plugin(
            tmp_path / version,
            "acme",
            version=version,
            entry_points={"wmrun.encoders": {"e": "acme:Encoder"}},
            modules={},
        )
        monkeypatch.syspath_prepend(tmp_path / version)
    assert [info.version for info in inventory("encoder") if info.name == "e"] == ["2.0"]


def test_a_class_that_lacks_methods_of_its_kind_is_refused(install: Install) -> None:
    install(
        "acme",
        entry_points={"wmrun.decoders": {"d": "acme:Decoder"}},
        modules={"acme": "class Decoder:\n    def forward(self, feat): ...\n"},
    )
    with pytest.raises(BrokenPlugin) as raised:
        get("decoder", "d")
    assert str(raised.value) == (
        "the decoder 'd' of acme 1.0 cannot be used: acme:Decoder lacks the method targets of "
        "a decoder\n`wmrun plugins` shows the state of every package that extends wmrun"
    )


def test_a_value_that_cannot_be_called_is_refused(install: Install) -> None:
    install(
        "acme", entry_points={"wmrun.heads": {"h": "acme:HEAD"}}, modules={"acme": "HEAD = 3\n"}
    )
    with pytest.raises(BrokenPlugin, match="acme:HEAD is neither a class nor a function"):
        get("head", "h")


def test_an_option_of_a_type_that_no_file_can_hold_is_refused(install: Install) -> None:
    install(
        "acme",
        entry_points={"wmrun.heads": {"h": "acme:head"}},
        modules={"acme": "def head(*, act: set = 2 * 3): ...\n"},
    )
    (info,) = [info for info in inventory("head") if info.name == "h"]
    assert info.status == ("broken: an option has the type <class 'set'>, which no option may have")


def test_what_a_plugin_prints_does_not_reach_stdout(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        "acme",
        entry_points={"wmrun.encoders": {"e": "acme:Encoder"}},
        modules={"acme": "print('hello')\n" + "class Encoder:\n    def forward(self, obs): ...\n"},
    )
    assert [info.status for info in inspect_plugins() if info.package == "acme"] == ["ok"]
    assert capsys.readouterr() == ("", "hello\n")


def test_damaged_metadata_of_another_package_hides_nothing(install: Install) -> None:
    site = install("acme", entry_points={"wmrun.heads": {"h": "acme:Head"}}, modules={})
    damaged = site / "damaged-1.0.dist-info"
    damaged.mkdir()
    (damaged / "entry_points.txt").write_bytes(b"[wmrun.heads\nh = \xff")
    assert "h" in names("head")
