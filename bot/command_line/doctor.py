"""Look at an installation the way an operator would, and say what to do about each thing that is wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection, make_url

from bot.command_line import doctor_shards
from bot.command_line.doctor_card import examine_card
from bot.command_line.findings import Finding
from bot.command_line.house import local_count
from flux_core.bootstrap import configured_vendors, open_database
from flux_core.database import pictures, policies, workers
from flux_core.database.engine import CLOCKS_APART, clocks_apart
from flux_core.database.workers import WorkerInfo
from flux_core.errors import FluxError, ProviderBusy, ProviderClosed, StorageUnavailable
from flux_core.images.store import NO_BUCKET, PictureStore
from flux_core.logs import mask, masking
from flux_core.models import ModelSpec
from flux_core.moderation.output import counted_labels
from flux_core.provider_settings import variable, vendors
from flux_core.providers.hosted.vendor import Vendor
from flux_core.settings import Settings

PROBE_KEY = "doctor/probe.txt"
DENIED = ("Forbidden", "Unauthorized", "privileges")
"""What is in the answer of a bucket that knows us not, or not well enough."""
SECONDS = 10.0
PROVIDER_SECONDS = 30.0
INVITE_PERMISSIONS = (1 << 10) | (1 << 11) | (1 << 14) | (1 << 15) | (1 << 38)
"""View Channel, Send Messages, Embed Links, Attach Files, Send Messages in Threads (Discord's permission bits)."""


REFUSED = Finding(
    "Discord",
    False,
    "The token was not accepted. Developer Portal → your application → Bot → Reset Token, "
    "then put the new one into DISCORD_TOKEN.",
)


async def examine(settings: Settings, console: Console) -> bool:
    """Print a finding for every part of the installation; return whether all are well."""
    findings: list[Finding] = []
    hide = masking(settings)
    for check in (_token, _database, _pictures, _models, _card, _output_check, _providers, _workers, _bots):
        with console.status("Looking …"):
            findings += await _guarded(check, settings)
    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in findings:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]•[/]"}[finding.well]
        table.add_row(mark, escape(finding.subject), escape(hide(finding.remark)))
    console.print(table, highlight=False)
    return all(finding.well is not False for finding in findings)


async def _guarded(check: Callable[[Settings], Awaitable[list[Finding]]], settings: Settings) -> list[Finding]:
    try:
        return await check(settings)
    except FluxError as error:
        return [Finding(check.__name__.strip("_"), False, str(error))]
    except Exception as error:
        # What nobody foresaw is a finding as well, and no reason to keep the others back.
        return [Finding(check.__name__.strip("_"), False, f"{type(error).__name__}: {error}".partition("\n")[0])]


async def _token(settings: Settings) -> list[Finding]:
    if settings.discord_token is None:
        return [Finding("Discord", None, "DISCORD_TOKEN is not set: `flux-bot run` opens the sandbox.")]
    headers = {"Authorization": f"Bot {settings.discord_token.get_secret_value()}"}
    try:
        async with httpx.AsyncClient(base_url=settings.discord_api_base, headers=headers, timeout=SECONDS) as client:
            answer = await client.get("users/@me")
            gateway = [] if answer.is_error else await doctor_shards.gateway(client, settings)
    except UnicodeEncodeError:
        return [REFUSED]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [
            Finding(
                "Discord",
                False,
                f"{settings.discord_api_base} cannot be reached ({type(error).__name__}). "
                "Check the network and DISCORD_API_BASE.",
            )
        ]
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return [REFUSED]
    if answer.is_error:
        return [Finding("Discord", False, f"Discord answered {answer.status_code}. Try again in a few minutes.")]
    try:
        id, name = answer.json()["id"], answer.json()["username"]
    except (ValueError, KeyError, TypeError):
        return [Finding("Discord", False, f"{settings.discord_api_base} is not Discord's API. Check DISCORD_API_BASE.")]
    invite = (
        f"https://discord.com/oauth2/authorize?client_id={id}"
        f"&scope=bot+applications.commands&permissions={INVITE_PERMISSIONS}"
    )
    return [
        Finding("Discord", True, f"The token belongs to {name}."),
        Finding("Invitation", None, f"To add the bot to a server, open {invite}"),
        *gateway,
    ]


