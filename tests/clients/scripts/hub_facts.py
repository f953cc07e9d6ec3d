"""Everything a client can ask about repositories without fetching a file."""

from __future__ import annotations

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from plain import PLAN, outcome, plain, tell

api = HfApi(token=PLAN.get("token") or False)
TINY = "acme/tiny"
answers: dict[str, object] = {}


def ask(name: str, call: object) -> None:
    answers[name] = outcome(call)


def by_path(entries: list[object]) -> list[object]:
    """In one order: the Hub promises none."""
    return sorted(entries, key=lambda entry: entry.path)


ask("model_info", lambda: api.model_info(TINY))
ask("model_info blobs", lambda: api.model_info(TINY, files_metadata=True))
ask("model_info security", lambda: api.model_info(TINY, securityStatus=True))
ask("model_info expand", lambda: api.model_info(TINY, expand=["sha", "tags", "downloads", "siblings"]))
for revision in PLAN["revisions"]:
    ask(f"model_info {revision}", lambda revision=revision: api.model_info(TINY, revision=revision))
    ask(f"files {revision}", lambda revision=revision: api.list_repo_files(TINY, revision=revision))
ask("bare model", lambda: api.model_info("oldie"))
ask("bare alias", lambda: api.model_info("gpt0").id)
ask("bare dataset", lambda: api.dataset_info("rows1"))
ask("renamed", lambda: api.model_info("acme/before").id)
ask("gated info", lambda: api.model_info("acme/gated-auto").gated)
ask("gated files", lambda: api.list_repo_files("acme/gated-manual"))
ask("dataset_info", lambda: api.dataset_info("acme/rows", files_metadata=True))
ask("space_info", lambda: api.space_info("acme/demo"))
ask("repo_info", lambda: api.repo_info("acme/demo", repo_type="space").sha)
ask("tree", lambda: list(api.list_repo_tree(TINY, recursive=True)))
ask("tree folder", lambda: list(api.list_repo_tree(TINY, "onnx")))
ask("tree expand", lambda: list(api.list_repo_tree(TINY, expand=True)))
ask("tree odd", lambda: list(api.list_repo_tree("acme/Odd_Names.v1-2", "sub dir")))
ask("tree odd revision", lambda: list(api.list_repo_tree("acme/Odd_Names.v1-2", revision="fix/a+b,c")))
ask("tree many", lambda: len(list(api.list_repo_tree("acme/many", repo_type="dataset", recursive=True))))
ask("files many", lambda: len(api.list_repo_files("acme/many", repo_type="dataset")))
ask("paths", lambda: by_path(api.get_paths_info(TINY, ["onnx", "config.json", "model.safetensors", "not"])))
ask("paths expand", lambda: api.get_paths_info(TINY, "config.json", expand=True, revision="v1.0"))
ask("paths odd", lambda: by_path(api.get_paths_info("acme/Odd_Names.v1-2", PLAN["odd_names"])))
ask("refs", lambda: api.list_repo_refs(TINY, include_pull_requests=True))
ask("refs dataset", lambda: api.list_repo_refs("acme/rows", repo_type="dataset"))
ask("commits", lambda: api.list_repo_commits(TINY))
ask("commits formatted", lambda: api.list_repo_commits(TINY, revision="refs/pr/1", formatted=True))
ask("models", lambda: [m.id for m in api.list_models()])
ask("models search", lambda: [m.id for m in api.list_models(search="gguf")])
ask("models author", lambda: [m.id for m in api.list_models(author="acme", limit=9)])
ask("models full", lambda: list(api.list_models(author="acme", full=True, cardData=True)))
ask("models tag", lambda: [m.id for m in api.list_models(filter="tiny")])
ask("models expand", lambda: list(api.list_models(expand=["downloads", "lastModified"], search="minilm")))
ask("datasets", lambda: [d.id for d in api.list_datasets()])
ask("spaces", lambda: [s.id for s in api.list_spaces()])
ask("model tags", api.get_model_tags)
ask("file_exists", lambda: [api.file_exists(TINY, name) for name in ("config.json", "absent.json")])
ask("repo_exists", lambda: [api.repo_exists(name) for name in (TINY, "acme/absent", "oldie")])
ask("revision_exists", lambda: [api.revision_exists(TINY, name) for name in ("main", "absent", "v1.0")])
ask("auth_check", lambda: api.auth_check(TINY))
ask("auth_check gated", lambda: api.auth_check("acme/gated-auto"))
ask("auth_check private", lambda: api.auth_check("acme/private"))
ask("auth_check absent", lambda: api.auth_check("acme/absent"))
ask("whoami", lambda: api.whoami(token=PLAN.get("token")))
ask("user", lambda: api.get_user_overview("ada"))
ask("private info", lambda: api.model_info("acme/private").id)
ask("absent info", lambda: api.model_info("acme/absent"))
ask("absent revision", lambda: api.model_info(TINY, revision="absent"))
ask("absent tree", lambda: list(api.list_repo_tree(TINY, "no/such/folder")))
ask("absent dataset", lambda: api.dataset_info("acme/tiny"))


def metadata(repo_id: str, name: str, revision: str = "main", repo_type: str | None = None) -> object:
    url = hf_hub_url(repo_id, name, revision=revision, repo_type=repo_type)
    found = plain(get_hf_file_metadata(url, token=PLAN.get("token") or False))
    return {key: found[key] for key in ("commit_hash", "etag", "size")}


ask("metadata git", lambda: metadata(TINY, "config.json"))
ask("metadata lfs", lambda: metadata(TINY, "model.safetensors", "v1.0"))
ask("metadata pr", lambda: metadata(TINY, "config.json", "refs/pr/1"))
ask("metadata slash", lambda: metadata(TINY, "head/extra.txt", "feat/new-head"))
ask("metadata empty", lambda: metadata(TINY, "empty.txt"))
ask("metadata bare", lambda: metadata("oldie", "w.bin"))
ask("metadata dataset", lambda: metadata("acme/rows", "train.jsonl", repo_type="dataset"))
ask("metadata space", lambda: metadata("acme/demo", "assets/picture.png", repo_type="space"))
ask("metadata odd", lambda: [metadata("acme/Odd_Names.v1-2", name) for name in PLAN["odd_names"]])
ask("metadata absent", lambda: metadata(TINY, "absent.bin"))
ask("metadata absent revision", lambda: metadata(TINY, "config.json", "absent"))
ask("metadata absent repo", lambda: metadata("acme/absent", "config.json"))
ask("metadata gated", lambda: metadata("acme/gated-auto", "config.json"))
ask("metadata private", lambda: metadata("acme/private", "config.json"))
tell(answers)
