"""The example manifests: valid for Kubernetes, and of one mind with the settings and the images."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from flux_core.settings import Settings
from flux_core.worker.process import STOP_SECONDS
from tests.deployment.dockerfile import ROOT, STAGES, environment, instructions
from tests.deployment.known import FOREIGN, settings

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RESOURCES: list[dict[str, Any]] = [
    resource for name in KUSTOMIZATION["resources"] for resource in yaml.safe_load_all((FOLDER / name).read_text())
]
DEPLOYMENTS = {one["metadata"]["name"]: one for one in RESOURCES if one["kind"] in ("Deployment", "StatefulSet")}
SCALING = next(one for one in RESOURCES if one["kind"] == "ScaledObject")
IDS = [f"{one['kind']} {one['metadata']['name']}" for one in RESOURCES]


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("resource", [one for one in RESOURCES if one is not SCALING], ids=IDS[: len(IDS) - 1])
def test_each_resource_is_valid(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_the_validator_would_say_so() -> None:
    wrong = next(yaml.safe_load_all((FOLDER / "bot.yaml").read_text()))
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_used() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}
    images = {container["image"] for name in DEPLOYMENTS for container in pod(name)["containers"]}
    assert images == {image["name"] for image in KUSTOMIZATION["images"]}


@pytest.mark.parametrize("name", list(DEPLOYMENTS))
def test_each_process_is_looked_after(name: str) -> None:
    [container] = pod(name)["containers"]
    [port] = container["ports"]
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/healthz"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    probes = [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert set(probes) == {port["name"]}
    assert environment(instructions(name, STAGES))["METRICS_PORT"] == str(port["containerPort"])


@pytest.mark.parametrize("name", list(DEPLOYMENTS))
def test_each_process_may_do_little(name: str) -> None:
    [container] = pod(name)["containers"]
    user = next(rest for word, rest in STAGES["runtime"].lines if word == "USER")
    assert pod(name)["securityContext"]["runAsUser"] == int(user)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_worker_is_not_killed_while_it_ends() -> None:
    assert pod("worker")["terminationGracePeriodSeconds"] > 3 * STOP_SECONDS + 20
    assert pod("bot")["terminationGracePeriodSeconds"] > 2 * STOP_SECONDS


def test_a_worker_has_a_card_and_a_bot_has_none() -> None:
    def cards(name: str) -> object:
        return pod(name)["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")

    assert (cards("worker"), cards("bot")) == (1, None)


def test_settings_exist_and_secrets_are_referred_to() -> None:
    config = next(one for one in RESOURCES if one["kind"] == "ConfigMap")
    assert set(config["data"]) <= settings() | FOREIGN
    assert not [one for one in RESOURCES if one["kind"] == "Secret"]
    assert not [name for name in config["data"] if "TOKEN" in name or "KEY" in name or name == "DATABASE_URL"]
    for name in DEPLOYMENTS:
        [container] = pod(name)["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "flux-bot"}}, {"secretRef": {"name": "flux-bot"}}]
    assert pod("worker")["containers"][0]["env"] == [{"name": "DISCORD_TOKEN", "value": ""}]


def test_the_bots_keep_every_shard_once() -> None:
    [container] = pod("bot")["containers"]
    given = {one["name"].lower(): one["value"] for one in container["env"]}
    settings_of_bots = Settings(**given, _env_file=None)
    replicas = DEPLOYMENTS["bot"]["spec"]["replicas"]
    kept = [settings_of_bots.kept_shards(f"bot-{number}") or () for number in range(replicas)]
    assert [id for ids in kept for id in ids] == list(range(settings_of_bots.shard_count))
    assert DEPLOYMENTS["bot"]["kind"] == "StatefulSet", "its pods have numbers, and one ends before the next begins"
    [service] = [one for one in RESOURCES if one["kind"] == "Service"]
    assert DEPLOYMENTS["bot"]["spec"]["serviceName"] == service["metadata"]["name"]


def test_nodes_can_be_emptied_and_take_one_pod_of_a_kind_at_a_time() -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in RESOURCES if one["kind"] == "PodDisruptionBudget"}
    assert set(budgets) == set(DEPLOYMENTS)
    for name, spec in budgets.items():
        assert spec["selector"] == DEPLOYMENTS[name]["spec"]["selector"]
        assert (spec["maxUnavailable"], "minAvailable" in spec) == (1, False), "one alone may be moved, too"
        assert DEPLOYMENTS[name]["spec"]["template"]["metadata"]["labels"] == spec["selector"]["matchLabels"]


def test_what_is_scaled_is_there() -> None:
    spec = SCALING["spec"]
    assert spec["scaleTargetRef"]["name"] in DEPLOYMENTS
    assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
    assert {"serverAddress", "query", "threshold"} <= set(spec["triggers"][0]["metadata"])
