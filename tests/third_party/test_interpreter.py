"""What users expect of an interpreter: venv, pip, wheels, modules."""

import io
import json
import subprocess
import tarfile

import pytest
from surroundings import OUTER_BOUND, environment


def output_of(python, *arguments, **popen):
    done = subprocess.run(
        [python, *arguments], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=OUTER_BOUND, env=environment(), **popen)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("module", [
    "bz2", "ctypes", "curses", "curses.panel", "dbm", "dbm.sqlite3",
    "ensurepip", "lzma", "readline", "sqlite3", "ssl", "uuid", "venv", "zlib",
    "_uuid", "_hashlib", "_decimal", "_asyncio", "_elementtree"])
def test_module_is_there(built_python, module):
    output_of(built_python, "-c", f"import {module}")


def test_venv_brings_pip_along(built_python, tmp_path):
    output_of(built_python, "-m", "venv", tmp_path / "new")
    output = output_of(
        tmp_path / "new" / "bin" / "python", "-m", "pip", "list",
        "--format=json", "--disable-pip-version-check")
    assert [package["name"] for package in json.loads(output)] == ["pip"]


# Extension modules of the installed wheels, written in C, Cython and Rust.
@pytest.mark.parametrize("module", [
    "aiohttp._http_parser", "asyncpg.protocol.protocol",
    "httptools.parser.parser", "multidict._multidict", "uvloop.loop",
    "yarl._quoting_c"])
def test_extension_module_of_a_cp313_wheel_is_used(venv_python, module):
    file = output_of(venv_python, "-c", f"import {module} as module\n"
                                        "print(module.__file__)")
    assert ".cpython-313-" in file and file.endswith(".so\n")


SETUP = """\
from setuptools import Extension, setup
setup(name="overlay-sample", version="1.0",
      ext_modules=[Extension("overlay_sample", ["sample.c"])])
"""
SAMPLE = """\
#include <Python.h>

static PyObject *
answer(PyObject *module, PyObject *unused)
{
    return PyLong_FromLong(PY_VERSION_HEX >> 16);
}

static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "overlay_sample",
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit_overlay_sample(void)
{
    return PyModuleDef_Init(&definition);
}
"""


def make_sdist(path):
    files = {"setup.py": SETUP, "sample.c": SAMPLE, "PKG-INFO":
             "Metadata-Version: 2.1\nName: overlay-sample\nVersion: 1.0\n"}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"overlay_sample-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


def test_pip_compiles_an_extension_module_from_an_sdist(venv_python, tmp_path):
    sdist = tmp_path / "overlay_sample-1.0.tar.gz"
    make_sdist(sdist)
    target = tmp_path / "installed"
    output_of(venv_python, "-m", "pip", "install", "--no-build-isolation",
              "--no-deps", "--no-index", "--target", target, sdist)
    version = output_of(
        venv_python, "-c", "import sys, overlay_sample\n"
        "print(overlay_sample.answer() == sys.hexversion >> 16)",
        cwd=target)
    assert version == "True\n"
    [built] = target.glob("*.so")
    assert built.name.startswith("overlay_sample.cpython-313-")
