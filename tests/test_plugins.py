"""What is the user's own: trained, recorded and resumed like the program's own, or refused in a line."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import make_splits, tiny_config
from harness.commands import resexp
from harness.own import PACKAGE, examples, write_package
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from resexp.analysis.mean_field import layer_factor, predict
from resexp.cli import app, main
from resexp.config import Config, DataSection
from resexp.config.imports import imported, without_folder
from resexp.config.load import load
from resexp.data.batches import draw, render, sample, unaugmented
from resexp.data.splits import load as load_images
from resexp.errors import Exit, RunFolderError, UsageError
from resexp.experiments.verify import tensor_digests, verify
from resexp.models.resnet import build
from resexp.records.losses import read_losses
from resexp.records.preflight import admit
from resexp.records.run import Run, read_lines
from resexp.seeds import derive
from resexp.training import checkpoint
from resexp.training.engine import prepared_engine, rehearsed
from resexp.training.execution import Execution
from resexp.training.loop import PROBE_IMAGES, run
from resexp.training.lr_schedule import learning_rate
from resexp.training.optimizers import kept

ON_CPU = Execution("cpu", "float32", "eager", 1, "test")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_package(folder)
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(place)
    path = [*sys.path]
    yield place
    sys.path[:] = path


@pytest.fixture(scope="module")
def compared(place: Path) -> Path:
    """The comparison that docs/extending.md ends with, cut short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        sets = ["--set", "optim.steps=2", "--set", "model.width=4", "--set", "optim.batch_size=8"]
        vary = ["--vary", f"model.activation=relu,{PACKAGE}.activations:Squareplus"]
        command = ["compare", "plain", "residual", "--config", "mine.yaml", *vary, "--seeds", "1"]
        app([*command, *sets, "--name", "it"], standalone_mode=False)
    return place / "runs" / "it"


def own_run(compared: Path) -> Run:
    runs = [Run(path.parent) for path in sorted(compared.glob("*/manifest.json"))]
    return next(run for run in runs if "Squareplus" in run.config.model.activation)


def test_one_of_each_is_in_the_manifest_with_its_source(compared: Path) -> None:
    plugins = own_run(compared).manifest.plugins
    assert [(row.key, row.path) for row in plugins] == [
        ("data.name", "mylab.images:stripes"),
        ("model.activation", "mylab.activations:Squareplus"),
        ("model.init", "mylab.inits:lecun"),
        ("optim.name", "mylab.optimizers:Lion"),
        ("record.probes", "mylab.probes:confidence"),
    ]
    assert len({row.sha256 for row in plugins}) == 1, "one package, one source"


def test_an_own_probe_is_in_the_record_in_tensorboard_and_on_the_page(compared: Path) -> None:
    folder = own_run(compared).folder
    rows = [row for row in read_lines(folder / "profile.jsonl") if row.get("probe") == "confidence"]
    assert [row["step"] for row in rows] == [0, 1, 2]
    config = own_run(compared).config
    images = load_images(config.data).train
    batch = render(images, unaugmented(sample(len(images.labels), PROBE_IMAGES)))
    net = build(seed=config.seed, num_classes=2, **config.model.model_dump()).train()
    odds = net(batch.images).detach()
    expected = 1 / (1 + torch.exp(-(odds[:, 0] - odds[:, 1]).abs()))  # of two classes, the likelier one
    assert rows[0]["by_image"] == pytest.approx(expected.tolist(), abs=1e-5)
    events = EventAccumulator(str(folder)).Reload().Scalars("probe/confidence/mean")
    drawn = {event.step: event.value for event in events}
    assert drawn == pytest.approx({row["step"]: row["mean"] for row in rows})
    assert "confidence: mean" in (compared / "report.html").read_text()


