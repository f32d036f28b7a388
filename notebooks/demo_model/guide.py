"""Telling the decoder where to look, while it learns.

Writing down sixty words of half a minute of sound is above all a matter of not losing one's place.
The trainer knows every place, having joined the recordings from single words and drawn the
pictures shape by shape. So two heads of every global layer are told which soft tokens the next
word of the answer stands in (guided attention: Tachibana et al. 2017, arXiv:1710.08969), and the
decoder is asked, at every audio token, how many words have begun and which were the last ones:
the words just written are the surest sign of the place. Nothing of this is left in the checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Gemma4ForConditionalGeneration
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextAttention

from places import LAST_WORDS
from speech import WORDS

GUIDED_HEADS = 2
MOST_WORDS = 64

_ATTENTION = "sdpa"


class Guide(nn.Module):
    """Watches the global layers' attention and the residual stream before the last global layer
    with keys of its own; `losses` says how far both are from where they should be."""

    def __init__(self, gemma: Gemma4ForConditionalGeneration) -> None:
        super().__init__()
        text = gemma.config.text_config
        self.count = nn.Linear(text.hidden_size, MOST_WORDS)
        self.last = nn.Linear(text.hidden_size, LAST_WORDS * (1 + len(WORDS)))
        self._places: torch.Tensor | None = None
        self._attention_losses: list[torch.Tensor] = []
        self._stream: torch.Tensor | None = None
        own = text.layer_types[: text.num_hidden_layers - text.num_kv_shared_layers]
        last = max(i for i, kind in enumerate(own) if kind == "full_attention")
        gemma.model.language_model.layers[last].register_forward_pre_hook(self._remember)
        self._attend = ALL_ATTENTION_FUNCTIONS[_ATTENTION]
        ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, self._attend_and_watch)

    def watch(self, places: torch.Tensor | None) -> None:
        """Watch the next forward pass. `places` (B, W, L) marks, for each of the last W tokens,
        the tokens in which it is heard or seen; rows without any are not guided."""
        guided = places is not None and bool(places.any())
        self._places, self._attention_losses, self._stream = places if guided else None, [], None

    def losses(self, begun: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Mean of -log(attention at the right place), and the cross-entropies of the count and of
        the last words, which `begun` (B, L, 1 + LAST_WORDS) holds as `places.py` says."""
        zero = torch.zeros(())
        found = {"guide": zero, "count": zero, "last": zero}
        if self._attention_losses:
            found["guide"] = torch.stack(self._attention_losses).mean()
        if begun is not None and self._stream is not None:
            audible = begun[..., 0] >= 0
            stream = F.rms_norm(self._stream[audible], self._stream.shape[-1:])
            count, last = begun[audible].split((1, LAST_WORDS), dim=-1)
            found["count"] = F.cross_entropy(
                self.count(stream), count[:, 0].clamp(max=MOST_WORDS - 1)
            )
            logits = self.last(stream).unflatten(-1, (LAST_WORDS, -1))
            found["last"] = F.cross_entropy(logits.flatten(0, 1), last.flatten())
        self._places, self._stream = None, None
        return found

    def _remember(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if self._places is not None:
            self._stream = inputs[0]

    def _attend_and_watch(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        if (
            self._places is not None
            and isinstance(module, Gemma4TextAttention)
            and not module.is_sliding
        ):
            self._attention_losses.append(self._misplaced(query, key, attention_mask))
        return self._attend(module, query, key, value, attention_mask, **kwargs)

    def _misplaced(
        self, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """query (B, H, L, D), key (B, 1, L, D) → mean -log of the attention that is in place.

        The token that predicts another stands before it, hence the shift by one.
        """
        places = self._places
        assert places is not None
        width, length = places.shape[1:]
        query = query[:, :GUIDED_HEADS, -width - 1 : -1]
        scores = query @ key.transpose(-1, -2)
        if mask is None:
            seen = torch.arange(length) <= torch.arange(length - width - 1, length - 1)[:, None]
        else:
            mask = mask[:, :, -width - 1 : -1]
            seen = mask if mask.dtype == torch.bool else mask == 0
        scores = scores.masked_fill(~seen, -torch.inf)
        guided = places.any(-1)
        scores = scores.transpose(1, 2)[guided]  # (guided labels, heads, L)
        inside = scores.masked_fill(~places[guided][:, None], -torch.inf)
        return (scores.logsumexp(-1) - inside.logsumexp(-1)).mean()
