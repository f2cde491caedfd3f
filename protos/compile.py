"""Compile the protos into the descriptor sets and type stubs of `wmrun_envserver.wire`.

Run `python protos/compile.py` after editing a proto (needs grpcio-tools, in the `dev` extra).
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc  # type: ignore[import-untyped]

PROTOS = Path(__file__).parent
WIRE = PROTOS.parent / "envservers" / "wmrun_envserver" / "wire"
OUTPUTS = {
    "wmrun/env/v1/env.proto": ("env.binpb", "messages.pyi"),
    "grpc/health/v1/health.proto": ("health.binpb", "health.pyi"),
}


# protobuf itself is untyped, so the bases of the stubs are Any to mypy.
STUB_HEADER = '# mypy: disable-error-code="misc, metaclass"\n'


def compile_all(directory: Path) -> None:
    """Write the descriptor set and the stub of every proto into `directory`."""
    for proto, (descriptor_set, stub) in OUTPUTS.items():
        with TemporaryDirectory() as scratch:
            _protoc(
                f"--descriptor_set_out={directory / descriptor_set}", f"--pyi_out={scratch}", proto
            )
            generated = Path(scratch, proto).with_name(f"{Path(proto).stem}_pb2.pyi")
            (directory / stub).write_text(STUB_HEADER + generated.read_text())


def _protoc(*arguments: str) -> None:
    status = protoc.main(["protoc", f"-I{PROTOS}", *arguments])
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    compile_all(WIRE)
