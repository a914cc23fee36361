"""What a decoder's shape is, and how to read it from a checkpoint's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmppl.errors import CheckpointError

SUPPORTED_FAMILIES = ("llama",)


@dataclass(frozen=True)
class Llama3Scaling:
    """How Llama 3.1 stretches rotary wavelengths to reach contexts longer than it was trained on.

    Attributes:
        factor: Long wavelengths are stretched by this.
        low_freq_factor: Wavelengths over `original_context_length / low_freq_factor` are long.
        high_freq_factor: Wavelengths under `original_context_length / high_freq_factor` are kept.
        original_context_length: In tokens, before stretching.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context_length: int


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder of the Llama family.

    Attributes:
        vocab_size: Rows of the embedding; may exceed the tokenizer's vocabulary.
        hidden_size: Width of the residual stream.
        intermediate_size: Width inside the feed-forward block.
        num_layers: Blocks of attention and feed-forward.
        num_heads: Query heads.
        num_kv_heads: Key and value heads; divides `num_heads`.
        head_size: Width of a head; even, because rotary embedding turns pairs.
        context_length: Positions the model was made for, in tokens.
        norm_epsilon: Added to the mean square in RMSNorm.
        rope_theta: Base of the rotary wavelengths.
        rope_scaling: None for plain rotary embedding.
        tie_embeddings: True if the head is the embedding, transposed.
        qkv_bias: True if queries, keys and values have a bias.
        output_bias: True if the output of attention has a bias.
        mlp_bias: True if the feed-forward block has biases.
        initializer_range: Standard deviation of random weights.

    Raises:
        CheckpointError: Sizes that do not fit together.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    context_length: int = 2048
    norm_epsilon: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: Llama3Scaling | None = None
    tie_embeddings: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise CheckpointError(f"{name} is {value!r}; a decoder needs a whole number of at least 1.")
        if self.num_heads % self.num_kv_heads:
            raise CheckpointError(
                f"{self.num_heads} query heads cannot share {self.num_kv_heads} key-value heads evenly; "
                "num_kv_heads must divide num_heads."
            )
        if self.head_size % 2:
            raise CheckpointError(f"head_size is {self.head_size}; rotary embedding needs an even one.")

    @staticmethod
    def from_hf(config: Mapping[str, Any]) -> DecoderConfig:
        """Reads a Hugging Face config.json, with `rope_parameters` or with the older `rope_theta`.

        Raises:
            CheckpointError: An unsupported family or feature, or a missing size; the message names
                the key and its value.
        """
        _refuse_unsupported(config)
        heads = _required(config, "num_attention_heads")
        hidden = _required(config, "hidden_size")
        theta, scaling = _rope(config)
        attention_bias = bool(config.get("attention_bias", False))
        return DecoderConfig(
            vocab_size=_required(config, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_required(config, "intermediate_size"),
            num_layers=_required(config, "num_hidden_layers"),
            num_heads=heads,
            num_kv_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or hidden // heads,
            context_length=config.get("max_position_embeddings", 2048),
            norm_epsilon=float(config.get("rms_norm_eps", 1e-6)),
            rope_theta=theta,
            rope_scaling=scaling,
            tie_embeddings=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=attention_bias,
            output_bias=attention_bias,
            mlp_bias=bool(config.get("mlp_bias", False)),
            initializer_range=float(config.get("initializer_range", 0.02)),
        )

    def to_hf(self) -> dict[str, Any]:
        """Gives the config.json that `from_hf` and transformers read.

        Raises:
            CheckpointError: `qkv_bias` and `output_bias` differ, which a Llama config cannot say.
        """
        if self.qkv_bias != self.output_bias:
            raise CheckpointError(
                "A Llama config.json has one attention_bias; qkv_bias and output_bias differ."
            )
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": self.rope_theta}
        if self.rope_scaling is not None:
            rope |= {
                "rope_type": "llama3",
                "factor": self.rope_scaling.factor,
                "low_freq_factor": self.rope_scaling.low_freq_factor,
                "high_freq_factor": self.rope_scaling.high_freq_factor,
                "original_max_position_embeddings": self.rope_scaling.original_context_length,
            }
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_size,
            "max_position_embeddings": self.context_length,
            "rms_norm_eps": self.norm_epsilon,
            "rope_parameters": rope,
            "hidden_act": "silu",
            "tie_word_embeddings": self.tie_embeddings,
            "attention_bias": self.qkv_bias,
            "mlp_bias": self.mlp_bias,
            "initializer_range": self.initializer_range,
        }


_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_size",
    "context_length",
)


def _required(config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise CheckpointError(
            f"config.json has no {key!r}, which a decoder cannot do without. Is the file complete?"
        )
    return config[key]


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    family = config.get("model_type")
    if family not in SUPPORTED_FAMILIES:
        raise CheckpointError(
            f"model_type is {family!r}; lmppl runs decoders of the families {', '.join(SUPPORTED_FAMILIES)}. "
            "Choose such a checkpoint, or write a lmppl.language_model.LanguageModel for this one."
        )
    supported = {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1, 1.0)}
    for key, values in supported.items():
        if config.get(key) is not None and config[key] not in values:
            raise CheckpointError(f"{key} is {config[key]!r}; supported: {values[0]!r}.")
    for key in ("quantization_config", "sliding_window"):
        if config.get(key) is not None:
            raise CheckpointError(
                f"config.json sets {key} = {config[key]!r}, which is not supported. "
                "Choose the checkpoint's plain bfloat16 or float32 form."
            )


def _rope(config: Mapping[str, Any]) -> tuple[float, Llama3Scaling | None]:
    """Reads the rotary embedding in the new form (`rope_parameters`) or the old one."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = rope.get("rope_theta", config.get("rope_theta", 10_000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if rope.get("partial_rotary_factor", 1) != 1:
        raise CheckpointError(f"partial_rotary_factor is {rope['partial_rotary_factor']!r}; supported: 1.")
    if kind == "default":
        return float(theta), None
    if kind != "llama3":
        raise CheckpointError(f"rope_type is {kind!r}; supported: 'default', 'llama3'.")
    keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    missing = [key for key in keys if rope.get(key) is None]
    if missing:
        raise CheckpointError(
            f"rope_type is 'llama3' but config.json does not give its {', '.join(missing)}."
        )
    factor, low, high, original = (rope[key] for key in keys)
    return float(theta), Llama3Scaling(float(factor), float(low), float(high), int(original))
