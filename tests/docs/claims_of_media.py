"""Claims about pictures and sound: tokens, budgets, what a token sees or hears."""

from gemma4_mlx.audio.blocks import LocalBlocks
from gemma4_mlx.processing.mel import audio_token_count
from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS, MelSettings, ProcessorSettings
from tests.docs.arithmetic import E2B, image_tokens
from tests.docs.claims import Claim

MEL, PATCHES = "gemma4_mlx/processing/mel.py", "gemma4_mlx/processing/patches.py"
SETTINGS = "gemma4_mlx/processing/settings.py"


def media() -> list[Claim]:
    """In the order of the page."""
    mel, settings = MelSettings(), ProcessorSettings()
    audio = E2B.config.audio
    assert audio is not None
    rate = mel.sampling_rate
    hop, frame = (1000 * count // rate for count in (mel.hop_length, mel.frame_length))
    odd = 10.965
    # Two convolutions of 3 with stride 2: 3 + 2·2 frames.
    heard = 6 * hop + frame
    behind = LocalBlocks.from_config(audio).past - 1
    frames = settings.video.num_frames
    budget = settings.video.frames.max_soft_tokens
    return [
        Claim(
            "a second of sound is 25 tokens; 30 seconds are 750, which is the most",
            "model card",
            f"{audio_token_count(rate)} and {audio_token_count(30 * rate)}; longer recordings are "
            "cut into windows by `gemma4 transcribe` and refused elsewhere",
            "holds",
            MEL,
            "((frames + 1) // 2 + 1) // 2",
        ),
        Claim(
            "so a recording has ⌈duration / 40 ms⌉ tokens",
            "articles",
            f"{odd} s are {audio_token_count(round(odd * rate))}, not "
            f"{-(-round(odd * 1000) // 40)}: the convolutions count, not the clock",
            "corrected",
            MEL,
            "inside // settings.hop_length + 1",
        ),
        Claim(
            "a token is 40 ms of sound",
            "articles",
            f"a token comes every 40 ms and is made of {heard} ms; then each of "
            f"{audio.num_hidden_layers} layers reaches {behind} frames back by attention and "
            f"{audio.conv_kernel_size - 1} by convolution",
            "corrected",
            "gemma4_mlx/audio/subsampling.py",
            "3, stride=2, padding=1",
        ),
        Claim(
            "the audio tower looks 13 frames back",
            "config",
            f"attention_context_left is {audio.attention_context_left} and counts the frame "
            f"itself and one that the mask leaves out: a frame sees itself and {behind} before it",
            "corrected",
            "gemma4_mlx/audio/blocks.py",
            "(distance >= 0) & (distance < self.past)",
        ),
        Claim(
            "a picture is 70, 140, 280, 560 or 1,120 tokens",
            "model card",
            f"{', '.join(f'{b:,}' for b in SOFT_TOKEN_BUDGETS)} are the most it may be; at 280 a "
            f"square has {image_tokens(1000, 1000, 280)}, one of 640 × 480 "
            f"{image_tokens(480, 640, 280)}",
            "corrected",
            PATCHES,
            "settings.max_soft_tokens * side**2 / (height * width)",
        ),
        Claim(
            "small pictures cost fewer tokens",
            "question",
            f"a square of 48 pixels has {image_tokens(48, 48, 280)} too: every picture is resized "
            "to its budget",
            "wrong",
            PATCHES,
            "math.floor(factor * height / side)",
        ),
        Claim(
            "a video is 32 frames of 70 tokens",
            "config",
            f"at most {frames} × {budget} = {frames * budget:,}, and a time and two tokens around "
            "each frame",
            "holds",
            SETTINGS,
            "num_frames: int = 32",
        ),
        Claim(
            "all models hear",
            "articles",
            "the 26B and the 31B have no audio tower",
            "wrong",
            "gemma4_mlx/config.py",
            "AudioConfig.from_dict(audio) if audio else None",
        ),
    ]
