"""Weights from the Hugging Face hub: what is missing is fetched, what broke off goes on, what is damaged comes anew.

Files stay in the hub's own cache (HF_HOME). Their sizes are compared with what the hub says every time, their SHA-256
when they were just fetched, or when somebody asks for a check of everything.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from tqdm import tqdm

from flux_core.errors import ModelUnavailable
from flux_core.models import ModelSpec

log = logging.getLogger(__name__)

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PARTS = ("*/*.json", "*/*.safetensors", "*/*.txt", "*/*.model", "model_index.json")
"""What diffusers loads. The same weights often lie beside it once more, as one file in the root."""
LORA = ("*.safetensors",)
_HUB_FILE = re.compile(rf"(?!\.)({HUB_ID.pattern})/([^*?\[\]]+\.safetensors)")
BRANCH = "main"
SPARE = 1 << 30
"""Bytes that stay free on the disk."""
LISTING_SECONDS = 20.0
"""How long the hub may be silent when it is asked what a repository holds: its client would wait for ever."""


class DownloadBroken(Exception):
    """Say why weights are not there: a sentence for the operator, without the model's name."""


class Tell(Protocol):
    """Learns how far a download is."""

    def __call__(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` bytes are there."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the hub describes it."""

    path: str
    size: int
    sha256: str | None
    """Known of large files."""


def fetch(
    source: str,
    *,
    token: str | None = None,
    parts: tuple[str, ...] = PARTS,
    check_all: bool = False,
    tell: Tell | None = None,
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Return the folder of the repository ``source`` with all of ``parts`` in it, fetching what is missing.

    ``check_all``: compare the SHA-256 of what is there already, too. ``tell`` hears of the progress, which otherwise
    goes into the log. What was fetched whole before is used as it is without a network, and where the hub refuses the
    repository, unless ``check_all`` asks. Raises DownloadBroken for a disk that is too small or a file that arrives
    damaged; else what huggingface_hub raises (``explain``).
    """
    cache = cache or Path(constants.HF_HUB_CACHE)
    try:
        revision, files = _listed(source, token, parts, endpoint)
    except DownloadBroken:
        raise
    except Exception as error:
        # The hub is away. What was fetched whole is good for that; what was not raises LocalEntryNotFoundError.
        refused = isinstance(error, HfHubHTTPError) and not _is_passing(error.response.status_code)
        if refused and check_all:
            raise
        try:
            known = _whole_in_cache(source, parts, endpoint, cache)
        except LocalEntryNotFoundError as nothing:
            if refused:
                raise error from None
            raise nothing from error
        if refused:  # a token that ran out, or a repository that was taken down
            log.warning("The hub refuses %s (%s): what was fetched before is used", source, _first_line(error))
        return known
    missing = [file for file in files if not _is_there(source, file, revision, cache, check_all)]
    if missing:
        wanted = sum(file.size for file in missing)
        _check_disk(source, cache, wanted - sum(_begun(cache, source, file) for file in missing))
        counter = _Counter(wanted, tell or _LogLines(source))
        _unfinished(cache, source).parent.mkdir(parents=True, exist_ok=True)
        _unfinished(cache, source).touch()
        for file in missing:
            _get(source, file, token, endpoint, cache, counter)
    if any(_cached(source, file.path, revision, cache) is None for file in files):
        raise DownloadBroken(f"{source} was changed on the hub while it was fetched; fetch it once more")
    _unfinished(cache, source).unlink(missing_ok=True)
    folder = Path(_cached(source, files[0].path, revision, cache) or cache)
    return folder.parents[files[0].path.count("/")]


def _whole_in_cache(source: str, parts: tuple[str, ...], endpoint: str | None, cache: Path) -> Path:
    """Return the folder of a repository that was fetched whole; raises LocalEntryNotFoundError."""
    known = snapshot_download(
        source, allow_patterns=list(parts), local_files_only=True, cache_dir=cache, endpoint=endpoint
    )
    if _unfinished(cache, source).exists():
        raise LocalEntryNotFoundError(f"Only a part of {source} was fetched so far.")
    return Path(known)


def in_cache(source: str) -> Path | None:
    """Return the folder of a repository in the hub's cache, whole or in part; None where nothing of it is there."""
    try:
        return Path(snapshot_download(source, allow_patterns=["model_index.json"], local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def is_whole(source: str) -> bool:
    """Say whether no download of a repository broke off, as far as the cache knows."""
    return not _unfinished(Path(constants.HF_HUB_CACHE), source).exists()


def _is_passing(status: int) -> bool:
    """Say whether a status of the hub means that it is busy or broken: then what is in the cache has to do."""
    return status >= 500 or status in (408, 429)


def _repository(cache: Path, source: str) -> Path:
    return cache / f"models--{source.replace('/', '--')}"


def _unfinished(cache: Path, source: str) -> Path:
    """Return the file that is there while some of a repository is missing: the cache alone does not tell."""
    return _repository(cache, source) / "unfinished"


def _listed(
    source: str, token: str | None, parts: tuple[str, ...], endpoint: str | None
) -> tuple[str, list[RemoteFile]]:
    """Return the newest revision of a repository and those of its files that match ``parts``."""
    info = HfApi(endpoint=endpoint).model_info(source, files_metadata=True, token=token, timeout=LISTING_SECONDS)
    files = [
        RemoteFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs is not None else None)
        for one in info.siblings or ()
        if any(_matches(one.rfilename, part) for part in parts)
    ]
    if not files:
        raise DownloadBroken(f"{source} holds nothing of {', '.join(parts)}")
    return info.sha or BRANCH, files


def _matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and Path(path).match(pattern)


def _cached(source: str, path: str, revision: str, cache: Path) -> str | None:
    found = try_to_load_from_cache(source, path, cache_dir=cache, revision=revision)
    return found if isinstance(found, str) else None


def _is_there(source: str, file: RemoteFile, revision: str, cache: Path, check_all: bool) -> bool:
    """Say whether a file is in the cache as the hub has it; one that is not is taken out."""
    known = _cached(source, file.path, revision, cache)
    if known is None or not Path(known).exists():
        return False
    trouble = _damage(Path(known), file, hashed=check_all)
    if trouble is None:
        return True
    log.warning("%s of %s %s: it is fetched again", file.path, source, trouble)
    _forget(Path(known))
    return False


def _damage(place: Path, file: RemoteFile, *, hashed: bool) -> str | None:
    """Return what is wrong with a file in the cache, in a few words."""
    size = place.stat().st_size
    if size != file.size:
        return f"has {size:,} bytes instead of {file.size:,}"
    if hashed and file.sha256 is not None and _sha256(place) != file.sha256:
        return "was altered"
    return None


def _sha256(place: Path) -> str:
    with place.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _forget(place: Path) -> None:
    """Take a file out of the cache: the link in the snapshot, and the contents it leads to."""
    contents = place.resolve()
    place.unlink()
    contents.unlink(missing_ok=True)


def _begun(cache: Path, source: str, file: RemoteFile) -> int:
    """Return how many bytes of a download that broke off are on the disk."""
    blobs = _repository(cache, source) / "blobs"
    return max((one.stat().st_size for one in blobs.glob(f"{file.sha256}*.incomplete")), default=0)


def _check_disk(source: str, cache: Path, wanted: int) -> None:
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if wanted + SPARE > free:
        raise DownloadBroken(
            f"{source} takes {_gib(wanted)} more on the disk of {cache}, and {_gib(free)} are free; make room, or set "
            "HF_HOME to a folder on a larger disk"
        )


def _get(
    source: str,
    file: RemoteFile,
    token: str | None,
    endpoint: str | None,
    cache: Path,
    counter: _Counter,
) -> None:
    for last in (False, True):
        place = Path(
            hf_hub_download(
                source,
                file.path,
                revision=BRANCH,  # by its name, so that the cache knows which one is the newest when the hub is away
                token=token,
                endpoint=endpoint,
                cache_dir=cache,
                tqdm_class=counter.bar(),
            )
        )
        trouble = _damage(place, file, hashed=True)
        if trouble is None:
            counter.ended(file.size)
            return
        _forget(place)
        if last:
            raise DownloadBroken(f"{file.path} of {source} {trouble} when it arrives, twice; try again later")
        log.warning("%s of %s %s when it arrived: it is fetched again", file.path, source, trouble)


class _Counter:
    """Adds up what the bars of all files say."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total = total
        self._tell = tell
        self._whole = 0
        self._tell(0, total)

    def bar(self) -> type[tqdm[Any]]:
        """Return a progress bar for one file that draws nothing and tells us."""
        counter = self

        class Bar(tqdm):  # type: ignore[misc]
            def __init__(self, *args: Any, **options: Any) -> None:
                options.pop("name", None)
                self.there = int(options.get("initial") or 0)
                super().__init__(*args, **(options | {"disable": True}))

            def update(self, n: float | None = 1) -> bool | None:
                self.there += int(n or 0)
                counter._tell(min(counter._whole + self.there, counter._total), counter._total)
                return None

        return Bar

    def ended(self, size: int) -> None:
        """Take note that a whole file is there."""
        self._whole += size
        self._tell(min(self._whole, self._total), self._total)


class _LogLines:
    """Writes a line for each tenth."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._told = -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if tenth > self._told:
            self._told = tenth
            log.info("Fetching %s: %d %% of %s", self._source, 10 * tenth, _gib(total))


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 27 else f"{size / (1 << 20):.1f} MiB"


# What an operator is told


def explain(error: BaseException, spec: ModelSpec, *, local: bool) -> str:
    """Say what an operator should do about a model that did not load."""
    if local and not isinstance(error, DownloadBroken):
        first = _first_line(error)
        return f"{spec.id}: {spec.source} is no complete diffusers folder ({first}); check {spec.setting}."
    return advice(error, spec.id, spec.source or "", spec.setting)


def advice(error: BaseException, name: str, source: str, setting: str) -> str:
    """Say what an operator should do where ``source``, which ``setting`` names for ``name``, could not be fetched."""
    kinds = {type(cause) for cause in _causes(error)}
    if isinstance(error, DownloadBroken):
        return f"{name}: {error}."
    if GatedRepoError in kinds:
        return (
            f"{name}: {source} is gated. Accept its licence at https://huggingface.co/{source} "
            "and give a token of that account in HF_TOKEN."
        )
    if RepositoryNotFoundError in kinds:
        return (
            f"{name}: there is neither a folder nor a hub repository {source}; check {setting}, and HF_TOKEN where it "
            "is private."
        )
    said = {one.response.status_code for one in _causes(error) if isinstance(one, HfHubHTTPError)}
    if 401 in said:
        return f"{name}: the hub does not know the token; check HF_TOKEN."
    if 403 in said:
        return (
            f"{name}: the hub does not let the token read {source}; one of its fine-grained tokens in HF_TOKEN has to "
            'allow "Read access to contents of all public gated repos you can access".'
        )
    if 429 in said:
        return f"{name}: the hub has been asked too often; try again in some minutes. With HF_TOKEN it allows more."
    if any(status >= 500 for status in said):
        return f"{name}: the hub is out of order (it answers {min(said)}); try again later."
    if any(isinstance(one, OSError) and one.errno == errno.ENOSPC for one in _causes(error)):
        return f"{name}: the disk is full; make room, or set HF_HOME to a folder on a larger disk. What is there stays."
    if any(issubclass(kind, (LocalEntryNotFoundError, ConnectionError, TimeoutError)) for kind in kinds):
        return f"{name}: the hub cannot be reached and {source} was not downloaded before; check the network."
    return f"{name}: {source} cannot be loaded from the hub ({_first_line(error)})."


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def comes_from_hub(spec: ModelSpec) -> bool:
    """Say whether what draws for ``spec`` may have to be fetched."""
    sources = [one.source for one in (spec, spec.base) if one is not None]
    return any(one and HUB_ID.fullmatch(one) and not Path(one).expanduser().is_dir() for one in sources)


def place_on_hub(source: str) -> tuple[str, str | None] | None:
    """Return the repository that ``source`` names, and the file in it: None for the only one. None: it names neither.

    A repository is written as ``owner/name``, a file as ``owner/name/file.safetensors``.
    """
    if (named := _HUB_FILE.fullmatch(source)) is not None:
        return named[1], named[2]
    return (source, None) if HUB_ID.fullmatch(source) else None


def folder_of(spec: ModelSpec, token: str | None = None, fetch: Callable[..., Path] = fetch) -> Path:
    """Return the folder of a model's weights, fetched from the hub where ``spec.source`` names a repository.

    Raises ModelUnavailable with what the operator should do.
    """
    source = spec.source or ""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(source):
        raise ModelUnavailable(f"{spec.id}: there is no folder {source}; {spec.setting} names it.", model=spec.id)
    try:
        return fetch(source, token=token)
    except Exception as error:
        raise ModelUnavailable(explain(error, spec, local=False), model=spec.id) from error
