"""The kinds of component, what each must offer, and the components that come with wmrun."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A place in the learner that a component can fill."""

    name: str
    contract: str
    """What a component of this kind does, in one line."""
    methods: tuple[str, ...]
    """What its class must define; checked when a component is loaded."""
    built_in: dict[str, str]
    """`module:attribute` by registered name."""

    @property
    def group(self) -> str:
        """The entry-point group by which other packages register components of this kind."""
        return f"wmrun.{self.name}s" if self.name != "dynamics" else "wmrun.dynamics"


_TABLE = (
    Kind(
        "encoder",
        "observations [B, T, ...] by key to embed [B, T, E]",
        ("forward",),
        {
            "cnn": "wmrun.encoders.cnn:CnnEncoder",
            "cnn_v3": "wmrun.encoders.cnn_v3:CnnV3Encoder",
            "cnn_residual": "wmrun.encoders.cnn_residual:CnnResidualEncoder",
            "mlp": "wmrun.encoders.mlp:MlpEncoder",
            "multi": "wmrun.encoders.multi:MultiEncoder",
        },
    ),
    Kind(
        "decoder",
        "feat [B, T, F] to one distribution per observation key",
        ("forward", "targets"),
        {
            "cnn": "wmrun.decoders.cnn:CnnDecoder",
            "cnn_v3": "wmrun.decoders.cnn_v3:CnnV3Decoder",
            "cnn_residual": "wmrun.decoders.cnn_residual:CnnResidualDecoder",
            "mlp": "wmrun.decoders.mlp:MlpDecoder",
            "multi": "wmrun.decoders.multi:MultiDecoder",
        },
    ),
    Kind(
        "latent",
        "statistics to a stochastic state: sample, mode, KL(post, prior), entropy",
        ("pack", "unpack", "noise", "sample", "mode", "kl", "entropy"),
        {
            "categorical": "wmrun.latents.categorical:CategoricalLatent",
            "gaussian": "wmrun.latents.gaussian:GaussianLatent",
        },
    ),
    Kind(
        "dynamics",
        "(deter, stoch, action) to the next deter, one step",
        ("forward",),
        {
            "gru": "wmrun.dynamics.gru:GruDynamics",
            "gru_layernorm": "wmrun.dynamics.gru_layernorm:GruLayerNormDynamics",
            "gru_block": "wmrun.dynamics.gru_block:GruBlockDynamics",
        },
    ),
    Kind(
        "head",
        "feat [..., F] to a prediction of one number per state",
        ("forward",),
        {
            "mse": "wmrun.heads.mse:MseHead",
            "two_hot": "wmrun.heads.two_hot:TwoHotHead",
            "bernoulli": "wmrun.heads.bernoulli:BernoulliHead",
        },
    ),
    Kind(
        "actor",
        "feat [..., F] to an action distribution: sample, log-prob, entropy, mode",
        ("forward", "noise"),
        {
            "tanh_normal": "wmrun.actors.tanh_normal:TanhNormalActor",
            "bounded_normal": "wmrun.actors.bounded_normal:BoundedNormalActor",
            "truncated_normal": "wmrun.actors.truncated_normal:TruncatedNormalActor",
            "categorical": "wmrun.actors.categorical:CategoricalActor",
            "multi_categorical": "wmrun.actors.multi_categorical:MultiCategoricalActor",
            "auto": "wmrun.actors.auto:auto_actor",
        },
    ),
    Kind(
        "agent",
        "acts on observations and is updated from replayed batches",
        ("initial_carry", "act", "seed_evaluation", "update", "save", "load", "parameter_counts"),
        {
            "dreamer_v1": "wmrun.agents.dreamer_v1:DreamerV1",
            "dreamer_v2": "wmrun.agents.dreamer_v2:DreamerV2",
            "dreamer_v3": "wmrun.agents.dreamer_v3:DreamerV3",
        },
    ),
    Kind(
        "tracker",
        "takes batches of metrics, files and the run's status",
        ("start", "log", "artifact", "finish"),
        {
            "jsonl": "wmrun.tracking.jsonl:JsonlTracker",
            "mlflow": "wmrun.tracking.mlflow:MlflowTracker",
        },
    ),
)

KIND: dict[str, Kind] = {kind.name: kind for kind in _TABLE}
KINDS: tuple[str, ...] = tuple(KIND)
