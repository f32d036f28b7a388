"""The committed tiny checkpoints made whole: with a tokenizer of 128 tokens and a template."""

from pathlib import Path

from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as Backend

from gemma4_mlx.processing.chat_template import ChatTemplate
from gemma4_mlx.processing.tokenizer import CONTROL_TOKENS
from tests import goldens
from tests.reference.checkpoints import copy_checkpoint
from tests.reference.families import BIG, SPECIAL_IDS, TOOL_RESPONSE, TURN_END, VOCAB

PLACES = {
    "<pad>": 0,
    "<eos>": 1,
    "<bos>": 2,
    "<unk>": 3,
    "<mask>": 4,
    "<|tool_response>": TOOL_RESPONSE,
    "<turn|>": TURN_END,
    "<|turn>": 7,
    "<|image>": SPECIAL_IDS["boi_token_id"],
    "<image|>": SPECIAL_IDS["eoi_token_id"],
    "<|audio>": SPECIAL_IDS["boa_token_id"],
    "<audio|>": SPECIAL_IDS["eoa_token_id"],
    "<|image|>": SPECIAL_IDS["image_token_id"],
    "<|audio|>": SPECIAL_IDS["audio_token_id"],
    "<|video|>": SPECIAL_IDS["video_token_id"],
}


def whole_checkpoint(family: str, target: Path) -> Path:
    """A copy that ``load`` takes, for a test to spoil."""
    path = copy_checkpoint(goldens.checkpoint(family), target)
    (path / "expected.safetensors").unlink()
    tokenizer().save(str(path / "tokenizer.json"))
    (path / "chat_template.jinja").write_text(ChatTemplate.shipped(family in BIG).source)
    return path


def tokenizer() -> Backend:
    """Letters, digits and signs; anything else is <unk>."""
    vocab = dict(PLACES)
    free = iter(sorted(set(range(VOCAB)) - set(vocab.values())))
    for token in CONTROL_TOKENS:
        if token not in vocab:
            vocab[token] = next(free)
    signs = ["▁", "\n", *map(chr, range(ord("a"), ord("z") + 1)), *".,:;'*()-?!/0123456789"]
    signs += map(chr, range(ord("A"), ord("Z") + 1))
    for sign, index in zip(signs, free, strict=False):
        vocab[sign] = index
    backend = Backend(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Replace("▁", " ")
    controls = [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS]
    backend.add_special_tokens(controls)
    return backend
