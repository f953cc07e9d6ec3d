"""Where things lie on disk.

    home/
    ├─ index.sqlite3              the index, unless a database URL says otherwise
    ├─ deliveries/                what each process is sending to whom; see `store.journals`
    └─ store/                     or any directory, on any filesystem, given as `store`
       └─ v1/                     a new shape of anything below gets a new number
          ├─ evict.lock           held by the one process that evicts
          ├─ claims.lock          held together by who is about to hold content, alone by who frees some
          ├─ blobs/
          │  ├─ sha256/ab/<etag>  a sealed LFS file, named by its sha256 (64 hex digits)
          │  └─ git/ab/<etag>     a sealed small file, named by its git object id (40)
          ├─ xorbs/
          │  └─ ab/<xorb>/        a xorb, by the hex string of its hash; its folder is also its lock
          │     ├─ 0-9_0-4096     its chunks 0 up to 9, which are its bytes 0 up to 4096; shorter: it grows
          │     ├─ 0-9_0-4096.lead   who fetches them (advisory lock); nobody: they came, or it died
          │     └─ 3-5_900-1500.cut  being copied out of a larger one; a leftover means a crash
          ├─ partial/
          │  ├─ <etag>.data       bytes being filled, sparse, at their final offsets
          │  ├─ <etag>.map        which of them are here; mapped by every process that reads or fills
          │  ├─ <etag>.lock       who fills (advisory lock)
          │  └─ <anything>.tmp    written and renamed in one go; a leftover means a crash
          ├─ git/
          │  ├─ 7-18f2c….git      a hosted repository for git, derived from the index; see `store.bare`
          │  └─ 7-18f2c….git.lock held while it changes (advisory lock)
          ├─ uploads/
          │  ├─ <upload>.data     an LFS file that comes in parts, at their offsets; the index knows which
          │  └─ <anything>.tmp    an LFS file that comes in one go
          └─ quarantine/
             ├─ <etag>.<n>        bytes that are not what their name says
             ├─ <etag>.<n>.json   why, and when
             └─ <xorb>_0-9.<n>    the same for chunks of a xorb

`ab` is the name's first two digits. Sealing is a rename from `partial` to `blobs`, so both stay on one
filesystem. Nothing here reads or writes bytes.
"""

from __future__ import annotations

from pathlib import Path

from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName, StoreError

PRIVATE_MODE = 0o700
INDEX_NAME = "index.sqlite3"
STORE_VERSION = "v1"

DATA_SUFFIX = ".data"
MAP_SUFFIX = ".map"
LOCK_SUFFIX = ".lock"
TEMPORARY_SUFFIX = ".tmp"


class Layout:
    """Paths under one home and one store. Cheap; makes nothing until `prepare`."""

    __slots__ = ("_git", "_partial", "_sha256", "_xorbs", "home", "quarantine_dir", "root", "store")

    def __init__(self, home: Path, store: Path | None = None) -> None:
        """`store` is where the bytes go; without it, `home/store`."""
        self.home = home
        self.store = home / "store" if store is None else store
        self.root = self.store / STORE_VERSION
        self.quarantine_dir = self.root / "quarantine"
        self._partial = str(self.partial_dir)
        self._sha256 = str(self.blobs_dir / "sha256")
        self._git = str(self.blobs_dir / "git")
        self._xorbs = str(self.xorbs_dir)

    @property
    def index_path(self) -> Path:
        return self.home / INDEX_NAME

    @property
    def journals_dir(self) -> Path:
        return self.home / "deliveries"

    @property
    def blobs_dir(self) -> Path:
        return self.root / "blobs"

    @property
    def xorbs_dir(self) -> Path:
        return self.root / "xorbs"

    @property
    def partial_dir(self) -> Path:
        return self.root / "partial"

    @property
    def git_dir(self) -> Path:
        return self.root / "git"

    def git_folder(self, number: int, created_at: float) -> Path:
        """A hosted repository's, by its number and birth: nobody else's, even after the index was lost."""
        return self.git_dir / f"{number}-{int(created_at * 1000):x}.git"

    @property
    def uploads_dir(self) -> Path:
        return self.root / "uploads"

    @property
    def evict_lock(self) -> Path:
        return self.root / "evict.lock"

    @property
    def claims_lock(self) -> Path:
        return self.root / "claims.lock"

    def blob(self, etag: Etag) -> Path:
        """Where this content lies once sealed. Its parent may not exist yet."""
        return Path(self.blob_name(etag))

    def blob_name(self, etag: Etag) -> str:
        """`blob`, as text: on the path of every hit, where making a Path would cost more than opening it."""
        return f"{self._sha256 if is_sha256(etag) else self._git}/{etag[:2]}/{etag}"

    def xorb_name(self, xorb_hex: str) -> str:
        """The folder of a xorb's segments, as text. It may not exist yet."""
        return f"{self._xorbs}/{xorb_hex[:2]}/{xorb_hex}"

    def partial_data(self, etag: Etag) -> Path:
        return Path(f"{self._partial}/{etag}{DATA_SUFFIX}")

    def partial_map(self, etag: Etag) -> Path:
        return Path(f"{self._partial}/{etag}{MAP_SUFFIX}")

    def partial_lock(self, etag: Etag) -> Path:
        return Path(f"{self._partial}/{etag}{LOCK_SUFFIX}")

    def temporary(self, name: str) -> Path:
        """A file to write and rename; `name` must be unique to the writer."""
        return Path(f"{self._partial}/{name}{TEMPORARY_SUFFIX}")

    def etag_of(self, path: Path) -> Etag | None:
        """The content a path below `blobs` or `partial` is named for; None for a stranger's file."""
        name = path.name.removesuffix(DATA_SUFFIX).removesuffix(MAP_SUFFIX).removesuffix(LOCK_SUFFIX)
        try:
            etag = parse_etag(name)
        except BadName:
            return None
        return etag if etag == name else None

    def prepare(self) -> None:
        """Makes the directories, readable by their owner only. Again is free.

        Raises:
            StoreError: a directory cannot be made or written.
        """
        try:
            for directory in (
                self.home,
                self.store,
                self.root,
                self.blobs_dir,
                self.blobs_dir / "sha256",
                self.blobs_dir / "git",
                self.xorbs_dir,
                self.partial_dir,
                self.uploads_dir,
                self.quarantine_dir,
            ):
                directory.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the store: {error.strerror}: {error.filename}") from error
