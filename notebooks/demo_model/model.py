"""The demo model as it learns: with a CTC head on its ears, a sight head on its eyes, and a guide.

Token loss through the decoder teaches untrained towers nothing for a long time; these heads do, and
are thrown away in the end. What the towers make of a batch may be known beforehand, and is then
taken instead of running them (`replay.py`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Gemma4ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioModelOutput

from collator import IGNORED, Batch
from guide import Guide
from scenes import COLOURS, MOST, SHAPES
from speech import WORDS

CTC_WEIGHT = 0.5
SIGHT_WEIGHT = 0.5
GUIDE_WEIGHT = 0.3
COUNT_WEIGHT = 0.1
LAST_WEIGHT = 0.2

# Classes of colour, kind and place, each with one for the background.
SIGHTS = (1 + len(COLOURS), 1 + len(SHAPES), 1 + MOST)


class Model(nn.Module):
    """The demo model and the helpers of its training: a CTC head, a sight head, a guide."""

    def __init__(self, gemma: Gemma4ForConditionalGeneration) -> None:
        super().__init__()
        self.gemma = gemma
        self.ctc = nn.Linear(gemma.config.text_config.hidden_size, 1 + len(WORDS))
        nn.init.normal_(self.ctc.weight, std=self.ctc.in_features**-0.5)
        for module in gemma.modules():  # open bounds clip nothing, and cost a third of the time
            if hasattr(module, "use_clipped_linears"):
                module.use_clipped_linears = False
        self.eyes = nn.Linear(self.ctc.in_features, sum(SIGHTS))
        self.guide = Guide(gemma)
        self.known: Batch | None = None
        self._listen = gemma.model.get_audio_features
        self._look = gemma.model.get_image_features
        gemma.model.get_audio_features = self._listen_or_remember
        gemma.model.get_image_features = self._look_or_remember

    def _listen_or_remember(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor, **kwargs: Any
    ) -> Gemma4AudioModelOutput:
        """In the reference model's place: skip the tower where its tokens are known already."""
        if self.known is None or self.known.heard is None:
            return self._listen(input_features, input_features_mask, **kwargs)
        tokens = self.known.heard[None]
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
        return Gemma4AudioModelOutput(attention_mask=mask, pooler_output=tokens)

    def _look_or_remember(
        self, pixel_values: torch.Tensor, image_position_ids: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """The same for pictures."""
        if self.known is None or self.known.seen is None:
            return self._look(pixel_values, image_position_ids, **kwargs)
        return BaseModelOutputWithPooling(pooler_output=(self.known.seen,))

    def hear(self, mel: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """Projected audio tokens of all recordings, and how many each has."""
        heard = self._listen(mel, mask, return_dict=True)
        valid = heard.attention_mask
        return heard.pooler_output[valid], valid.sum(-1).tolist()

    def see(self, pixels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Projected image tokens of all pictures."""
        return torch.cat(self._look(pixels, positions, return_dict=True).pooler_output)

    def ctc_loss(
        self, tokens: torch.Tensor, lengths: list[int], words: list[list[int]]
    ) -> torch.Tensor:
        """A digit's loss; `tokens` are those of all recordings, one after the other."""
        padded = nn.utils.rnn.pad_sequence(list(tokens.split(lengths)))
        loss = F.ctc_loss(
            self.ctc(padded).log_softmax(-1),
            torch.tensor([word for row in words for word in row], dtype=torch.long),
            torch.tensor(lengths),
            torch.tensor([len(row) for row in words]),
            reduction="sum",
            zero_infinity=True,
        )
        return loss / max(1, sum(map(len, words)))

    def sight_loss(self, tokens: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """What colour and what kind of shape each image token sees, and which from the left."""
        answers = self.eyes(tokens).split(SIGHTS, dim=-1)
        return sum(F.cross_entropy(logits, cells[:, i]) for i, logits in enumerate(answers))

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss, the losses it is made of, and the accuracy of the answers' tokens."""
        width = batch.labels.shape[1]
        self.known = batch
        self.guide.watch(batch.places)
        out = self.gemma(**batch.inputs, logits_to_keep=width + 1, use_cache=False)
        self.known = None
        logits = out.logits[:, :-1].float()
        found = {
            "token": F.cross_entropy(
                logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED
            )
        }
        known = batch.labels != IGNORED
        found["accuracy"] = (logits.argmax(-1) == batch.labels)[known].float().mean()
        found |= self.guide.losses(batch.begun)
        found["helper"] = (
            GUIDE_WEIGHT * found["guide"]
            + COUNT_WEIGHT * found["count"]
            + LAST_WEIGHT * found["last"]
        )
        if batch.cells is not None and batch.seen is None:
            sight = self.sight_loss(out.image_hidden_states, batch.cells)
            found["helper"] = found["helper"] + SIGHT_WEIGHT * sight
        if batch.audio_tokens and batch.heard is None:
            found["ctc"] = self.ctc_loss(out.audio_hidden_states, batch.audio_tokens, batch.words)
            found["helper"] = found["helper"] + CTC_WEIGHT * found["ctc"]
        found["loss"] = found["token"] + found["helper"]
        return found


def is_ears(name: str) -> bool:
    """Whether a parameter is trained by hearing alone."""
    return "audio" in name or name.startswith("ctc")


def is_tower(name: str) -> bool:
    """Whether a parameter comes before the decoder."""
    return is_ears(name) or "vision" in name or name.startswith("eyes")
