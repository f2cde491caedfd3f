"""Options read from source, without importing it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from wmrun.registry import describe
from wmrun.registry.signature import UnreadableSource, read_signature, signature_of

Install = Callable[..., Path]


@pytest.fixture
def parts(install: Install) -> Callable[[str], None]:
    """Install one module `parts` with the given source."""

    def write(source: str, **modules: str) -> None:
        install("parts", entry_points={}, modules={"parts": source, **modules})

    return write


def test_options_are_the_keyword_only_parameters(parts: Callable[[str], None]) -> None:
    parts(
        '''
        class Part:
            """Does a thing. And more.

            A second paragraph.

            Args:
                depth: channels,
                    doubled per layer
                scale (float): of the output.

            Returns:
                name: not an option.
            """

            def __init__(self, shape, size=3, *, device, depth: int, scale: float = -1e-3, x=None):
                raise AssertionError
        '''
    )
    signature = read_signature("parts", "Part")
    assert signature.summary == "Does a thing. And more."
    assert signature.line == 2
    assert [(o.name, o.type, o.required, o.default, o.help, o.line) for o in signature.options] == [
        ("depth", int, True, None, "channels, doubled per layer", 16),
        ("scale", float, False, -1e-3, "of the output.", 16),
        ("x", Any, False, None, "", 16),
    ]
    assert "parts" not in sys.modules


def test_a_device_with_a_default_is_an_option(parts: Callable[[str], None]) -> None:
    parts("class Part:\n    def __init__(self, *, device: str = 'cpu'): ...\n")
    assert [option.name for option in read_signature("parts", "Part").options] == ["device"]


def test_a_function_can_be_a_component(parts: Callable[[str], None]) -> None:
    parts("def part(shape, *, depth: int = 3):\n    '''Makes a part.'''\n")
    signature = read_signature("parts", "part")
    assert signature.summary == "Makes a part."
    assert [option.default for option in signature.options] == [3]


def test_names_are_followed_into_other_modules(install: Install) -> None:
    install(
        "parts",
        entry_points={},
        modules={
            "parts": """
                from elsewhere import Act, Base as Parent

                class Part(Parent):
                    pass

                class Other:
                    def __init__(self, *, act: Act = BEST): ...
                from elsewhere import BEST
            """,
            "elsewhere": """
                from typing import Literal
                raise RuntimeError("not to be imported")
                Act = Literal["elu", "silu"]
                BEST: Act = "silu"

                class Base:
                    def __init__(self, *, act: Act = "elu"): ...
            """,
        },
    )
    (option,) = read_signature("parts", "Part").options
    assert option.type == Literal["elu", "silu"]
    assert option.path is not None
    assert option.path.name == "elsewhere.py"
    (option,) = read_signature("parts", "Other").options
    assert (option.type, option.default) == (Literal["elu", "silu"], "silu")


def test_a_class_without_a_constructor_has_no_options(parts: Callable[[str], None]) -> None:
    parts("from abc import ABC\nclass Part(ABC):\n    pass\n")
    assert read_signature("parts", "Part").options == ()


def test_a_relative_import_is_followed(install: Install) -> None:
    site = install("parts", entry_points={}, modules={})
    package = site / "package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('not to be imported')\n")
    (package / "acts.py").write_text("Act = str\n")
    (package / "inner" / "__init__.py").write_text("from ..acts import Act\n")
    (package / "inner" / "part.py").write_text(
        "from . import Act\nclass Part:\n    def __init__(self, *, act: Act = 'elu'): ...\n"
    )
    (option,) = read_signature("package.inner.part", "Part").options
    assert option.type is str


@pytest.mark.parametrize(
    "source",
    [
        "class Part:\n    def __init__(self, *, size: int = 2 * 3): ...\n",
        "class Part:\n    def __init__(self, *, size: 'Tensor' = None): ...\n",
        "class Part(make_base()):\n    pass\n",
        "class Part(Unknown):\n    pass\n",
        "from dataclasses import dataclass\n@dataclass\nclass Part:\n    size: int = 3\n",
        "Part = type('Part', (), {})\n",
        "class Part(:\n",
    ],
    ids=[
        "default",
        "annotation",
        "computed base",
        "unknown base",
        "dataclass",
        "no class",
        "syntax",
    ],
)
def test_source_that_does_not_tell_is_not_guessed_at(
    parts: Callable[[str], None], source: str
) -> None:
    parts(source)
    with pytest.raises(UnreadableSource):
        read_signature("parts", "Part")


def test_a_component_whose_source_does_not_tell_is_imported(install: Install) -> None:
    install(
        "plugin",
        entry_points={"wmrun.encoders": {"part": "parts:Part"}},
        modules={
            "parts": """
                class Part:
                    '''A part.

                    Args:
                        size: of the part.
                    '''
                    def __init__(self, *, device, size: int = 2 * 3): ...
                    def forward(self, obs): ...
            """
        },
    )
    info = describe("encoder", "part")
    (option,) = info.options
    assert (option.name, option.type, option.default, option.help) == (
        "size",
        int,
        6,
        "of the part.",
    )
    assert info.summary == "A part."
    assert "parts" in sys.modules


def test_source_and_import_agree(install: Install) -> None:
    install(
        "plugin",
        entry_points={},
        modules={
            "parts": """
                from __future__ import annotations
                from typing import Annotated, Literal
                from wmrun.registry import Component

                class Part:
                    '''A part.'''
                    def __init__(
                        self, shape, *, a: int, b: Literal["x"] = "x", c: list[int] | None = None,
                        d: Annotated[Component, "latent"] = {"type": "categorical"},
                        e: dict[str, Component["head"]] = {}, f: tuple[int, ...] = (1, 2),
                    ) -> None: ...
            """
        },
    )
    static = read_signature("parts", "Part")
    imported = signature_of(importlib.import_module("parts").Part)
    assert [(o.name, o.type, o.required, o.default) for o in static.options] == [
        (o.name, o.type, o.required, o.default) for o in imported.options
    ]
    assert (static.summary, static.path, static.line) == (
        imported.summary,
        imported.path,
        imported.line,
    )
