"""Dashboard, alerts and scaling ask for metrics that there are."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml

from tests.deployment.dockerfile import ROOT
from tests.deployment.known import asked_for, grouped_by, metrics

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "flux-bot.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
SCALING = yaml.safe_load((ROOT / "deploy/kubernetes/scaling.yaml").read_text())
QUERIES = [
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
    *(alert["expr"] for alert in ALERTS),
    *(trigger["metadata"]["query"] for trigger in SCALING["spec"]["triggers"]),
]


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_can_be_read(query: str) -> None:
    promql_parser.parse(query.replace("$__rate_interval", "1m"))


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_asks_for_what_is_told(query: str) -> None:
    known = metrics()
    asked = asked_for(query)
    assert asked
    for name, labels in asked.items():
        assert name in known
        assert labels <= set(known[name])
    assert grouped_by(query) <= {label for name in asked for label in known[name]}


def test_each_legend_names_labels_that_are_left() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            aggregated = re.match(r"[^{]*\b(sum|max|min)\b", target["expr"]) is not None
            left = set(re.findall(r"\w+", " ".join(re.findall(r"\bby\s*\(([^)]*)\)", target["expr"]))))
            assert not aggregated or shown <= left, panel["title"]


def test_the_dashboard_reads_from_the_source_that_is_provisioned() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {source["uid"]}
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/flux.yaml").read_text())["providers"]
    mounts = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts


def test_panels_lie_side_by_side() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_each_alert_says_what_is_the_matter() -> None:
    # Prometheus takes no file with another word in it, and then no other file either.
    assert {word for alert in ALERTS for word in alert} == {"alert", "expr", "for", "annotations"}
    assert all(list(alert["annotations"]) == ["summary"] for alert in ALERTS), "a comma in it wants quotes around it"
    assert all(alert["annotations"]["summary"] and alert["for"] for alert in ALERTS)
    explained = (ROOT / "docs" / "operations.md").read_text()
    assert [alert["alert"] for alert in ALERTS if f"`{alert['alert']}`" not in explained] == []
