"""From what a page shows to HTML: templates, style sheet, scripts and the policy that lets nothing else in."""

from __future__ import annotations

import abc
import base64
import functools
import hashlib
import shlex
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyebright.core.errors import MissingExtraError
from eyebright.core.files import write_text
from eyebright.reporting import numbers, page_data

if TYPE_CHECKING:
    from jinja2 import Environment

# In this order; each may use what stands in those before it.
_SCRIPTS = ("theme", "data", "images", "detail", "gallery", "copies", "matrix", "threshold", "embedding", "marks")
_FILTERS = (
    numbers.percent,
    numbers.number,
    numbers.count,
    numbers.points,
    numbers.signed,
    numbers.fall_range,
    numbers.range_of,
    numbers.words,
    numbers.chance,
)


class Page(abc.ABC):
    """What one page shows."""

    @abc.abstractmethod
    def html(self) -> str:
        """The page.

        Raises
        ------
        MissingExtraError : Jinja2 is not installed.
        """

    def write(self, path: str | Path) -> Path:
        """Write the page to `path`, atomically.

        Raises
        ------
        MissingExtraError : Jinja2 is not installed.
        StorageError : the disk refuses.
        """
        written = Path(path)
        write_text(written, self.html())
        return written


def render(template: str, content: Mapping[str, Any], script_data: Mapping[str, Any]) -> str:
    """A page.

    Parameters
    ----------
    template : its file in the folder `page`.
    content : what the template names; charts are HTML already, all else is escaped.
    script_data : what the page's script reads; empty where there is nothing to click on.

    Raises
    ------
    MissingExtraError : Jinja2 is not installed.
    """
    script = "".join(_part(f"script/{name}.js") for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();'
    # The browser may run this one script and no other, whatever a class or a file is called.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _templates()
        .get_template(template)
        .render(
            style=_part("style.css"),
            script=script,
            script_digest=digest,
            script_data=page_data.embedded(script_data),
            **content,
        )
    )


@functools.cache
def _templates() -> Environment:
    """The folder `page`, compiled once a process."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "report") from error

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eyebright.reporting", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {show.__name__: show for show in _FILTERS} | {"shell": shlex.quote}
    return environment


def _part(name: str) -> str:
    return resources.files("eyebright.reporting").joinpath("page").joinpath(name).read_text(encoding="utf-8")
