"""Claims about parameters: how many there are, which count, and what they are spent on."""

from tests.docs.arithmetic import A4B, BIG, E2B, E4B, MODELS
from tests.docs.claims import Claim, billions, each, millions, percent

ANATOMY, PLAN = "gemma4_mlx/anatomy.py", "gemma4_mlx/layer_plan.py"
SHAPES = "gemma4_mlx/tensor_shapes.py"


def size() -> list[Claim]:
    """In the order of the page."""
    effective = {m.name: billions(m.parameters.effective or 0) for m in (E2B, E4B)}
    tables = {m.name: percent(m.part("ple_table") / m.parameters.total) for m in (E2B, E4B)}
    towers = E2B.part("vision", "audio", "projectors")
    experts = round(A4B.part("experts") * A4B.parameters.expert_share)
    vision = {m.name: m.part("vision") for m in (E2B, BIG)}
    bare = {m.name: m.part("vision") - m.vision_positions() for m in (E2B, BIG)}
    wide, borrowed = E2B.wide_mlps(), E2B.parameters.borrowed
    active = A4B.parameters.active or 0
    return [
        Claim(
            "E2B has 5.1 B parameters, E4B 8 B",
            "model card",
            each({m.name: billions(m.parameters.total) for m in (E2B, E4B)}),
            "holds",
            ANATOMY,
            "sum(self.components.values()) + self.borrowed",
        ),
        Claim(
            "26B A4B has 25.2 B, 31B has 30.7 B",
            "model card",
            f"so much is the decoder ({billions(A4B.parameters.decoder)}, "
            f"{billions(BIG.parameters.decoder)}); with the vision tower the files hold "
            f"{billions(A4B.parameters.total)} and {billions(BIG.parameters.total)}",
            "corrected",
            ANATOMY,
            "if name not in _OUTSIDE_DECODER",
        ),
        Claim(
            "2.3 B of E2B and 4.5 B of E4B are effective",
            "model card",
            each(effective) + ": the decoder without its per-layer table. The second rounds to 4.6",
            "corrected",
            ANATOMY,
            "self.decoder - table",
        ),
        Claim(
            "what is not effective are embeddings",
            "model card",
            f"of E2B's {billions(E2B.parameters.total - (E2B.parameters.effective or 0))}, "
            f"{billions(E2B.part('ple_table'))} are the per-layer table, {billions(towers)} the "
            f"towers and projectors, {billions(borrowed)} tensors that nothing uses; the token "
            f"embedding ({billions(E2B.part('embedding'))}) counts as effective",
            "corrected",
            ANATOMY,
            '_OUTSIDE_DECODER = ("vision", "audio", "projectors")',
        ),
        Claim(
            "46 % of E2B are per-layer embeddings",
            "articles",
            each(tables),
            "holds",
            ANATOMY,
            '"ple_table": re.compile(r"language_model\\.embed_tokens_per_layer\\.")',
        ),
        Claim(
            "per-layer embeddings are as wide as the model in E4B (2,560)",
            "articles",
            each({m.name: f"{m.text.hidden_size_per_layer_input} a layer" for m in (E2B, E4B)})
            + "; hidden size "
            + each({m.name: f"{m.text.hidden_size:,}" for m in (E2B, E4B)}),
            "wrong",
            "gemma4_mlx/text/per_layer_embeddings.py",
            "config.hidden_size_per_layer_input",
        ),
        Claim(
            "E2B and E4B are nested in one another (MatFormer), as those of Gemma 3n were",
            "articles",
            "no config field and no tensor says so, and E2B is no slice of E4B: hidden "
            + " against ".join(f"{m.text.hidden_size:,}" for m in (E2B, E4B))
            + ", layers "
            + " against ".join(str(len(m.plan)) for m in (E2B, E4B))
            + ", local kv heads "
            + " against ".join(str(m.text.num_key_value_heads) for m in (E2B, E4B))
            + ", and its widest MLPs are wider: "
            + " against ".join(f"{m.plan[-1].mlp_width:,}" for m in (E2B, E4B)),
            "wrong",
            "gemma4_mlx/text_config.py",
            'hidden_size=get.integer("hidden_size")',
        ),
        Claim(
            "E2B has 24 layers and SwiGLU",
            "articles",
            each({m.name: str(len(m.plan)) for m in MODELS}) + " layers; the gate is a GELU",
            "wrong",
            "gemma4_mlx/text_config.py",
            'get.expect("hidden_activation", "gelu_pytorch_tanh")',
        ),
        Claim(
            "the layers of E2B that borrow keys and values have MLPs twice as wide",
            "config",
            f"{sum(r.mlp_width > E2B.text.intermediate_size for r in E2B.plan)} of "
            f"{len(E2B.plan)} layers, {E2B.text.intermediate_size:,} → {E2B.plan[-1].mlp_width:,}; "
            f"it costs {millions(wide)}, {percent(wide / (E2B.parameters.effective or 1))} of the "
            f"effective parameters, where borrowing spares {millions(borrowed)}",
            "holds",
            PLAN,
            "(2 if is_shared and config.use_double_wide_mlp else 1)",
        ),
        Claim(
            "so have those of E4B",
            "question",
            f"{E4B.plan[-1].mlp_width:,} in all {len(E4B.plan)} layers",
            "wrong",
            PLAN,
            "(2 if is_shared and config.use_double_wide_mlp else 1)",
        ),
        Claim(
            "26B A4B has 3.8 B active parameters",
            "model card",
            f"{billions(active)}, the embedding ({billions(A4B.part('embedding'))}) included",
            "holds",
            ANATOMY,
            "self.decoder - experts + round(experts * self.expert_share)",
        ),
        Claim(
            "beside the embedding 2.8 B of it are active",
            "technical report",
            f"{billions(active - A4B.part('embedding'))}: experts {billions(experts)}, attention "
            f"{billions(A4B.part('attention'))}, dense MLPs {billions(A4B.part('mlp'))}, "
            f"router {billions(A4B.part('router'))}",
            "corrected",
            ANATOMY,
            "text.top_k_experts / text.num_experts",
        ),
        Claim(
            "beside 8 of 128 experts one shared expert, three times as large, always runs",
            "articles",
            f"a dense MLP of {A4B.plan[0].mlp_width:,} beside experts of "
            f"{A4B.text.moe_intermediate_size}: "
            f"{A4B.plan[0].mlp_width / A4B.text.moe_intermediate_size:g} times; it has its own "
            "norms and no weight from the router",
            "holds",
            "gemma4_mlx/text/decoder.py",
            "self.post_feedforward_layernorm_1(out) + self.post_feedforward_layernorm_2(routed)",
        ),
        Claim(
            "26B A4B runs almost as fast as a model of 4 B",
            "model card",
            "nothing here was measured on a GPU; a token of the 26B needs "
            f"{millions(A4B.matrices() - A4B.part('experts') + experts, 0)} weights beside the "
            f"embedding, one of E4B {millions(E4B.matrices(), 0)}",
            "cannot be known here",
            "tests/docs/arithmetic.py",
            'self.parameters.decoder - self.part("embedding", "ple_table")',
        ),
        Claim(
            "the vision towers have 150 M and 550 M parameters",
            "model card",
            each({name: millions(count) for name, count in vision.items()})
            + "; without the table of positions "
            + each({name: millions(count) for name, count in bare.items()}),
            "corrected",
            SHAPES,
            "table = (2, config.position_embedding_size, hidden)",
        ),
        Claim(
            "the audio tower has 300 M",
            "model card",
            f"{millions(E2B.part('audio'))}, the same on both",
            "holds",
            SHAPES,
            "def _conformer_layer(config: AudioConfig)",
        ),
    ]
