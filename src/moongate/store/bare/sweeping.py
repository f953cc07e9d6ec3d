"""Removes the folders of repositories that are gone."""

from __future__ import annotations

import shutil

from moongate.store.index import Index
from moongate.store.layout import Layout


def sweep(layout: Layout, index: Index) -> int:
    """Removes git folders that belong to no hosted repository; how many. Again is free."""
    # listed first: a repository that is made meanwhile is in the index before its folder is there
    folders = list(layout.git_dir.glob("*.git"))
    kept = {layout.git_folder(row.number, row.created_at) for row in index.hosted_repos()}
    gone = [path for path in folders if path not in kept]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    return len(gone)
