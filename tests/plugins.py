"""Packages that extend wmrun, as an installer would leave them in site-packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def write_plugin(
    site: Path,
    name: str,
    *,
    entry_points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str],
    version: str = "1.0",
) -> None:
    """Write a distribution: its metadata, its entry points by group, its modules by name."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {target}" for key, target in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, source in modules.items():
        (site / f"{module}.py").write_text(dedent(source))


TOY = {
    "toy_components": '''
        from __future__ import annotations

        from typing import Annotated, Literal

        from wmrun.registry import Component

        raise RuntimeError("reading the options of a component must not import it")

        Act = Literal["elu", "silu"]


        class Agent:
            """An agent that learns nothing.

            Args:
                lr: step size.
                encoder: reads observations.
            """

            def __init__(
                self,
                obs_space,
                act_space,
                *,
                device: str,
                lr: float = 1e-4,
                horizon: int = 15,
                greedy: bool = False,
                clip: float | None = None,
                label: str = "toy",
                dims: list[int] = [1, 2],
                encoder: Annotated[Component, "encoder"] = {"type": "conv", "depth": 48},
                latent: Component["latent"] = {"type": "onehot"},
                extra: Annotated[Component, "encoder"] | None = None,
                by_key: dict[str, Component["encoder"]] = {},
                stack: list[Component["encoder"]] = [],
            ) -> None: ...


        class Conv:
            """Convolutions."""

            def __init__(
                self, shape, *, depth: int = 32, act: Act = "elu", kernels: tuple[int, ...] = (4, 4)
            ) -> None: ...


        class Dense:
            """Dense layers."""

            def __init__(self, shape, *, layers: int, units: int = 400) -> None: ...


        class OneHot:
            """One-hot variables."""

            def __init__(self, *, groups: int = 32) -> None: ...
    '''
}
TOY_ENTRY_POINTS = {
    "wmrun.agents": {"toy": "toy_components:Agent"},
    "wmrun.encoders": {"conv": "toy_components:Conv", "dense": "toy_components:Dense"},
    "wmrun.latents": {"onehot": "toy_components:OneHot"},
}
