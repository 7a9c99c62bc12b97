"""Certificates as objects, the rule that makes them, and what is counted for them."""

import json
import math
from typing import get_args

import numpy as np
import pytest

from rsmooth import Certificates, Exponential, Gaussian, Laplace, certify_counts, clopper_pearson
from rsmooth.certificates.kind import Form
from rsmooth.certificates.result import StoppedCounts
from rsmooth.certificates.topclass import TopClass
from rsmooth.rule import BOUNDS, INTERVALS, Bound, Interval, Rule

SETTINGS = {"norm": 2, "dim": 64}
COUNTS = np.array([[990, 10], [600, 400], [500, 500]])
ARRAYS = ("prediction", "radius", "p1", "p2", "order", "counts", "indices")


# Noise that is not quite the mechanism's


@pytest.mark.parametrize("runner_up", ["second", "complement"])
def test_noise_error_moves_p1_down_and_p2_up_before_the_radius(runner_up):
    counts = np.random.default_rng(0).multinomial(1000, [0.6, 0.25, 0.15], size=200)
    top = np.zeros(200, int)
    rule = {**SETTINGS, "selection": top, "runner_up": runner_up}
    plain = certify_counts(counts, Gaussian(1), **rule)
    for error in (1e-12, 0.01, 0.3):
        moved = certify_counts(counts, Gaussian(1), **rule, noise_error=error)
        assert (moved.p1 < plain.p1).all()
        # What is 1 - p1 moves with p1.
        assert (moved.p2 > plain.p2).all()
        level = 0.001 if runner_up == "complement" else 0.0005
        exact = clopper_pearson(counts[:, 0], 1000, level) - error
        assert (moved.p1 <= exact).all()
        assert moved.p1 == pytest.approx(np.maximum(exact, 0), abs=1e-15)
        if runner_up == "second":
            upper = clopper_pearson(counts[:, 1:].max(axis=1), 1000, level, side="upper") + error
            assert (moved.p2 >= np.minimum(upper, 1 - moved.p1)).all()
            assert moved.p2 == pytest.approx(np.minimum(upper, 1 - moved.p1), abs=1e-15)
        else:
            assert (moved.p2 >= 1 - moved.p1).all()
        assert (moved.radius == Gaussian(1).radius(moved.p1, moved.p2, **SETTINGS)).all()
        assert moved.noise_error == error
    nothing = certify_counts(counts, Gaussian(1), **rule, noise_error=0.999)
    assert (nothing.prediction == -1).all()


# Rows


def test_bounds_are_remembered_by_the_number_of_draws_too():
    """Rows of one count and many numbers of draws, which share the slots of the table of bounds."""
    counts = np.array([[90, other] for other in range(2, 2002)])
    together = certify_counts(counts, Gaussian(1), **SETTINGS, selection=np.zeros(len(counts), int))
    assert (together.p1 == clopper_pearson(90, counts.sum(axis=1), 0.0005)).all()


def test_rows_of_another_number_of_draws_are_refused():
    found = certify_counts(COUNTS, Gaussian(1), **SETTINGS, n=1000)
    assert (found.radius == certify_counts(COUNTS, Gaussian(1), **SETTINGS).radius).all()
    with pytest.raises(
        ValueError, match=r"counts\[1\] must be a row of n = 1000 votes, got a row with the sum 1001"
    ) as error:
        certify_counts([[990, 10], [601, 400]], Gaussian(1), **SETTINGS, n=1000)
    assert (error.value.argument, error.value.index) == ("counts", (1,))


def test_counts_cannot_select_for_themselves():
    for selection in (COUNTS, COUNTS[:], COUNTS[:, 0]):
        with pytest.raises(ValueError, match="selection must be of separate draws, got the memory of counts"):
            certify_counts(COUNTS, Gaussian(1), **SETTINGS, selection=selection)


def test_columns_of_one_table_are_separate_draws():
    """Slices whose memory lies between that of others were taken for the same draws."""
    table = np.array([[90, 10, 990, 10, 0], [60, 40, 601, 400, 1]])
    apart = certify_counts(table[:, 2:4].copy(), Gaussian(1), **SETTINGS, selection=table[:, :2].copy())
    assert (certify_counts(table[:, 2:4], Gaussian(1), **SETTINGS, selection=table[:, :2]).radius == apart.radius).all()
    assert certify_counts(table[:, 2:4], Gaussian(1), **SETTINGS, selection=table[:, 4]).prediction.tolist() == [0, -1]
    with pytest.raises(ValueError, match="got the memory of counts"):
        certify_counts(table[:, 2:4], Gaussian(1), **SETTINGS, selection=table[:, 1:3])


# Stopped draws


