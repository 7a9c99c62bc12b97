"""Numbers as people are shown them: no radius and no p1 is shown as more than it is."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from rsmooth import Gaussian, certify_counts, cli
from rsmooth._digits import below, digits, floor, whole
from rsmooth.certificates.topclass import TopClass
from rsmooth.results.measures import measures
from rsmooth.results.result import Result
from rsmooth.results.table import results_table
from rsmooth.rule import Rule
from rsmooth.run.results import read_run
from rsmooth.stopping import Until

COUNTS = np.array([[k, 1000 - k] for k in range(600, 1000, 7)])


def test_numbers_have_four_digits():
    assert [digits(each) for each in (0, 0.32912, 12345.6, 0.00012345, 1e-7, 1)] == [
        *("0", "0.3291", "12,346", "0.0001234", "1.000e-07", "1.000")
    ]


@pytest.mark.parametrize(
    ("radius", "expected"),
    [
        *[(0.0, "0"), (0.3, "0.3000"), (0.49997, "0.4999"), (0.99999, "0.9999"), (12345.6, "12,340")],
        *[(0.001, "0.001000"), (1.9999e-7, "1.999e-07"), (9.9999e12, "9.999e+12")],
    ],
)
def test_radii_are_rounded_down(radius, expected):
    assert below(radius) == expected


@pytest.mark.parametrize("places", [3, 4])
def test_p1_is_rounded_down_where_the_product_with_a_power_of_ten_is_not(places):
    steps = np.arange(1, 10**places) / 10**places
    for step, p1 in zip(steps, np.nextafter(steps, 0), strict=True):
        assert float(floor(p1, places)) <= p1 < float(floor(p1, places)) + 1.01 / 10**places
        assert floor(step, places) == f"{step:.{places}f}"


def test_radii_that_were_asked_for_are_shown_whole():
    assert [whole(each) for each in (0, 1.0, 0.25, 0.1234567, 1e-7)] == ["0", "1", "0.25", "0.1234567", "0.0000001"]
    found = certify_counts(COUNTS, Gaussian(0.5), norm=2, dim=64, selection=np.zeros(len(COUNTS), int))
    numbers = measures(Result.of("a", found, np.zeros(len(COUNTS), int)), [0.1234561, 0.1234564])
    assert "% > 0.1234561" in results_table([numbers], "markdown")
    assert "lower_0.1234561,upper_0.1234561,certified_accuracy_0.1234564" in results_table([numbers], "csv")


def test_certificates_are_described_by_no_larger_radius():
    for row in COUNTS:
        found = certify_counts([row], Gaussian(0.5), norm=2, dim=64, selection=[0])
        assert float(re.search(r"median radius ([\d.]+)", repr(found)).group(1)) <= found.radius[0]


def test_radii_that_draws_cannot_reach_are_told_no_larger():
    for n in range(20, 60):
        rule = Rule(Gaussian(0.5), norm=2, dim=64, interval="anytime")
        with pytest.raises(ValueError, match="until must be of radii below") as caught:
            Until(TopClass(), rule, n, (2.0,))
        counts = certify_counts([[n, 0]], Gaussian(0.5), norm=2, dim=64, selection=[0], interval="anytime")
        assert float(re.search(r"below ([\d.]+)", str(caught.value)).group(1)) <= counts.radius[0]


def test_the_command_radii_tells_no_larger_one(tmp_path):
    for k in range(0, len(COUNTS), 5):
        np.save(tmp_path / "counts.npy", COUNTS[k : k + 1])
        np.save(tmp_path / "zero.npy", np.zeros(1, int))
        arguments = [tmp_path / "counts.npy", "--selection", tmp_path / "zero.npy", "-o", tmp_path / "radii.csv"]
        settings = ["--mechanism", "gaussian", "--sigma", "0.5", "--norm", "2"]
        shown = CliRunner().invoke(cli.app, ["radii", *map(str, arguments), *settings]).output
        largest = certify_counts(COUNTS[k : k + 1], Gaussian(0.5), norm=2, dim=1, selection=[0]).radius.max()
        told = float(re.search(r"largest radius ([\d.]+)", shown.replace("\n", " ")).group(1))
        assert 0.999 * largest < told <= largest


def test_the_command_certify_tells_no_larger_ones(checkpoint, tmp_path):
    for count in (1, 3, 5):
        out = tmp_path / str(count)
        arguments = ["--model", checkpoint, "--data", "digits", "--max", count, "--n", 300, "--seed", 1, "--out", out]
        settings = ["--mechanism", "gaussian", "--sigma", 0.25, "--norm", 2, "--real-inputs"]
        result = CliRunner().invoke(cli.app, ["certify", *map(str, [*arguments, *settings])])
        assert result.exit_code == 0, result.output
        found = read_run(out).certificates()
        told = re.search(r"median radius (\S+) instead of (\S+)", result.output.replace("\n", " ")).groups()
        assert float(told[0]) <= np.median(found.for_real_inputs().radius)
        assert float(told[1]) <= np.median(found.radius)
