"""The address of a PostgreSQL server, in the words in which every other program takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.engine import URL

from flux_core.errors import ConfigurationError

PLACE = frozenset({"host", "port", "user", "password", "passfile", "target_session_attrs"})
"""Words that say where the server is, which of several is meant, and who asks."""
FILES = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS = FILES | {"sslmode", "sslnegotiation"}
"""Words that say how the connection is kept private: https://www.postgresql.org/docs/18/libpq-connect.html"""


def taken_apart(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return the address for SQLAlchemy, and what asyncpg is told besides.

    asyncpg reads the words about TLS from addresses of its own form only. Raises ConfigurationError for words that it
    would not know, or take for a setting of the server, and for certificates that are not there.
    """
    said = {"sslmode" if word == "ssl" else word: value for word, value in url.query.items()}
    if unknown := sorted(said.keys() - PLACE - TLS):
        raise ConfigurationError(
            f"DATABASE_URL asks for something that is not known here: {', '.join(unknown)}. What it may ask for: "
            f"{', '.join(sorted(PLACE | TLS))}."
        )
    if (mode := said.get("sslmode", MODES[0])) not in MODES:
        raise ConfigurationError(f"DATABASE_URL has sslmode={mode}; it may be {', '.join(MODES)}.")
    for word in sorted(FILES & said.keys()):
        if not Path(str(said[word])).is_file():
            raise ConfigurationError(f"DATABASE_URL has {word}={said[word]}, and there is no such file.")
    private = {word: value for word, value in said.items() if word in TLS}
    place = {word: value for word, value in said.items() if word in PLACE}
    address = url.set(drivername="postgresql+asyncpg", query=place)
    return address, {"dsn": f"postgresql://?{urlencode(private, doseq=True)}"} if private else {}
