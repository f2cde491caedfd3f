"""Names of components: where they come from, what their options are, how they are built.

No component is imported before it is asked for by name, and reading its options does not import it.
"""

from wmrun.registry.annotations import Component
from wmrun.registry.inventory import ComponentInfo, describe, inventory
from wmrun.registry.kinds import KINDS
from wmrun.registry.lookup import build, get, names
from wmrun.registry.signature import Option

__all__ = [
    "KINDS",
    "Component",
    "ComponentInfo",
    "Option",
    "build",
    "describe",
    "get",
    "inventory",
    "names",
]
