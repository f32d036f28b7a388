"""Where a growing reply is cut, and what is shown of links, pictures and HTML."""

import pytest

from gemma4_cli.chat.reply.markdown import Piece, Pieces, parse


def finished(*texts: str) -> list[str]:
    """The sources of the pieces that are final after these texts."""
    pieces, sources = Pieces(), []
    for text in texts:
        pieces.add(text)
        sources += [piece.source for piece in pieces.finished()]
    return sources


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("a\n", []),
        ("a\n\nb", ["a\n\n"]),  # a letter begins text, however the line goes on
        ("a\n\n**b", ["a\n\n"]),
        ("a\n\n*", []),  # but this could still become a list, a rule or emphasis
        ("# a\nb", ["# a\n"]),
        ("- a\nb", []),
        ("a\n#", []),  # "#hash" would go on with the paragraph
        ("a\n# b\n", ["a\n"]),
        ("# a\n## b\n", ["# a\n"]),
        ("a\n---\n", []),  # a heading by now
        ("a\n\n---\n", ["a\n\n"]),
        ("- a\n\n  b\n", []),
        ("- a\n\n\n- b\n", ["- a\n\n\n"]),
        ("- a\n  - b\n  - c\n", []),
        ("- a\nlazy\n* b\n", ["- a\nlazy\n"]),
        ("1. a\n1. b\n1. c\n", ["1. a\n", "1. b\n"]),
        ("> a\n\n> b\n", ["> a\n\n"]),
        ("> a\nlazy\n", []),
        ("```\na\n\n# b\n", []),
        ("```\na\n```\nb\n", ["```\na\n```\n"]),
        ("````\n```\nb\n", []),  # a longer fence is closed by one as long
        ("````\n```\n````\nb\n", ["````\n```\n````\n"]),
        ("~~~\n```\n~~~\nb\n", ["~~~\n```\n~~~\n"]),
        ("- ```\n  a\n\n  b\n", []),
        ("|a|b|\n|-|-|\n|1|2|\n", []),
        ("|a|b|\n|-|-|\n|1|2|\n\n|c|\n", ["|a|b|\n|-|-|\n|1|2|\n\n"]),
        ("a\n|b|\n|-|\n", ["a\n"]),
        ("<div>\na\n\nb", ["<div>\na\n\n"]),
        ("<!-- a\n\nb\n", []),
        ("    a\n\n    b\n", []),
    ],
)
def test_a_block_is_final_once_the_next_has_begun(text: str, final: list[str]) -> None:
    assert finished(text) == final
    assert finished(*text) == final


def test_the_end_gives_what_is_left() -> None:
    pieces = Pieces()
    pieces.add("a\n\n```\nb")
    assert [piece.source for piece in pieces.finished()] == ["a\n\n"]
    assert [piece.source for piece in pieces.end()] == ["```\nb"]
    assert pieces.rest == Piece("") and pieces.end() == []


def test_items_go_on_counting_whatever_is_written() -> None:
    pieces = Pieces()
    numbers = []
    for line in ("4. a\n", "4. b\n", "4. c\n", "\nd\n"):
        pieces.add(line)
        numbers += [(piece.number, piece.after) for piece in pieces.finished()]
    assert numbers == [(None, "nothing"), (5, "same"), (6, "same")]
    assert pieces.rest.after == "block"


def shown(text: str) -> str:
    return "".join(
        child.content if child.type == "text" else "\n" if child.type == "hardbreak" else ""
        for token in parse(text)
        for child in token.children or []
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[the docs](https://a.b/c)", "the docs (https://a.b/c)"),
        ("<https://a.b/c>", "https://a.b/c"),
        ("<me@a.b>", "me@a.b"),
        ("[https://good.example](https://bad.example)", None),
        ("![a cat](cat.png)", "🌆 a cat (cat.png)"),
        ("[![a](b.png)](c)", "🌆 a (b.png) (c)"),
        ("x <b>y</b></kbd> <br/>z", "x <b>y</b></kbd> \nz"),
        ("[a][1]\n\n[1]: https://b.c", "[a][1][1]: https://b.c"),
        ("&#27;[31m &#155;1m", "�[31m �1m"),
    ],
)
def test_addresses_and_html_are_shown(text: str, words: str | None) -> None:
    assert shown(text) == words or (words is None and "(https://bad.example)" in shown(text))


@pytest.mark.parametrize("opening", ["- " * 30, ">" * 40 + " "])
def test_what_is_nested_too_deeply_is_shown_as_it_is_written(opening: str) -> None:
    (token,) = parse(f"{opening}deep\n> more" if opening[0] == ">" else f"{opening}deep\nmore")
    assert token.type == "html_block" and "deep" in token.content and "more" in token.content
