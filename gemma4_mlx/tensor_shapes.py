"""Every tensor of a Gemma 4 model and its shape, from its config alone.

Paths are those of our modules and shapes are in MLX's layout (convolutions channels last, the
experts' gate and up apart). Nothing is built: a plan for 31 billion parameters costs nothing.
"""

from collections.abc import Iterator

from gemma4_mlx.config import AudioConfig, Gemma4Config, TextConfig, VisionConfig
from gemma4_mlx.layer_plan import LayerPlan, plan_layers

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]

CLIP_BOUNDS = ("input_min", "input_max", "output_min", "output_max")


def tensor_shapes(config: Gemma4Config) -> dict[str, Shape]:
    """Path → shape of every tensor that a model of this config uses, the per-layer table too."""
    shapes = dict(_under("language_model", _decoder(config.text)))
    hidden = config.text.hidden_size
    if (vision := config.vision) is not None:
        shapes.update(_under("vision_tower", _vision(vision)))
        shapes["embed_vision.embedding_projection.weight"] = (hidden, vision.hidden_size)
    if (audio := config.audio) is not None:
        shapes.update(_under("audio_tower", _audio(audio)))
        shapes["embed_audio.embedding_projection.weight"] = (hidden, audio.output_proj_dims)
    return shapes


def borrowed_shapes(config: Gemma4Config) -> dict[str, Shape]:
    """Path → shape of the key and value tensors of layers that borrow another's.

    Google's files hold them and nothing uses them; QAT files and MLX conversions leave them out.
    """
    return {
        f"language_model.layers.{row.index}.self_attn.{name}": shape
        for row in plan_layers(config.text)
        if row.kv_donor is not None
        for name, shape in _keys_values(config.text, row)
    }


def _under(prefix: str, named: Named) -> Named:
    return ((f"{prefix}.{name}", shape) for name, shape in named)


# --- the decoder ---------------------------------------------------------------------------------


def _decoder(config: TextConfig) -> Named:
    hidden, width = config.hidden_size, config.hidden_size_per_layer_input
    all_layers = config.num_hidden_layers * width
    yield "embed_tokens.weight", (config.vocab_size, hidden)
    if width:
        yield "embed_tokens_per_layer.weight", (config.vocab_size_per_layer_input, all_layers)
        yield "per_layer_model_projection.weight", (all_layers, hidden)
        yield "per_layer_projection_norm.weight", (width,)
    for row in plan_layers(config):
        yield from _under(f"layers.{row.index}", _decoder_layer(config, row))
    yield "norm.weight", (hidden,)


def _decoder_layer(config: TextConfig, row: LayerPlan) -> Named:
    hidden, queries = config.hidden_size, row.num_heads * row.head_dim
    yield "self_attn.q_proj.weight", (queries, hidden)
    yield "self_attn.q_norm.weight", (row.head_dim,)
    if row.kv_donor is None:
        yield from _under("self_attn", _keys_values(config, row))
    yield "self_attn.o_proj.weight", (hidden, queries)

    yield "mlp.gate_proj.weight", (row.mlp_width, hidden)
    yield "mlp.up_proj.weight", (row.mlp_width, hidden)
    yield "mlp.down_proj.weight", (hidden, row.mlp_width)
    if row.has_experts:
        yield from _experts(config)

    if width := config.hidden_size_per_layer_input:
        yield "per_layer_input_gate.weight", (width, hidden)
        yield "per_layer_projection.weight", (hidden, width)
        yield "post_per_layer_input_norm.weight", (hidden,)

    yield "input_layernorm.weight", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    yield "pre_feedforward_layernorm.weight", (hidden,)
    yield "post_feedforward_layernorm.weight", (hidden,)
    yield "layer_scalar", (1,)


def _keys_values(config: TextConfig, row: LayerPlan) -> Named:
    width = row.num_kv_heads * row.head_dim
    yield "k_proj.weight", (width, config.hidden_size)
    yield "k_norm.weight", (row.head_dim,)
    if not row.k_eq_v:
        yield "v_proj.weight", (width, config.hidden_size)