def stopped(found):
    return Certificates(
        **{name: getattr(found, name) for name in ARRAYS},
        selection=found.selection,
        mechanism=found.mechanism,
        norm=found.norm,
        dim=found.dim,
        alpha=found.alpha,
        bound=found.bound,
        runner_up=found.runner_up,
        interval=found.interval,
        stopped=True,
    )


def test_counts_that_were_stopped_by_their_votes_are_refused(tmp_path):
    found = stopped(certify_counts(COUNTS, Gaussian(1), **SETTINGS, selection=[0, 0, 0], interval="anytime"))
    found.save(tmp_path / "stopped.npz")
    read = Certificates.load(tmp_path / "stopped.npz")
    assert read.stopped
    for counts in (found.counts, found.counts[:1], found.counts.copy(), found.counts.astype(np.int32), read.counts):
        assert isinstance(counts, StoppedCounts)
        with pytest.raises(ValueError, match="got draws that were stopped by their votes"):
            certify_counts(counts, Gaussian(1), **SETTINGS, interval="clopper-pearson")
        with pytest.raises(ValueError, match="got draws that were stopped by their votes"):
            TopClass().certify([0] * len(counts), counts, Rule(Gaussian(1), **SETTINGS))
    assert found.counts.sum() == COUNTS.sum()


# Certificates


@pytest.mark.parametrize("selection", [None, [0, 0, 0], COUNTS * 2])
@pytest.mark.parametrize("mechanism", [Gaussian(0.7), Exponential(0.01), Laplace(0.25)])
@pytest.mark.parametrize("norm", [1, math.inf])
def test_certificates_are_saved_and_read_as_they_were(tmp_path, selection, mechanism, norm):
    made = certify_counts(
        COUNTS, mechanism, norm=norm, dim=64, alpha=0.01, bound="renyi", selection=selection, grid=255, noise_error=1e-6
    )
    seed = np.random.SeedSequence(7, spawn_key=(3, 2**32 - 1))
    made = Certificates(**{**vars(made), "seed": seed, "indices": np.array([5, 0, 9])})
    made.save(tmp_path / "found.npz")
    read = Certificates.load(tmp_path / "found.npz")
    for name in ARRAYS:
        assert np.array_equal(getattr(read, name), getattr(made, name), equal_nan=True)
        assert getattr(read, name).dtype == getattr(made, name).dtype
    assert np.array_equal(read.selection, made.selection) if selection is not None else read.selection is None
    for name in (
        "mechanism",
        "norm",
        "dim",
        "alpha",
        "bound",
        "runner_up",
        "interval",
        "grid",
        "noise_error",
        "stopped",
    ):
        assert getattr(read, name) == getattr(made, name)
        assert type(getattr(read, name)) is type(getattr(made, name))
    assert read.exact
    assert (read.seed.generate_state(4) == seed.generate_state(4)).all()


def test_files_that_hold_no_certificates_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", radius=np.zeros(3))
    (tmp_path / "text.npz").write_text("radius")
    np.savez(tmp_path / "code.npz", prediction=np.array([print], object))
    for name in ("other.npz", "text.npz", "code.npz"):
        with pytest.raises(ValueError, match=f"{name} is no file of certificates"):
            Certificates.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Certificates.load(tmp_path / "absent.npz")


