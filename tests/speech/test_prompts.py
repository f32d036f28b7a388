"""The wording that Gemma 4 was trained on, and languages."""

import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.speech.languages import LANGUAGES, language_name
from gemma4_mlx.speech.prompts import speech_prompt, split_translation

# Model card, "Best Practices", with the language filled in.
GERMAN = """\
Transcribe the following speech segment in German into German text.

Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 \
instead of three."""

FRENCH_TO_ENGLISH = """\
Transcribe the following speech segment in French, then translate it into English.
When formatting the answer, first output the transcription in French, then one newline, then \
output the string 'English: ', then the translation in English."""


def test_official_wording() -> None:
    assert speech_prompt("de") == GERMAN
    assert speech_prompt("fr", "en") == FRENCH_TO_ENGLISH


def test_unknown_language_is_left_to_the_model() -> None:
    first, rest = speech_prompt().split("\n", 1)
    assert first == "Transcribe the following speech segment in its original language."
    assert rest == GERMAN.split("\n", 1)[1]
    assert "its original language, then translate it into Korean" in speech_prompt(None, "Korean")


@pytest.mark.parametrize("given", ["German", "german", " DE ", "de", "de-AT", "de_CH"])
def test_names_and_codes(given: str) -> None:
    assert language_name(given) == "German"


@pytest.mark.parametrize("given", ["", "xx", "Klingon", "den", "de fr"])
def test_unknown_languages_are_refused(given: str) -> None:
    with pytest.raises(InputError, match="ISO 639"):
        language_name(given)


def test_no_name_stands_for_two_languages() -> None:
    assert len(set(LANGUAGES.values())) == len(LANGUAGES)


def test_split_translation() -> None:
    reply = "Roses are red, violets are blue.\nKorean: 장미는 빨갛고, 제비꽃은 파랗다."
    assert split_translation(reply, "ko") == (
        "Roses are red, violets are blue.",
        "장미는 빨갛고, 제비꽃은 파랗다.",
    )
    assert split_translation("Roses are red.", "ko") is None
