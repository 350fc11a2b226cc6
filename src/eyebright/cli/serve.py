"""`eyebright serve`: a model over HTTP, with a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyebright.cli.terminal import output


def serve(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="The first answers by default.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the key that requests must carry.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    lanes: Annotated[int | None, typer.Option(min=1, help="Threads of a process that infer; default: cores.")] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Images that share an inference.")] = 32,
    max_queue: Annotated[int, typer.Option(min=1, help="Images that may wait; more are answered 429.")] = 1024,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one request.")] = 32,
    watch: Annotated[bool, typer.Option(help="Take up a bundle that has changed by itself.")] = True,
) -> None:
    """Answer requests with what eyebright export wrote, until Ctrl-C. The root is a web page, /openapi.json the API.

    \b
    eyebright serve BUNDLE
    curl -F image=@photo.jpg 'http://127.0.0.1:8000/predict?top=3'
    eyebright serve cats/ dogs.onnx --host 0.0.0.0 --api-key-file key.txt --workers 2
    """
    from eyebright.serving.server import run
    from eyebright.serving.settings import MEBIBYTE, ServerSettings

    standard = ServerSettings()
    settings = ServerSettings(
        host=host,
        port=port,
        workers=workers,
        lanes=lanes,
        max_batch=max_batch,
        max_queue=max_queue,
        max_body=max_megabytes * MEBIBYTE,
        watch_seconds=standard.watch_seconds if watch else 0,
    )
    try:
        run(bundles, settings, key_file=api_key_file, listening=lambda url: output().print(url))
    except SystemExit as stopped:  # the server has said what is wrong
        raise typer.Exit(2) from stopped