def test_saved_certificates_that_their_counts_do_not_give_are_refused(tmp_path):
    certify_counts(COUNTS, Gaussian(1), **SETTINGS, selection=[0, 0, 0]).save(tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as file:
        arrays = dict(file)
    told = json.loads(arrays["settings"].tobytes())
    radius = arrays["radius"]

    def settings(value):
        return {"settings": np.frombuffer(json.dumps(value).encode(), np.uint8)}

    for changes, words in (
        (
            {"radius": radius + np.array([0, 9, 0])},
            r"row 1 \(the first is 0\): radius must be .*, as the counts give it, got 9",
        ),
        ({"radius": radius * np.nan}, "row 0 .*radius must be .* got nan"),
        ({"radius": np.append(radius, 1.0)}, r"radius must be numbers of the shape \(3,\), got float64 of \(4,\)"),
        ({"radius": radius.astype(str)}, "radius must be numbers of the shape"),
        ({"prediction": np.array([1, -1, -1])}, "row 0 .*prediction must be 0"),
        ({"p1": np.ones(3)}, "row 0 .*p1 must be"),
        ({"p2": np.zeros(3)}, "row 0 .*p2 must be"),
        ({"counts": np.array(3)}, "counts must have the shape"),
        (settings({**told, "bound": "junk"}), "bound must be"),
        (settings({**told, "alpha": 7}), "alpha must be"),
        (settings({**told, "dim": 10**30}), "dim|int too large"),
        (settings({**told, "stopped": True}), "got draws that were stopped by their votes"),
        (settings("text"), "is no file of certificates"),
        (settings(None), "is no file of certificates"),
    ):
        np.savez(tmp_path / "bad.npz", **{**arrays, **changes})
        with pytest.raises(ValueError, match=f"bad.npz.*{words}"):
            Certificates.load(tmp_path / "bad.npz")


def test_certificates_of_a_mechanism_of_ones_own_are_read_with_it(tmp_path):
    from test_mechanisms import Logistic

    own = Logistic(0.5)
    certify_counts(COUNTS, own, norm=1, dim=4).save(tmp_path / "own.npz")
    with pytest.raises(ValueError, match=r"mechanism must be given for .*own.npz, whose mechanism is your own, 'own'"):
        Certificates.load(tmp_path / "own.npz")
    assert Certificates.load(tmp_path / "own.npz", mechanism=own).mechanism is own
    with pytest.raises(ValueError, match="mechanism must be the own mechanism of"):
        Certificates.load(tmp_path / "own.npz", mechanism=Gaussian(0.5))


def test_certificates_become_a_table_of_arrow():
    pytest.importorskip("pyarrow")
    found = certify_counts(COUNTS, Gaussian(1), **SETTINGS, selection=COUNTS * 2)
    table = found.to_arrow()
    assert table["radius"].to_pylist() == found.radius.tolist()
    assert table["counts"].to_pylist() == COUNTS.tolist()
    assert table["selection"].to_pylist() == (COUNTS * 2).tolist()
    assert table["index"].to_pylist() == [0, 1, 2]
    assert b'"bound": "tightest"' in table.schema.metadata[b"rsmooth"]


def test_indices_are_checked():
    found = certify_counts(COUNTS, Gaussian(1), **SETTINGS)
    assert found.indices.tolist() == [0, 1, 2]
    for indices in ([0, 1], [[0, 1, 2]], [0.0, 1.0, 2.0]):
        with pytest.raises(ValueError, match="indices must be 3 integers"):
            Certificates(**{**vars(found), "indices": np.array(indices)})


# Rules and kinds


def test_a_rule_is_checked_when_it_is_made():
    rule = Rule(Gaussian(1), norm=2, dim=64)
    assert (rule.norm, rule.dim, rule.alpha) == (2.0, 64, 0.001)
    for wrong in (
        {"norm": 3},
        {"dim": 0},
        {"alpha": 0},
        {"alpha": True},
        {"bound": "tight"},
        {"runner_up": "third"},
        {"interval": "wald"},
        {"grid": 0},
        {"noise_error": 1.0},
        {"mechanism": "gaussian"},
    ):
        with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
            Rule(**{"mechanism": Gaussian(1), **SETTINGS, **wrong})


def test_type_checkers_know_the_bounds_and_intervals_of_the_registry():
    assert get_args(Bound) == BOUNDS
    assert get_args(Interval) == INTERVALS


def test_every_bound_and_interval_makes_a_rule():
    assert BOUNDS[0] == "tightest"
    for bound in BOUNDS[1:]:
        assert any(bound in m.holding(2) for m in (Gaussian(1), Exponential(1), Laplace(1)))
    for interval in INTERVALS:
        assert certify_counts(COUNTS, Gaussian(1), **SETTINGS, interval=interval).interval == interval


def test_top_class_observes_counts_and_certifies():
    torch = pytest.importorskip("torch")
    kind = TopClass()
    scores = torch.tensor([[0.0, 2, 1], [math.nan, 9, 0], [5, math.inf, 0], [1, 1, 0]])
    assert kind.observe(scores).tolist() == [1, -1, -1, 0]
    with pytest.raises(ValueError, match=r"output must be scores \(B, K\) or integer labels \(B,\), got \(4, 3, 1\)"):
        kind.observe(scores[..., None])
    tally = kind.tally(4, Form(classes=3))
    rng = np.random.default_rng(0)
    rows, observations = rng.integers(1, 4, 500), rng.integers(0, 3, 500)
    kind.add(tally, rows, np.arange(500), observations)
    expected = np.zeros((4, 3), int)
    np.add.at(expected, (rows, observations), 1)
    assert (tally == expected).all()
    kind.add(tally, rows[:0], rows[:0], observations[:0])
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=r"observations\[1\] must be a class from 0 to 2"):
            kind.add(tally, np.array([0, 0]), np.array([0, 1]), np.array([0, wrong]))
    rule = Rule(Gaussian(1), **SETTINGS, alpha=0.01, runner_up="complement")
    found = kind.certify(np.array([0, 1, 2]), tally[1:], rule, n=None)
    again = certify_counts(tally[1:], Gaussian(1), **SETTINGS, alpha=0.01, runner_up="complement", selection=[0, 1, 2])
    assert (found.p1 == again.p1).all()
    assert found.alpha == 0.01
