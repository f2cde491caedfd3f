"""The committed descriptor sets and stubs say what the protos say."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from wmrun_envserver.wire import health, messages, service

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compiler() -> ModuleType:
    pytest.importorskip("grpc_tools")
    spec = importlib.util.spec_from_file_location("proto_compiler", ROOT / "protos" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_committed_descriptor_sets_match_the_protos(compiler: ModuleType, tmp_path: Path) -> None:
    compiler.compile_all(tmp_path)
    for descriptor_set, _ in compiler.OUTPUTS.values():
        committed = (compiler.WIRE / descriptor_set).read_bytes()
        assert committed == (tmp_path / descriptor_set).read_bytes(), (
            f"{descriptor_set} is stale: run python protos/compile.py"
        )


@pytest.mark.parametrize(("stub", "module"), [("messages.pyi", messages), ("health.pyi", health)])
def test_stub_declares_every_message_and_field(stub: str, module: ModuleType) -> None:
    source = (Path(messages.__file__).parent / stub).read_text()
    declared = {
        node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)
    }
    for name, descriptor in module.DESCRIPTOR.message_types_by_name.items():
        fields = {
            node.target.id
            for node in declared[name].body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        assert {field.name for field in descriptor.fields} <= fields
    for name in module.DESCRIPTOR.enum_types_by_name:
        assert name in declared


def test_every_rpc_of_the_proto_has_its_message_classes() -> None:
    methods = {**service.METHODS, **service.STREAM_METHODS}
    rpcs = messages.DESCRIPTOR.services_by_name["EnvService"].methods
    assert [rpc.name for rpc in rpcs] == list(methods)
    for rpc in rpcs:
        method = methods[rpc.name]
        assert method.path == f"/{service.SERVICE}/{rpc.name}"
        assert method.request.DESCRIPTOR.full_name == rpc.input_type.full_name
        assert method.reply.DESCRIPTOR.full_name == rpc.output_type.full_name


def test_step_request_bytes_are_those_of_protocol_1_0() -> None:
    request = messages.StepRequest(
        session_id="s",
        seq=3,
        slots=[0, 1],
        action=[messages.Tensor(dtype=messages.INT64, shape=[2], data=bytes(16))],
    )
    expected = "0a0173 1003 1a020001 2217 0806 120102 1a10" + "00" * 16
    assert request.SerializeToString() == bytes.fromhex(expected)


def test_rows_bytes_of_protocol_1_0_are_understood() -> None:
    received = bytes.fromhex(
        "0a0101 1a08000000000000f03f 220101 2a0100 320100 3a0102 420105 4a0101"
    )
    rows = messages.Rows.FromString(received)
    assert (list(rows.slot), list(rows.reward)) == ([1], [1.0])
    assert (list(rows.terminated), list(rows.truncated), list(rows.is_first)) == (
        [True],
        [False],
        [False],
    )
    assert (list(rows.episode), list(rows.step_in_episode)) == ([2], [5])
    assert list(rows.status) == [messages.SLOT_RESTARTED]


def test_fields_of_a_newer_minor_version_are_ignored() -> None:
    unknown_field_100 = bytes.fromhex("a20603") + b"new"
    request = messages.HeartbeatRequest.FromString(b"\x0a\x01s" + unknown_field_100)
    assert request.session_id == "s"


def test_health_service_has_its_standard_paths_and_values() -> None:
    assert service.HEALTH_METHODS["Check"].path == "/grpc.health.v1.Health/Check"
    assert health.HealthCheckResponse.SERVING == 1
    assert health.HealthCheckResponse(status=2).SerializeToString() == b"\x08\x02"
