"""What the files for deployment may name: settings of ours and of what we build on, and our metrics."""

from __future__ import annotations

import re

from flux_core.metrics import definitions
from flux_core.provider_settings import ProviderSettings, variable
from flux_core.providers.hosted.registry import VENDORS
from flux_core.settings import Settings

FOREIGN = {
    "AWS_ACCESS_KEY_ID",
    "AWS_ALLOW_HTTP",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "HF_HOME",
    "MPLCONFIGDIR",
}
"""Read by obstore, the Hugging Face hub and matplotlib."""


def settings() -> set[str]:
    """Return the variable of every setting, the providers' included."""
    own = {name.upper() for name in Settings.model_fields}
    given = {variable(vendor, name) for vendor in VENDORS.values() for name in ProviderSettings.model_fields}
    extra = {variable(vendor, name) for vendor in VENDORS.values() for name in vendor.extra_settings}
    return own | given | extra


def metrics() -> dict[str, tuple[str, ...]]:
    """Return the labels of every metric by the name under which it is asked for."""
    found: dict[str, tuple[str, ...]] = {"process_resident_memory_bytes": ()}
    for metric in definitions.every():
        found[metric.name] = metric.labels
        found |= {f"{metric.name}_{part}": (*metric.labels, "le") for part in ("bucket", "count", "sum")}
    return found


def asked_for(query: str) -> dict[str, set[str]]:
    """Return the metrics that a query in PromQL names, each with the labels of its selector."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"\b((?:flux|process)_[a-z0-9_]+)(\{[^}]*\})?", query):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", selector))
    return found


def grouped_by(query: str) -> set[str]:
    """Return the labels by which a query groups, those that Prometheus itself adds left out."""
    groups = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", query)
    return {label.strip() for group in groups for label in group.split(",")} - {"instance", "job", ""}
