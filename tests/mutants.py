"""Deliberate mistakes in soundness-critical lines, each of which named tests must catch: `make mutants`, minutes.

Each is made in a copy of the checkout, so that nothing here changes. Add one where a line's mistake could pass unseen:
a margin, a side of a bound, a level, a check. `test_mutants.py` keeps the list true to the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutant:
    """A mistake: in `file` the text `old`, which is there once, becomes `new`, and one of `tests` must fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def rebuilds(self) -> bool:
        """Whether the extension is built again, for some minutes."""
        return self.file.endswith(".rs")


PACKAGE = "python/rsmooth/"
IO, RUN, THEORY = PACKAGE + "io/", PACKAGE + "run/", PACKAGE + "theory/"
RESULTS = PACKAGE + "results/"
CORE = "rust/core/src/"
BETTING = ("test_betting.py", "test_softscores.py")

SPLIT, SPLITTING = PACKAGE + "certificates/splitting.py", ("test_splitting.py", "test_splitting_runs.py")

MUTANTS = [
    # Result files and files of counts
    Mutant(IO + "published.py", "* (1 - 2**-48)", "", ("test_recertify.py",)),
    Mutant(IO + "published.py", "* (1 - 2**-48)", "* (1 + 2**-48)", ("test_recertify.py",)),
    Mutant(IO + "published.py", "printed - half_unit", "printed", ("test_recertify.py",)),
    Mutant(IO + "recertify.py", '"parameter": mechanism.sigma, ', "", ("test_recertify.py",)),
    Mutant(IO + "recertify.py", '"norm": "2", ', "", ("test_recertify.py",)),
    Mutant(IO + "recertify.py", "        if lost:\n", "        if False:\n", ("test_recertify.py",)),
    Mutant(IO + "recertify.py", '("mechanism", "parameter", "dim")', '("mechanism",)', ("test_recertify.py",)),
    Mutant(IO + "recertify.py", "certify(piece.selection, ", "certify(None, ", ("test_recertify.py",)),
    Mutant(
        IO + "recertify.py",
        "row = error.argument, start + index[0]",
        "row = error.argument, index[0]",
        ("test_recertify.py",),
    ),
    Mutant(IO + "counts.py", "selection.samefile(source)", "selection is source", ("test_recertify.py",)),
    # Results of others
    Mutant(IO + "published.py", ', "runner_up": "complement"}', "}", ("test_read_results.py",)),
    Mutant(
        IO + "published.py", 'known.get("bound") in ("neyman-pearson", BOUNDS[0])', "True", ("test_read_results.py",)
    ),
    Mutant(RESULTS + "read.py", "(found.radius > most) & ", "(found.radius > 2 * most) & ", ("test_read_results.py",)),
    # Numbers as they are shown
    Mutant(PACKAGE + "_digits.py", "adjusted() - 3), ROUND_DOWN", "adjusted() - 3)", ("test_digits.py",)),
    Mutant(PACKAGE + "_digits.py", "scaleb(-places), ROUND_DOWN", "scaleb(-places)", ("test_digits.py",)),
    Mutant(RESULTS + "result.py", "bound=chosen, grid=self.grid", "bound=chosen", ("test_read_results.py",)),
    Mutant(RESULTS + "measures.py", "2 * total / 2", "total / 2", ("test_tables.py",)),
    Mutant(RESULTS + "measures.py", "] > radii[:, None]", "] >= radii[:, None]", ("test_tables.py",)),
    # Runs
    Mutant(
        RUN + "rule.py",
        "certify(chosen, votes.view(StoppedCounts), self, labels",
        "certify(chosen, votes, self, labels",
        ("test_results.py",),
    ),
    Mutant(
        PACKAGE + "certificates/topclass.py",
        "if isinstance(votes, StoppedCounts) and not holds_when_stopped(interval):",
        "if False:",
        ("test_results.py",),
    ),
    Mutant(IO + "counts.py", "counts = stopped.view(StoppedCounts)", "counts = stopped", ("test_results.py",)),
    Mutant(
        PACKAGE + "torch/plan.py",
        "if not batch and self.applied + len(self.votes) == number:",
        "if False:",
        ("test_until.py",),
    ),
    Mutant(
        PACKAGE + "certificates/means.py", "- COSTS * (second", "- 0.9 * COSTS * (second", ("test_until_softscores.py",)
    ),
    Mutant(
        PACKAGE + "certificates/means.py",
        "np.maximum.at(largest, open_[0], upper(*open_))",
        "",
        ("test_until_softscores.py",),
    ),
    Mutant(
        PACKAGE + "certificates/softscores.py",
        "stopped=isinstance(counts, StoppedCounts)",
        "stopped=False",
        ("test_until_softscores.py",),
    ),
    Mutant(
        PACKAGE + "torch/plan.py",
        "self.labels[examples]",
        "self.labels[: len(examples)]",
        ("test_until_topk.py",),
    ),
    Mutant(PACKAGE + "certificates/prediction.py", "better * deviation", "0 * deviation", ("test_until.py",)),
    Mutant(PACKAGE + "certificates/prediction.py", "k :][:, :t]", "k :]", ("test_prediction.py",)),
    Mutant(
        PACKAGE + "torch/smoothed.py",
        "counts.view(StoppedCounts), rule, labels=known",
        "counts, rule, labels=known",
        ("test_until_topk.py",),
    ),
    Mutant(
        PACKAGE + "torch/smoothed.py",
        "counts.view(StoppedCounts), rule, labels=known",
        "counts.view(StoppedCounts), rule",
        ("test_until_topk.py",),
    ),
    Mutant(RUN + "verify.py", "stopping.known(*seen)", "stopping.known(*seen[:2])", ("test_verify.py",)),
    Mutant(
        RUN + "rule.py",
        "certify(chosen, votes, self, labels=known, n",
        "certify(votes.copy(), votes, self, labels=known, n",
        ("test_certify.py",),
    ),
    Mutant(RUN + "store.py", "!= run:\n                raise", "== 7:\n                raise", ("test_store.py",)),
    Mutant(
        RUN + "store.py", "!= run:\n                continue", "== 7:\n                continue", ("test_store.py",)
    ),
    Mutant(RUN + "verify.py", "if moved[index] > allowed:", "if False:", ("test_verify.py",)),
    Mutant(RUN + "verify.py", 'run.entry(index, "label")', "label", ("test_verify.py",)),
    # Rows
    Mutant(PACKAGE + "torch/rows.py", "* apart / 2 +", "* finite.abs().amax() +", ("test_rows.py",)),
    Mutant(PACKAGE + "torch/rows.py", "if share > (TIES", "if False and (TIES", ("test_rows.py",)),
    Mutant(
        PACKAGE + "certificates/median.py",
        "np.nextafter(center - self.tolerance, center)",
        "center - self.tolerance",
        ("test_median.py",),
    ),
    # Scores
    Mutant(
        PACKAGE + "certificates/softscores.py",
        "max(float(sums), float(norms), ",
        "max(float(sums), ",
        ("test_softscores.py", "test_verify.py"),
    ),
    Mutant(PACKAGE + "certificates/softscores.py", "(squares < least) | ", "", ("test_softscores.py",)),
    Mutant(
        PACKAGE + "certificates/scores.py", "bounds(rule.alpha / 2 if second", "bounds(rule.alpha if second", BETTING
    ),
    Mutant(PACKAGE + "certificates/scores.py", "lower - rule.noise_error", "lower", BETTING),
    Mutant(PACKAGE + "certificates/scores.py", "others + rule.noise_error", "others", BETTING),
    Mutant(PACKAGE + "certificates/scores.py", "        refuse_stopped(counts, rule.interval)\n", "", BETTING),
    Mutant(
        PACKAGE + "certificates/scores.py",
        "counts, selected(pilot)",
        "counts, selected(counts)",
        BETTING,
    ),
    Mutant(PACKAGE + "certificates/scores.py", "(drawn != wanted) | ", "", BETTING),
    Mutant(
        PACKAGE + "certificates/betting.py",
        'side="upper", interval=interval).max()',
        'side="upper", interval=interval).min()',
        BETTING,
    ),
    Mutant(PACKAGE + "certificates/betting.py", "rule == self.rule or ", "", BETTING),
    Mutant(
        PACKAGE + "certificates/betting.py",
        "norm=rule.norm, bound=rule.bound)",
        "alpha=rule.alpha, bound=rule.bound)",
        BETTING,
    ),
    Mutant(
        PACKAGE + "certificates/means.py",
        "before = np.concatenate([",
        "before = variances if n else np.concatenate([",
        BETTING,
    ),
    Mutant(PACKAGE + "certificates/means.py", "1 - lower(1 - x, alpha)", "lower(x, alpha)", BETTING),
    # Tallies of every draw or pixel, in runs
    Mutant(PACKAGE + "certificates/segmentation.py", ".max(initial=0)) / 2", ".mean()) / 2", ("test_kind_runs.py",)),
    Mutant(
        PACKAGE + "certificates/segmentation.py",
        "counted = truth >= 0",
        "counted = truth >= -1",
        ("test_kind_runs.py",),
    ),
    Mutant(PACKAGE + "certificates/segmentation.py", "sums.min() != sums.max() or ", "", ("test_kind_runs.py",)),
    Mutant(
        PACKAGE + "certificates/median.py",
        "np.minimum(apart, 1.0).sum()",
        "np.minimum(apart, 1.0).max()",
        ("test_kind_runs.py",),
    ),
    Mutant(PACKAGE + "certificates/median.py", "<= self.tolerance)", "<= 2 * self.tolerance)", ("test_kind_runs.py",)),
    Mutant(
        PACKAGE + "certificates/scores.py",
        " or (units.sum(axis=1) != UNITS).any()",
        "",
        ("test_kind_runs.py",),
    ),
    Mutant(IO + "packed.py", "len(raw) != size", "len(raw) < size", ("test_packed.py",)),
    Mutant(RUN + "verify.py", "math.ceil(sum(", "int(sum(", ("test_verify.py", "test_kind_runs.py")),
    Mutant(RUN + "results.py", "if found[each].shape != first[each].shape:", "if False:", ("test_kind_runs.py",)),
    # Another kind of certificate by the same counts
    Mutant(PACKAGE + "certificates/__init__.py", "if kind.counted != counted:", "if False:", ("test_other_kinds.py",)),
    Mutant(
        RESULTS + "result.py", "certify(self.selection, own", "certify(own.selection, own", ("test_other_kinds.py",)
    ),
    Mutant(
        RESULTS + "result.py",
        "return found.for_real_inputs() if own.real_inputs else found",
        "return found",
        ("test_other_kinds.py",),
    ),
    Mutant(RESULTS + "result.py", "kind.claim == self.kind", "True", ("test_other_kinds.py",)),
    Mutant(RESULTS + "read.py", "labels if named.takes_labels else None", "None", ("test_other_kinds.py",)),
    Mutant(IO + "recertify.py", "piece.counts, rule, labels=labels", "piece.counts, rule", ("test_other_kinds.py",)),
    Mutant(IO + "recertify.py", "**here, kind=kind.claim", "**here", ("test_other_kinds.py",)),
    # The core
    Mutant(CORE + "certify.rs", "(alpha / 2.0, Some(alpha / 2.0))", "(alpha, Some(alpha))", ("test_radii.py",)),
    Mutant(CORE + "topk.rs", "settings.alpha / (settings.k + 1) as f64", "settings.alpha", ("test_until_topk.py",)),
    Mutant(CORE + "bounds/renyi.rs", "self.objective(u) * (1.0 - MARGIN)", "self.objective(u)", ("test_bounds.py",)),
    Mutant(CORE + "bounds/pixeldp.rs", "best * (1.0 - 1e-13)", "best * (1.0 + 1e-13)", ("test_bounds.py",)),
    Mutant(CORE + "noise/real.rs", "f64::from(nearest.next_up())", "f64::from(nearest)", ("test_noise.py",)),
    # Theory
    Mutant(THEORY + "scores.py", "level / (2 * values.shape[1])", "level", ("test_divergence.py",)),
    Mutant(
        THEORY + "_curves.py",
        "max(float(seen[best]), float(bounds.max()))",
        "float(seen[best])",
        ("test_divergence.py",),
    ),
    Mutant(THEORY + "assess.py", "* (1 + 2**-50)", "", ("test_assess.py",)),
    # All copies
    Mutant(SPLIT, "- others - lower) // 2", "- others) // 2", SPLITTING),
    Mutant(SPLIT, "- others - lower) // 2", "- others - lower + 1) // 2", SPLITTING),
    Mutant(SPLIT, "(places < 0)", "(places <= 0)", SPLITTING),
    Mutant(SPLIT, "seed=root_of(seed)", "seed=seed", SPLITTING),
    Mutant(SPLIT, "sums != spacing", "sums > spacing", SPLITTING),
    Mutant(SPLIT, "spacing - most[:, None]", "spacing - most[:, None] - 1", SPLITTING),
    Mutant(SPLIT, "np.maximum(steps.min(axis=1), 0)", "abs(steps.min(axis=1))", SPLITTING),
    Mutant(SPLIT, '("norm", 1), ', "", SPLITTING),
    Mutant(SPLIT, '("interval", ENUMERATION), ', "", SPLITTING),
    Mutant(SPLIT, '"votes of all copies"', '"votes"', SPLITTING),
    Mutant(SPLIT, '.columns("copies", tally)', ".columns(name, tally)", SPLITTING),
    Mutant(SPLIT, 'return "copies"', 'return "counts"', SPLITTING),
    Mutant(SPLIT, "math.isclose(width, spacing, rel_tol=ROUNDING)", "spacing", SPLITTING),
    Mutant(SPLIT, "if n not in (None, spacing):", "if False:", SPLITTING),
    Mutant(PACKAGE + "rule.py", "if self.alpha != 0:", "if False:", SPLITTING),
    Mutant(
        PACKAGE + "torch/voter.py",
        "draws.example, into, seed=draws.key, first=draws.first",
        "draws.example, into, seed=draws.key, first=0",
        SPLITTING,
    ),
    Mutant(PACKAGE + "certificates/enumerated.py", "if value not in (None, 0):", "if False:", SPLITTING),
    Mutant(RUN + "schema.py", '"n0": {"minimum": 1},', "", ("test_schema.py",)),
    Mutant(RUN + "schema.py", '"alpha": {"exclusiveMinimum": 0},', "", ("test_schema.py",)),
]


