"""Where the words of an answer are heard and seen, token by token: what `guide.py` teaches.

The sound was joined from single words and the picture drawn shape by shape, so all of it is known.
A spoken word is one token, and the last label of every row ends the turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from examples import Example
from speech import TOKEN_RATE, spelled

LAST_WORDS = 4


def heard_where(
    examples: Sequence[Example],
    due: Sequence[Sequence[int]],
    ids: torch.Tensor,
    labels: torch.Tensor,
    audio_token_id: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """For transcriptions with `ids` (B, L) and `labels` (B, N), of which the words `due` are wanted
    and then the end of the turn: the audio tokens in which each label is heard (B, N, L); and for
    each audio token how many words have begun and which were the last ones (B, L, 1 + LAST_WORDS),
    0 for none and 1 + digit, -1 at all other tokens."""
    places = torch.zeros((*labels.shape, ids.shape[1]), dtype=torch.bool)
    begun = torch.full((*ids.shape, 1 + LAST_WORDS), -1)
    for i, example in enumerate(examples):
        (heard,) = example.audio
        tokens = (ids[i] == audio_token_id).nonzero()[:, 0]
        if not heard.spans and due[i]:
            continue  # nobody knows where its words stand
        starts = [min(int(start * TOKEN_RATE), len(tokens) - 1) for start, _ in heard.spans]
        first = labels.shape[1] - 1 - len(due[i])
        for label, word in enumerate(due[i], start=first):
            stop = int(heard.spans[word][1] * TOKEN_RATE) + 2
            places[i, label, tokens[starts[word] : stop]] = True
        count = np.searchsorted(starts, np.arange(len(tokens)), side="right")
        said = np.array([0] * LAST_WORDS + spelled(example.answer))
        last = [said[count + LAST_WORDS - 1 - back] for back in range(LAST_WORDS)]
        begun[i, tokens] = torch.from_numpy(np.stack([count, *last], axis=-1))
    return places, begun


def seen_where(
    examples: Sequence[Example],
    grids: Sequence[tuple[int, int]],
    ids: torch.Tensor,
    labels: torch.Tensor,
    tokenizer: PreTrainedTokenizerBase,
) -> torch.Tensor:
    """For pictures of `grids` (columns, rows) of tokens: the image tokens that show what each label
    names (B, N, L)."""
    places = torch.zeros((*labels.shape, ids.shape[1]), dtype=torch.bool)
    for i, (example, grid) in enumerate(zip(examples, grids)):
        (scene,) = example.images
        tokens = (ids[i] == tokenizer.image_token_id).nonzero()[:, 0]
        shown = torch.from_numpy(scene.cells(*grid)[:, 2])
        answer = tokenizer(example.answer, add_special_tokens=False, return_offsets_mapping=True)
        first = labels.shape[1] - 1 - len(answer.input_ids)
        end = 0
        for place, shape in enumerate(scene.shapes, start=1):
            start = example.answer.index(str(shape), end)
            end = start + len(str(shape))
            for word, (left, right) in enumerate(answer.offset_mapping):
                if start < right and left < end:
                    places[i, first + word, tokens[shown == place]] = True
    return places
