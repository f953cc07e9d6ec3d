"""Repository information, listings and pages."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from moongate.double import HubDouble, Repo
from unit.double.plain import ALICE, BOB, WEIGHTS, call


def test_info(double: HubDouble, tiny: Repo) -> None:
    info = call(f"{double.url}/api/models/acme/tiny?blobs=true&securityStatus=True").json
    assert (info["id"], info["sha"], info["author"]) == ("acme/tiny", tiny.refs["refs/heads/main"], "acme")
    assert info["cardData"] == {"license": "mit", "tags": ["small"]}
    assert {"license:mit", "small", "safetensors"} <= set(info["tags"])
    weights = next(file for file in info["siblings"] if file["rfilename"] == "model.safetensors")
    assert weights["lfs"]["size"] == weights["size"] == len(WEIGHTS)
    assert info["lastModified"].endswith("Z")
    for query in ("expand=sha&expand=tags", "expand[]=sha&expand[]=tags", "expand%5B%5D=sha&expand=tags"):
        assert set(call(f"{double.url}/api/models/acme/tiny?{query}").json) == {
            "_id",
            "id",
            "modelId",
            "sha",
            "tags",
        }
    old = call(f"{double.url}/api/models/acme/tiny/revision/v1").json
    assert [file["rfilename"] for file in old["siblings"]] == ["README.md", "config.json"]


def follow(url: str) -> list[object]:
    items: list[object] = []
    while url:
        page = call(url)
        assert page.status == 200
        items += page.json
        link = page.headers["Link"]
        url = link.removeprefix("<").removesuffix('>; rel="next"') if link else ""
    return items


def test_pages_link_absolutely_and_lose_nothing(double: HubDouble) -> None:
    repo = double.add_repo("acme/many")
    repo.commit({f"d{n % 3}/f{n:02}.txt": str(n) for n in range(23)})
    for number in range(4):
        repo.commit({"n": str(number)})
        double.add_repo(f"many/m{number}").commit({"a": "1"})
    double.settings.tree_page_size = 5
    first = call(f"{double.url}/api/models/acme/many/tree/main?recursive=true")
    assert first.headers["Link"].startswith(
        f"<{double.url}/api/models/acme/many/tree/main?recursive=true&cursor="
    )
    paths = [entry["path"] for entry in follow(f"{double.url}/api/models/acme/many/tree/main?recursive=true")]
    assert len(paths) == len(set(paths)) == 23 + 3 + 1
    commits = call(f"{double.url}/api/models/acme/many/commits/main?limit=2")
    assert commits.headers["X-Total-Count"] == "5"
    assert len(follow(f"{double.url}/api/models/acme/many/commits/main?limit=2")) == 5
    assert len(follow(f"{double.url}/api/models?author=many&limit=3")) == 4


def test_tree_levels_and_paths_info(double: HubDouble) -> None:
    base = f"{double.url}/api/models/acme/tiny"
    top = {entry["path"]: entry["type"] for entry in call(f"{base}/tree/main").json}
    assert top["sub dir"] == "directory"
    assert "sub dir/a+b.txt" not in top
    assert [entry["path"] for entry in call(f"{base}/tree/main/sub%20dir?expand=true").json] == [
        "sub dir/a+b.txt"
    ]
    asked = ["model.safetensors", "sub dir", "nope"]
    form = urlencode([("paths", path) for path in asked] + [("expand", "False")]).encode()
    kinds = {"Content-Type": "application/x-www-form-urlencoded"}
    by_form = call(f"{base}/paths-info/main", "POST", kinds, form).json
    body = json.dumps({"paths": asked}).encode()
    by_json = call(f"{base}/paths-info/main", "POST", {"Content-Type": "application/json"}, body).json
    assert by_form == by_json
    assert [entry["path"] for entry in by_form] == asked[:2]
    assert call(f"{base}/paths-info/main", "POST", kinds, form + b"&paths=x" * 2000).status == 413
    assert call(f"{base}/treesize/main/").json["size"] > len(WEIGHTS)


def test_refs(double: HubDouble, tiny: Repo) -> None:
    tiny.set_ref("refs/convert/parquet", "v1")
    tiny.pull_request()
    refs = call(f"{double.url}/api/models/acme/tiny/refs?include_prs=1").json
    names = {kind: [ref["name"] for ref in found] for kind, found in refs.items()}
    assert names == {
        "branches": ["feat/x", "main"],
        "converts": ["parquet"],
        "tags": ["v1"],
        "pullRequests": ["1"],
    }
    assert "pullRequests" not in call(f"{double.url}/api/models/acme/tiny/refs").json
    assert (
        "+++ b/sub dir/a+b.txt" in call(f"{double.url}/api/models/acme/tiny/compare/v1..main").body.decode()
    )


def test_lists_show_only_what_may_be_seen(double: HubDouble) -> None:
    double.add_repo("acme/secret", private=True).commit({"a": "1"})

    def ids(query: str, token: str | None = None) -> list[str]:
        return sorted(repo["id"] for repo in call(f"{double.url}/api/models?{query}", token=token).json)

    assert ids("author=acme") == ids("author=acme", BOB) == ["acme/tiny"]
    assert ids("author=acme", ALICE) == ["acme/secret", "acme/tiny"]
    assert ids("filter=license:mit&search=TIN") == ["acme/tiny"]
    assert ids("filter=license:apache-2.0") == []


def test_identity_and_unknown_routes(double: HubDouble) -> None:
    assert call(f"{double.url}/api/whoami-v2").status == 401
    assert call(f"{double.url}/api/whoami-v2", token=ALICE).json["orgs"][0]["name"] == "acme"
    assert call(f"{double.url}/api/users/alice/overview").json["user"] == "alice"
    assert call(f"{double.url}/api/daily_papers").json == []
    double.route("/api/trending", {"any": 1})
    assert call(f"{double.url}/api/trending").json == {"any": 1}
    assert call(f"{double.url}/api/nothing/here").status == 404
    assert call(f"{double.url}/api/models/acme/tiny/auth-check").body == b""