def test_pages_and_tables_show_what_is_own(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    assert "activation mylab.activations:Squareplus" in page
    assert "stripes" in page
    assert "mylab.activations:Squareplus" in (compared / "table.md").read_text()
    assert without_folder("/home/me/a b/act.py:Silu") == "act.py:Silu"
    assert without_folder("a/b:c") == "a/b:c", "no import path"


def losses(folder: Path, config: Config) -> list[float]:
    run(config, folder, make_splits(), execution=ON_CPU)
    return read_losses(folder).tolist()


@pytest.mark.parametrize(
    ("key", "word", "own"),
    [
        ("model__activation", "silu", "twins.py:Silu"),
        ("model__activation", "silu", "torch.nn:SiLU"),
        ("model__init", "he", "twins.py:he"),
        ("optim__name", "sgd", "twins.py:sgd"),
        ("optim__name", "adam", "torch.optim:Adam"),
        ("optim__name", "adamw", "torch.optim:AdamW"),
    ],
)
def test_an_own_copy_of_a_built_in_word_trains_the_same_bits(
    key: str, word: str, own: str, tmp_path: Path
) -> None:
    built_in, copied = (tiny_config(optim__steps=4, optim__lr=0.01, **{key: name}) for name in (word, own))
    assert losses(tmp_path / "a", built_in) == losses(tmp_path / "b", copied)
    assert built_in.digest() != copied.digest()


def test_own_images_are_the_images_that_the_function_gave() -> None:
    own, ours = (load_images(DataSection(name=name)) for name in ("twins.py:crayons", "crayons"))
    assert (own.fingerprint, own.train.classes) == (ours.fingerprint, ours.train.classes)
    assert own.name == "twins.py:crayons"


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_makes_the_steps_that_torch_makes(name: str) -> None:
    """Against the plain loop, in which torch itself begins what it keeps."""
    config = tiny_config(optim__name=name, optim__lr=0.003, optim__weight_decay=0.1, run__kernels="torch")
    train = make_splits().train
    engine = prepared_engine(config, train, ON_CPU)
    engine.advance(5)
    net = build(seed=0, num_classes=train.num_classes, **config.model.model_dump())
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    made = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    optimizer = made(net.parameters(), lr=0.003, weight_decay=0.1)
    for step in range(5):
        optimizer.param_groups[0]["lr"] = learning_rate(config.optim, step)
        spec = draw(derive(0, "batches"), step, num_images=len(train.labels), batch_size=8, augment=True)
        batch = render(train, spec)
        optimizer.zero_grad()
        F.cross_entropy(net(batch.images), batch.labels).backward()
        optimizer.step()
    for (name, ours), theirs in zip(engine.net.named_parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7, msg=name)


OPTIMIZERS = ["adam", "adamw", "mylab.optimizers:Lion", "twins.py:Double", "torch.optim:RMSprop"]


@pytest.mark.parametrize("mode", ["eager", "graphed"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_resumes_bit_for_bit(name: str, mode: str) -> None:
    config, train = tiny_config(optim__name=name, optim__lr=0.01), make_splits().train
    execution = rehearsed(ON_CPU._replace(mode=mode), [(config, train.first(8))])
    assert execution.graphed == (mode == "graphed" and name.startswith("adam"))
    straight, first, second = (prepared_engine(config, train, execution) for _ in range(3))
    straight.advance(6)
    first.advance(3)
    buffer = io.BytesIO(checkpoint.packed(first.state()))
    second.restore(torch.load(buffer, weights_only=True))
    second.advance(3)
    expected = tensor_digests(straight.state())
    assert tensor_digests(second.state()) == expected
    assert sum(digest.startswith("optimizer") for digest in expected) >= len(kept(straight.optimizer)) > 0


def test_a_graphed_optimizer_that_is_own_goes_step_by_step_and_says_why() -> None:
    config, train = tiny_config(optim__name="torch.optim:SGD"), make_splits().train
    found = rehearsed(ON_CPU._replace(mode="graphed"), [(config, train.first(8))])
    assert found.mode == "eager"
    assert "optim.name torch.optim:SGD" in found.reason


def test_a_run_with_one_of_each_is_verified(compared: Path) -> None:
    found = own_run(compared)
    checks = list(verify(found.folder, lambda: load_images(found.data_section)))
    assert all(check.holds for check in checks), checks


def test_to_look_at_what_was_recorded_runs_no_code_of_its_config(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path / "runs" / "it")
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("open('ran', 'w')")
    for command in (("report", "runs/it"), ("runs", "--runs-dir", "runs/it")):
        ended = resexp(*command, folder=tmp_path)
        assert ended.code == 0, ended.stderr
    assert not (tmp_path / "ran").exists()
    assert "activation mylab.activations:Squareplus" in (tmp_path / "runs/it/report.html").read_text()


def test_a_changed_source_is_another_run_and_the_old_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "act.py"
    shutil.copy("twins.py", file)
    config = load(None, [f"model.activation={file}:Silu", "model.depth=8", "model.width=4"])
    small = tiny_config(model=config.model.model_dump(), optim__steps=2)
    before = small.digest()
    run(small, tmp_path / "it", make_splits(), execution=ON_CPU)
    assert admit(tmp_path / "it", small, resume=True) == "finished"
    file.write_text(file.read_text().replace("silu(x)", "silu(x) * 1.5"))
    assert small.digest() != before
    with pytest.raises(RunFolderError, match=r"source of model.activation .*act.py:Silu has changed") as told:
        admit(tmp_path / "it", small, resume=True)
    assert len(told.value.lines) == 1
    longer = small.model_copy(update={"optim": small.optim.model_copy(update={"steps": 4})})
    with pytest.raises(RunFolderError, match=r"source of model\.activation"):
        admit(tmp_path / "it", longer, resume=True, extend=True)
    shutil.copy("twins.py", file)
    assert small.digest() == before
    assert admit(tmp_path / "it", small, resume=True) == "finished"


def test_the_identity_is_the_source_wherever_it_lies(tmp_path: Path) -> None:
    shutil.copy("twins.py", tmp_path / "elsewhere.py")
    one, other = (
        tiny_config(model__activation=f"{file}:Silu") for file in ("twins.py", tmp_path / "elsewhere.py")
    )
    assert one.digest() == other.digest()
    assert one.digest() != tiny_config(model__activation="twins.py:he").digest()


def test_every_file_of_a_package_is_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for k, helper in enumerate(("SCALE = 1", "SCALE = 2")):
        package = tmp_path / f"lab{k}"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "helper.py").write_text(helper)
        (package / "act.py").write_text("from torch import nn\n\n\nclass Act(nn.ReLU):\n    pass\n")
        digests.append(imported(f"lab{k}.act:Act").sha256)
    assert digests[0] != digests[1]


def test_a_relative_file_is_recorded_so_that_other_folders_find_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(None, ["model.activation=twins.py:Silu", "record.probes=[./mylab/probes.py:confidence]"])
    assert config.model.activation == f"{place}/twins.py:Silu"
    assert config.record.probes == (f"{place}/mylab/probes.py:confidence",)
    monkeypatch.chdir(tmp_path)
    assert load(None, [f"model.activation={config.model.activation}"]).model == config.model


def test_theory_is_silent_about_what_is_own(place: Path) -> None:
    for activation, init in (("twins.py:Silu", "he"), ("relu", "twins.py:he")):
        found = predict(kind="plain", depth=20, norm="none", activation=activation, init=init)
        assert (found.factor, found.ratio) == (None, None)
        assert found.reason.startswith("no prediction: not derived for the")
        assert layer_factor(norm="none", activation=activation, init=init) is None
    axes = ["--activation", "relu,twins.py:Silu", "--init", f"he,{PACKAGE}.inits:lecun"]
    small = ["--depth", "8", "--set", "model.width=4", "--seeds", "2", "--data", "crayons", "--kind", "plain"]
    app(["gradients", *axes, *small, "--norm", "none", "--name", "g"], standalone_mode=False)
    rows = json.loads((place / "runs/g/gradients.json").read_text())["rows"]
    assert [row["predicted"] is None for row in rows] == [False, True, True, True]
    assert all(row["factor"] is not None for row in rows)


NEEDLESS = "goes with optim.name sgd"
REFUSED = {
    "model.activation=mylab.nothing:f": "importing mylab.nothing raises ModuleNotFoundError",
    "model.activation=nothing.py:f": "nothing.py: no such file",
    "model.activation=mylab.activations:Squareminus": "mylab.activations has no Squareminus",
    "model.activation=mylab.faulty:number": "number is no function or class",
    "model.activation=mylab.raising:f": "importing mylab.raising raises RuntimeError: not today",
    "model.activation=mylab/misspelt.py:f": "importing mylab/misspelt.py raises SyntaxError",
    "model.activation=mylab.faulty:3rd": "allowed: relu, ",
    "model.activation=mylab.faulty:sums_up": "gives an int; allowed: a class or a function",
    "model.activation=torch.nn:Linear": "calling it raises TypeError",
    "model.activation=mylab.faulty:Halves": "gives torch.float32 [2, 2, 8, 8]",
    "model.activation=mylab.faulty:OneWidth": "on float32 [3, 6, 5, 5] it raises RuntimeError",
    "model.activation=mylab.faulty:InPlace": "changes its input in place",
    "model.activation=mylab.faulty:Cut": "lets no gradient through",
    "model.activation=torch.nn:Dropout": "another output for the same input",
    "model.init=mylab.faulty:returns_a_new_one": "not finite; it is to draw all of them in place",
    "model.init=mylab.faulty:by_another_stream": "other numbers from an equal generator",
    "model.init=mylab.faulty:sums_up": "raises TypeError",
    "record.probes=[mylab.faulty:tensor_probe]": "loss: a Tensor, which is none of JSON's types",
    "record.probes=[mylab.faulty:raising_probe]": "raises ValueError: no luck",
    "record.probes=[mylab.faulty:number_probe]": "gives a float; allowed: a dict",
    "record.probes=[mylab.faulty:step_probe]": "gives a key step",
    "record.probes=[mylab.probes:confidence,./mylab/probes.py:confidence]": "the name of another probe",
    "data.name=mylab.faulty:from_nothing": "gives a dict without train_images",
    "optim.name=mylab.faulty:no_optimizer": "gives a list; allowed: a torch.optim.Optimizer",
    "optim.name=torch.optim:LBFGS": "unexpected keyword argument 'weight_decay'",
    "optim.name=mylab.faulty:Forgets": "saved after a step and taken up, it makes another next step",
    "optim={name: adam, momentum: 0.5}": NEEDLESS,
    "optim={name: adamw, nesterov: true}": NEEDLESS,
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_does_not_fit_is_one_line_and_exit_2(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = ["--set", "model.width=4", "--set", "model.depth=8", "--set", "optim.steps=2"]
    data = [] if text.startswith("data") else ["--data", "crayons"]
    (tmp_path / "c.yaml").write_text("optim: {batch_size: 8, schedule: {name: constant}}\n")
    words = ["train", "--config", f"{tmp_path}/c.yaml", *data, *small, "--set", text]
    monkeypatch.setattr(sys, "argv", ["resexp", *words, "--runs-dir", str(tmp_path), "--name", "it"])
    with pytest.raises(SystemExit) as ended:
        main()
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("data: ")]
    assert ended.value.code == Exit.USAGE, lines
    assert len([line for line in lines if text.split("=")[0].split("[")[0] in line]) == 1, lines
    assert REFUSED[text] in lines[-1]
    assert "bug" not in lines[-1]
    assert not (tmp_path / "it" / "manifest.json").exists(), "a mended one may begin there"


def test_images_that_cannot_be_read_are_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=r"raises FileNotFoundError: .*nowhere.npz") as told:
        load_images(DataSection(name="mylab.faulty:missing_images"))
    assert getattr(told.value, "code", None) == Exit.DATA


def test_images_that_do_not_fit_are_named(tmp_path: Path) -> None:
    base = "from types import SimpleNamespace as N\nimport numpy as np\n\n\ndef images(root):\n    n = N(" + (
        "train_images=np.zeros((4, 3, 32, 32), np.uint8), train_labels=np.zeros(4, int), "
        "test_images=np.zeros((2, 3, 32, 32), np.uint8), test_labels=np.zeros(2, int), classes=['a', 'b'])\n"
    )
    faults = {
        "train_images = np.zeros((4, 32, 32, 3), np.uint8)": r"train_images is uint8 \[4, 32, 32, 3\]",
        "test_images = np.zeros((2, 3, 32, 32))": "test_images is float64",
        "test_labels = np.zeros(3, int)": r"test_labels is int64 \[3\]",
        "train_labels = np.full(4, 2)": "train_labels go from 2 to 2",
        "classes = 'ab'": "classes is a str",
    }
    for k, (fault, said) in enumerate(faults.items()):
        file = tmp_path / f"images{k}.py"
        file.write_text(f"{base}    n.{fault}\n    return n\n")
        with pytest.raises(UsageError, match=said):
            load_images(DataSection(name=f"{file}:images"))


def test_ranks_find_what_is_own(place: Path) -> None:
    sets = ["model.norm=group", "model.activation=twins.py:Silu", "optim.name=mylab.optimizers:Lion"]
    options = [word for text in [*sets, "model.width=4", "optim.steps=2"] for word in ("--set", text)]
    command = ["train", "--config", "mine.yaml", *options, "--set", "run.device=cpu", "--devices", "2"]
    ended = resexp(*command, "--name", "ranks", folder=place)
    assert ended.code == 0, ended.stderr
    found = Run(place / "runs/ranks")
    assert (found.status, found.manifest.execution.devices) == ("finished", 2)


def test_the_page_has_one_of_each_and_a_config_of_them_all() -> None:
    assert [*examples()] == [
        *(f"{PACKAGE}/{name}.py" for name in ("activations", "inits", "probes", "images", "optimizers")),
        "mine.yaml",
    ]
