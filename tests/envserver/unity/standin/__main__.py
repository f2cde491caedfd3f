from __future__ import annotations

import sys

from wmrun_envserver.backends import unity_shim


def main() -> int:
    unity_shim.install()
    from tests.envserver.unity.standin import player  # imports mlagents_envs

    return player.main()


sys.exit(main())
