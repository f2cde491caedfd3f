"""Files that build on others: `extends` names presets that ship with wmrun, or paths."""

from __future__ import annotations

import os
from pathlib import Path

from wmrun.config.problems import ProblemLog, quoted
from wmrun.config.shorthand import written_out
from wmrun.config.tree import Mapping, Node, Place, Scalar, Sequence, Source, merge_all
from wmrun.config.yaml_tree import read_yaml
from wmrun.spelling import closest

KEY = "extends"
PRESETS = Path(__file__).parent.parent / "presets"
_SUFFIXES = (".yaml", ".yml")


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that ship with wmrun."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


class FileReader:
    """Reads an experiment file on top of everything it extends. Problems go to `log`."""

    def __init__(self, log: ProblemLog) -> None:
        self._log = log
        self._read: dict[Path, Mapping | None] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files read so far: each one after the file that names it."""
        return tuple(self._read)

    def read(self, path: Path) -> Mapping | None:
        """Return the merged tree of a file, or None where it cannot be read at all."""
        if not path.is_file():
            self._log.add_missing_file(str(path), _absence(path), _near_file(path))
            return None
        return self._resolve(path, ())

    def _resolve(self, path: Path, chain: tuple[Path, ...]) -> Mapping | None:
        tree = self._tree(path)
        if tree is None or KEY not in tree.entries:
            return tree
        chain = (*chain, path.resolve())
        bases = [self._base(node, path, chain) for node in self._targets(tree.entries[KEY].value)]
        layers = [base for base in bases if base is not None]
        return merge_all([*layers, tree.without(KEY)], tree.place)

    def _tree(self, path: Path) -> Mapping | None:
        key = path.resolve()
        if key not in self._read:
            self._read[key] = self._parse(path)
        return self._read[key]

    def _parse(self, path: Path) -> Mapping | None:
        name = display_name(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
            source = Source(name, text, Path(os.path.abspath(path)))
        except (OSError, UnicodeDecodeError) as error:
            self._log.add_missing_file(name, f"cannot be read: {error}", None)
            self._log.has_gaps = True
            return None
        tree = read_yaml(source, self._log)
        if tree is not None and not isinstance(tree, Mapping):
            self._log.add(tree.place, "", "not a mapping", expected="keys and values")
            self._log.has_gaps = True
        return written_out(tree) if isinstance(tree, Mapping) else Mapping({}, Place(source, 1, 1))

    def _targets(self, node: Node) -> list[Scalar]:
        items = list(node.items) if isinstance(node, Sequence) else [node]
        targets = []
        for item in items:
            if isinstance(item, Scalar) and isinstance(item.value, str):
                targets.append(item)
            else:
                expected = "a preset's name, a path, or a list of these"
                self._log.add(item.place, KEY, "not a name or path", expected=expected)
                self._log.has_gaps = True
        return targets

    def _base(self, node: Scalar, path: Path, chain: tuple[Path, ...]) -> Mapping | None:
        target = self._find(str(node.value), path, node.place)
        if target is None:
            self._log.has_gaps = True
            return None
        if target.resolve() in chain:
            circle = [*chain[chain.index(target.resolve()) :], target.resolve()]
            names = " -> ".join(display_name(item) for item in circle)
            self._log.add(node.place, KEY, f"the files extend each other in a circle: {names}")
            self._log.has_gaps = True
            return None
        return self._resolve(target, chain)

    def _find(self, target: str, path: Path, place: Place) -> Path | None:
        if "/" in target or target.endswith(_SUFFIXES):
            file = path.parent / Path(target).expanduser()
            if not file.is_file():
                near = _near_file(file)
                near = near and os.path.relpath(near, path.parent)
                self._log.add(place, KEY, f"{_absence(file)}: {file}", suggestion=near)
                return None
            return file
        if target not in preset_names():
            self._log.add(
                place,
                KEY,
                f"no preset is called {quoted(target)}",
                expected=f"a path ending in .yaml, or one of {', '.join(preset_names())}",
                suggestion=closest(target, preset_names()),
            )
            return None
        return PRESETS / f"{target}.yaml"


def display_name(path: Path) -> str:
    """Return a path as messages show it: relative inside the working directory, else absolute."""
    absolute = Path(os.path.abspath(path))
    try:
        return str(absolute.relative_to(Path.cwd()))
    except ValueError:
        return str(absolute)


def _absence(path: Path) -> str:
    return "is a directory, not a file" if path.is_dir() else "no such file"


def _near_file(path: Path) -> str | None:
    """Return the existing YAML file beside `path` whose name is closest."""
    try:
        stems = {item.stem: item for item in path.parent.iterdir() if item.suffix in _SUFFIXES}
    except OSError:
        return None
    near = closest(path.stem, stems)
    return None if near is None else str(stems[near])
