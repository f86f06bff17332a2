from itertools import product

import pytest

from connectors_app.stop_texts import StopTexts

LETTERS = "abaabcab"


def said(pieces: list[str], *texts: str) -> tuple[str, bool]:
    stop, told = StopTexts(texts), ""
    for piece in pieces:
        told += stop.feed(piece)
        if stop.is_reached:
            return told, True
    return told + stop.rest(), False


@pytest.mark.accepts("C34")
@pytest.mark.parametrize("texts", [("aabc",), ("abc", "aa"), ("ca", "bb"), ("zz",), ("",), ()])
def test_pieces_make_no_difference(texts: tuple[str, ...]) -> None:
    places = [LETTERS.find(text) for text in texts if text and text in LETTERS]
    expected = (LETTERS[: min(places)], True) if places else (LETTERS, False)
    for cuts in product((False, True), repeat=len(LETTERS) - 1):
        pieces, last = [], 0
        for place, is_cut in enumerate(cuts, start=1):
            if is_cut:
                pieces.append(LETTERS[last:place])
                last = place
        assert said([*pieces, LETTERS[last:]], *texts) == expected


def test_only_what_may_be_a_stop_text_is_held() -> None:
    stop = StopTexts(["END"])
    assert [stop.feed(piece) for piece in ("One. ", "The E", "agle", ".")] == ["One. ", "The ", "Eagle", "."]
