"""What transformers says: random tiny checkpoints, their logits, their greedy tokens.

Needs torch and transformers; a test imports this module through ``pytest.importorskip``. Every
learned tensor and buffer is random and of a scale at which it matters: a norm weight, a clip
bound or a layer scalar left at its initial value could be ignored without any test noticing.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import Gemma4Config, Gemma4ForConditionalGeneration
from transformers.models.gemma4.modeling_gemma4 import Gemma4ClippableLinear

from tests.reference import families
from tests.reference.checkpoints import shard_checkpoint
from tests.reference.inputs import Inputs, make_case

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)  # the models are tiny: threads would only wait for each other

_CLIP_BOUNDS = ("input_min", "input_max", "output_min", "output_max")
_IDS_NEVER_GENERATED = ("image_token_id", "video_token_id", "audio_token_id")


def build_model(config: dict[str, Any], seed: int) -> Gemma4ForConditionalGeneration:
    """The reference model in float32 with every tensor random (bfloat16-representable values)."""
    model = Gemma4ForConditionalGeneration(Gemma4Config.from_dict(config))
    model.set_attn_implementation({"": "eager"})
    model.config.text_config._experts_implementation = "eager"
    generator = torch.Generator().manual_seed(seed)
    layers = config["text_config"]["num_hidden_layers"]
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name != "lm_head.weight" and not name.endswith(_CLIP_BOUNDS):
                value = _random_value(name, tensor.shape, layers, generator)
                # Rounded so that a checkpoint saved in bfloat16 holds the very same numbers.
                tensor.copy_(value.bfloat16().float())
        # The reference reads a generated placeholder as the pad token, ours as a missing picture.
        embedding = model.get_input_embeddings().weight
        embedding[[config[name] for name in _IDS_NEVER_GENERATED]] *= 2.0**-5
        _set_clip_bounds(model.eval(), config, generator)
    return model


def _set_clip_bounds(
    model: Gemma4ForConditionalGeneration, config: dict[str, Any], generator: torch.Generator
) -> None:
    """Bounds within what each layer sees and gives, so that all of them clip something."""

    def bounds_of(values: torch.Tensor) -> torch.Tensor:
        share = 0.02 + 0.13 * torch.rand(2, generator=generator)
        levels = torch.stack([share[0], 1 - share[1]])
        return torch.quantile(values.flatten(), levels).bfloat16().float()

    def choose(module: Gemma4ClippableLinear, inputs: tuple[torch.Tensor]) -> None:
        seen = inputs[0]
        module.input_min[...], module.input_max[...] = low, high = bounds_of(seen)
        given = module.linear(seen.clamp(low, high))
        module.output_min[...], module.output_max[...] = bounds_of(given)

    layers = [m for m in model.modules() if isinstance(m, Gemma4ClippableLinear)]
    hooks = [m.register_forward_pre_hook(choose) for m in layers if m.use_clipped_linears]
    if hooks:
        model(**to_torch(make_case(config, "mixed", seed=1)), use_cache=False)
    for hook in hooks:
        hook.remove()


def _random_value(
    name: str, shape: torch.Size, layers: int, generator: torch.Generator
) -> torch.Tensor:
    def normal(mean: float, std: float) -> torch.Tensor:
        return mean + std * torch.randn(shape, generator=generator)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    last = name.rsplit(".", 1)[-1]
    if last == "layer_scalar":
        return uniform(0.5, 1.2)
    if last == "per_dim_scale":
        return normal(0.0, 0.7)
    if last in ("per_expert_scale", "std_scale"):
        return uniform(0.5, 1.5)
    if last == "std_bias":
        return normal(0.0, 2.0)
    if "language_model" in name and ".post_" in name and last == "weight":
        # What a layer adds outweighs the token's embedding, so that greedy text does not repeat.
        mean = 5.0 / math.sqrt(layers)
        return normal(mean, 0.25 * mean)
    if last == "weight" and name.endswith(("q_norm.weight", "k_norm.weight")):
        # Scores are not scaled by the head size, so the norms have to: with weights around one
        # attention would be so sharp that the reference's own rounding shows in the third digit.
        scale = 1.2 * shape[0] ** -0.25
        return normal(scale, 0.3 * scale)
    if name.endswith("router.scale") or ("norm" in name and last == "weight"):
        return normal(1.0, 0.3)
    if last == "bias":
        return normal(0.0, 0.3)
    if name.endswith("embed_tokens.weight"):
        return normal(0.0, 0.35)
    if name.endswith("embed_tokens_per_layer.weight"):
        return normal(0.0, 1.0 / 4.0)
    if name.endswith("position_embedding_table"):
        return normal(0.0, 0.6)
    if name.endswith("router.proj.weight"):
        return normal(0.0, 2.5)
    fan_in = math.prod(shape[1:]) if "conv" in name and len(shape) > 2 else shape[-1]
    return normal(0.0, 1.1 / math.sqrt(fan_in))


def make_checkpoint(
    config: dict[str, Any],
    path: Path,
    seed: int,
    *,
    style: str = "released",
    sharded: bool = False,
    with_unused_kv: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Gemma4ForConditionalGeneration:
    """Write a random checkpoint in Hugging Face layout into ``path`` and return its model.

    ``style`` is that of config.json: "released" or "5.23". ``with_unused_kv`` adds the k and v
    tensors of KV-shared layers, which the first releases carry and nothing reads.
    """
    model = build_model(config, seed)
    weights = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    if with_unused_kv:
        weights |= _unused_kv(config["text_config"], seed)
    path.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(dtype).contiguous() for k, v in weights.items()}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    written = config if style == "released" else config_in_5_23_style(config)
    (path / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    generation = json.dumps(families.generation_config(), indent=2)
    (path / "generation_config.json").write_text(generation + "\n")
    if sharded:
        shard_checkpoint(path, shards=3)
    return model


def config_in_5_23_style(config: dict[str, Any]) -> dict[str, Any]:
    """The same config as transformers 5.23 writes it (``per_layer_config``, ``axial``)."""
    return json.loads(Gemma4Config.from_dict(config).to_json_string(use_diff=False))


def _unused_kv(text: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    tensors = {}
    layers = text["num_hidden_layers"]
    for index in range(layers - text["num_kv_shared_layers"], layers):
        is_global = text["layer_types"][index] == families.FULL
        head_dim = text["global_head_dim"] if is_global else text["head_dim"]
        shape = (text["num_key_value_heads"] * head_dim, text["hidden_size"])
        prefix = f"model.language_model.layers.{index}.self_attn"
        tensors[f"{prefix}.k_proj.weight"] = torch.randn(shape, generator=generator)
        tensors[f"{prefix}.v_proj.weight"] = torch.randn(shape, generator=generator)
        tensors[f"{prefix}.k_norm.weight"] = torch.randn(head_dim, generator=generator)
    return tensors


def to_torch(inputs: Inputs) -> dict[str, torch.Tensor]:
    """The arrays as tensors, under the same names."""
    return {name: torch.from_numpy(np.asarray(value)) for name, value in inputs.items()}


@torch.no_grad()
def reference_logits(model: Gemma4ForConditionalGeneration, inputs: Inputs) -> np.ndarray:
    """Logits (B, L, V) of one pass without a cache."""
    return model(**to_torch(inputs), use_cache=False).logits.float().numpy()


@torch.no_grad()
def reference_greedy(
    model: Gemma4ForConditionalGeneration, inputs: Inputs, count: int = 64
) -> tuple[np.ndarray, float]:
    """``count`` greedy tokens (B, count) by transformers' generate, and the closest decision.

    The second value is the smallest difference between the best and the second best logit:
    equality of tokens can only be asked for where that is larger than the rounding.
    """
    model.generation_config.eos_token_id = None
    out = model.generate(
        **to_torch(inputs),
        do_sample=False,
        min_new_tokens=count,
        max_new_tokens=count,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best_two = torch.stack(out.logits).topk(2, dim=-1).values
    tokens = out.sequences[:, inputs["input_ids"].shape[1] :].numpy()
    return tokens, float((best_two[..., 0] - best_two[..., 1]).min())


def versions() -> dict[str, str]:
    """The versions that decide what the reference computes."""
    return {"torch": torch.__version__, "transformers": transformers.__version__}
