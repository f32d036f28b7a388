"""How many windows are heard at once."""

from typing import TYPE_CHECKING

from gemma4_mlx.generation.working_set import weights_in_use
from gemma4_mlx.memory import kv_cache_bytes, room
from gemma4_mlx.speech.listening import most_tokens

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

_MOST = 8  # rows of a step; with more, arithmetic outweighs what reading the weights once saves
_SHARE = 1 / 4  # of what the weights leave of the memory
_PROMPT = 100  # tokens beside the sound
# Bytes that the audio tower holds at once for a window, by the width of its conformer: E2B's, 1,024
# wide, took 491 MB beside its weights for 30 s in bfloat16 on a CPU.
_TOWER_BYTES = 480_000


def fitting_batch_size(model: "Gemma4Model", processor: "Processor") -> int:
    """How many of the longest windows fit the memory beside the weights, 1 to 8."""
    settings, config = processor.settings, model.config
    assert config.audio is not None
    seconds = settings.max_samples / processor.sampling_rate
    tokens = _PROMPT + settings.audio_seq_length + most_tokens(seconds)
    row = kv_cache_bytes(config.text, tokens) + _TOWER_BYTES * config.audio.hidden_size
    left = room().nbytes - weights_in_use(model, ("audio",))
    return max(1, min(_MOST, int(_SHARE * left) // row))
