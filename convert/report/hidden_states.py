"""Several models side by side, layer by layer: a layer's weights are read, used by all, let go.

The models share their tensors (see ``variants``), so at any time memory holds one layer of the
source and of the result, and the hidden states of every model. Activations are float32: what
differs then is what the quantization did, and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from gemma4_convert.groups import UNPACKED
from gemma4_convert.report.samples import Sample
from gemma4_convert.report.variants import EVERY_GROUP, MEDIA_OF, RESULT, SOURCE
from gemma4_mlx.config import SLIDING, LayerKind, Modality
from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.multimodal import SoftTokens, TokenLayout, read_layout, splice, tower_inputs
from gemma4_mlx.nn.masks import Mask, attention_mask, image_blocks
from gemma4_mlx.text.attention import KeysValues
from gemma4_mlx.text.decoder import DecoderLayer

Progress = Callable[[str, int, int], None]

# Modules by what they read; a model is rid of them as soon as nothing is left to read.
_TOWERS = {
    "pixel_values": ("vision_tower", "embed_vision"),
    "input_features": ("audio_tower", "embed_audio"),
}
# What the towers' tokens are made with, and all that happens before the first layer: models that
# differ from the source in none of it share what the source computes.
_IN_TOWERS = MEDIA_OF.keys() | {UNPACKED.name}
_BEFORE_LAYERS = _IN_TOWERS | {"embedding", "ple_table", "ple_projections"}


@dataclass
class _Run:
    """One model in the middle of one sample: hidden states x (1, L, hidden)."""

    x: mx.array
    per_layer: mx.array | None
    lent: dict[int, KeysValues] = field(default_factory=dict)


class SideBySide:
    """Runs the models of ``load_variants`` over samples.

    It takes the models apart while it runs: they hold no layers afterwards.
    """

    def __init__(self, models: Mapping[str, Gemma4Model], samples: Sequence[Sample]):
        self.models, self.samples = models, samples
        self.config = models[SOURCE].config
        self.plan = models[SOURCE].plan
        self.layouts = [
            read_layout(s.inputs["input_ids"], s.inputs["mm_token_type_ids"], self.config)
            for s in samples
        ]

    def matters(self, name: str, index: int) -> bool:
        """Whether the model of this name can differ from the source in sample ``index``."""
        media = MEDIA_OF.get(name)
        return media is None or bool(media & self.samples[index].modalities)

    def run(self, progress: Progress) -> dict[str, dict[int, mx.array]]:
        """By model and sample: the last hidden states (T, hidden), where predictions count.

        A model has no entry for a sample in which it cannot differ from the source.
        """
        progress("comparing: towers", 0, len(self.plan) + 1)
        starts = self._starts(self._soft_tokens())
        mx.clear_cache()
        masks = [self._masks(layout) for layout in self.layouts]
        donors = {row.kv_donor for row in self.plan}
        for row in self.plan:
            step = f"comparing: layer {row.index + 1} of {len(self.plan)}"
            progress(step, row.index + 1, len(self.plan) + 1)
            for name, model in self.models.items():
                layer = model.language_model.layers.pop(0)
                for index, run in starts[name].items():
                    self._through(layer, row, run, masks[index][row.kind], row.index in donors)
                del layer
            # Freed buffers of a layer would otherwise stay beside the next one's.
            mx.clear_cache()
        return {name: self._predicting(name, runs) for name, runs in starts.items()}

    def _through(
        self, layer: DecoderLayer, row: LayerPlan, run: _Run, mask: Mask, lends: bool
    ) -> None:
        run.x, seen = layer(
            run.x,
            None if run.per_layer is None else run.per_layer[:, :, row.index],
            keep=run.x.shape[1],
            offset=0,
            mask=mask,
            cache=None,
            donated=None if row.kv_donor is None else run.lent[row.kv_donor],
        )
        if lends:
            run.lent[row.index] = seen
        mx.eval(run.x, run.lent)

    def _predicting(self, name: str, runs: Mapping[int, _Run]) -> dict[int, mx.array]:
        norm = self.models[name].language_model.norm
        states = {
            index: norm(run.x[0, self.samples[index].first : -1]) for index, run in runs.items()
        }
        mx.eval(states)
        return states

    # --- before the first layer ----------------------------------------------------------------

    def _soft_tokens(self) -> dict[str, dict[int, dict[Modality, mx.array]]]:
        """The towers' tokens by model and sample, tower by tower; the source's are shared."""
        found: dict[str, dict[int, dict[Modality, mx.array]]] = {}
        for name in self.models:
            same = name not in (SOURCE, RESULT) and name not in _IN_TOWERS
            found[name] = found[SOURCE] if same else {i: {} for i in range(len(self.samples))}
        for first, modules in _TOWERS.items():
            for name, model in self.models.items():
                if name != SOURCE and found[name] is found[SOURCE]:
                    continue
                for index, sample in enumerate(self.samples):
                    given = _inputs_of(first, tower_inputs(sample.inputs))
                    if given and self.matters(name, index):
                        soft = model.encode_media(**given).by_modality
                        mx.eval(soft)
                        found[name][index] |= soft
            for model in self.models.values():
                for module in modules:
                    model.pop(module, None)
            mx.clear_cache()
        return found

    def _starts(
        self, soft: Mapping[str, Mapping[int, dict[Modality, mx.array]]]
    ) -> dict[str, dict[int, _Run]]:
        """Where every model begins: embeddings, with the towers' tokens in their places."""
        starts: dict[str, dict[int, _Run]] = {}
        for name, model in self.models.items():
            starts[name] = {}
            for index, layout in enumerate(self.layouts):
                if not self.matters(name, index):
                    continue
                if name in EVERY_GROUP - _BEFORE_LAYERS:
                    same = starts[SOURCE][index]
                    starts[name][index] = _Run(same.x, same.per_layer)
                    continue
                tokens = SoftTokens(soft[name][index])
                tokens.check(layout.types)
                starts[name][index] = self._start(model, layout, tokens)
        return starts

    def _start(self, model: Gemma4Model, layout: TokenLayout, tokens: SoftTokens) -> _Run:
        # To embeddings of both kinds a placeholder is padding.
        plain = np.where(layout.types > 0, self.config.text.pad_token_id, layout.ids)
        x = splice(model.language_model.embed(mx.array(plain)), layout, tokens)
        per_layer = None
        if model.ple_rows is not None:
            per_layer = model.language_model.per_layer_inputs(x, model.ple_rows.rows(plain))
        mx.eval(x, per_layer)
        return _Run(x, per_layer)

    def _masks(self, layout: TokenLayout) -> dict[LayerKind, Mask]:
        length, blocks = layout.ids.shape[1], None
        if self.config.text.bidirectional_vision and layout.is_picture.any():
            blocks = image_blocks(mx.array(layout.is_picture))
        windows = {row.kind: row.window for row in self.plan}
        return {
            kind: attention_mask(
                length, 0, length, window=window, blocks=blocks if kind == SLIDING else None
            )
            for kind, window in windows.items()
        }


def _inputs_of(first: str, given: Mapping[str, mx.array]) -> dict[str, mx.array]:
    """What one tower reads, of what all of them do."""
    hears = first == "input_features"
    return {name: array for name, array in given.items() if ("features" in name) == hears}
