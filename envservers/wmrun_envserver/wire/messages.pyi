# mypy: disable-error-code="misc, metaclass"
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[DType]
    FLOAT32: _ClassVar[DType]
    FLOAT64: _ClassVar[DType]
    INT8: _ClassVar[DType]
    INT16: _ClassVar[DType]
    INT32: _ClassVar[DType]
    INT64: _ClassVar[DType]
    UINT8: _ClassVar[DType]
    UINT16: _ClassVar[DType]
    UINT32: _ClassVar[DType]
    UINT64: _ClassVar[DType]
    BOOL: _ClassVar[DType]
    FLOAT16: _ClassVar[DType]
    UTF8: _ClassVar[DType]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RAW: _ClassVar[Encoding]
    ZLIB: _ClassVar[Encoding]
    PNG: _ClassVar[Encoding]
    SHM: _ClassVar[Encoding]

class Autoreset(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTORESET_UNSPECIFIED: _ClassVar[Autoreset]
    NEXT_STEP: _ClassVar[Autoreset]
    SAME_STEP: _ClassVar[Autoreset]
    DISABLED: _ClassVar[Autoreset]

class SeedScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEED_UNSPECIFIED: _ClassVar[SeedScope]
    SEED_PER_RESET: _ClassVar[SeedScope]
    SEED_PER_SESSION: _ClassVar[SeedScope]
    SEED_NONE: _ClassVar[SeedScope]

class SlotStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLOT_OK: _ClassVar[SlotStatus]
    SLOT_RESTARTED: _ClassVar[SlotStatus]
    SLOT_FAILED: _ClassVar[SlotStatus]
    SLOT_ABSENT: _ClassVar[SlotStatus]
DTYPE_UNSPECIFIED: DType
FLOAT32: DType
FLOAT64: DType
INT8: DType
INT16: DType
INT32: DType
INT64: DType
UINT8: DType
UINT16: DType
UINT32: DType
UINT64: DType
BOOL: DType
FLOAT16: DType
UTF8: DType
RAW: Encoding
ZLIB: Encoding
PNG: Encoding
SHM: Encoding
AUTORESET_UNSPECIFIED: Autoreset
NEXT_STEP: Autoreset
SAME_STEP: Autoreset
DISABLED: Autoreset
SEED_UNSPECIFIED: SeedScope
SEED_PER_RESET: SeedScope
SEED_PER_SESSION: SeedScope
SEED_NONE: SeedScope
SLOT_OK: SlotStatus
SLOT_RESTARTED: SlotStatus
SLOT_FAILED: SlotStatus
SLOT_ABSENT: SlotStatus

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data", "encoding", "shm_offset", "shm_length")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SHM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SHM_LENGTH_FIELD_NUMBER: _ClassVar[int]
    dtype: DType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    encoding: Encoding
    shm_offset: int
    shm_length: int
    def __init__(self, dtype: _Optional[_Union[DType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., shm_offset: _Optional[int] = ..., shm_length: _Optional[int] = ...) -> None: ...

class Space(_message.Message):
    __slots__ = ("box", "discrete", "multi_discrete", "multi_binary", "text", "dict", "tuple", "role")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Space.Role]
        IMAGE_HWC: _ClassVar[Space.Role]
        IMAGE_CHW: _ClassVar[Space.Role]
        VECTOR: _ClassVar[Space.Role]
        ACTION_MASK: _ClassVar[Space.Role]
        GOAL: _ClassVar[Space.Role]
        LOG_ONLY: _ClassVar[Space.Role]
    ROLE_UNSPECIFIED: Space.Role
    IMAGE_HWC: Space.Role
    IMAGE_CHW: Space.Role
    VECTOR: Space.Role
    ACTION_MASK: Space.Role
    GOAL: Space.Role
    LOG_ONLY: Space.Role
    class Box(_message.Message):
        __slots__ = ("dtype", "shape", "low", "high")
        DTYPE_FIELD_NUMBER: _ClassVar[int]
        SHAPE_FIELD_NUMBER: _ClassVar[int]
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        dtype: DType
        shape: _containers.RepeatedScalarFieldContainer[int]
        low: Tensor
        high: Tensor
        def __init__(self, dtype: _Optional[_Union[DType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., low: _Optional[_Union[Tensor, _Mapping]] = ..., high: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...
    class Discrete(_message.Message):
        __slots__ = ("n", "start", "dtype")
        N_FIELD_NUMBER: _ClassVar[int]
        START_FIELD_NUMBER: _ClassVar[int]
        DTYPE_FIELD_NUMBER: _ClassVar[int]
        n: int
        start: int
        dtype: DType
        def __init__(self, n: _Optional[int] = ..., start: _Optional[int] = ..., dtype: _Optional[_Union[DType, str]] = ...) -> None: ...
    class MultiDiscrete(_message.Message):
        __slots__ = ("nvec", "start", "dtype")
        NVEC_FIELD_NUMBER: _ClassVar[int]
        START_FIELD_NUMBER: _ClassVar[int]
        DTYPE_FIELD_NUMBER: _ClassVar[int]
        nvec: Tensor
        start: Tensor
        dtype: DType
        def __init__(self, nvec: _Optional[_Union[Tensor, _Mapping]] = ..., start: _Optional[_Union[Tensor, _Mapping]] = ..., dtype: _Optional[_Union[DType, str]] = ...) -> None: ...
    class MultiBinary(_message.Message):
        __slots__ = ("shape",)
        SHAPE_FIELD_NUMBER: _ClassVar[int]
        shape: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, shape: _Optional[_Iterable[int]] = ...) -> None: ...
    class Text(_message.Message):
        __slots__ = ("min_length", "max_length", "charset")
        MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
        MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
        CHARSET_FIELD_NUMBER: _ClassVar[int]
        min_length: int
        max_length: int
        charset: str
        def __init__(self, min_length: _Optional[int] = ..., max_length: _Optional[int] = ..., charset: _Optional[str] = ...) -> None: ...
    class Entry(_message.Message):
        __slots__ = ("key", "space")
        KEY_FIELD_NUMBER: _ClassVar[int]
        SPACE_FIELD_NUMBER: _ClassVar[int]
        key: str
        space: Space
        def __init__(self, key: _Optional[str] = ..., space: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...
    class Dict(_message.Message):
        __slots__ = ("entries",)
        ENTRIES_FIELD_NUMBER: _ClassVar[int]
        entries: _containers.RepeatedCompositeFieldContainer[Space.Entry]
        def __init__(self, entries: _Optional[_Iterable[_Union[Space.Entry, _Mapping]]] = ...) -> None: ...
    class Tuple(_message.Message):
        __slots__ = ("items",)
        ITEMS_FIELD_NUMBER: _ClassVar[int]
        items: _containers.RepeatedCompositeFieldContainer[Space]
        def __init__(self, items: _Optional[_Iterable[_Union[Space, _Mapping]]] = ...) -> None: ...
    BOX_FIELD_NUMBER: _ClassVar[int]
    DISCRETE_FIELD_NUMBER: _ClassVar[int]
    MULTI_DISCRETE_FIELD_NUMBER: _ClassVar[int]
    MULTI_BINARY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DICT_FIELD_NUMBER: _ClassVar[int]
    TUPLE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    box: Space.Box
    discrete: Space.Discrete
    multi_discrete: Space.MultiDiscrete
    multi_binary: Space.MultiBinary
    text: Space.Text
    dict: Space.Dict
    tuple: Space.Tuple
    role: Space.Role
    def __init__(self, box: _Optional[_Union[Space.Box, _Mapping]] = ..., discrete: _Optional[_Union[Space.Discrete, _Mapping]] = ..., multi_discrete: _Optional[_Union[Space.MultiDiscrete, _Mapping]] = ..., multi_binary: _Optional[_Union[Space.MultiBinary, _Mapping]] = ..., text: _Optional[_Union[Space.Text, _Mapping]] = ..., dict: _Optional[_Union[Space.Dict, _Mapping]] = ..., tuple: _Optional[_Union[Space.Tuple, _Mapping]] = ..., role: _Optional[_Union[Space.Role, str]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EnvInfo(_message.Message):
    __slots__ = ("env_id", "family", "render_modes", "available", "unavailable_reason")
    ENV_ID_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    RENDER_MODES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    env_id: str
    family: str
    render_modes: _containers.RepeatedScalarFieldContainer[str]
    available: bool
    unavailable_reason: str
    def __init__(self, env_id: _Optional[str] = ..., family: _Optional[str] = ..., render_modes: _Optional[_Iterable[str]] = ..., available: _Optional[bool] = ..., unavailable_reason: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_sessions", "max_envs_per_session", "max_message_bytes", "min_lease_ms", "max_lease_ms", "free_sessions")
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_ENVS_PER_SESSION_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    FREE_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    max_sessions: int
    max_envs_per_session: int
    max_message_bytes: int
    min_lease_ms: int
    max_lease_ms: int
    free_sessions: int
    def __init__(self, max_sessions: _Optional[int] = ..., max_envs_per_session: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., min_lease_ms: _Optional[int] = ..., max_lease_ms: _Optional[int] = ..., free_sessions: _Optional[int] = ...) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ("implementation", "implementation_version", "protocol_major", "protocol_minor", "instance_id", "capabilities", "limits", "envs")
    IMPLEMENTATION_FIELD_NUMBER: _ClassVar[int]
    IMPLEMENTATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ENVS_FIELD_NUMBER: _ClassVar[int]
    implementation: str
    implementation_version: str
    protocol_major: int
    protocol_minor: int
    instance_id: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    envs: _containers.RepeatedCompositeFieldContainer[EnvInfo]
    def __init__(self, implementation: _Optional[str] = ..., implementation_version: _Optional[str] = ..., protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., instance_id: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., envs: _Optional[_Iterable[_Union[EnvInfo, _Mapping]]] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("protocol_minor", "client_name", "client_id", "supersede", "env_id", "env_config_json", "num_envs", "autoreset", "lease_ms", "step_timeout_ms", "reset_timeout_ms", "want_capabilities", "seeds", "render_mode")
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDE_FIELD_NUMBER: _ClassVar[int]
    ENV_ID_FIELD_NUMBER: _ClassVar[int]
    ENV_CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVS_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    STEP_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    RESET_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    WANT_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    RENDER_MODE_FIELD_NUMBER: _ClassVar[int]
    protocol_minor: int
    client_name: str
    client_id: str
    supersede: bool
    env_id: str
    env_config_json: str
    num_envs: int
    autoreset: Autoreset
    lease_ms: int
    step_timeout_ms: int
    reset_timeout_ms: int
    want_capabilities: _containers.RepeatedScalarFieldContainer[str]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    render_mode: str
    def __init__(self, protocol_minor: _Optional[int] = ..., client_name: _Optional[str] = ..., client_id: _Optional[str] = ..., supersede: _Optional[bool] = ..., env_id: _Optional[str] = ..., env_config_json: _Optional[str] = ..., num_envs: _Optional[int] = ..., autoreset: _Optional[_Union[Autoreset, str]] = ..., lease_ms: _Optional[int] = ..., step_timeout_ms: _Optional[int] = ..., reset_timeout_ms: _Optional[int] = ..., want_capabilities: _Optional[_Iterable[str]] = ..., seeds: _Optional[_Iterable[int]] = ..., render_mode: _Optional[str] = ...) -> None: ...

class OpenSessionReply(_message.Message):
    __slots__ = ("session_id", "instance_id", "protocol_minor", "capabilities", "observation_space", "action_space", "spec_hash", "num_envs", "autoreset", "lease_ms", "seed_scope", "reward_low", "reward_high", "max_episode_steps", "deterministic", "max_message_bytes", "renderer", "shm_path", "shm_bytes", "step_socket")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVS_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    SEED_SCOPE_FIELD_NUMBER: _ClassVar[int]
    REWARD_LOW_FIELD_NUMBER: _ClassVar[int]
    REWARD_HIGH_FIELD_NUMBER: _ClassVar[int]
    MAX_EPISODE_STEPS_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RENDERER_FIELD_NUMBER: _ClassVar[int]
    SHM_PATH_FIELD_NUMBER: _ClassVar[int]
    SHM_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEP_SOCKET_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    instance_id: str
    protocol_minor: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    observation_space: Space
    action_space: Space
    spec_hash: str
    num_envs: int
    autoreset: Autoreset
    lease_ms: int
    seed_scope: SeedScope
    reward_low: float
    reward_high: float
    max_episode_steps: int
    deterministic: bool
    max_message_bytes: int
    renderer: str
    shm_path: str
    shm_bytes: int
    step_socket: str
    def __init__(self, session_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., protocol_minor: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., observation_space: _Optional[_Union[Space, _Mapping]] = ..., action_space: _Optional[_Union[Space, _Mapping]] = ..., spec_hash: _Optional[str] = ..., num_envs: _Optional[int] = ..., autoreset: _Optional[_Union[Autoreset, str]] = ..., lease_ms: _Optional[int] = ..., seed_scope: _Optional[_Union[SeedScope, str]] = ..., reward_low: _Optional[float] = ..., reward_high: _Optional[float] = ..., max_episode_steps: _Optional[int] = ..., deterministic: _Optional[bool] = ..., max_message_bytes: _Optional[int] = ..., renderer: _Optional[str] = ..., shm_path: _Optional[str] = ..., shm_bytes: _Optional[int] = ..., step_socket: _Optional[str] = ...) -> None: ...

class SlotError(_message.Message):
    __slots__ = ("slot", "reason", "message")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    slot: int
    reason: str
    message: str
    def __init__(self, slot: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class InfoColumn(_message.Message):
    __slots__ = ("key", "rows", "values")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    key: str
    rows: _containers.RepeatedScalarFieldContainer[int]
    values: Tensor
    def __init__(self, key: _Optional[str] = ..., rows: _Optional[_Iterable[int]] = ..., values: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Rows(_message.Message):
    __slots__ = ("slot", "obs", "reward", "terminated", "truncated", "is_first", "episode", "step_in_episode", "status", "info", "errors")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    OBS_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    IS_FIRST_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    STEP_IN_EPISODE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    slot: _containers.RepeatedScalarFieldContainer[int]
    obs: _containers.RepeatedCompositeFieldContainer[Tensor]
    reward: _containers.RepeatedScalarFieldContainer[float]
    terminated: _containers.RepeatedScalarFieldContainer[bool]
    truncated: _containers.RepeatedScalarFieldContainer[bool]
    is_first: _containers.RepeatedScalarFieldContainer[bool]
    episode: _containers.RepeatedScalarFieldContainer[int]
    step_in_episode: _containers.RepeatedScalarFieldContainer[int]
    status: _containers.RepeatedScalarFieldContainer[SlotStatus]
    info: _containers.RepeatedCompositeFieldContainer[InfoColumn]
    errors: _containers.RepeatedCompositeFieldContainer[SlotError]
    def __init__(self, slot: _Optional[_Iterable[int]] = ..., obs: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., reward: _Optional[_Iterable[float]] = ..., terminated: _Optional[_Iterable[bool]] = ..., truncated: _Optional[_Iterable[bool]] = ..., is_first: _Optional[_Iterable[bool]] = ..., episode: _Optional[_Iterable[int]] = ..., step_in_episode: _Optional[_Iterable[int]] = ..., status: _Optional[_Iterable[_Union[SlotStatus, str]]] = ..., info: _Optional[_Iterable[_Union[InfoColumn, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[SlotError, _Mapping]]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("session_id", "seq", "slots", "seeds", "options_json")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_JSON_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    seq: int
    slots: _containers.RepeatedScalarFieldContainer[int]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    options_json: str
    def __init__(self, session_id: _Optional[str] = ..., seq: _Optional[int] = ..., slots: _Optional[_Iterable[int]] = ..., seeds: _Optional[_Iterable[int]] = ..., options_json: _Optional[str] = ...) -> None: ...

class StepRequest(_message.Message):
    __slots__ = ("session_id", "seq", "slots", "action")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    seq: int
    slots: _containers.RepeatedScalarFieldContainer[int]
    action: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, session_id: _Optional[str] = ..., seq: _Optional[int] = ..., slots: _Optional[_Iterable[int]] = ..., action: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class StepReply(_message.Message):
    __slots__ = ("seq", "rows", "lease_remaining_ms", "server_step_ns", "replayed")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LEASE_REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    SERVER_STEP_NS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    rows: Rows
    lease_remaining_ms: int
    server_step_ns: int
    replayed: bool
    def __init__(self, seq: _Optional[int] = ..., rows: _Optional[_Union[Rows, _Mapping]] = ..., lease_remaining_ms: _Optional[int] = ..., server_step_ns: _Optional[int] = ..., replayed: _Optional[bool] = ...) -> None: ...

class RenderRequest(_message.Message):
    __slots__ = ("session_id", "slots", "encoding", "max_width")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    MAX_WIDTH_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    slots: _containers.RepeatedScalarFieldContainer[int]
    encoding: Encoding
    max_width: int
    def __init__(self, session_id: _Optional[str] = ..., slots: _Optional[_Iterable[int]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., max_width: _Optional[int] = ...) -> None: ...

class RenderReply(_message.Message):
    __slots__ = ("slots", "frames")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedScalarFieldContainer[int]
    frames: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, slots: _Optional[_Iterable[int]] = ..., frames: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("lease_remaining_ms", "last_seq", "busy", "draining")
    LEASE_REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    lease_remaining_ms: int
    last_seq: int
    busy: bool
    draining: bool
    def __init__(self, lease_remaining_ms: _Optional[int] = ..., last_seq: _Optional[int] = ..., busy: _Optional[bool] = ..., draining: _Optional[bool] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CloseSessionReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("reason", "message", "retryable", "session_id", "seq", "slots", "field", "instance_id")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    retryable: bool
    session_id: str
    seq: int
    slots: _containers.RepeatedScalarFieldContainer[int]
    field: str
    instance_id: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., session_id: _Optional[str] = ..., seq: _Optional[int] = ..., slots: _Optional[_Iterable[int]] = ..., field: _Optional[str] = ..., instance_id: _Optional[str] = ...) -> None: ...
