"""The media of one prompt: arrays for the towers, and the text that stands for each in the prompt.

A placeholder becomes as many soft tokens as the tower will yield, between a begin and an end
token. A video is one such block per frame, after its time: ``MM:SS <|image>…<image|>``, joined by
spaces.

Source: transformers' ``Gemma4Processor``. Deviation: it cuts recordings at 30 s in silence, here
longer ones are refused.

What reads a kind of media is imported with the first of its kind: a conversation in text is
answered sooner without a library for pictures and one for sound.
"""

from dataclasses import replace

import numpy as np

from gemma4_mlx.errors import InputError
from gemma4_mlx.processing.messages import MediaPart
from gemma4_mlx.processing.settings import ProcessorSettings

IMAGE_TOKEN, AUDIO_TOKEN, VIDEO_TOKEN = "<|image|>", "<|audio|>", "<|video|>"
BEGIN_IMAGE, END_IMAGE = "<|image>", "<image|>"
BEGIN_AUDIO, END_AUDIO = "<|audio>", "<audio|>"

NAMES = {"image": "picture", "audio": "recording", "video": "video"}


class MediaInputs:
    """Collects the media of a prompt in order.

    ``texts`` holds per placeholder token what replaces its occurrences; ``arrays()`` the inputs.
    ``max_soft_tokens`` overrides the budget of pictures that name none of their own, not that of
    video frames.
    """

    def __init__(
        self, settings: ProcessorSettings, notices: list[str], max_soft_tokens: int | None = None
    ):
        self.settings, self.notices = settings, notices
        self.image_settings = settings.image
        if max_soft_tokens is not None:
            self.image_settings = replace(settings.image, max_soft_tokens=max_soft_tokens)
        self.largest = self.image_settings  # of all that pictures were read with
        self.texts: dict[str, list[str]] = {IMAGE_TOKEN: [], AUDIO_TOKEN: [], VIDEO_TOKEN: []}
        self.images: list[np.ndarray] = []
        self.frames: list[np.ndarray] = []
        self.frame_counts: list[int] = []
        self.clips: list[np.ndarray] = []

    def add(self, medium: MediaPart) -> None:
        """Read one medium. MediaError, MissingExtraError, or InputError for its length."""
        if medium.value is None:
            raise InputError(
                f"{medium.where} is a placeholder without its {NAMES[medium.kind]}; "
                f"expected {medium.kind!r}, 'path' or 'url' in it"
            )
        if medium.kind == "image":
            self._add_image(medium)
        elif medium.kind == "video":
            self._add_video(medium)
        else:
            self._add_recording(medium)

    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs of the towers, under transformers' names; empty without media."""
        arrays: dict[str, np.ndarray] = {}
        if self.images or self.frames:
            from gemma4_mlx.processing.patches import pad_patches
        if self.images:
            pixels, positions = pad_patches(self.images, self.largest)
            arrays.update(pixel_values=pixels, image_position_ids=positions)
        if self.frames:
            pixels, positions = pad_patches(self.frames, self.settings.video.frames)
            counts = np.array(self.frame_counts, dtype=np.int32)
            arrays.update(pixel_values_videos=pixels, video_position_ids=positions)
            arrays.update(num_frames_per_video=counts)
        if self.clips:
            from gemma4_mlx.processing.mel import log_mel_batch

            features, mask = log_mel_batch(self.clips, self.settings.mel)
            arrays.update(input_features=features, input_features_mask=mask)
        return arrays

    def _add_image(self, medium: MediaPart) -> None:
        from gemma4_mlx.processing.images import load_image
        from gemma4_mlx.processing.patches import patchify, soft_tokens

        settings = self.image_settings
        if medium.max_soft_tokens is not None:
            settings = replace(settings, max_soft_tokens=medium.max_soft_tokens)
        if not self.images or settings.max_soft_tokens > self.largest.max_soft_tokens:
            self.largest = settings
        image = load_image(medium.value, self.notices)
        patches = patchify(image, settings)
        self.images.append(patches)
        count = soft_tokens(patches, settings)
        self.texts[IMAGE_TOKEN].append(BEGIN_IMAGE + IMAGE_TOKEN * count + END_IMAGE)

    def _add_video(self, medium: MediaPart) -> None:
        from gemma4_mlx.processing.patches import patchify, soft_tokens
        from gemma4_mlx.processing.video import load_video, timestamp

        settings = self.settings.video
        video = load_video(medium.value, settings.num_frames, self.notices, medium.fps)
        frames = [patchify(frame, settings.frames) for frame in video.frames]
        block = BEGIN_IMAGE + VIDEO_TOKEN * soft_tokens(frames[0], settings.frames) + END_IMAGE
        self.texts[VIDEO_TOKEN].append(
            " ".join(f"{timestamp(time)} {block}" for time in video.times)
        )
        self.frames += frames
        self.frame_counts.append(len(frames))

    def _add_recording(self, medium: MediaPart) -> None:
        from gemma4_mlx.processing.mel import audio_token_count
        from gemma4_mlx.processing.waveform import load_waveform

        rate = self.settings.mel.sampling_rate
        waveform = load_waveform(medium.value, rate)
        self.notices += waveform.notices
        samples, limit = len(waveform.samples), self.settings.max_samples
        if samples > limit:
            raise InputError(
                f"{medium.where}: the recording is {waveform.seconds:.2f} s long, the model hears "
                f"{limit / rate:g} s at once; `gemma4 transcribe` and transcribe() take any "
                "length, in windows"
            )
        count = audio_token_count(samples, self.settings.mel)
        if count == 0:
            raise InputError(
                f"{medium.where}: the recording is {1000 * waveform.seconds:.1f} ms long, too "
                "short to hear anything in; expected more than 10 ms"
            )
        self.clips.append(waveform.samples)
        self.texts[AUDIO_TOKEN].append(BEGIN_AUDIO + AUDIO_TOKEN * count + END_AUDIO)
