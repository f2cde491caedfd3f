"""What a plain YAML word means: the core schema of YAML 1.2, with `_` between digits.

PyYAML follows YAML 1.1, where `1e-4` is a string, `on` and `no` are booleans and `010` is eight.
"""

from __future__ import annotations

import math
import re

Value = str | int | float | bool | None

_NULL = re.compile(r"(~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9](_?[0-9])*\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_DIGITS = r"[0-9](_?[0-9])*"
_FLOAT = re.compile(rf"[-+]?(\.{_DIGITS}|{_DIGITS}(\.({_DIGITS})?)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


def read_scalar(text: str) -> Value:
    """Return what an unquoted word stands for."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return int(text.replace("_", ""), 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    if _SPECIAL.match(text):
        return float(text.lower().replace(".", ""))
    return text


def write_float(value: float) -> str:
    """Return the shortest word that reads back as the same float, never as an integer."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text if "." in text or "e" in text else f"{text}.0"