def copy_checkout(target: Path) -> None:
    """Copy what git knows of, and the built extension."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    built = [str(path.relative_to(ROOT)) for path in (ROOT / "python" / "rsmooth").glob("_core*.so")]
    for name in (*filter(None, listed.stdout.split("\0")), *built):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def build(checkout: Path) -> None:
    """Build the extension of a checkout, without the optimisations that take longest."""
    quick = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    places = {"CARGO_TARGET_DIR": str(ROOT / "target" / "mutants"), "PYO3_PYTHON": sys.executable}
    command = ["cargo", "build", "--release", "-p", "rsmooth-python", "--features", "pyo3/extension-module"]
    subprocess.run(command, cwd=checkout, env={**os.environ, **quick, **places}, check=True)
    library = ROOT / "target" / "mutants" / "release" / "lib_core.so"
    shutil.copy2(library, next((checkout / "python" / "rsmooth").glob("_core*.so")))


def caught(mutant: Mutant) -> bool:
    """Tell whether the mutant's tests fail on it."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        checkout = Path(folder)
        copy_checkout(checkout)
        path = checkout / mutant.file
        path.write_text(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        if mutant.rebuilds:
            build(checkout)
        tests = [str(checkout / "tests" / name) for name in mutant.tests]
        # Before the installed package.
        environment = {**os.environ, "PYTHONPATH": str(checkout / "python"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{mutant}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.returncode == 1


def main(words: list[str]) -> int:
    """Run the mutants whose file's name has one of the words, or all; return how many no test caught."""
    chosen = [each for each in MUTANTS if not words or any(word in each.file for word in words)]
    passed = 0
    for mutant in chosen:
        found = caught(mutant)
        passed += not found
        print(f"{'caught' if found else 'PASSED'}: {mutant.file}: {mutant.old!r} -> {mutant.new!r}", flush=True)
    print(f"{len(chosen) - passed} of {len(chosen)} caught")
    return passed


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
