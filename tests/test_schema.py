"""The schemas of a run's files hold for what runs write, and refuse what reading refuses."""

import json
from pathlib import Path

import pytest

from rsmooth.run import schema as module
from rsmooth.run.results import read_run
from rsmooth.run.spec import read_head
from rsmooth.zoo.accelerated import PRECISIONS
from run_helpers import RUNS

jsonschema = pytest.importorskip("jsonschema")


def valid(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid


HEAD, RECORD = valid(module.run_schema()), valid(module.record_schema())


def lines_of(folder):
    return [json.loads(line) for file in folder.glob("examples-*.jsonl") for line in file.read_text().splitlines()]


@pytest.mark.parametrize("name", module.FILES)
def test_the_shipped_files_are_what_the_code_reads(name):
    shipped = json.loads((Path(module.__file__).parent / name).read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(module.FILES[name]())), "python -m rsmooth.run.schema writes them anew"


@pytest.mark.parametrize("name", RUNS)
def test_real_runs_are_valid(made, name):
    assert HEAD(json.loads((made / name / "run.json").read_text()))
    records = lines_of(made / name)
    assert records
    assert all(RECORD(record) for record in records)


def test_what_reading_refuses_of_the_settings_is_not_valid(runs):
    file = runs / "until" / "run.json"
    kept = json.loads(file.read_text())
    for name in kept["settings"]:
        others = {key: value for key, value in kept["settings"].items() if key != name}
        for settings in (others, {**others, name: {}}, {**others, name: None if name in ("max", "batch_size") else []}):
            changed = kept | {"settings": settings}
            file.write_text(json.dumps(changed))
            with pytest.raises(ValueError, match=r"run.json is damaged"):
                read_head(file.parent)
            assert not HEAD(changed), settings
    for changed in (kept | {"format": 1}, kept | {"seed": {"entropy": 7}}, [kept]):
        file.write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=r"run.json"):
            read_head(file.parent)
        assert not HEAD(changed)


def test_settings_that_no_run_has_are_not_valid(made):
    kept = json.loads((made / "until" / "run.json").read_text())
    for name, wrong, right in (
        ("kind", ("foo", "top-k k"), ("top-class", "top-k k=3", "soft-scores scores=logits", "median tolerance=1")),
        ("alpha", (7, -1, 0, 1), (0.001,)),
        ("sigma", (-1, 0), (0.25, 1)),
        ("grid", ("xyz", "0", "-3", "1.5"), ("none", "auto", "255")),
        ("draws", (0.5, -3), (None, 5e6)),
        ("precision", ("int3",), PRECISIONS),
        ("until", ("a", "-1", ""), ("0", "0,0.25,1", None)),
        ("width", (-1, 0), (None, 0.1)),
        ("domain", ("q", "0", "0,1,2"), ("none", "0,1", "-1,2.5", "0,1e-05", "0,1e+20")),
        ("noise_error", (-1, 2), (0, 1e-13)),
    ):
        for value in wrong:
            assert not HEAD(kept | {"settings": kept["settings"] | {name: value}}), (name, value)
        for value in right:
            assert HEAD(kept | {"settings": kept["settings"] | {name: value}}), (name, value)


def test_a_level_of_0_is_valid_where_all_copies_vote_and_nowhere_else(made):
    kept = json.loads((made / "splitting" / "run.json").read_text())
    assert (kept["settings"]["n0"], kept["settings"]["alpha"]) == (0, 0)
    for changes in ({"n0": 1}, {"n": 0}, {"alpha": 0.001}, {"interval": "anytime"}, {"kind": "top-class"}):
        assert not HEAD(kept | {"settings": kept["settings"] | changes}), changes
    drawn = json.loads((made / "fixed" / "run.json").read_text())
    for changes in ({"n0": 0}, {"n": 0}, {"interval": "enumeration"}, {"kind": "splitting"}):
        assert not HEAD(drawn | {"settings": drawn["settings"] | changes}), changes


def test_what_reading_refuses_of_a_record_is_not_valid(made):
    record = lines_of(made / "fixed")[0]
    assert not RECORD({name: value for name, value in record.items() if name != "counts"})
    for wrong in ({"label": "3"}, {"radius": None}, {"counts": 3}, {"counts": [-1]}, {"index": 0.5}, {"run": "it"}):
        assert not RECORD(record | wrong)
    # Of each, a reader may rely on what is known beyond its type.
    assert set(module.ENTRIES) == set(record) - {"run", "crc32"}


def test_every_run_that_is_valid_is_read(made):
    assert all(len(read_run(made / name).records) == len(lines_of(made / name)) for name in RUNS)
