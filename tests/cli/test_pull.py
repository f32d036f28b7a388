"""``gemma4 pull`` against a hub on this machine, in processes of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gemma4_mlx import HubError, hub_download
from gemma4_mlx.hub_download import HubFile, Listing
from tests import goldens
from tests.cli.hub_server import HUB_ID, Hub, serving

WEIGHTS, SECOND = "model.safetensors", "more.safetensors"
# huggingface_hub hands on what arrives in pieces of 10 MiB.
PIECE = 10 * 2**20
COMMAND = [sys.executable, "-m", "gemma4_cli", "pull"]
Pull = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    checkpoint = goldens.checkpoint("31b")
    names = ("config.json", "generation_config.json", WEIGHTS)
    files = {name: (checkpoint / name).read_bytes() for name in names}
    files |= {"tokenizer.json": b"{}", "README.md": b"# not wanted", "pytorch_model.bin": b"pickle"}
    with serving(Hub(files)) as server:
        yield server


@pytest.fixture
def big(hub: Hub) -> str:
    """A file of two pieces and a half; its name."""
    hub.files[SECOND] = bytes(range(256)) * (PIECE // 256) * 2 + b"half" * (PIECE // 8)
    hub.large = (SECOND,)
    return SECOND


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


@pytest.fixture
def pull(environment: dict[str, str]) -> Pull:
    def run(name: str = HUB_ID, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, name],
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache keeps the model."""
    return tmp_path / "hf" / "hub" / f"models--{HUB_ID.replace('/', '--')}"


def the_line(done: subprocess.CompletedProcess[str], status: int = 0) -> str:
    """The one line on stderr."""
    assert done.returncode == status, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_all_that_is_wanted_comes_once(pull: Pull, hub: Hub, folder: Path) -> None:
    done = pull()
    assert "is complete (637 kB, 637 kB of it new)" in the_line(done)
    there = Path(done.stdout.strip())
    assert there == folder / "snapshots" / hub.commit
    assert {file.name for file in there.iterdir()} == {
        *("config.json", "generation_config.json", "tokenizer.json", WEIGHTS)
    }
    assert (there / WEIGHTS).read_bytes() == hub.files[WEIGHTS]

    hub.asked.clear()
    again = pull()
    assert "is already complete (637 kB)" in the_line(again)
    assert again.stdout == done.stdout and hub.asked == []


def test_a_connection_that_breaks_goes_on(pull: Pull, hub: Hub, big: str) -> None:
    hub.breaks = [PIECE + 100_000]
    done = pull()
    assert done.returncode == 0, done.stderr
    assert hub.starts(big) == [0, PIECE]
    assert (Path(done.stdout.strip()) / big).read_bytes() == hub.files[big]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_same_command_goes_on_where_it_was_ended(
    pull: Pull,
    hub: Hub,
    big: str,
    environment: dict[str, str],
    folder: Path,
    end: signal.Signals,
) -> None:
    """Also within one file, which huggingface_hub itself would begin anew."""
    hub.stalls = PIECE + 100_000
    partial = folder / "blobs" / f"{hub.sha256(big)}.incomplete"
    process = subprocess.Popen(
        [*COMMAND, HUB_ID],
        env=environment,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background has it ignored, and processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    waited_until = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size >= PIECE):
        assert time.monotonic() < waited_until, hub.asked
        time.sleep(0.05)
    process.send_signal(end)
    _, told = process.communicate(timeout=60)
    assert process.returncode == (130 if end is signal.SIGINT else -end), told
    assert b"Traceback" not in told
    kept = partial.stat().st_size
    assert not (folder / "refs" / "main").exists(), "what is not whole is not what loads"

    hub.stalls = None
    hub.asked.clear()
    done = pull()
    assert done.returncode == 0, done.stderr
    assert hub.starts(big) == [kept] and PIECE <= kept < len(hub.files[big])
    assert (Path(done.stdout.strip()) / big).read_bytes() == hub.files[big]
    assert not partial.exists()