def _experts(config: TextConfig) -> Named:
    hidden, experts, width = config.hidden_size, config.num_experts, config.moe_intermediate_size
    yield "router.proj.weight", (experts, hidden)
    yield "router.scale", (hidden,)
    yield "router.per_expert_scale", (experts,)
    yield "experts.switch_glu.gate_proj.weight", (experts, width, hidden)
    yield "experts.switch_glu.up_proj.weight", (experts, width, hidden)
    yield "experts.switch_glu.down_proj.weight", (experts, hidden, width)
    yield "pre_feedforward_layernorm_2.weight", (hidden,)
    yield "post_feedforward_layernorm_1.weight", (hidden,)
    yield "post_feedforward_layernorm_2.weight", (hidden,)


# --- the towers ----------------------------------------------------------------------------------


def _clipped_linear(name: str, outputs: int, inputs: int, clipped: bool) -> Named:
    yield f"{name}.linear.weight", (outputs, inputs)
    if clipped:
        for bound in CLIP_BOUNDS:
            yield f"{name}.{bound}", ()


def _vision(config: VisionConfig) -> Named:
    hidden, clipped = config.hidden_size, config.use_clipped_linears
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    linears = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (config.intermediate_size, hidden),
        "mlp.up_proj": (config.intermediate_size, hidden),
        "mlp.down_proj": (hidden, config.intermediate_size),
    }
    norms = {
        "self_attn.q_norm": config.head_dim,
        "self_attn.k_norm": config.head_dim,
        "input_layernorm": hidden,
        "post_attention_layernorm": hidden,
        "pre_feedforward_layernorm": hidden,
        "post_feedforward_layernorm": hidden,
    }
    yield "patch_embedder.input_proj.weight", (hidden, 3 * config.patch_size**2)
    table = (2, config.position_embedding_size, hidden)
    yield "patch_embedder.position_embedding_table", table
    for index in range(config.num_hidden_layers):
        for name, (outputs, inputs) in linears.items():
            layer = f"encoder.layers.{index}.{name}"
            yield from _clipped_linear(layer, outputs, inputs, clipped)
        for name, width in norms.items():
            yield f"encoder.layers.{index}.{name}.weight", (width,)
    if config.standardize:
        yield "std_bias", (hidden,)
        yield "std_scale", (hidden,)


def _audio(config: AudioConfig) -> Named:
    hidden = config.hidden_size
    first, second = config.subsampling_conv_channels
    for layer, outputs, inputs in (("layer0", first, 1), ("layer1", second, first)):
        yield f"subsample_conv_projection.{layer}.conv.weight", (outputs, 3, 3, inputs)
        yield f"subsample_conv_projection.{layer}.norm.weight", (outputs,)
    # As many mel bins come in as the first layer has channels; both layers halve them.
    frame = first // 4 * second
    yield "subsample_conv_projection.input_proj_linear.weight", (hidden, frame)
    for index in range(config.num_hidden_layers):
        yield from _under(f"layers.{index}", _conformer_layer(config))
    yield "output_proj.weight", (config.output_proj_dims, hidden)
    yield "output_proj.bias", (config.output_proj_dims,)


def _conformer_layer(config: AudioConfig) -> Named:
    hidden, clipped = config.hidden_size, config.use_clipped_linears
    for part in ("feed_forward1", "feed_forward2"):
        yield from _clipped_linear(f"{part}.ffw_layer_1", 4 * hidden, hidden, clipped)
        yield from _clipped_linear(f"{part}.ffw_layer_2", hidden, 4 * hidden, clipped)
        yield f"{part}.pre_layer_norm.weight", (hidden,)
        yield f"{part}.post_layer_norm.weight", (hidden,)

    for name in ("q_proj", "k_proj", "v_proj", "post"):
        yield from _clipped_linear(f"self_attn.{name}", hidden, hidden, clipped)
    yield "self_attn.relative_k_proj.weight", (hidden, hidden)
    yield "self_attn.per_dim_scale", (hidden // config.num_attention_heads,)

    yield from _clipped_linear("lconv1d.linear_start", 2 * hidden, hidden, clipped)
    yield from _clipped_linear("lconv1d.linear_end", hidden, hidden, clipped)
    yield "lconv1d.depthwise_conv1d.weight", (hidden, config.conv_kernel_size, 1)
    yield "lconv1d.pre_layer_norm.weight", (hidden,)
    yield "lconv1d.conv_norm.weight", (hidden,)

    for name in ("norm_pre_attn", "norm_post_attn", "norm_out"):
        yield f"{name}.weight", (hidden,)
