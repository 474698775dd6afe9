"""Folders of claims: what lies in one costs no other its place on the page, and a kill leaves it whole."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_claims_page import finding

from resexp.claims.finding import Picture
from resexp.claims.registry import CLAIMS
from resexp.claims.runner import run_claims, write_finding
from resexp.errors import RunFolderError
from resexp.records import together
from resexp.records.claim import read_claim
from resexp.records.run import read_json
from resexp.report.claims_page import write_page


def damaged(folder: Path, **changes: object) -> None:
    document = read_json(folder / "finding.json") | changes
    (folder / "finding.json").write_text(json.dumps(document))


def replaced(folder: Path, content: str) -> None:
    (folder / "finding.json").write_text(content)


def linked(folder: Path) -> None:
    (folder / "finding.json").rename(folder / "elsewhere.json")
    (folder / "finding.json").symlink_to(folder / "elsewhere.json")


def piped(folder: Path) -> None:
    (folder / "finding.json").unlink()
    os.mkfifo(folder / "finding.json")


PICTURE = {"caption": "", "description": ""}
DAMAGE: dict[str, Callable[[Path], None]] = {
    "not JSON": lambda folder: replaced(folder, "{"),
    "a list": lambda folder: replaced(folder, "[]"),
    "nothing in it": lambda folder: replaced(folder, "{}"),
    "nested without end": lambda folder: replaced(folder, '{"details": ' + "[" * 100_000),
    "not a number": lambda folder: replaced(
        folder, (folder / "finding.json").read_text().replace("0.31", "NaN")
    ),
    "another claim's": lambda folder: damaged(folder, name="identity"),
    "an answer of its own": lambda folder: damaged(folder, word="surely"),
    "words for numbers": lambda folder: damaged(folder, measurements=[{"what": "x", "mean": "<b>"}]),
    "a picture elsewhere": lambda folder: damaged(folder, pictures=[PICTURE | {"file": "../../secret.svg"}]),
    "an absolute picture": lambda folder: damaged(folder, pictures=[PICTURE | {"file": "/etc/passwd"}]),
    "a line after its name": lambda folder: damaged(folder, pictures=[PICTURE | {"file": "picture1.svg\n"}]),
    "a link": linked,
    "a pipe": piped,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_cannot_be_read_keeps_no_other_claim_off_the_page(damage: str, tmp_path: Path) -> None:
    (tmp_path / "secret.svg").write_text("<svg>SECRET</svg>")
    root = tmp_path / "claims"
    for name in ("paths", "squiggle"):
        (root / name).mkdir(parents=True)
        write_finding(root / name, finding(name))
    DAMAGE[damage](root / "paths")
    with pytest.raises(RunFolderError) as refused:
        read_claim(root / "paths")
    assert "\n" not in str(refused.value)
    html = write_page(root, list(CLAIMS)).read_text()
    assert "Said of squiggle" in html
    assert "Said of paths" not in html
    assert "SECRET" not in html
    assert "root:" not in html
    assert "Not shown" in html


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("mine")


def a_link_to_itself(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "somebody's notes": lambda folder: (folder / "notes.txt").write_text("mine"),
    "another program's": lambda folder: (folder / "manifest.json").write_text('{"x": 1}'),
    "a comparison": lambda folder: (folder / "manifest.json").write_text('{"kind": "comparison"}'),
    "a damaged manifest": lambda folder: (folder / "manifest.json").write_text("{"),
    "a file": a_file,
    "a link to itself": a_link_to_itself,
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_folder_is_refused_before_anything_is_run(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    for name in ("identity", "paths"):
        monkeypatch.setitem(
            CLAIMS, name, lambda seeds, report, name=name: (ran.append(name), finding(name))[1]
        )
    root = tmp_path / "claims"
    (root / "paths").mkdir(parents=True)
    FOREIGN[what](root / "paths")

    def run(*names: str) -> None:
        run_claims(names, root, num_seeds=1, command=["x"], on_progress=lambda name, done: None)

    with pytest.raises(RunFolderError) as refused:
        run("identity", "paths")
    assert "paths" in str(refused.value)
    assert "--name" not in str(refused.value), "no option of `resexp claims`"
    assert ran == []
    run("identity")
    html = (root / "claims.html").read_text()
    assert "Said of identity" in html
    assert ("Not shown" in html) == (what in ("a file", "a link to itself"))


def test_a_kill_while_a_finding_is_written_leaves_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any file that takes its place; the same command then goes through."""

    def pictures(num: int) -> tuple[Picture, ...]:
        return finding("paths").pictures * num

    def run() -> None:
        run_claims(["paths"], tmp_path, num_seeds=1, command=["x"], on_progress=lambda name, done: None)

    def found() -> dict[str, bytes]:
        return {
            path.name: path.read_bytes() for path in (tmp_path / "paths").iterdir() if path.name[0] != "."
        }

    replace = os.replace
    monkeypatch.setitem(CLAIMS, "paths", lambda seeds, report: finding("paths", sentence="Old."))
    run()
    old = found()
    monkeypatch.setitem(
        CLAIMS, "paths", lambda seeds, report: finding("paths", sentence="New.", pictures=pictures(2))
    )
    seen = []
    for allowed in range(20):
        shutil.rmtree(tmp_path / "paths")
        (tmp_path / "paths").mkdir()
        for name, content in old.items():
            (tmp_path / "paths" / name).write_bytes(content)
        left = [allowed]

        def replacing(*names: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            replace(*names)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replacing)
            try:
                run()
                break
            except KeyboardInterrupt:
                pass
        together.complete(tmp_path / "paths")
        sentence = read_json(tmp_path / "paths" / "finding.json")["sentence"]
        pictured = (tmp_path / "paths" / "picture2.svg").exists()
        assert (sentence, pictured) in (("Old.", False), ("New.", True))
        seen.append(sentence)
        run()
    assert set(seen) == {"Old.", "New."}


def test_two_at_once_leave_a_page_with_both(tmp_path: Path) -> None:
    """Each writes its finding and then the page, again and again: none is lost, and no name is shared."""
    script = (
        "import sys, time; from pathlib import Path; from resexp.records.lock import locked\n"
        "from resexp.report.claims_page import write_page\n"
        "root, mine, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "for _ in range(20):\n"
        " with locked(root, patience=60): text = write_page(root, [mine, other]).read_text()\n"
        " assert 'Said of ' + mine in text and 'Said of ' + other in text\n"
    )
    for name in ("paths", "squiggle"):
        (tmp_path / name).mkdir()
        write_finding(tmp_path / name, finding(name))
    both = [("paths", "squiggle"), ("squiggle", "paths")]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), *names], stderr=subprocess.PIPE)
        for names in both
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