def test_a_part_that_another_download_spoiled(pull: Pull, hub: Hub, big: str, folder: Path) -> None:
    """The checksum shows it, and the next attempt begins anew."""
    partial = folder / "blobs" / f"{hub.sha256(big)}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"something else" * 1000)
    assert "arrived damaged" in the_line(pull(), status=1)
    assert pull().returncode == 0
    assert hub.starts(big) == [14_000, 0]


def test_what_arrives_damaged_is_not_kept(pull: Pull, hub: Hub, folder: Path) -> None:
    hub.damaged = True
    line = the_line(pull(), status=1)
    assert "arrived damaged" in line and "run the same command again" in line
    assert not list(folder.glob("blobs/*.incomplete"))
    hub.damaged = False
    assert pull().returncode == 0


def test_a_newer_revision(pull: Pull, hub: Hub, folder: Path) -> None:
    """Only what changed is fetched, and the old one loads until all of the new one is there."""
    old = pull().stdout
    old_commit = hub.commit
    hub.asked.clear()
    hub.commit, hub.files = "b" * 40, hub.files | {"tokenizer.json": b"{} "}
    hub.damaged = True
    assert pull().returncode == 1
    assert (folder / "refs" / "main").read_text() == old_commit

    hub.damaged = False
    done = pull()
    assert "3 bytes of it new" in the_line(done)
    assert done.stdout != old and hub.starts(WEIGHTS) == []
    assert (folder / "refs" / "main").read_text() == hub.commit


def test_a_model_that_is_not_gemma_4(pull: Pull, hub: Hub, folder: Path) -> None:
    """It is refused before its weights are fetched, and nothing of it stays."""
    hub.files["config.json"] = json.dumps({"model_type": "llama"}).encode()
    line = the_line(pull(), status=1)
    assert "was not downloaded" in line and "'llama'" in line
    assert hub.starts(WEIGHTS) == [] and not folder.exists()


@pytest.mark.parametrize("lacking", ["config.json", "tokenizer.json", WEIGHTS])
def test_a_repository_without_a_checkpoint(pull: Pull, hub: Hub, lacking: str) -> None:
    del hub.files[lacking]
    line = the_line(pull(), status=1)
    assert lacking.replace("model.", "*.") in line and "safetensors" in line
    assert hub.asked == []


def test_without_the_hub(pull: Pull, hub: Hub) -> None:
    nowhere = "http://127.0.0.1:9"
    assert "hub cannot be reached" in the_line(pull(HF_ENDPOINT=nowhere), status=1)
    path = pull().stdout
    offline = pull(HF_ENDPOINT=nowhere)
    assert "is complete (637 kB); the hub could not be asked" in the_line(offline)
    assert offline.stdout == path
    assert pull(HF_HUB_OFFLINE="1").stdout == path


def test_a_name_the_hub_does_not_know(pull: Pull) -> None:
    line = the_line(pull("someone/else"), status=1)
    assert "404" in line and "'someone/else'" in line and "available now: demo" in line


@pytest.mark.slow
def test_a_hub_that_goes_away(pull: Pull, hub: Hub, big: str) -> None:
    hub.breaks = [1000] + [0] * 20
    done = pull()
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "broke off" in line and "run the same command again" in line


def test_names_that_are_none(gemma4: Callable[..., SimpleNamespace]) -> None:
    assert "part of the package" in gemma4("pull", "demo").err
    result = gemma4("pull", "./here")
    assert result.status == 1 and "no name on the hub" in result.err
    assert gemma4("pull").status == 2


def test_too_little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not" / "made"))
    monkeypatch.setattr(
        hub_download.shutil, "disk_usage", lambda _path: SimpleNamespace(free=5 * 10**9)
    )
    listing = Listing(HUB_ID, "a" * 40, (HubFile(WEIGHTS, 10_246_621_918, "0" * 64, True),))
    with pytest.raises(HubError, match=r"needs 10\.2 GB more.* has 5\.0 GB left: make room"):
        hub_download.download(listing)
    assert not (tmp_path / "not").exists()
