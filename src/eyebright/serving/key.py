"""`Key`: the secret that requests must carry, where there is one."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

from eyebright.core.errors import ServingError
from eyebright.serving.problems import Problem

HEADER = "X-API-Key"
_FEWEST = 16  # characters: shorter ones can be guessed over a network
_HOW_TO = f"Send the key in the header {HEADER}, or as Authorization: Bearer KEY."


class Key:
    """Checks requests; without a secret it lets all of them through.

    Parameters
    ----------
    secret : None or the key.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret

    @classmethod
    def read(cls, path: Path | None) -> Key:
        """The key in a file, without the white space around it; no key without a file.

        Raises
        ------
        ServingError : the file cannot be read, or its key is too short.
        """
        if path is None:
            return cls()
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            raise ServingError(f"the key file {path} cannot be read: {error.strerror}.", "Check the path.") from error
        if len(secret) < _FEWEST:
            raise ServingError(
                f"the key in {path} has {len(secret)} characters; it needs {_FEWEST} or more.",
                f"Make one: openssl rand -hex 32 > {path}",
            )
        return cls(secret)

    @property
    def is_set(self) -> bool:
        """Whether requests need a key."""
        return self._secret is not None

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request through by its headers (names in lower case), in a time that tells nothing about the key.

        Raises
        ------
        Problem : it carries no key, or another one.
        """
        if self._secret is None:
            return
        given = headers.get(HEADER.lower().encode())
        if given is None:
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            given = token.strip() if scheme.lower() == b"bearer" else None
        if given is None or not hmac.compare_digest(given, self._secret):
            cause = "the request carries no key." if given is None else "the key is not the right one."
            raise Problem("unauthorized", cause, _HOW_TO, ((b"www-authenticate", b"Bearer"),))
