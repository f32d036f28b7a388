"""The tables of ARCHITECTURE.md: what stands above what, and three inputs on their way.

    python -m tests.docs.journeys

Shapes are those of E2B, from its released config and the functions that cut pictures and sound.
"""

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.layer_plan import LayerPlan, plan_layers
from gemma4_mlx.processing.mel import audio_token_count, mel_frame_count
from gemma4_mlx.processing.patches import target_size
from gemma4_mlx.processing.settings import ImageSettings, MelSettings
from gemma4_mlx.released import released_config
from tests.docs.pages import ROOT, between_marks, table, write
from tests.test_project import KNOW_PROCESSING, PROCESSING_KNOWS, ROWS

PAGE = ROOT / "ARCHITECTURE.md"
HEIGHT, WIDTH = 480, 640
E2B = Gemma4Config.from_dict(released_config("e2b"))
LIBRARY = "gemma4_mlx/"

Step = tuple[str, str, str]  # what happens, the file, what comes out


def shape(*axes: int | str) -> str:
    return f"({', '.join(f'{axis:,}' if isinstance(axis, int) else axis for axis in axes)})"


def first(*, is_global: bool) -> LayerPlan:
    return next(row for row in plan_layers(E2B.text) if row.is_global == is_global)


def keys(row: LayerPlan) -> str:
    return shape("B", row.num_kv_heads, "tokens", row.head_dim)


def a_token() -> list[Step]:
    """A prompt of L tokens, in a batch of B."""
    text, plan = E2B.text, plan_layers(E2B.text)
    layers, width = text.num_hidden_layers, text.hidden_size_per_layer_input
    local, far = first(is_global=False), first(is_global=True)
    narrow, wide = plan[0].mlp_width, plan[-1].mlp_width
    owners = sum(row.kv_donor is None for row in plan)
    hidden = shape("B", "L", text.hidden_size)
    return [
        ("messages become one text, control tokens apart", "processing/chat_template.py", "str"),
        ("text becomes ids; what people write never becomes a control token",
         "processing/prompt.py", shape("B", "L")),
        ("ids become embeddings, × √hidden", "text/decoder.py", hidden),
        ("one row of the per-layer table for every id", "loading/ple_rows.py",
         shape("B", "L", layers * width)),
        ("row and projected embedding become a slice for every layer",
         "text/per_layer_embeddings.py", shape("B", "L", layers, width)),
        (f"in each of {layers} layers: norm, queries (local)", "text/attention.py",
         shape("B", local.num_heads, "L", local.head_dim)),
        ("queries (global)", "text/attention.py", shape("B", far.num_heads, "L", far.head_dim)),
        (f"keys, and values of the same shape, in the first {owners} layers (local, global)",
         "text/attention.py", f"{keys(local)}, {keys(far)}"),
        ("queries and keys turn by their position", "nn/rope.py", "as before"),
        (f"keys and values are kept: the last {local.window} tokens, or all",
         "text/kv_cache.py", "as before"),
        ("softmax over what a query may see", "text/attend.py", hidden),
        (f"gated MLP, {narrow:,} wide, {wide:,} in layers that borrow", "text/mlp.py", hidden),
        ("its slice of the per-layer input is gated in; × layer scalar",
         "text/per_layer_embeddings.py", hidden),
        ("after the layers: norm, tied output layer, soft cap; of the last token",
         "text/decoder.py", shape("B", text.vocab_size)),
        ("one id is drawn", "generation/sampling.py", shape("B")),
        ("the next step is queued before the id is read", "generation/loop.py", shape("B")),
        ("ids become text, thoughts and calls", "generation/reply.py", "Chunk"),
    ]  # fmt: skip