async def _database(settings: Settings) -> list[Finding]:
    problem: StorageUnavailable | None = None
    apart = 0.0
    unreadable: Mapping[int, Sequence[str]] = {}
    try:
        async with open_database(settings) as database:
            await database.write(_write_and_take_back)
            apart = await database.apart()
            unreadable = await database.read(policies.unreadable)
    except StorageUnavailable as error:
        problem = error
    address = make_url(settings.database).set(query={})
    if problem is None:
        found = [Finding("Database", True, address.render_as_string())]
        if abs(apart) > CLOCKS_APART:
            found.append(Finding("Clock", False, clocks_apart(apart)))
        return [*found, *map(_shut, unreadable.items())]
    if address.get_backend_name() == "sqlite":
        advice = "check that its disk has room, that you may write there, and that nothing else holds it"
    else:
        advice = "check that the server runs, that the network leads there, and DATABASE_URL"
    return [_unusable("Database", address.render_as_string(), advice, problem)]


def _shut(unreadable: tuple[int, Sequence[str]]) -> Finding:
    guild_id, problems = unreadable
    return Finding(
        f"Server {guild_id}",
        False,
        f"What it has decided cannot be read ({'; '.join(problems)}), so nothing is drawn there. "
        "Its moderators replace it with /admin policy import, or take it back with /admin policy reset.",
    )


def _write_and_take_back(connection: Connection) -> None:
    pictures.discard(connection, [PROBE_KEY], time.time())
    pictures.swept(connection, [PROBE_KEY])


async def _pictures(settings: Settings) -> list[Finding]:
    place = _without_password(settings.pictures)
    store = PictureStore(settings.pictures)
    try:
        await store.put(PROBE_KEY, b"probe", "text/plain")
        read = await store.get(PROBE_KEY)
        await store.delete([PROBE_KEY])
    except StorageUnavailable as error:
        at_home = "://" not in place
        advice = "check that its disk has room and you may write there" if at_home else _bucket_advice(error)
        return [_unusable("Picture store", place, advice, error)]
    if read != b"probe":
        return [Finding("Picture store", False, f"{place} gave back other bytes.")]
    return [Finding("Picture store", True, place)]


def _bucket_advice(error: StorageUnavailable) -> str:
    """Return what to do about what a bucket answered, if it did."""
    if any(code in str(error.__cause__) for code in NO_BUCKET):  # below the line that we tell
        return "make the bucket, or correct PICTURE_STORE"
    if any(word in str(error) for word in DENIED):
        return (
            "check its keys, which the environment names and not .env, and that they may read, write and delete there"
        )
    return "check that it runs, that the network leads there, and its address"


def _unusable(subject: str, place: str, advice: str, error: StorageUnavailable) -> Finding:
    said = str(error).removeprefix("The database does not answer: ")
    said = said.partition(": <?xml")[0].rstrip(". ")
    return Finding(subject, False, f"{place} cannot be used: {advice} ({said}).")


async def _models(settings: Settings) -> list[Finding]:
    drawn_by: dict[str, list[str]] = {}
    for vendor in configured_vendors(settings).values():
        for model in vendor.offers:
            drawn_by.setdefault(model, []).append(vendor.title)
    return [
        _model(spec, drawn_by.get(spec.id, []), default=spec is settings.catalogue.default)
        for spec in settings.catalogue
    ]


def _model(spec: ModelSpec, drawn_by: Sequence[str], *, default: bool) -> Finding:
    if spec.source is None:
        where = f"hosted by {', '.join(drawn_by)}" if drawn_by else "drawn by workers elsewhere"
        return Finding(spec.id, True, f"{where}; licence: {spec.licence}" + ("; default" if default else ""))
    source = spec.source
    note = f"{source}; licence: {spec.licence}" + ("; default" if default else "")
    folder = Path(source).expanduser()
    if folder.is_dir():
        if (folder / "model_index.json").is_file():
            return Finding(spec.id, True, note)
        return Finding(spec.id, False, f"{source} has no model_index.json: it is no folder in diffusers format.")
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return Finding(spec.id, None, f"{note}; a hub id: downloaded by the worker that first needs it.")
    return Finding(spec.id, False, f"There is no folder {source}.")


async def _card(settings: Settings) -> list[Finding]:
    if not local_count(settings):
        return []
    return [Finding(*told) for told in await asyncio.to_thread(lambda: list(examine_card(settings)))]


async def _output_check(settings: Settings) -> list[Finding]:
    return [Finding("Output check", *_classifier(settings))]


