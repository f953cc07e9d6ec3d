"""The reference tool of OpenSSF Model Signing: what it signs we verify, and what we sign it verifies."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from moongate.policy.provenance.identities import Identity
from moongate.policy.provenance.keys import PrivateKey, Trust
from moongate.policy.provenance.model_signing import Coverage, sign, verify
from support.signers import NOW, Authority, new_key, pem, write_key
from support.sigstore_world import IDENTITY, ISSUER, Sigstore, packed

pytestmark = pytest.mark.clients

Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "sub.txt").write_text("names that sort differently by parts and by letters")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    return folder


@pytest.fixture
def tool(client_python: Callable[[str], Path], tmp_path: Path) -> Tool:
    python = client_python("model-signing")

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "model_signing", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    key = new_key()
    write_key(key, tmp_path)
    return key


def digests(model: Path) -> dict[str, str]:
    return {
        path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(model.rglob("*"))
        if path.is_file()
    }


def held(model: Path, bundle: Path, trust: Trust) -> Coverage:
    return verify(bundle.read_bytes(), dict(digests(model)), trust, NOW.timestamp(), "model.sig")


def test_what_the_tool_signs_with_a_key_we_verify(
    tool: Tool, model: Path, key: PrivateKey, tmp_path: Path
) -> None:
    bundle = model / "model.sig"
    done = tool("sign", "key", model, "--private_key", tmp_path / "key.pem", "--signature", bundle)
    assert done.returncode == 0, done.stderr
    told = held(model, bundle, Trust((key.public,)))
    assert (told.valid, told.signer, told.method) == (True, "release-team", "key")
    # The tool leaves .git* out by itself; here that is named.
    assert told.uncovered == told.ignored == (".gitattributes",)
    (model / "config.json").write_text('{"a": 1}')
    assert held(model, bundle, Trust((key.public,))).changed == ("config.json",)


def test_what_we_sign_with_a_key_the_tool_verifies(
    tool: Tool, model: Path, key: PrivateKey, tmp_path: Path
) -> None:
    signed = {path: digest for path, digest in digests(model).items() if not path.startswith(".git")}
    bundle = model / "model.sig"
    bundle.write_bytes(sign("model", signed, key, ignored=["model.sig", ".gitattributes"]))
    wanted = ("verify", "key", model, "--public_key", tmp_path / "key.pub", "--signature", bundle)
    done = tool(*wanted)
    assert done.returncode == 0, done.stderr + done.stdout
    (model / "sub" / "a.txt").write_text("b")
    assert tool(*wanted).returncode != 0


def test_certificates_go_both_ways(tool: Tool, model: Path, key: PrivateKey, tmp_path: Path) -> None:
    authority = Authority.new()
    leaf = authority.leaf(key)
    for name, certificate in (("leaf", leaf), ("middle", authority.middle), ("root", authority.root)):
        (tmp_path / f"{name}.crt").write_bytes(pem(certificate))
    theirs, ours = tmp_path / "theirs.sig", tmp_path / "ours.sig"
    done = tool(
        "sign", "certificate", model, "--private_key", tmp_path / "key.pem", "--signature", theirs,
        "--signing_certificate", tmp_path / "leaf.crt", "--certificate_chain", tmp_path / "middle.crt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = held(model, theirs, Trust(roots=(authority.root,)))
    assert (told.valid, told.signer, told.method) == (True, "release@acme.example", "certificate")

    signed = {path: digest for path, digest in digests(model).items() if not path.startswith(".git")}
    ours.write_bytes(sign("model", signed, key, [leaf, authority.middle], [".gitattributes"]))
    done = tool(
        "verify", "certificate", model, "--signature", ours, "--certificate_chain", tmp_path / "root.crt"
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_keyless_bundle_that_we_believe_the_tool_believes_too(
    tool: Tool, model: Path, tmp_path: Path
) -> None:
    """Of a sigstore made up for the test: its own root, its own logs, and nothing asked of anybody."""
    world = Sigstore()
    signed = {path: digest for path, digest in digests(model).items() if not path.startswith(".git")}
    bundle = model / "model.sig"
    bundle.write_bytes(packed(world.bundle(signed)))
    (tmp_path / "trust.json").write_bytes(world.client_config)
    (tmp_path / "other.json").write_bytes(Sigstore().client_config)

    def theirs(identity: str = IDENTITY, config: str = "trust.json") -> subprocess.CompletedProcess[str]:
        return tool(
            "verify", "sigstore", model, "--signature", bundle, "--trust_config", tmp_path / config,
            "--identity", identity, "--identity_provider", ISSUER,
        )  # fmt: skip

    def ours(identity: str = IDENTITY, root: bytes = world.trusted_root) -> Coverage:
        trust = Trust(identities=(Identity(ISSUER, identity),), trusted_root=root)
        return held(model, bundle, trust)

    done = theirs()
    assert done.returncode == 0, done.stderr + done.stdout
    pytest.importorskip("sigstore")
    told = ours()
    assert (told.valid, told.signer, told.method) == (True, IDENTITY, "keyless")
    assert told.uncovered == (".gitattributes",)
    bundle.write_bytes(packed(world.stamped_bundle(signed)))
    done = theirs()
    assert done.returncode == 0, done.stderr + done.stdout
    assert ours().valid
    assert theirs("mallory@acme.example").returncode != 0
    assert not ours("mallory@acme.example").valid
    assert theirs(config="other.json").returncode != 0
    assert not ours(root=Sigstore().trusted_root).valid
    (model / "config.json").write_text('{"a": 1}')
    assert theirs().returncode != 0
    assert ours().changed == ("config.json",)
