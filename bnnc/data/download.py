"""Fetches the files of a data set into the user's cache: from the first mirror that gives the genuine ones, or not at
all. Only here is the network touched, and only when a data set is found nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bnnc.data.mirrors import MIRRORS, Mirrors, Published

OFF = "off"
# Called while a file comes in: its name, the bytes so far, the bytes in all.
Watch = Callable[[str, int, int], None]


def unwatched(_file: str, _done: int, _size: int) -> None:
    """For callers that show no progress."""


def cache_folder(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The folder that fetched data sets are kept in: bnnc's own below the user's cache folder."""
    environment = os.environ if environment is None else environment
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "bnnc"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bnnc"
    if platform == "win32" and environment.get("LOCALAPPDATA"):
        return Path(environment["LOCALAPPDATA"]) / "bnnc" / "cache"
    return Path.home() / ".cache" / "bnnc"


@dataclass(frozen=True)
class Fetch:
    """How data sets are fetched.

    mirrors: what is published where. patience: seconds to wait for a connection, and for any byte after that. The
    environment variable BNNC_MIRRORS names other addresses, separated by spaces, below which each data set has a folder
    of its name; `off` turns fetching off.
    """

    mirrors: Mapping[str, Mirrors] = field(default_factory=lambda: MIRRORS)
    watch: Watch = unwatched
    patience: tuple[float, float] = (10, 30)

    def addresses(self, name: str) -> tuple[str, ...]:
        """The folders to fetch a data set from, none when fetching is off."""
        given = os.environ.get("BNNC_MIRRORS", "").split()
        if given == [OFF]:
            return ()
        return tuple(f"{one.rstrip('/')}/{name}" for one in given) or self.mirrors[name].addresses

    def into(self, folder: Path, name: str, split: str) -> list[str]:
        """Fetch what is missing of a data set; the list of what went wrong is empty when all its files are there now.

        A file only appears in the folder when it is whole and its checksum is right.
        """
        addresses = list(self.addresses(name))
        wrong: list[str] = []
        for file in self.mirrors[name].files[split]:
            for address in list(addresses):
                try:
                    reason = self._one(f"{address}/{file.name}", file, folder)
                except OSError as failed:
                    return [*wrong, f"`{folder}` cannot be written: {failed.strerror or failed}"]
                if not reason:
                    break
                wrong.append(f"{address}/{file.name}: {reason}")
                addresses.remove(address)  # it is not asked again for the next file
            else:
                return wrong
        return []

    def _one(self, url: str, file: Published, folder: Path) -> str:
        """Fetch one file, unless it is there. Returns why it could not be had, or "". Raises OSError for the disk."""
        import pooch
        from requests.exceptions import RequestException

        pooch.get_logger().setLevel("ERROR")  # bnnc says what is fetched itself
        progress = _Progress(file, self.watch)
        # Asked for `identity`, servers send a .gz file as it is; otherwise some would have it unpacked on the way.
        downloader = pooch.HTTPDownloader(
            progressbar=progress, chunk_size=1 << 16, timeout=self.patience, headers={"Accept-Encoding": "identity"}
        )
        try:
            pooch.retrieve(url, file.checksum, fname=file.name, path=folder, downloader=downloader)
        except RequestException as failed:
            return _why(failed, progress.done)
        except _TooMuch:
            return f"it sends more than the {file.size} bytes of the file"
        except ValueError:
            return f"it sends another file: the checksum is not {file.checksum}"
        return ""


class _TooMuch(Exception):
    """More bytes came than the file has."""


class _Progress:
    """What pooch reports to while it fetches: it passes the news on, and stops a transfer that does not end."""

    def __init__(self, file: Published, watch: Watch) -> None:
        self.file, self.watch = file, watch
        self.total = self.done = 0

    def update(self, count: int) -> None:
        """`count` bytes came; the last report of a file may be of a whole chunk."""
        self.done += count
        if self.done > self.file.size + (1 << 20):
            raise _TooMuch
        self.watch(self.file.name, min(self.done, self.file.size), self.file.size)

    def reset(self) -> None:
        """pooch starts again from nothing, to report the true sum."""
        self.done = 0

    def close(self) -> None:
        """The transfer is over."""


def _why(failed: Exception, done: int) -> str:
    """In words, without the names of Python's classes and objects."""
    from requests import exceptions

    if isinstance(failed, exceptions.HTTPError) and failed.response is not None:
        return f"{failed.response.status_code} {failed.response.reason}".strip()
    if isinstance(failed, exceptions.Timeout) or "timed out" in str(failed):
        return "no answer in time"
    if done or isinstance(failed, exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(failed, exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(failed, exceptions.ProxyError):
        return "the proxy does not let it through"
    if isinstance(failed, exceptions.ConnectionError):
        return "it cannot be reached"
    return "this is no address of a file"
