"""Message classes built at import from a committed descriptor set.

Generated `_pb2` modules are tied to the protobuf version of their generator and its successor; a
descriptor set loads on every runtime from 3.20.3 on. Each file gets a pool of its own, so that no
other copy of the same proto in the process can collide with it.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper


def load(filename: str) -> MappingProxyType[str, Any]:
    """Return what a generated module would define, by name, from `filename` beside this file.

    That is every top-level message class, every top-level enum as an `EnumTypeWrapper`, every value
    of those enums, and `DESCRIPTOR`.
    """
    content = Path(__file__).with_name(filename).read_bytes()
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(content).file
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindFileByName(file.name)
    names: dict[str, Any] = {"DESCRIPTOR": descriptor}
    for name, message in descriptor.message_types_by_name.items():
        names[name] = _message_class(pool, message)
    for name, enum in descriptor.enum_types_by_name.items():
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        names.update((value.name, value.number) for value in enum.values)
    return MappingProxyType(names)


def _message_class(pool: Any, descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return _legacy_message_class(message_factory.MessageFactory(pool), descriptor)


def _legacy_message_class(factory: Any, descriptor: Any) -> Any:
    # protobuf < 4.22: no GetMessageClass, and nested classes are not attributes by themselves.
    message = factory.GetPrototype(descriptor)
    for nested in descriptor.nested_types:
        setattr(message, nested.name, _legacy_message_class(factory, nested))
    return message
