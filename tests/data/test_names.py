"""Packed names are the same strings as before, in every selection."""

from __future__ import annotations

import bisect
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.data import names as module
from eyebright.data.names import Names

# Also what no encoder likes: lone surrogates, by which Python gives bytes of a file's name that are no UTF-8.
TEXTS = st.lists(st.text(st.characters(exclude_categories=()), max_size=12), max_size=20)
ODD = ["cat/1.jpg", "", "dog/ü.png", "dog/\udcff.png", "鳥/🐦.webp"]


@given(TEXTS)
def test_what_goes_in_comes_out(texts: list[str]) -> None:
    names = Names.of(texts)
    assert len(names) == len(texts)
    assert list(names) == texts
    assert [names[position] for position in range(len(texts))] == texts
    assert list(pickle.loads(pickle.dumps(names))) == texts


@given(TEXTS, st.data())
def test_selections_are_those_of_a_list(texts: list[str], data: st.DataObject) -> None:
    names = Names.of(texts)
    chosen = data.draw(st.slices(len(texts)))
    assert list(names[chosen]) == texts[chosen]
    positions = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=9)) if texts else []
    taken = names.take(np.array(positions, np.int64))
    assert list(taken) == [texts[position] for position in positions]
    assert list(taken[::-1]) == list(taken)[::-1]
    assert taken.packed() == "".join(taken).encode(errors="surrogatepass")


@given(st.lists(TEXTS, max_size=4))
def test_joined_parts_are_one_after_the_other(parts: list[list[str]]) -> None:
    joined = Names.join([Names.of(part)[::-1] for part in parts])
    assert list(joined) == [text for part in parts for text in part[::-1]]


def test_positions_are_those_of_a_list() -> None:
    names = Names.of(ODD)
    assert names[-1] == ODD[-1]
    assert names[np.int64(2)] == ODD[2]
    assert "dog/ü.png" in names
    with pytest.raises(IndexError):
        names[5]


def test_sorted_names_are_found() -> None:
    names = Names.of(sorted(ODD))
    assert [bisect.bisect_left(names, text) for text in sorted(ODD)] == [0, 1, 2, 3, 4]


def test_many_are_packed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)
    texts = [str(number) for number in range(10)]
    assert list(Names.of(iter(texts))) == texts


def test_a_name_costs_twelve_bytes_and_its_text() -> None:
    names = Names.of(f"class/{number:06d}.jpg" for number in range(1000))
    assert sys.getsizeof(names.text) + names.starts.nbytes + names.lengths.nbytes < 1000 * (12 + 16) + 100
    assert names[500:].text is names.text
