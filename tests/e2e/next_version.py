"""Versions of the program that are still to come: copies of this one with a migration more, made for a test."""

from __future__ import annotations

import shutil
from pathlib import Path

from flux_core.database import schema
from flux_core.tiny.definition import WEIGHTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("bot", "flux_core")

_MIGRATION = '''"""A version of a test's own."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
{work}
'''
_EXPAND = """\
    op.add_column("jobs", sa.Column("mood", sa.Text(), server_default="calm", nullable=False))
    op.create_table("moods", sa.Column("name", sa.Text(), primary_key=True))
"""
_CONTRACT = """\
    op.drop_column("workers", "links")
    op.execute("UPDATE program SET oldest_revision = '{revision}'")
"""
_FIELD = '    mood: str | None = "calm"\n'
_BEFORE_FIELD = "    @property\n    def operation"


def expanded(folder: Path) -> Path:
    """Make the next version in ``folder``: a column, a table, and an entry in every order; return where it is."""
    _copy(ROOT, folder)
    _add_migration(folder, 1, _EXPAND)
    tables = folder / "flux_core" / "database" / "tables.py"
    tables.write_text(
        tables.read_text()
        + '\njobs.append_column(sa.Column("mood", sa.Text, nullable=False, server_default="calm"))\n'
        + 'moods = sa.Table("moods", metadata, sa.Column("name", sa.Text, primary_key=True))\n'
    )
    generation = folder / "flux_core" / "generation.py"
    text = generation.read_text()
    assert _BEFORE_FIELD in text
    generation.write_text(text.replace(_BEFORE_FIELD, f"{_FIELD}\n{_BEFORE_FIELD}", 1))
    return folder


def contracted(expanded: Path, folder: Path) -> Path:
    """Make in ``folder`` the version after ``expanded``: it takes away what this one uses; return where it is."""
    _copy(expanded, folder)
    _add_migration(folder, 2, _CONTRACT)
    return folder


def _copy(source: Path, folder: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(source / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", WEIGHTS.name))


def revision_after(steps: int) -> str:
    """Return the revision that comes so many steps after this version's."""
    return f"{int(schema.head()) + steps:04d}"


def _add_migration(folder: Path, steps: int, work: str) -> None:
    revision, before = revision_after(steps), revision_after(steps - 1)
    text = _MIGRATION.format(revision=revision, before=before, work=work.replace("{revision}", revision))
    (folder / "flux_core" / "database" / "migrations" / "versions" / f"{revision}_to_come.py").write_text(text)
