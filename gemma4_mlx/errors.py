"""Every error the package raises on purpose, as one tree.

    Gemma4Error
    ├── CheckpointError   a file of the model is missing, damaged or of another model
    ├── InputError        what was asked cannot be given to this model
    │   └── MediaError    a picture, recording or video cannot be read
    ├── MemoryLimitError  the model or the context does not fit this machine
    ├── HubError          the Hugging Face hub cannot give what was named
    └── MissingExtraError an optional package is needed: the message names the extra

A message is one line that says what was got, what was expected and what to do about it.
The command line prints it as it is and exits 1.
"""


class Gemma4Error(Exception):
    """Base of all errors that are meant for the user rather than for a bug report."""


class CheckpointError(Gemma4Error):
    """A checkpoint is incomplete, damaged, or not of a Gemma 4 model this package knows."""


class InputError(Gemma4Error, ValueError):
    """The request does not fit the model: shapes, token counts, modalities, lengths."""


class MediaError(InputError):
    """A picture, recording or video is missing, empty, damaged or of an unknown format."""


class MemoryLimitError(Gemma4Error):
    """The weights or the requested context do not fit into memory."""


class HubError(Gemma4Error):
    """A model could not be fetched from the Hugging Face hub or found in its cache."""


class MissingExtraError(Gemma4Error):
    """An optional dependency is not installed; the message names the pip extra."""