def a_picture() -> list[Step]:
    """A photo of 640 × 480."""
    vision, settings = E2B.vision, ImageSettings()
    assert vision is not None
    height, width = target_size(HEIGHT, WIDTH, settings)
    rows, columns = height // vision.patch_size, width // vision.patch_size
    patches, pixels = rows * columns, 3 * vision.patch_size**2
    tokens = patches // vision.pooling_kernel_size**2
    seen = shape(1, patches, vision.hidden_size)
    return [
        ("a file becomes upright RGB", "processing/images.py", f"{WIDTH} × {HEIGHT}"),
        (f"resized to what {settings.max_soft_tokens} tokens allow", "processing/patches.py",
         f"{width} × {height}"),
        (f"cut into {columns} × {rows} patches of {vision.patch_size}²", "processing/patches.py",
         shape(1, patches, pixels)),
        ("its placeholder becomes so many, and two around them", "processing/media_inputs.py",
         f"{tokens} + 2 ids"),
        ("one linear map, plus positions for x and y", "vision/patch_embedder.py", seen),
        (f"{vision.num_hidden_layers} layers, every patch sees every patch", "vision/encoder.py",
         seen),
        ("half a head turns by x, half by y", "nn/rope_2d.py", "as before"),
        (f"{vision.pooling_kernel_size} × {vision.pooling_kernel_size} patches become one token",
         "vision/pooler.py", shape(tokens, vision.hidden_size)),
        ("a norm without weight and a projection", "multimodal.py",
         shape(tokens, E2B.text.hidden_size)),
        ("spliced in at the placeholders, unscaled; the per-layer row there is that of padding",
         "model.py", shape("B", "L", E2B.text.hidden_size)),
    ]  # fmt: skip


def a_second_of_sound() -> list[Step]:
    """16,000 samples."""
    audio, mel = E2B.audio, MelSettings()
    assert audio is not None
    samples = mel.sampling_rate
    frames, tokens = mel_frame_count(samples, mel), audio_token_count(samples, mel)
    half = (frames + 1) // 2
    one, two = audio.subsampling_conv_channels
    bins = one  # as many mel bins come in as the first layer has channels
    seen = shape(1, tokens, audio.hidden_size)
    reach = audio.attention_context_left - 1
    return [
        ("a file becomes one channel at 16 kHz", "processing/waveform.py", shape(samples)),
        (f"frames of {1000 * mel.frame_length // samples} ms every "
         f"{1000 * mel.hop_length // samples} ms become log-mel", "processing/mel.py",
         shape(1, frames, bins)),
        ("its placeholder becomes so many, and two around them", "processing/media_inputs.py",
         f"{tokens} + 2 ids"),
        ("a convolution halves time and bins", "audio/subsampling.py",
         shape(1, half, bins // 2, one)),
        ("and another", "audio/subsampling.py", shape(1, tokens, bins // 4, two)),
        ("a frame's bins and channels become one vector", "audio/subsampling.py", seen),
        (f"{audio.num_hidden_layers} conformer layers", "audio/conformer.py", seen),
        (f"a frame sees itself and the {reach - 1} before it", "audio/blocks.py", "as before"),
        ("scores know the distance, not the place", "audio/relative_attention.py", "as before"),
        ("the tower's last projection", "audio/tower.py", shape(tokens, audio.output_proj_dims)),
        ("a norm without weight and a projection", "multimodal.py",
         shape(tokens, E2B.text.hidden_size)),
        ("spliced in like those of a picture", "model.py",
         shape("B", "L", E2B.text.hidden_size)),
    ]  # fmt: skip


def journey(steps: list[Step]) -> str:
    rows = [
        [str(number), what, f"[`{file}`]({LIBRARY}{file})", f"`{out}`"]
        for number, (what, file, out) in enumerate(steps, 1)
    ]
    return table(["", "step", "file", "gives"], rows)


def arrows() -> str:
    """The parts of the library from the top down, as tests/test_project.py holds them."""
    beside = " ".join(sorted(PROCESSING_KNOWS))
    users = " ".join(sorted(KNOW_PROCESSING))
    rows = ["    " + "   ".join(sorted(row - {"processing"})) for row in reversed(ROWS)]
    return "\n".join([*rows, "", f"    processing   knows {beside}; known to {users}"])


def text() -> str:
    """The page with its tables as they are now."""
    page = PAGE.read_text(encoding="utf-8")
    for name, part in {
        "arrows": arrows(),
        "token": journey(a_token()),
        "picture": journey(a_picture()),
        "sound": journey(a_second_of_sound()),
    }.items():
        page = between_marks(page, name, part if name != "arrows" else f"```\n{part}\n```")
    return page


if __name__ == "__main__":
    write(PAGE, text())
