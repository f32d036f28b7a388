"""Messages in, model inputs out: what transformers calls ``Gemma4Processor``.

1. The chat template writes the prompt, with one placeholder per picture, recording or video.
2. Each medium is read and becomes patches or mel frames, which tells how many soft tokens it is.
3. Its placeholder becomes that many tokens between a begin and an end token.
4. The text between control tokens is encoded.

Keys, shapes and values are those of transformers. Deviations: what people write never becomes a
control token (``prompt``), and ids that the model generated are taken as they are instead of
encoding its text again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.processing.chat_template import ChatTemplate
from gemma4_mlx.processing.media_inputs import (
    AUDIO_TOKEN,
    BEGIN_AUDIO,
    BEGIN_IMAGE,
    END_AUDIO,
    END_IMAGE,
    IMAGE_TOKEN,
    NAMES,
    VIDEO_TOKEN,
    MediaInputs,
)
from gemma4_mlx.processing.messages import Conversation, MediaPart, read_messages, read_tools
from gemma4_mlx.processing.prompt import RenderedPrompt, render_prompt
from gemma4_mlx.processing.settings import ProcessorSettings
from gemma4_mlx.processing.tokenizer import CONTROL_TOKENS, Tokenizer

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]] | None


class Processor:
    """Makes model inputs of conversations.

    ``notices`` holds, after each call, one line for everything that was resampled, mixed down,
    scaled or sampled. A call is a batch of one conversation.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: Gemma4Config,
        chat_template: ChatTemplate | None = None,
        settings: ProcessorSettings | None = None,
    ):
        """Raises CheckpointError when tokenizer, config and settings contradict each other."""
        self.tokenizer = tokenizer
        self.config = config
        self.chat_template = chat_template or ChatTemplate.shipped(config.text.bidirectional_vision)
        self.settings = settings or ProcessorSettings()
        self.notices: list[str] = []
        self._check_ids()
        self._check_patches()
        self._check_mels()

    @classmethod
    def from_dir(cls, path: Path, config: Gemma4Config) -> "Processor":
        """Read tokenizer, chat template and processor settings of the checkpoint at ``path``.

        Only ``tokenizer.json`` must be there. Raises CheckpointError for damaged files.
        """
        path = Path(path)
        return cls(
            Tokenizer.from_dir(path),
            config,
            ChatTemplate.from_dir(path, big=config.text.bidirectional_vision),
            ProcessorSettings.from_dir(path),
        )

    @property
    def sampling_rate(self) -> int:
        """Samples per second of the recordings the model hears."""
        return self.settings.mel.sampling_rate

    def apply_chat_template(
        self,
        messages: Messages,
        tools: Tools = None,
        enable_thinking: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt as text, each medium as its placeholder. Media are not read."""
        conversation = read_messages(messages)
        prompt = self._render(conversation, tools, enable_thinking, add_generation_prompt)
        return prompt.plain(
            {index: self.tokenizer.decode(ids) for index, ids in conversation.replies.items()}
        )

    def __call__(
        self,
        messages: Messages,
        tools: Tools = None,
        enable_thinking: bool = False,
        *,
        add_generation_prompt: bool = True,
        max_soft_tokens: int | None = None,
    ) -> dict[str, mx.array]:
        """Model inputs for a conversation; ``max_soft_tokens`` overrides a picture's budget.

        Returns input_ids, attention_mask and mm_token_type_ids (1, L) int32, and for the media
        that occur: pixel_values (N, P, 768) float32 with image_position_ids (N, P, 2) int32, the
        same as pixel_values_videos and video_position_ids over all frames with
        num_frames_per_video (videos,), input_features (N, T, mels) float32 with
        input_features_mask (N, T) bool.

        Raises InputError for messages that are not understood, media the model has no tower for,
        recordings over 30 s and prompts longer than the model's context; MediaError and
        MissingExtraError for files.
        """
        ids, media = self._read(
            messages, tools, enable_thinking, add_generation_prompt, max_soft_tokens
        )
        limit = self.config.text.max_position_embeddings
        if len(ids) > limit:
            raise InputError(
                f"the prompt has {len(ids)} tokens, the model's context holds {limit}: "
                "shorten the conversation or leave media out"
            )
        arrays = {**self._text_inputs(ids), **media.arrays()}
        return {name: mx.array(array) for name, array in arrays.items()}

    def prompt_tokens(
        self,
        messages: Messages,
        tools: Tools = None,
        enable_thinking: bool = False,
        *,
        max_soft_tokens: int | None = None,
    ) -> int:
        """How many tokens a conversation is, be it longer than the context or not.

        Raises what a call raises otherwise.
        """
        return len(self._read(messages, tools, enable_thinking, True, max_soft_tokens)[0])

    def _read(
        self,
        messages: Messages,
        tools: Tools,
        thinking: bool,
        generate: bool,
        max_soft_tokens: int | None,
    ) -> tuple[list[int], MediaInputs]:
        self.notices = []
        conversation = read_messages(messages)
        self._check_replies(conversation)
        self._check_towers(conversation.media)
        prompt = self._render(conversation, tools, thinking, generate)
        self._check_placeholders(prompt, conversation.media)

        media = MediaInputs(self.settings, self.notices, max_soft_tokens)
        for medium in conversation.media:
            media.add(medium)
        return prompt.encode(self.tokenizer, media.texts), media

    # --- the text ------------------------------------------------------------------------------

    def _render(
        self, conversation: Conversation, tools: Tools, thinking: bool, generate: bool
    ) -> RenderedPrompt:
        return render_prompt(
            self.chat_template,
            self.tokenizer,
            conversation,
            read_tools(tools),
            thinking,
            generate,
        )

    def _text_inputs(self, ids: list[int]) -> dict[str, np.ndarray]:
        row = np.array([ids], dtype=np.int32)
        types = np.zeros_like(row)
        for placeholder, modality in self.config.placeholders.items():
            types[row == placeholder] = modality
        return {
            "input_ids": row,
            "attention_mask": np.ones_like(row),
            "mm_token_type_ids": types,
        }

    # --- checks --------------------------------------------------------------------------------

    def _check_ids(self) -> None:
        """The template's tokens must be control tokens, under the ids the model expects."""
        config, ids = self.config, {}
        if config.vision:
            ids[IMAGE_TOKEN], ids[VIDEO_TOKEN] = config.image_token_id, config.video_token_id
            ids[BEGIN_IMAGE], ids[END_IMAGE] = config.boi_token_id, config.eoi_token_id
        if config.audio:
            ids[AUDIO_TOKEN] = config.audio_token_id
            ids[BEGIN_AUDIO], ids[END_AUDIO] = config.boa_token_id, config.eoa_token_id
        required = {"<bos>", "<|turn>", "<turn|>"}
        for token in CONTROL_TOKENS:
            in_vocabulary = self.tokenizer.backend.token_to_id(token) is not None
            if token in required or in_vocabulary or token in self.chat_template.source:
                self.tokenizer.token_id(token)
        for token, expected in ids.items():
            found = self.tokenizer.token_id(token)
            if found != expected:
                raise CheckpointError(
                    f"tokenizer.json gives {token} the id {found}, config.json says {expected}: "
                    "use files of one checkpoint"
                )

    def _check_patches(self) -> None:
        """The patches cut here must be those the tower was made for."""
        vision = self.config.vision
        for settings in (self.settings.image, self.settings.video.frames) if vision else ():
            found = (settings.patch_size, settings.pooling_kernel_size)
            if vision and found != (vision.patch_size, vision.pooling_kernel_size):
                raise CheckpointError(
                    f"processor_config.json cuts patches of {found[0]} pixels pooled by {found[1]},"
                    f" config.json says {vision.patch_size} and {vision.pooling_kernel_size}: use "
                    "files of one checkpoint"
                )

    def _check_mels(self) -> None:
        """The mel bins made here must be those the tower's two halvings were made for."""
        if self.config.audio is None:
            return
        channels = self.config.audio.subsampling_conv_channels[0]
        found, expected = self.settings.mel.feature_size, 4 * (channels // 4)
        if found != expected:
            raise CheckpointError(
                f"processor_config.json: feature_extractor.feature_size is {found}, config.json's "
                f"audio tower takes {expected}: use files of one checkpoint"
            )

    def _check_towers(self, media: list[MediaPart]) -> None:
        for medium in media:
            if medium.kind == "audio" and self.config.audio is None:
                raise InputError(
                    f"{medium.where} is a recording, but this model has no audio tower; "
                    "E2B and E4B hear"
                )
            if medium.kind != "audio" and self.config.vision is None:
                raise InputError(
                    f"{medium.where} is a {NAMES[medium.kind]}, but this model has no vision "
                    "tower; use a checkpoint that was converted with it"
                )

    def _check_replies(self, conversation: Conversation) -> None:
        vocab_size, placeholders = self.config.text.vocab_size, self.config.placeholders
        for index, ids in conversation.replies.items():
            odd = [i for i in ids if i >= vocab_size or i in placeholders]
            if odd:
                raise InputError(
                    f"messages[{index}].token_ids holds {odd[0]}; expected ids of text below "
                    f"{vocab_size}"
                )

    def _check_placeholders(self, prompt: RenderedPrompt, media: list[MediaPart]) -> None:
        for kind, token in (("image", IMAGE_TOKEN), ("audio", AUDIO_TOKEN), ("video", VIDEO_TOKEN)):
            found, given = prompt.count(token), sum(medium.kind == kind for medium in media)
            if found != given:
                raise InputError(
                    f"the messages hold {given} {kind} parts, the chat template placed {found} of "
                    f"{token}: put media into user messages or into a tool's answer"
                )
