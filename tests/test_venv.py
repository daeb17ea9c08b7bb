"""Tests of the virtual environments, with a pip that is made up."""

import sys
from pathlib import Path

import pytest

import settings
import venv
from ui import OverlayError


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """What is run to make an environment, instead of running it."""
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    class Commands(list):
        environments = []

    seen = Commands()

    def run_logged(command, log, *, env, **options):
        seen.append(list(map(str, command)))
        seen.environments.append(env)
        (Path(log).with_suffix("")).mkdir(parents=True, exist_ok=True)

    (tmp_path / "build" / "venvs").mkdir(parents=True)
    monkeypatch.setattr(venv, "run_logged", run_logged)
    return seen


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("thing==1.0\n")
    return path


@pytest.fixture
def ensure(requirements):
    return lambda python=sys.executable: venv.ensure_venv(
        "made-up", python, requirements)


def test_packages_are_installed_as_wheels_only_and_once(commands, ensure):
    python = ensure()
    make, install = commands
    assert make[1:3] == ["-m", "venv"]
    assert install[:4] == [str(python), "-m", "pip", "install"]
    assert install[install.index("--only-binary") + 1] == ":all:"
    ensure()
    assert len(commands) == 2


def test_other_pins_or_another_interpreter_ask_for_a_new_environment(
        commands, ensure, requirements, tmp_path):
    leftover = ensure().parent.parent / "leftover"
    leftover.touch()
    requirements.write_text("thing==2.0\n")
    ensure()
    assert len(commands) == 4
    assert not leftover.exists()
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    ensure(other)
    ensure(other)
    assert len(commands) == 6
    assert commands[4][0] == str(other)


def test_environment_whose_making_was_interrupted_is_made_anew(
        commands, ensure, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(venv, "run_logged", interrupted)
        ensure()
    ensure()
    assert len(commands) == 2


def test_variables_of_python_change_nothing(commands, ensure, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    ensure()
    assert len(commands) == 2
    assert not [name for env in commands.environments for name in env
                if name.startswith("PYTHON")]


def test_offline_nobody_is_asked_for_packages(commands, ensure):
    settings.save_settings(settings.Settings(version="3.99.0", offline=True))
    with pytest.raises(OverlayError) as caught:
        ensure()
    assert str(caught.value) == ("the virtual environment made-up needs packages"
                                 " from PyPI, and --offline was given")
    assert not commands


def test_offline_an_environment_that_is_there_is_used(commands, ensure):
    python = ensure()
    settings.save_settings(settings.Settings(version="3.99.0", offline=True))
    assert ensure() == python
    assert len(commands) == 2
