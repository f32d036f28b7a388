"""The whole model: embed, splice the towers' tokens in, decode, logits.

A prompt holds one placeholder id per token that a tower will give. Their embeddings are replaced,
in reading order, by the projected outputs of the vision and audio towers; to the per-layer
embeddings those positions count as padding.

Source: transformers ``modeling_gemma4`` (Gemma4Model, Gemma4ForConditionalGeneration).
"""

from collections.abc import Callable, Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.config import Gemma4Config, Modality
from gemma4_mlx.errors import InputError
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.multimodal import (
    Projector,
    SoftTokens,
    TokenLayout,
    read_layout,
    splice,
)
from gemma4_mlx.nn.masks import image_blocks
from gemma4_mlx.text.decoder import Decoder
from gemma4_mlx.text.fused import Beginning
from gemma4_mlx.text.kv_cache import KVCache
from gemma4_mlx.text.padding import left_padding
from gemma4_mlx.text.per_layer_embeddings import RowSource
from gemma4_mlx.vision import VisionTower

# Tells the model which tokens (B,) a step was built for, where it needs their table rows.
Feed = Callable[[np.ndarray], None]


class Gemma4Model(nn.Module):
    """Gemma 4 of any size.

    ``ple_rows`` gives the rows of ``embed_tokens_per_layer`` (E2B, E4B); ``generation_config``
    holds the sampling defaults and end-of-turn ids that came with the weights.
    """

    def __init__(self, config: Gemma4Config, generation_config: GenerationConfig | None = None):
        super().__init__()
        self.config = config
        self.generation_config = generation_config or GenerationConfig(config.eos_token_ids)
        self.language_model = Decoder(config.text)
        self.plan = self.language_model.plan
        hidden = config.text.hidden_size
        if config.vision is not None:
            vision = config.vision
            self.vision_tower = VisionTower(vision)
            self.embed_vision = Projector(vision.hidden_size, hidden, vision.rms_norm_eps)
        if config.audio is not None:
            audio = config.audio
            self.audio_tower = AudioTower(audio)
            self.embed_audio = Projector(audio.output_proj_dims, hidden, audio.rms_norm_eps)
        self._ple_rows: RowSource | None = None
        self._placeholders = tuple(config.placeholders)
        self._plain_ids: mx.array | None = None  # made when first needed

    @property
    def has_vision(self) -> bool:
        return self.config.vision is not None

    @property
    def has_audio(self) -> bool:
        return self.config.audio is not None

    def use_ple_rows(self, source: RowSource) -> None:
        """Take the rows of the per-layer embedding table from this source."""
        self._ple_rows = source

    @property
    def ple_rows(self) -> RowSource | None:
        """Where the rows of the per-layer embedding table come from; None without a table."""
        return self._ple_rows

    def ple_tensors(self) -> dict[str, mx.array]:
        """The tensors of the per-layer embedding table by name, empty for models without one."""
        return {} if self._ple_rows is None else self._ple_rows.tensors()

    def make_cache(self, kv_bits: int | None = None) -> KVCache:
        """An empty cache for one prompt, or for a batch of them.

        ``kv_bits=8`` keeps the global layers in 8 bits: about half the memory of bfloat16.
        Raises InputError for another number, and for head sizes that 8 bits cannot be packed of.
        """
        return KVCache(self.plan, kv_bits)

    def __call__(
        self,
        input_ids: mx.array,
        attention_mask: mx.array | None = None,
        *,
        pixel_values: mx.array | None = None,
        image_position_ids: mx.array | None = None,
        pixel_values_videos: mx.array | None = None,
        video_position_ids: mx.array | None = None,
        num_frames_per_video: mx.array | Sequence[int] | None = None,
        input_features: mx.array | None = None,
        input_features_mask: mx.array | None = None,
        mm_token_type_ids: mx.array | None = None,
        cache: KVCache | None = None,
        logits_to_keep: int | None = None,
    ) -> mx.array:
        """Logits (B, kept, vocab), soft-capped, of input_ids (B, L).

        Takes what transformers' processor gives, under the same names: ``pixel_values``
        (N, patches, 768) in [0, 1], ``image_position_ids`` (N, patches, 2) with −1 for padding,
        the same for the frames of all videos, ``input_features`` (N, frames, mels) and
        ``input_features_mask`` (N, frames). ``attention_mask`` (B, L) marks left padding.
        ``mm_token_type_ids`` (B, L): 1 image, 2 video, 3 audio; derived from the ids when None, and
        used, as in the reference, for the image blocks of the big models alone.
        ``logits_to_keep``: of the last so many tokens; None or 0 keeps all.

        With a cache the ids continue what it holds. On models that see images as blocks (26B,
        31B) a call may not begin inside an image.

        Raises InputError when shapes, counts or lengths do not fit.
        """
        layout = read_layout(input_ids, mm_token_type_ids, self.config)
        soft_tokens = self.encode_media(
            pixel_values=pixel_values,
            image_position_ids=image_position_ids,
            pixel_values_videos=pixel_values_videos,
            video_position_ids=video_position_ids,
            num_frames_per_video=num_frames_per_video,
            input_features=input_features,
            input_features_mask=input_features_mask,
        )
        soft_tokens.check(layout.types)
        keep = logits_to_keep or layout.ids.shape[1]
        if not isinstance(keep, int | np.integer) or keep < 0:
            raise InputError(
                f"logits_to_keep is {keep!r}, expected a whole number of 0 or more, or None for all"
            )
        hidden = self.forward_chunk(
            layout, soft_tokens, cache=cache, keep=int(keep), attention_mask=attention_mask
        )
        return self.language_model.logits(hidden)

    def encode_media(
        self,
        *,
        pixel_values: mx.array | None = None,
        image_position_ids: mx.array | None = None,
        pixel_values_videos: mx.array | None = None,
        video_position_ids: mx.array | None = None,
        num_frames_per_video: mx.array | Sequence[int] | None = None,
        input_features: mx.array | None = None,
        input_features_mask: mx.array | None = None,
    ) -> SoftTokens:
        """Run the towers over what is given; nothing is evaluated yet."""
        soft: dict[Modality, mx.array] = {}
        if pixel_values is not None and pixel_values.shape[0]:
            soft[Modality.IMAGE] = self._see(pixel_values, image_position_ids, "image_position_ids")
        if pixel_values_videos is not None and pixel_values_videos.shape[0]:
            frames = pixel_values_videos.shape[0]
            if num_frames_per_video is not None:
                told = int(np.array(num_frames_per_video).sum())
                if told != frames:
                    raise InputError(
                        f"num_frames_per_video adds up to {told}, but pixel_values_videos holds "
                        f"{frames} frames"
                    )
            soft[Modality.VIDEO] = self._see(
                pixel_values_videos, video_position_ids, "video_position_ids"
            )
        if input_features is not None and input_features.shape[0]:
            if not self.has_audio:
                raise InputError("this model has no audio tower: use E2B or E4B for recordings")
            if input_features_mask is None:
                input_features_mask = mx.ones(input_features.shape[:2], dtype=mx.bool_)
            clips = self.audio_tower(input_features, input_features_mask)
            soft[Modality.AUDIO] = self.embed_audio(mx.concatenate(clips))
        return SoftTokens(soft)

    def forward_chunk(
        self,
        layout: TokenLayout,
        soft_tokens: SoftTokens,
        *,
        cache: KVCache | None = None,
        keep: int | None = None,
        attention_mask: mx.array | None = None,
    ) -> mx.array:
        """Embed a chunk of a prompt (B, L), splice its soft tokens in, run the decoder.

        Returns the last ``keep`` hidden states (B, keep, hidden); (B, 0, hidden) with ``keep=0``.
        """
        self.check_fits(layout.ids.shape, cache)
        padding = left_padding(attention_mask, layout.ids.shape, cache)
        blocks = self._blocks(layout.is_picture, cache)

        plain = self._host_padded(layout.ids)
        x = self.language_model.embed(mx.array(plain))
        x = splice(x, layout, soft_tokens)
        per_layer = None
        if self._ple_rows is not None:
            per_layer = self.language_model.per_layer_inputs(x, self._ple_rows.rows(plain))

        return self.language_model(
            x,
            per_layer,
            cache=cache,
            keep=keep,
            left_padding=padding,
            blocks=blocks,
        )

    def decode_step(self, tokens: mx.array, cache: KVCache) -> tuple[mx.array, Feed | None]:
        """One further token per row, which need not be known yet: tokens (B,) → logits (B, vocab).

        The graph may be built while the previous step still computes the tokens. Where the rows
        of a table on flash are needed, a function is returned too: call it with the tokens (B,)
        once they are known, before the logits are evaluated. So that the device need not wait for
        the host in between, what needs no row is queued at once, and with that call the first
        layers are, before the rest.
        """
        self.check_fits((tokens.shape[0], 1), cache)
        ids = self._padded(tokens)[:, None]
        x = self.language_model.embed(ids)
        per_layer, write = None, None
        if self._ple_rows is not None:
            step = self._ple_rows.step(ids)
            per_layer, write = self.language_model.per_layer_inputs(x, step.value), step.write

        padding = None if cache.left_padding is None else mx.array(cache.left_padding)
        cache.ends_in_vision = None
        beginning = Beginning()
        hidden = self.language_model(
            x, per_layer, cache=cache, keep=1, left_padding=padding, beginning=beginning
        )
        logits = self.language_model.logits(hidden)[:, -1]
        if write is None:
            return logits, None
        mx.async_eval(beginning.without_rows)

        def feed(known: np.ndarray) -> None:
            write(self._host_padded(known)[:, None])
            mx.async_eval(beginning.first_layers)

        return logits, feed

    def _padded(self, ids: mx.array) -> mx.array:
        """What is embedded for ids that the host need not know: placeholders count as padding."""
        if self._plain_ids is None:
            every = np.arange(self.config.text.vocab_size, dtype=np.int32)
            self._plain_ids = mx.array(self._host_padded(every))
        return self._plain_ids[ids]

    def _host_padded(self, ids: np.ndarray) -> np.ndarray:
        return np.where(np.isin(ids, self._placeholders), self.config.text.pad_token_id, ids)

    def _see(self, pixels: mx.array, positions: mx.array | None, name: str) -> mx.array:
        if not self.has_vision:
            raise InputError("this checkpoint has no vision tower: use one that includes it")
        if positions is None or positions.shape[:2] != pixels.shape[:2]:
            got = None if positions is None else positions.shape
            raise InputError(
                f"{name} is {got}, expected (images, patches, 2) beside pixels {pixels.shape}"
            )
        return self.embed_vision(mx.concatenate(self.vision_tower(pixels, positions)))

    def check_fits(self, shape: tuple[int, ...], cache: KVCache | None) -> None:
        """InputError unless ids of this shape (B, L) can follow what the cache holds."""
        rows, length = shape
        offset = 0 if cache is None else cache.offset
        limit = self.config.text.max_position_embeddings
        if offset + length > limit:
            raise InputError(
                f"{offset + length} tokens are more than this model's context of {limit}: shorten "
                "the prompt or start a new conversation"
            )
        # A cache gone back to its start still has the buffers of its rows.
        if cache is not None and cache.rows not in (0, rows):
            raise InputError(
                f"the cache holds {cache.rows} rows, but input_ids has {rows}: continue the same "
                "batch, or start a new cache"
            )

    def _blocks(self, is_picture: np.ndarray, cache: KVCache | None) -> mx.array | None:
        """Block ids (B, L) of image and frame tokens, on the models that see blocks."""
        if not self.config.text.bidirectional_vision:
            return None
        if cache is not None:
            before = cache.ends_in_vision
            if before is not None and bool((before & is_picture[:, 0]).any()):
                raise InputError(
                    "this call begins inside an image block, whose tokens must see each other: "
                    "cut the prompt before or after the image"
                )
            cache.ends_in_vision = is_picture[:, -1]
        return image_blocks(mx.array(is_picture)) if is_picture.any() else None
