"""The container: what linters ask of a Dockerfile, and its steps in a virtual environment, as there is no engine."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest

from tests.serving.bundles import png, write_bundle
from tests.serving.conftest import wait_until

ROOT = Path(__file__).resolve().parents[1]
_OFFLINE = re.compile("NewConnectionError|name resolution|Network is unreachable|from versions: none|timed out")
_PLACE = "/eyebright"  # of the virtual environment in the image


class Step(NamedTuple):
    """An instruction, its continuation lines joined."""

    name: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions of each stage, the first being its FROM."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found: list[list[Step]] = []
    for line in filter(str.strip, lines):
        step = Step(*line.split(maxsplit=1))
        if step.name == "FROM":
            found.append([])
        found[-1].append(step)
    return found


def of(name: str, steps: list[Step]) -> list[str]:
    return [step.rest for step in steps if step.name == name]


def copied(steps: list[Step]) -> list[str]:
    """Files and folders of this repository that a stage copies."""
    return [name for rest in of("COPY", steps) if not rest.startswith("--from") for name in rest.split()[:-1]]


def test_the_base_is_pinned() -> None:
    for steps in stages():
        image = steps[0].rest.split()[0]
        assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", image)


def test_it_runs_as_nobody_in_particular() -> None:
    (user,) = of("USER", stages()[-1])
    assert user not in {"0", "root"}
    assert re.fullmatch(r"\d+:\d+", user)  # a number, which an orchestrator can compare with 0


def test_it_says_how_it_is() -> None:
    (check,) = of("HEALTHCHECK", stages()[-1])
    assert {"--interval", "--timeout", "--start-period"} <= set(re.findall(r"--[a-z-]+(?==)", check))
    command = json.loads(check[check.index("[") :])
    (port,) = of("EXPOSE", stages()[-1])
    assert f":{port}/healthz" in command[-1]


def test_signals_reach_the_server() -> None:
    for name in ("ENTRYPOINT", "CMD"):
        (command,) = of(name, stages()[-1])
        assert isinstance(json.loads(command), list)  # without a shell between


def test_nothing_is_left_over() -> None:
    for rest in (rest for steps in stages() for rest in of("RUN", steps)):
        assert not re.search(r"apt|sudo|curl|wget|latest", rest)
        assert rest.count("pip install") == rest.count("--no-cache-dir")
    assert not any(of("ADD", steps) for steps in stages())
    assert [step.name for step in stages()[-1]].count("RUN") == 0  # pip and compilers stay in the first stage


def test_it_gets_the_files_that_it_copies_and_no_others() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert allowed == {name for steps in stages() for name in copied(steps)}
    assert all((ROOT / name).exists() for name in allowed)
    assert any(fnmatch.fnmatch("src/__pycache__", rule) for rule in rules[1:])


def test_what_it_installs_is_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    serving = set(project["optional-dependencies"]["serve"])
    lines = (ROOT / "serve-requirements.txt").read_text(encoding="utf-8").splitlines()
    installed = {line for line in lines if not line.startswith("#")}
    assert serving <= installed <= serving | set(project["dependencies"])
    assert not any(line.startswith("torch") for line in installed)


def build(place: Path, work: Path) -> None:
    """Do what the first stage does, with `place` for the folder of the virtual environment."""
    work.mkdir()
    for step in stages()[0]:
        if step.name == "COPY":
            *names, target = step.rest.split()
            for name in names:
                source, goal = ROOT / name, work / target
                if source.is_dir():
                    shutil.copytree(source, goal, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, goal)
        elif step.name == "RUN":
            command = step.rest.replace(_PLACE, str(place)).replace("python -m", f"{sys.executable} -m")
            ran = subprocess.run(command, shell=True, cwd=work, capture_output=True, text=True, check=False)  # noqa: S602
            if ran.returncode and _OFFLINE.search(ran.stdout + ran.stderr):
                pytest.skip(f"pip reaches no package index: {ran.stderr.strip()[-200:]}")
            assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_its_steps_give_a_server_without_torch(tmp_path: Path) -> None:
    place = tmp_path / "venv"
    build(place, tmp_path / "work")
    python = place / "bin" / "python"
    listed = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True).stdout
    assert "torch" not in {package["name"] for package in json.loads(listed)}
    bundle = write_bundle(tmp_path / "bundle", extras=True)

    final = stages()[-1]
    entry = json.loads(of("ENTRYPOINT", final)[0])
    command = [str(place / "bin" / entry[0]), *entry[1:], str(bundle), "--host", "127.0.0.1", "--port", "0"]
    environment = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), server.stderr and server.stderr.read()
            check = json.loads(re.sub(r"^[^[]*", "", of("HEALTHCHECK", final)[0]))
            healthy = [str(python), *check[1:-1], check[-1].replace("http://127.0.0.1:8000", url)]
            wait_until(lambda: subprocess.run(healthy, capture_output=True, check=False).returncode == 0)
            said = httpx.post(f"{url}/predict", content=png("light"), headers={"content-type": "image/png"}).json()
            assert said["images"][0]["label"] == "light"
            explained = httpx.post(f"{url}/explain", content=png("light"), headers={"content-type": "image/png"})
            assert explained.status_code == 200
            assert "<title>Eyebright" in httpx.get(f"{url}/").text
            assert httpx.get(f"{url}/main.js").status_code == 200
            server.terminate()
            assert server.wait(30) in {0, -signal.SIGTERM}  # uvicorn drains, then ends as the signal wanted
        finally:
            server.kill()
