"""Many files: the table, going on after a stop, and files that are none."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from eyebright.core.errors import BadImageError, DataError, MissingExtraError
from eyebright.data.image_set import Splits
from eyebright.evaluation.answer import Answer
from eyebright.exporting import bulk
from eyebright.exporting.bulk import Summary, answer_files, predict_files
from eyebright.exporting.bundle import Bundle


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_PART", 10)
    monkeypatch.setattr(bulk, "_BATCH", 4)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """A table of any kind, as JSON would have it."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    with path.open(newline="") as file:
        read = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    numbers = {name for name in read[0] if name.startswith("probability")}
    return [{name: float(value) if name in numbers and value else value for name, value in row.items()} for row in read]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_table_has_a_row_for_each_file(
    bundle: Bundle, splits: Splits, album: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"answers.{ending}"
    told: list[tuple[str, int, int]] = []
    summary = predict_files(
        bundle, [album], out, top=2, on_bad_image="skip", progress=lambda *facts: told.append(facts)
    )
    assert summary == Summary(46, 0, 1, summary.problems)
    assert "broken.jpg is not an image" in summary.problems[0]
    rows = rows_of(out)
    expected = bundle.predict(splits.test.images[[*range(0, 45, 2), *range(1, 45, 2)]], top=2)
    assert [row["name"] for row in rows[:2]] == [str(album / "0" / "00.png"), str(album / "0" / "02.png")]
    assert [(row["class_1"], row["class_2"]) for row in rows[:-1]] == [answer.classes for answer in expected]
    for row, answer in zip(rows[:-1], expected, strict=True):
        assert (row["probability_1"], row["probability_2"]) == pytest.approx(answer.probabilities, abs=1e-5)
        assert row["problem"] is None
    assert rows[-1]["name"] == str(album / "1" / "broken.jpg")
    assert rows[-1]["class_1"] is rows[-1]["probability_1"] is None
    assert rows[-1]["problem"] == summary.problems[0]
    assert told[-1] == ("predict", 46, 46)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", out.name]


def test_it_goes_on_where_it_was_stopped(
    bundle: Bundle, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.jsonl"
    computed: list[int] = []
    probabilities = Bundle.probabilities

    def counted(self: Bundle, images: Any) -> Any:
        computed.append(len(images))
        if sum(computed) > 25:
            raise KeyboardInterrupt
        return probabilities(self, images)

    with monkeypatch.context() as stopping:
        stopping.setattr(Bundle, "probabilities", counted)
        with pytest.raises(KeyboardInterrupt):
            predict_files(bundle, [album], out, on_bad_image="skip")
    assert not out.exists()
    summary = predict_files(bundle, [album], out, on_bad_image="skip")
    assert (summary.images, summary.resumed) == (46, 20)
    resumed = out.read_text()
    predict_files(bundle, [album], out, on_bad_image="skip")
    assert out.read_text() == resumed


def test_what_has_changed_meanwhile_is_done_anew(bundle: Bundle, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    with pytest.raises(BadImageError, match=r"broken\.jpg"):
        predict_files(bundle, [album], out)
    assert len(list((tmp_path / "answers.csv.parts").iterdir())) == 4
    shutil.copy(album / "0" / "44.png", album / "0" / "00.png")
    (album / "1" / "broken.jpg").unlink()
    assert predict_files(bundle, [album], out).resumed == 30  # not the first ten
    other = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, digest="other"))
    assert predict_files(other, [album], out).resumed == 0


def test_zips_and_single_files_are_answered_too(bundle: Bundle, album: Path, tmp_path: Path) -> None:
    (album / "1" / "broken.jpg").unlink()
    zipped = Path(shutil.make_archive(str(tmp_path / "album"), "zip", album))
    given = [album / "0" / "02.png", album / "0" / "00.png", zipped, album / "1"]
    answers = list(answer_files(bundle, given, top=1))
    assert len(answers) == 2 + 45 + 22
    assert [answer.name for answer in answers[:3]] == [str(given[0]), str(given[1]), f"{zipped}/0/00.png"]
    assert answers[1].classes == answers[2].classes
    assert answers[1].probabilities == pytest.approx(answers[2].probabilities)
    assert predict_files(bundle, given, tmp_path / "answers.csv").images == 69


def test_only_bad_files(bundle: Bundle, album: Path) -> None:
    broken = album / "1" / "broken.jpg"
    (answer,) = answer_files(bundle, [broken], on_bad_image="skip")
    assert answer == Answer(str(broken), (), (), answer.problem)
    assert answer.problem
    with pytest.raises(BadImageError):
        list(answer_files(bundle, [broken]))


def test_mistakes_are_found_before_the_work(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"Use one of: \.parquet, \.csv, \.jsonl"):
        predict_files(bundle, [tmp_path], tmp_path / "answers.xlsx")
    with pytest.raises(DataError, match="no file or folder"):
        predict_files(bundle, [tmp_path / "nowhere"], tmp_path / "answers.csv")
    with pytest.raises(DataError, match="holds no images"):
        predict_files(bundle, [tmp_path], tmp_path / "answers.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[export\]"):
        predict_files(bundle, [tmp_path], tmp_path / "answers.parquet")
