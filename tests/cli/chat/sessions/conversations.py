"""A conversation with a bit of everything, and the media in it."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from gemma4_cli.chat.sessions.saved import Saved
from gemma4_mlx.processing.images import load_image
from gemma4_mlx.processing.waveform import load_waveform

SETTINGS = {"temperature": 0.7, "top_k": 40, "seed": None, "think": True, "budget": 560}


def picture(seed: int, size: tuple[int, int] = (30, 20)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


def recording(seed: int, samples: int = 800) -> np.ndarray:
    """Float32 with what a lossy way would change: denormals, a negative zero, beyond full scale."""
    noise = np.random.default_rng(seed).normal(size=samples).astype(np.float32)
    noise[:4] = [1e-42, -0.0, 1.5, np.float32(1) / 3]
    return noise


def from_file(kind: str, path: Path, **more: Any) -> dict[str, Any]:
    """A part as ChatSession holds it after a turn."""
    value: Any = str(path)
    if kind == "image":
        value = load_image(path, [])
    elif kind == "audio":
        value = load_waveform(path).samples
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"type": kind, kind: value, "file": {"path": str(path), "sha256": sha256}, **more}


def media_files(tmp_path: Path) -> Path:
    """Files of each kind, of which one has a name that needs care."""
    media = tmp_path / "media"
    media.mkdir()
    picture(1).save(media / "Katze über Bord 猫.png")
    picture(2, (64, 48)).save(media / "photo.jpg")
    soundfile.write(media / "memo.wav", recording(3, 4000) / 8, 8000)
    (media / "film.mp4").write_bytes(b"frames are chosen later")
    return media


def long_talk(folder: Path) -> Saved:
    """A bit of everything that a conversation may hold."""
    calls = [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "Köln", "days": [1, 2.5, None]}},
        },
        {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": {}}},
    ]
    return Saved(
        "demo",
        [
            {"role": "system", "content": "Antworte auf Deutsch. 日本語も。 \u202eعربى\u202c 👩‍🔬"},
            {
                "role": "user",
                "content": [
                    from_file("image", folder / "Katze über Bord 猫.png", max_soft_tokens=70),
                    from_file("audio", folder / "memo.wav"),
                    {"type": "image", "image": picture(4), "name": "the clipboard's picture"},
                    {"type": "audio", "audio": recording(5), "name": "microphone, 0.1 s"},
                    from_file("video", folder / "film.mp4", fps=2.5),
                    from_file("image", folder / "photo.jpg"),
                    {"type": "image", "image": picture(6), "name": "https://example.org/a.png"},
                    {
                        "type": "text",
                        "text": 'Was "siehst" du?\n\tUnd \\ was\r\nhörst du? \x00\x1b[2J',
                    },
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "token_ids": [],
                "reasoning": "Ich sehe nach…\n</details>",
                "tool_calls": calls,
            },
            {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": '{"°C": 3}'},
            {"role": "tool", "tool_call_id": "call_2", "name": "now", "content": "12:00"},
            {"role": "assistant", "content": "Es ist kalt. 🥶", "token_ids": [2, 0, 262143]},
        ],
        dict(SETTINGS),
    )


def plain(value: Any) -> Any:
    """Media as comparable data, exact to the bit."""
    if isinstance(value, Image.Image):
        return value.mode, value.size, value.tobytes()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
