"""The command line."""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rsmooth
from rsmooth import cli

COMMANDS = ["assess", "attack", "certify", "demo", "info", "plot", "radii", "report", "table", "train", "verify"]


def run(*arguments):
    command = [sys.executable, "-m", "rsmooth", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_info_shows_how_the_extension_was_built():
    result = CliRunner().invoke(cli.app, ["info"])
    assert result.exit_code == 0
    assert rsmooth.__version__ in result.output
    assert rsmooth.build_info()["simd"] in result.output


def test_a_command_without_its_options_is_told_which():
    for command in ("train", "certify"):
        result = CliRunner().invoke(cli.app, [command])
        assert result.exit_code == 2
        assert "Missing option '--model'" in result.output


def test_help_names_every_command():
    for arguments in (["--help"], []):
        output = CliRunner().invoke(cli.app, arguments).output
        for command in COMMANDS:
            assert command in output


def test_short_help_and_version():
    assert CliRunner().invoke(cli.app, ["-h"]).output == CliRunner().invoke(cli.app, ["--help"]).output
    short, long = (CliRunner().invoke(cli.app, ["radii", option]).output for option in ("-h", "--help"))
    assert short == long
    shown = CliRunner().invoke(cli.app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"rsmooth {rsmooth.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command):
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: rsmooth {command}" in result.output


def test_module_and_exit_statuses(tmp_path):
    (tmp_path / "settings.json").write_text('{"seed": 1, "quick": false}')
    done, refused, misused = run("info"), run("demo", "--out", str(tmp_path)), run("demo", "--seed", "-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert rsmooth.__version__ in done.stdout
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"rsmooth: {tmp_path} holds a demo with other settings")
    assert "Traceback" not in refused.stderr
    assert misused.returncode == 2


def test_missing_packages_are_named(monkeypatch, capsys):
    def no_sklearn(name, *arguments, **named):
        if name == "rsmooth.demo":
            raise ModuleNotFoundError("No module named 'torch'")
        return original(name, *arguments, **named)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", no_sklearn)
    monkeypatch.setattr(sys, "argv", ["rsmooth", "demo"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "rsmooth: the demo needs more packages (No module named 'torch'): pip install 'rsmooth[demo]'\n"
    )


def test_what_does_not_fit_into_memory_ends_in_one_line(monkeypatch, capsys):
    def app():
        raise MemoryError("Unable to allocate 33.5 GiB")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "rsmooth: Unable to allocate 33.5 GiB\n"


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_citation_names_the_version():
    citation = Path(__file__).parents[1] / "CITATION.cff"
    assert f"\nversion: {rsmooth.__version__}\n" in citation.read_text(encoding="utf-8")


def test_without_its_packages_the_command_line_says_in_one_line_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from rsmooth.__main__ import main; main()"
    result = python(code)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "rsmooth: the command line needs more packages: pip install 'rsmooth[cli]'\n"


def test_a_star_import_needs_no_torch_and_has_all_names_where_torch_is_there():
    code = "from rsmooth import *; import rsmooth; print('SmoothedClassifier' in dir(), *rsmooth.__all__)"
    without, found = python(f"import sys; sys.modules['torch'] = None; {code}"), python(code)
    assert without.stderr == found.stderr == ""
    has, *names = without.stdout.split()
    assert (has, "sample_linf" in names, "SmoothedClassifier" in names) == ("False", True, False)
    assert found.stdout.split() == ["True", *names, "SmoothedClassifier", "prefetch_noise"]


def test_importing_the_package_imports_neither_torch_nor_the_command_line():
    heavy = "{'torch', 'scipy', 'matplotlib', 'sklearn', 'typer', 'rich'}"
    code = f"import rsmooth, sys; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
