"""compose.yaml: valid, and of one mind with the settings, the images and itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flux_core.worker.process import STOP_SECONDS
from tests.deployment.dockerfile import ROOT, STAGES
from tests.deployment.known import FOREIGN, settings

FILES = [ROOT / "compose.yaml", ROOT / "compose.gpu.yaml"]
HOUSE: dict[str, Any] = yaml.safe_load(FILES[0].read_text())
SERVICES: dict[str, dict[str, Any]] = HOUSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def test_the_files_are_what_the_compose_specification_allows() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *FILES]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_the_house_is_complete() -> None:
    assert set(SERVICES) == {"bot", "worker", "hosted", "postgres", "pictures", "prometheus", "grafana"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", OURS)
def test_our_services_set_what_is_read(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= settings() | FOREIGN
    assert SERVICES[name]["build"]["target"] in STAGES


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_do_little_and_get_time_to_end(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 3 * STOP_SECONDS + 20
    assert bool(service["environment"]["DISCORD_TOKEN"]) == (name == "bot"), "the token is the bot's alone"


def test_whatever_is_waited_for_tells_when_it_is_there() -> None:
    waited = {other for name in OURS for other in SERVICES[name]["depends_on"]}
    assert waited == {"postgres", "pictures"}
    assert all("healthcheck" in SERVICES[name] for name in waited)


def test_addresses_are_those_of_services() -> None:
    given = SERVICES["bot"]["environment"]
    assert re.search(r"@(\w+)/", given["DATABASE_URL"])[1] == "postgres"  # type: ignore[index]
    assert given["AWS_ENDPOINT_URL"].split("/")[2].split(":")[0] == "pictures"
    assert given["PICTURE_STORE"] == f"s3://{SERVICES['pictures']['environment']['S3_BUCKET']}"
    asked = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    told = [found for job in asked for found in job["dns_sd_configs"]]
    assert sorted(name for found in told for name in found["names"]) == sorted(OURS)
    assert {str(found["port"]) for found in told} == {given["METRICS_PORT"]}


def test_nothing_is_open_to_others_than_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    reach = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert reach["postgres"] == reach["pictures"] == {"house"}
    assert reach["prometheus"] == reach["grafana"] == {"watch"}


def test_every_secret_has_to_be_given() -> None:
    secret = re.compile(r"PASSWORD|SECRET|TOKEN")
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not secret.search(name) or value == "" or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


def test_images_of_others_are_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    assert all(re.fullmatch(r"[\w./-]+:v?\d[\w.]*", image) for image in images)


def test_mounted_files_and_volumes_are_there() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(HOUSE["volumes"])
    assert all((ROOT / mount).is_dir() for mount in mounts if mount.startswith("."))
