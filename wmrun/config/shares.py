"""How env slots are spread over several servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def fill_shares(num_envs: int, shares: Sequence[int | None]) -> list[int]:
    """Return the shares with each None replaced by an equal part of what the others leave.

    The first of them get one more where it does not divide. Raises `ValueError` with the sum where
    the shares do not add up to `num_envs`, or leave one of them nothing.
    """
    given = sum(share for share in shares if share is not None)
    open_shares = shares.count(None)
    left = num_envs - given
    if left < open_shares or (left > 0 and not open_shares):
        rest = f", and {open_shares} more must have one each" if open_shares else ""
        raise ValueError(f"the shares of the servers add up to {given}{rest}")
    parts = _equal(left, open_shares)
    return [next(parts) if share is None else share for share in shares]


def spread(num_envs: int, shares: Sequence[int]) -> list[int]:
    """Return how many of `num_envs` slots each server has, in proportion to `shares`."""
    total = sum(shares)
    ideal = [num_envs * share / total for share in shares]
    spread = [int(part) for part in ideal]
    by_remainder = sorted(range(len(shares)), key=lambda i: spread[i] - ideal[i])
    for index in by_remainder[: num_envs - sum(spread)]:
        spread[index] += 1
    return spread


def _equal(total: int, parts: int) -> Iterator[int]:
    for part in range(parts):
        yield total // parts + (part < total % parts)