def _classifier(settings: Settings) -> tuple[bool | None, str]:
    """Return whether all is well with what looks at drawn pictures, and what to know; raises ConfigurationError."""
    model = settings.output_check_model
    if not model:
        off = "Off: nothing looks at drawn pictures but the hosted providers' own filters."
        return None, f"{off} OUTPUT_CHECK_MODEL names an image classifier."
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if model.count("/") == 1 and not model.startswith((".", "/", "~")):
            return None, f"{model}; a hub id: downloaded with the first picture."
        return False, f"There is no folder {model}; check OUTPUT_CHECK_MODEL."
    try:
        known = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"].values()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False, f"{model} has no config.json with labels: it is no image classifier."
    labels = counted_labels(model, [str(label) for label in known], settings.output_check_labels)
    return True, f"{model}; not for everybody: {', '.join(sorted(labels))}"


async def _providers(settings: Settings) -> list[Finding]:
    known = vendors()
    asked = [_provider(vendor, settings) for vendor in configured_vendors(settings).values()]
    findings = list(await asyncio.gather(*asked))
    for name, given in settings.every_provider.items():
        if given.model_fields_set and (missing := given.missing(known[name])):
            findings.append(Finding(known[name].title, None, f"Not in use: {' and '.join(missing)} is not set."))
    if not findings:
        findings.append(
            Finding("Providers", None, "No hosted provider is configured. `flux-bot providers` lists them.")
        )
    return findings


async def _provider(vendor: Vendor, settings: Settings) -> Finding:
    """Ask a vendor for the account, which costs nothing."""
    from flux_core.providers.hosted.http import HttpTransport

    try:
        async with asyncio.timeout(PROVIDER_SECONDS), HttpTransport(vendor) as transport:
            told = await vendor.check(transport)
    except NotImplementedError:
        return Finding(vendor.title, None, "It has no call that costs nothing: the first job will tell.")
    except TimeoutError:
        return Finding(vendor.title, False, f"It did not answer within {PROVIDER_SECONDS:g} seconds. Try again later.")
    except ProviderClosed as error:
        advice = _advice(vendor, str(error.facts.get("reason")))
        return Finding(vendor.title, False, f"{_masked(settings, str(error)).rstrip('.')}. {advice}")
    except ProviderBusy as error:
        return Finding(vendor.title, None, f"{_masked(settings, str(error))}. Try again in a few minutes.")
    except FluxError as error:
        address = variable(type(vendor), "base_url")
        return Finding(vendor.title, False, f"{_masked(settings, str(error))}. Check the network and {address}.")
    given = settings.providers[vendor.name]
    cap = "no cap" if given.daily_cap is None else f"at most ${given.daily_cap:g}"
    return Finding(vendor.title, True, f"{_masked(settings, told).rstrip('.')}; {cap} a day.")


def _advice(vendor: Vendor, reason: str) -> str:
    key = variable(type(vendor), "api_key")
    match reason:
        case "key":
            page = f" Keys are made at {vendor.key_page}" if vendor.key_page else ""
            return f"Put a valid key into {key}.{page}"
        case "credit":
            return f"Top the account up, or take {key} out."
    return f"Check {variable(type(vendor), 'base_url')}."


def _masked(settings: Settings, text: str) -> str:
    """Return a vendor's words without our keys: some quote them."""
    return mask(text, tuple(secret for given in settings.every_provider.values() for secret in given.secrets))


async def _workers(settings: Settings) -> list[Finding]:
    try:
        async with open_database(settings) as database:
            alive = await database.read(workers.alive, time.time() - settings.lease_seconds)
    except StorageUnavailable:
        return [Finding("Workers", None, "The database would know; see there.")]
    findings = [_worker(settings, worker) for worker in alive]
    if not findings:
        findings.append(Finding("Workers", None, "None is running. `flux-bot run` starts them with the bot."))
    if local_count(settings) and find_spec("torch") is None:
        findings.append(
            Finding(
                "torch",
                None,
                "Not installed: workers run elsewhere, or after "
                "pip install -c constraints.txt '.[worker]' in flux-bot's folder.",
            )
        )
    return findings


def _worker(settings: Settings, worker: WorkerInfo) -> Finding:
    said = [f"{worker.host}, {worker.device}: {', '.join(worker.models)}"]
    if worker.closed is not None:
        said.append(f"It takes no jobs: {_masked(settings, worker.closed)}")
    for model, offer in worker.offers.items():
        if offer.leaner is not None:
            said.append(f"Memory ran out: {model} is held as {offer.leaner} for an hour or more.")
    return Finding(f"Worker {worker.id}", True if len(said) == 1 else None, ". ".join(said))


async def _bots(settings: Settings) -> list[Finding]:
    return await doctor_shards.processes(settings)


def _without_password(place: str) -> str:
    scheme, separator, rest = place.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else place
