"""The targets that a user of the interpreter asks for."""

import os
import shlex
import subprocess
import sys

import build
import layout
from settings import load_settings
from ui import OverlayError, step


def main(arguments):
    [target] = arguments
    return _TARGETS[target]()


def _all():
    python = build.build()
    print(f"built: {python}")
    subprocess.run([python, "-E", "-VV"], check=True)
    return 0


def _demo():
    python = build.build()
    examples = layout.ROOT / "examples"
    stock = build.build("stock")
    commands = [[python, examples / "tls_in_tls.py", "--compare", stock],
                [python, examples / "get_url.py"]]
    # No bytecode, as the examples' folder is the checkout's.
    env = build.build_environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    for command in commands:
        done = subprocess.run(command, env=env)
        if done.returncode:
            return done.returncode
    return 0


def _bench():
    try:
        rows = shlex.split(os.environ.get("ROWS", ""))
    except ValueError as error:
        raise OverlayError(f"ROWS={os.environ['ROWS']}: {error}") from None
    sys.path.insert(0, str(layout.ROOT / "benchmarks"))
    import run
    # Here, too, as the builds before it take minutes.
    run.select(" ".join(rows))
    ours, stock = build.build(), build.build("stock")
    return run.main(["--stock", str(stock), "--ours", str(ours), *rows])


def _docs():
    import docs
    return docs.main([])


def _stubs():
    import stubs
    return stubs.main([])


def _install():
    build.install(load_settings())
    return 0


def _clean():
    build.clean()
    return 0


_TARGETS = {"all": _all, "demo": _demo, "bench": _bench, "docs": _docs,
            "stubs": _stubs, "install": _install, "clean": _clean}
