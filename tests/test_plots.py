"""Figures: what they show, and `rsmooth plot`."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from typer.testing import CliRunner

from rsmooth import Gaussian, certify_counts, cli
from rsmooth._looks import COLOURS
from rsmooth.confidence import clopper_pearson
from rsmooth.plots import certified_accuracy_figure, p1_figure
from rsmooth.results.read import read_result
from rsmooth.results.result import Result
from rsmooth.run.results import read_run
from run_helpers import COUNT, RUNS

COUNTS = [[990, 10], [900, 100], [400, 600]]


def plot(*arguments):
    return CliRunner().invoke(cli.app, ["plot", *map(str, arguments)])


def result(name="it", bound="tightest", norm=2, sigma=0.5):
    return Result.of(name, certify_counts(COUNTS, Gaussian(sigma), norm=norm, dim=64, bound=bound), [0, 0, 0])


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_curve_is_the_certified_accuracy_and_each_has_its_band_or_none_has():
    results = [result("one"), result("other", sigma=1)]
    (axes,) = certified_accuracy_figure(results, title="title").axes
    for line, each in zip(axes.lines, results, strict=True):
        assert line.get_drawstyle() == "steps-post"
        radii, accuracy = line.get_data()
        assert np.array_equal(accuracy, each.certificates.certified_accuracy([0, 0, 0], radii))
        assert (accuracy[0], accuracy[-1]) == (2 / 3, 0)
    assert axes.get_title() == "title"
    assert axes.get_xlabel() == "ℓ₂ radius (in the units of the inputs)"
    assert len(axes.collections) == 2
    highest = [band.get_paths()[0].vertices[:, 1].max() for band in axes.collections]
    assert highest == [clopper_pearson(2, 3, 0.025, side="upper")] * 2
    assert not certified_accuracy_figure(results, bands=False).axes[0].collections


def test_the_distribution_of_p1_is_the_share_above_whatever_the_class():
    one, other = result("one"), result("other", "renyi", sigma=1)
    (axes,) = p1_figure([one, other]).axes
    for line, each in zip(axes.lines, (one, other), strict=True):
        at, shares = line.get_data()
        assert set(at) == {0, *each.p1}
        assert shares.tolist() == [(each.p1 > x).mean() for x in at]
    assert legend(axes) == ["one", "other"]
    axes.figure.draw_without_rendering()
    assert {"0.5", "0.9"} <= {text.get_text() for text in axes.get_xticklabels()}
    assert axes.get_xlim()[1] > one.p1.max()
    with pytest.raises(ValueError, match="p1 must be known, and that of one is not"):
        p1_figure([replace(one, p1=None, certificates=None)])
    with pytest.raises(ValueError, match="results must be one at least, got none"):
        p1_figure([])


def test_results_without_any_certificate_are_drawn():
    found = certify_counts([[5, 5], [6, 5]], Gaussian(0.5), norm=2, dim=64)
    for draw in (certified_accuracy_figure, p1_figure):
        figure = draw([Result.of("none", found, [0, 1])])
        figure.draw_without_rendering()
        assert figure.axes[0].get_xlim()[0] < figure.axes[0].get_xlim()[1]


def test_curves_are_told_apart_by_colour_and_by_dashes():
    (axes,) = certified_accuracy_figure([result(str(i)) for i in range(4)]).axes
    assert len({line.get_color() for line in axes.lines}) == len({line.get_linestyle() for line in axes.lines}) == 4
    assert legend(axes) == ["0", "1", "2", "3"]
    # Of several bounds, each has its dashes, and each name its colour.
    both = [result(name, bound) for name in ("a", "b") for bound in ("renyi", "neyman-pearson")]
    (axes,) = certified_accuracy_figure(both).axes
    assert [(line.get_color(), line.get_linestyle()) for line in axes.lines] == [
        (colour, style) for colour in COLOURS[:2] for style in ("-", "--")
    ]
    assert legend(axes) == ["a", "b", "Rényi", "Neyman\N{EN DASH}Pearson"]
    # Of one bound each, but not the same, the legend says which.
    (axes,) = certified_accuracy_figure([result("a", "renyi"), result("b")]).axes
    assert legend(axes) == ["a (Rényi)", "b (tightest bound)"]


def test_a_few_colours_of_the_palette_differ_in_grey_as_well():
    grey = [np.dot(np.array(to_rgb(colour)) ** 2.2, [0.2126, 0.7152, 0.0722]) for colour in COLOURS[:4]]
    assert np.diff(np.sort(grey)).min() > 0.08


def test_a_figure_is_drawn_where_and_as_it_is_asked_for():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert certified_accuracy_figure([result()], ax=right, colours=["#ff0000"]) is figure
    assert not left.lines
    assert right.lines[0].get_color() == "#ff0000"
    assert certified_accuracy_figure([result()], size=(3, 2)).get_size_inches().tolist() == [3, 2]
    inner = figure.subfigures().subplots()
    assert certified_accuracy_figure([result()], ax=inner) is figure


@pytest.mark.parametrize(
    ("results", "options", "words"),
    [
        ([result(), result(norm=math.inf)], {}, r"results must be one at least and of one norm, got \[2.0, inf\]"),
        ([], {}, r"results must be one at least and of one norm, got \[\]"),
        ([result()], {"colours": ["red", "blue"]}, "colours must be one for each of 1 names, got 2"),
        ([result()], {"colours": ["reddish"]}, "colours must be names or #RRGGBB, got 'reddish'"),
    ],
)
def test_figures_refuse_by_name(results, options, words):
    with pytest.raises(ValueError, match=words):
        certified_accuracy_figure(results, **options)


def test_text_stays_text_in_pdf_and_svg(made, tmp_path):
    for out in (tmp_path / "a.pdf", tmp_path / "a.svg"):
        shown = plot(made / "fixed", "--label", "ours", "-o", out)
        assert shown.exit_code == 0, shown.exception
    pdf, svg = (tmp_path / "a.pdf").read_bytes(), (tmp_path / "a.svg").read_text()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert re.search(r"<text[^>]*>ours</text>", svg)


def test_plot_draws_every_bound_that_holds_and_saves_the_numbers(made, tmp_path):
    figure, numbers = tmp_path / "figure.png", tmp_path / "numbers.json"
    bounds = [part for bound in ("renyi", "neyman-pearson", "pure-dp") for part in ("--bound", bound)]
    shown = plot(made / "fixed", made / "exponential", "--norm", "inf", *bounds, "-o", figure, "--json", numbers)
    assert shown.exit_code == 0, shown.exception
    assert figure.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(numbers.read_text())
    assert [(row["mechanism"], row["bound"]) for row in rows] == [
        ("gaussian", "renyi"),
        ("gaussian", "neyman-pearson"),
        ("exponential", "renyi"),
        ("exponential", "neyman-pearson"),
        ("exponential", "pure-dp"),
    ]
    run = read_run(made / "fixed")
    found = run.certificates(norm=math.inf)
    right = found.prediction == run.column("label")
    assert rows[0]["average_certified_radius"] == pytest.approx(np.where(right, found.radius, 0).mean(), rel=1e-12)
    assert rows[0]["accuracy"] == right.mean()
    held = [(right & (found.radius > r)).sum() for r in rows[0]["radii"]]
    assert rows[0]["certified_accuracy"] == [k / COUNT for k in held]
    assert rows[0]["lower"] == clopper_pearson(held, COUNT, 0.025).tolist()
    assert rows[0]["upper"] == clopper_pearson(held, COUNT, 0.025, side="upper").tolist()
    assert f"{100 * rows[0]['accuracy']:.1f} (" in shown.stdout


def test_plot_draws_the_distribution_of_p1(made, tmp_path):
    shown = plot(made / "fixed", made / "until", "--p1", "-o", tmp_path / "a.svg")
    assert shown.exit_code == 0, shown.exception
    svg = (tmp_path / "a.svg").read_text()
    assert "p1, lower bound on the probability of the class" in svg
    assert "ertified accuracy" not in svg


def test_plot_says_that_a_run_is_not_finished(runs, tmp_path):
    file = runs / "fixed" / "examples-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]) + "damaged\n")
    shown = plot(runs / "fixed", "-o", tmp_path / "a.svg")
    assert shown.exit_code == 0, shown.exception
    missing = f"fixed: not finished: {COUNT - 2} of {COUNT} examples"
    assert f"{missing}\nfixed: damaged lines were left out: 1" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fixed", "exponential"], "norm must be given where results are in several norms, 2, inf: --norm 1, 2 or inf"),
        (
            ["fixed", "--bound", "pure-dp"],
            "bound must be one of tightest, renyi, neyman-pearson, hockey-stick, pixeldp for the gaussian",
        ),
        (["fixed", "--bound", "renyi", "--bound", "reny"], "bound must be one of tightest, renyi"),
        (["fixed", "--norm", "3"], "norm must be 1, 2 or inf, got '3'"),
        (["fixed", "-o", "a.txt"], "out must end in .png, .pdf or .svg"),
        (["fixed", "--label", "a", "--label", "b"], "label must be given for each of 1 results or for none, got 2"),
        (["fixed", "--p1", "--bound", "renyi"], "--bound cannot be given with --p1, which no bound has made"),
        (["fixed", "--size", "6,4"], "size must be WIDTHxHEIGHT in inches from 1 to 100, as 6.4x4.2, got '6,4'"),
        (["fixed", "--size", "6xinf"], "size must be WIDTHxHEIGHT in inches"),
        (["fixed", "--colour", "reddish"], "colours must be names or #RRGGBB, got 'reddish'"),
        (["fixed", "--sigma", "0.25"], "sigma must be given once, or once for each of the 0 results that do not tell"),
    ],
)
def test_plots_are_refused_by_name(made, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    folders = [made / each if each in RUNS else each for each in arguments]
    shown = plot(*folders, *([] if "-o" in arguments else ["-o", "a.png"]))
    assert isinstance(shown.exception, ValueError)
    assert words in str(shown.exception)
    assert not list(tmp_path.iterdir())


def test_labelled_curves_tell_their_kinds_where_there_are_several(made, tmp_path):
    def text(*arguments):
        shown = plot(*arguments, "-o", tmp_path / "a.svg")
        assert shown.exit_code == 0, shown.exception
        return (tmp_path / "a.svg").read_text()

    both = text(made / "fixed", made / "top-k", "--label", "one", "--label", "other")
    assert ">one (" in both
    assert ">other, top-k k=3 (" in both
    assert ">mine<" in text(made / "top-k", "--label", "mine")


def test_the_order_of_results_is_that_of_the_legend(made, tmp_path):
    shown = plot(made / "until", made / "fixed", "-o", tmp_path / "a.svg")
    assert shown.exit_code == 0, shown.exception
    svg = (tmp_path / "a.svg").read_text()
    names = [f"{name}: {read_result(made / name).noise}" for name in ("until", "fixed")]
    assert 0 < svg.index(names[0]) < svg.index(names[1])
