"""What Gemma 4 is asked when it is to transcribe, or to transcribe and translate.

The wording for a named language is the model card's; the model was trained on it, so not a word is
changed. For a language that is not known the first line is that of Google's cookbook; the card has
no such variant for translating, so the same words stand in for the language there.
"""

from gemma4_mlx.speech.languages import language_name

_FORMAT = """

Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 \
instead of three."""

_TRANSCRIBE = (
    "Transcribe the following speech segment in {language} into {language} text." + _FORMAT
)

_TRANSCRIBE_ANY = "Transcribe the following speech segment in its original language." + _FORMAT

_TRANSLATE = """\
Transcribe the following speech segment in {source}, then translate it into {target}.
When formatting the answer, first output the transcription in {source}, then one newline, then \
output the string '{target}: ', then the translation in {target}."""


# Ours: the official wording has no place for names.
_SPELLING = "\n* These names and terms may occur, spelled like this: {names}"


def speech_prompt(
    language: str | None = None, translate_to: str | None = None, names: str | None = None
) -> str:
    """The text that follows the recording in the user's turn.

    Languages are names or codes; None for ``language`` leaves it to the model. ``names`` are
    names and terms in their spelling. Raises InputError for an unknown language.
    """
    source = language_name(language) if language is not None else None
    if translate_to is not None:
        prompt = _TRANSLATE.format(
            source=source or "its original language", target=language_name(translate_to)
        )
    else:
        prompt = _TRANSCRIBE.format(language=source) if source else _TRANSCRIBE_ANY
    spelling = " ".join((names or "").split())
    return prompt + _SPELLING.format(names=spelling) if spelling else prompt


def split_translation(reply: str, translate_to: str) -> tuple[str, str] | None:
    """Transcription and translation of a reply to the translation prompt.

    None when the reply does not have the form that was asked for.
    """
    marker = f"{language_name(translate_to)}:"
    before, found, after = reply.partition("\n" + marker)
    if not found:
        return None
    return before.strip(), after.strip()
