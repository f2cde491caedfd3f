"""Packages that offer backends, laid out as pip would, for discovery to find."""

from __future__ import annotations

from pathlib import Path


def install(
    directory: Path, distribution: str, backends: dict[str, str], *, extras: tuple[str, ...] = ()
) -> None:
    """Write the metadata of a package that offers `backends`, name to module:attribute."""
    metadata = directory / f"{distribution}-1.2.dist-info"
    metadata.mkdir(parents=True)
    provided = "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n{provided}"
    )
    points = "".join(f"{name} = {value}\n" for name, value in backends.items())
    (metadata / "entry_points.txt").write_text(f"[wmrun_envserver.backends]\n{points}")
