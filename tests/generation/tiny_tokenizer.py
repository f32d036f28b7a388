"""A tokenizer of a few hundred tokens with all of Gemma 4's marks and byte fallback."""

from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as Backend

from gemma4_mlx.processing.tokenizer import Tokenizer

CONTROL = [
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|think|>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>"),
    *("<|tool_response>", "<tool_response|>", '<|"|>'),
    *("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>"),
]
WORDS = ["▁Paris", "thought", "model", "user", "system", "call", "▁the"]


def tiny_tokenizer() -> Tokenizer:
    """Single ASCII characters, a few words, and bytes for everything else."""
    pieces = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "\n"]
    pieces += [chr(code) for code in range(33, 127)]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocab:
                vocab[word[:end]] = len(vocab)
                merges.append((word[: end - 1], word[end - 1]))
    backend = Backend(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL])
    return Tokenizer(backend)
