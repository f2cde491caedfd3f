"""The env ids that a server offers: those of a backend, narrowed or extended at its start."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from wmrun_envserver.backends.base import (
    AnyBackend,
    ConfigError,
    SourceError,
    UnknownEnvError,
)
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.server.discovery import NothingAllowedError, load_backend
from wmrun_envserver.server.refusal import public_text
from wmrun_envserver.wire import messages

_LOG = logging.getLogger(__name__)

TEST_BACKENDS = ("echo", "fault")
"""What `test_envs` adds: each offers the env id of its own name."""

_MAX_ID_CHARACTERS = 256  # what an OpenSession may name at most
_ID_RULE = (
    f"an id has 1 to {_MAX_ID_CHARACTERS} printable characters, no ':' or '=', and no space at "
    "either end"
)


class Catalogue:
    """Env ids and the backend behind each. Ids with a ":", among others, are never offered.

    Gymnasium imports the module named before a ":"; nothing a client sends may do that.
    """

    def __init__(
        self,
        backend: AnyBackend,
        *,
        allow: Sequence[str] = (),
        test_backends: Mapping[str, AnyBackend] | None = None,
        recipe: str | None = None,
    ) -> None:
        """Offer the ids of `backend` that match a glob of `allow` (none given: all of them).

        `test_backends` are offered besides, each under its key. Raises `NothingAllowedError` for
        a glob that matches no id.
        """
        self._backend = backend
        self._allow = tuple(allow)
        self._test_backends = dict(test_backends or {})
        self.recipe = recipe
        """JSON from which `rebuild` makes the same catalogue elsewhere; None: it cannot."""
        self._check_globs()

    @staticmethod
    def load(
        name: str,
        *,
        sources: Mapping[str, str] | None = None,
        allow: Sequence[str] = (),
        test_envs: bool = False,
    ) -> Catalogue:
        """Return the environments of the installed backend `name`.

        `sources` says by env id what `--env ID=SOURCE` stands for. Raises `BackendError`, or
        `SourceError`.
        """
        sources = dict(sources or {})
        backend = load_backend(name)
        for env_id, source in sources.items():
            if not _may_be_offered(env_id):
                raise SourceError(f"--env: {_shortened(env_id)} cannot be an env id: {_ID_RULE}")
            _check_allowed(env_id, source, allow)
            backend.offer(env_id, source)
        extra = {other: load_backend(other) for other in TEST_BACKENDS if test_envs}
        recipe = json.dumps(
            {"name": name, "sources": sources, "allow": list(allow), "test_envs": test_envs}
        )
        return Catalogue(backend, allow=allow, test_backends=extra, recipe=recipe)

    @staticmethod
    def rebuild(recipe: str) -> Catalogue:
        """Return the catalogue that `recipe` was taken from; raises as `load` does."""
        return Catalogue.load(**json.loads(recipe))

    @property
    def renderer(self) -> str:
        """What draws the images; empty: nothing, or not chosen yet."""
        return self._backend.family().renderer or ""

    def env_ids(self) -> list[str]:
        """Return the ids on offer, the backend's first."""
        return [env_id for env_id, _ in self._offers()]

    def backend(self, env_id: str) -> AnyBackend:
        """Return the backend behind `env_id`; raises `UnknownEnvError` where it is not allowed."""
        if not _may_be_offered(env_id):
            raise UnknownEnvError(f"env id {_shortened(env_id)} is refused: {_ID_RULE}")
        if self._is_allowed(env_id) and env_id in self._backend.family().env_ids:
            return self._backend
        if env_id in self._test_backends:
            return self._test_backends[env_id]
        if not self._is_allowed(env_id):
            raise UnknownEnvError(
                f"env id {env_id!r} is not offered here (--allow {' '.join(self._allow)})."
                f"{did_you_mean(env_id, self.env_ids())}"
            )
        return self._backend

    def listing(self) -> list[messages.EnvInfo]:
        """Return what GetServerInfo says of every id on offer."""
        families: dict[int, str] = {}
        for backend in (self._backend, *self._test_backends.values()):
            families[id(backend)] = backend.family().name
        return [
            _described(backend, env_id, families[id(backend)]) for env_id, backend in self._offers()
        ]

    def _offers(self) -> Iterator[tuple[str, AnyBackend]]:
        own = [env_id for env_id in self._backend.family().env_ids if _may_be_offered(env_id)]
        own = [env_id for env_id in own if self._is_allowed(env_id)]
        yield from ((env_id, self._backend) for env_id in own)
        yield from (
            (env_id, backend)
            for env_id, backend in self._test_backends.items()
            if env_id not in own
        )

    def _is_allowed(self, env_id: str) -> bool:
        return _matches(env_id, self._allow)

    def _check_globs(self) -> None:
        if not self._allow:
            return
        env_ids = self._backend.family().env_ids
        for glob in self._allow:
            if not any(fnmatchcase(env_id, glob) for env_id in env_ids):
                raise NothingAllowedError(
                    f"--allow {glob}: no env id of the {self._backend.family().name} backend "
                    f"matches.{did_you_mean(glob, env_ids)}"
                )


def _matches(env_id: str, allow: Sequence[str]) -> bool:
    return not allow or any(fnmatchcase(env_id, glob) for glob in allow)


def _check_allowed(env_id: str, source: str, allow: Sequence[str]) -> None:
    if not _matches(env_id, allow):
        globs = " ".join(f"--allow {glob}" for glob in allow)
        raise SourceError(
            f"--env {env_id}={source}: {globs} leaves that id out; add --allow {env_id}, or leave "
            "--env out"
        )


def _may_be_offered(env_id: str) -> bool:
    fits = 0 < len(env_id) <= _MAX_ID_CHARACTERS and env_id == env_id.strip()
    return fits and env_id.isprintable() and not {":", "="} & set(env_id)


def _shortened(env_id: str) -> str:
    return repr(env_id if len(env_id) <= _MAX_ID_CHARACTERS else env_id[:60] + "…")


def _described(backend: AnyBackend, env_id: str, family: str) -> messages.EnvInfo:
    reason = ""
    modes: tuple[str, ...] = ()
    try:
        modes = backend.listed(env_id).render_modes
    except ConfigError:
        pass  # It cannot be had without options; with them its modes may be others.
    except (Exception, SystemExit) as error:
        _LOG.debug("%s is not available: %s", env_id, error)
        reason = public_text(error, debug=False)
    return messages.EnvInfo(
        env_id=env_id,
        family=family,
        render_modes=modes,
        available=not reason,
        unavailable_reason=reason,
    )
