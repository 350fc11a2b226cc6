"""`eyebright serve`: what it says when it cannot start. tests/serving has it running."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.serving.bundles import write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "shades")


def test_a_bundle_that_is_missing_is_named(command: Command) -> None:
    ran = command("serve", "nothing", "--port", 0)
    assert ran.code == 2
    assert ran.out.startswith("http://127.0.0.1:")
    assert "there is no bundle nothing" in ran.err
    assert "eyebright export" in ran.err


def test_a_port_that_is_taken_is_named(command: Command, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = command("serve", bundle, "--port", port)
    assert ran.code == 2
    assert f"port {port} is in use" in ran.err


def test_a_key_that_can_be_guessed_is_refused(command: Command, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret", encoding="utf-8")
    ran = command("serve", bundle, "--port", 0, "--api-key-file", "key")
    assert ran.code == 2
    assert "needs 16 or more" in ran.err


@pytest.mark.parametrize("option", [("--port", "70000"), ("--workers", "0"), ("--max-batch", "0")])
def test_options_that_do_not_fit_are_refused(command: Command, bundle: Path, option: tuple[str, str]) -> None:
    ran = command("serve", bundle, *option)
    assert ran.code == 2
    assert option[0] in ran.err
