"""The config as its users meet it: files, `--set`, defaults, every mistake told at once, and back to YAML."""

import json
import random
import string
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from harness.mutating import badly_said, mutate, mutate_commands, mutate_configs, outcome
from pydantic import ValidationError

from resexp.config import (
    Config,
    DataSection,
    ModelSection,
    MultistepSchedule,
    OptimSection,
    RecordSection,
    RunSection,
    Section,
    SmoothSchedule,
    differing_keys,
    flat,
    json_schema,
    valid_depths,
    write,
)
from resexp.config.load import FOLDER, find_config, load, shipped
from resexp.config.schema import AS_EVER
from resexp.errors import Exit, UsageError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def yaml_file(tmp_path):
    def save(text: str | bytes) -> Path:
        path = tmp_path / "x.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return save


def complaints(path: Path | str | None, sets=(), base=None) -> list[str]:
    """Return the lines of the UsageError that loading must raise, with the folder left out."""
    with pytest.raises(UsageError) as caught:
        load(path, sets, base)
    assert caught.value.code == Exit.USAGE
    assert all(len(line.splitlines()) == 1 for line in caught.value.lines)
    folder = f"{path.parent}/" if isinstance(path, Path) else ""
    return [line.replace(folder, "") if folder else line for line in caught.value.lines]


# What is allowed, and what a key means


def test_nothing_given_is_the_schemas_defaults():
    assert load(None) == Config()


def test_a_file_and_sets_change_what_they_name_and_nothing_else(yaml_file):
    path = yaml_file("seed: 3\nmodel: {depth: 20, kind: plain}\noptim:\n  lr: 1e-2\n")
    config = load(path, ["model.kind=residual", "optim.steps=100", "record.probes=[]"])
    expected = Config(
        seed=3,
        model=ModelSection(depth=20),
        optim=OptimSection(lr=0.01, steps=100),
        record=RecordSection(probes=()),
    )
    assert config == expected
    assert {key for key, _, _ in differing_keys(config, Config())} == {
        "seed", "model.depth", "optim.lr", "optim.steps", "record.probes",
    }  # fmt: skip


def test_file_wins_over_base_and_set_over_both(yaml_file):
    base = {"seed": 1, "optim": {"lr": 0.02, "steps": 150, "batch_size": 64}}
    config = load(yaml_file("optim: {lr: 0.03, steps: 10}"), ["optim.lr=0.04"], base)
    assert (config.seed, config.optim.lr, config.optim.steps, config.optim.batch_size) == (1, 0.04, 10, 64)


def test_a_later_set_wins():
    assert load(None, ["seed=1", "seed=2"]).seed == 2


def test_whole_numbers_are_good_for_real_ones_and_mean_the_same():
    assert load(None, ["optim.lr=1"]).digest() == load(None, ["optim.lr=1.0"]).digest()


def test_configs_are_frozen():
    with pytest.raises(ValidationError):
        Config().seed = 3  # pyright: ignore[reportAttributeAccessIssue]


# Schedules


def test_a_schedule_without_a_name_is_the_default_one():
    assert load(None, ["optim.schedule.warmup_steps=400"]).optim.schedule == MultistepSchedule(
        warmup_steps=400
    )


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_another_schedule_keeps_the_defaults_it_understands(name):
    sets = [f"optim.schedule.name={name}"]
    assert load(None, sets).optim.schedule == SmoothSchedule(name=name)
    multistep = {"name": "multistep", "milestones": [5], "factor": 0.5, "warmup_steps": 7}
    base = {"optim": {"schedule": multistep}}
    assert load(None, sets, base).optim.schedule == SmoothSchedule(name=name, warmup_steps=7)
    smooth = {"optim": {"schedule": {"name": name, "warmup_steps": 7}}}
    assert load(None, ["optim.schedule.name=multistep"], smooth).optim.schedule == MultistepSchedule(
        warmup_steps=7
    )


def test_another_schedule_never_drops_what_a_file_says(yaml_file):
    path = yaml_file("optim:\n  schedule:\n    name: multistep\n    milestones: [5]\n    warmup_steps: 3\n")
    (line,) = complaints(path, ["optim.schedule.name=cosine"])
    assert line.startswith(
        "x.yaml:4:5: optim.schedule.milestones: unknown key of cosine (chosen at command line"
    )
    config = load(path, ["optim.schedule={name: cosine, warmup_steps: 2}"])
    assert config.optim.schedule == SmoothSchedule(name="cosine", warmup_steps=2)


# What is refused. Each line: file:line:col: key: what is wrong; allowed; did you mean

REFUSED = {
    "modle: {depth: 20}": "x.yaml:1:1: modle: unknown key; allowed: name, seed, *; did you mean model",
    "optim:\n  stpes: 5": "x.yaml:2:3: optim.stpes: unknown key; allowed: name, steps, *; did you mean steps",
    "lr: 0.1": "x.yaml:1:1: lr: unknown key; allowed: *; did you mean lr under optim",
    "optim.lr: 0.1": "x.yaml:1:1: optim.lr: unknown key; allowed: *; did you mean lr under optim",
    "model:\n  seed: 1": "x.yaml:2:3: model.seed: unknown key; allowed: *; did you mean seed at the top",
    "optim: {schedule: {name: cosine, warmup_step: 1}}": (
        "x.yaml:1:34: optim.schedule.warmup_step: unknown key of cosine (chosen at x.yaml:1:26); "
        "allowed: name, warmup_steps, warmup_factor; did you mean warmup_steps"
    ),
    "optim: {schedule: {name: multistep, milestone: [1]}}": (
        "x.yaml:1:37: optim.schedule.milestone: unknown key of multistep*; did you mean milestones"
    ),
    "optim: {schedule: {name: cosin}}": (
        'x.yaml:1:26: optim.schedule.name: got "cosin" (text); allowed: *multistep*; did you mean cosine'
    ),
    "optim: {schedule: {name: [1]}}": "x.yaml:1:26: optim.schedule.name: got a list; allowed: *",
    "optim: {schedule: cosine}": "x.yaml:1:19: optim.schedule: got *; did you mean {name: cosine}",
    "optim: {schedule: {milestones: [1, x]}}": (
        'x.yaml:1:36: optim.schedule.milestones[1]: got "x" (text); allowed: a whole number from 1 to *'
    ),
    "optim: {schedule: {milestones: [1, 5, 5]}}": (
        "x.yaml:1:32: optim.schedule.milestones: 5 comes after 5; allowed: rising steps"
    ),
    "data: {augment: 'false'}": 'x.yaml:1:17: *: got "false" (text); *; did you mean false',
    "data: {augment: no}": 'x.yaml:1:17: data.augment: got "no" (text); allowed: *; did you mean false',
    "model: {depth: true}": "x.yaml:1:16: model.depth: got true (true or false); allowed: a whole number *",
    "model: {depth: 20.5}": "x.yaml:1:16: model.depth: got 20.5 (a number); allowed: a whole number *",
    "optim: {steps: 64e3}": "x.yaml:1:16: optim.steps: got 64000.0 (a number); *; did you mean 64000",
    "model: {width: '16'}": 'x.yaml:1:16: model.width: got "16" (text); *divisible by 4*; did you mean 16',
    "model: {width: 18}": "x.yaml:1:16: model.width: got 18 *; allowed: *divisible by 4 from 4 to 1024",
    "model: {activation: ReLU}": "x.yaml:1:21: *; allowed: relu, sigmoid, tanh, *; did you mean relu",
    "model: {norm: bach}": "x.yaml:1:15: *; allowed: batch, none, group, layer; did you mean batch",
    "model: {convs_per_block: 4}": "x.yaml:1:26: model.convs_per_block: got 4 *; allowed: 1, 2, 3",
    "model: {depth: 57}": "x.yaml:1:16: *does not fit blocks of 2 convs*; the nearest are 56 and 62",
    "model: {convs_per_block: 3, depth: 21}": "x.yaml:1:36: *blocks of 3 convs*; the nearest are 20 and 29",
    "model: {depth: 3}": "x.yaml:1:16: model.depth: got 3 *; allowed: a whole number from 5 to 10000",
    "model: 5": "x.yaml:1:8: model: got 5 (a whole number); allowed: a section with the keys kind, *",
    "model: [kind]": "x.yaml:1:8: model: got a list; allowed: a section with the keys kind, *",
    "seed:\nmodel:": "x.yaml:1:6: seed: got no value; allowed: a whole number from 0 *",
    "seed: -1": "x.yaml:1:7: seed: got -1 (a whole number); allowed: a whole number from 0 *",
    "seed: 9007199254740992": "x.yaml:1:7: seed: got *; allowed: *from 0 below 9007199254740992",
    "seed: 99999999999999999999999999": "x.yaml:1:7: the number 99999999999999999999999999 is too large",
    "seed: 1:30": 'x.yaml:1:7: seed: got "1:30" (text)*',
    "seed: 0x10": 'x.yaml:1:7: seed: got "0x10" (text)*',
    "seed: 1_000": 'x.yaml:1:7: seed: got "1_000" (text)*; did you mean 1000',
    "optim: {lr: .nan}": 'x.yaml:1:13: optim.lr: got ".nan" (text); allowed: a number above 0',
    "optim: {lr: nan}": 'x.yaml:1:13: optim.lr: got "nan" (text); allowed: a number above 0',
    "optim: {weight_decay: .inf}": 'x.yaml:1:23: *: got ".inf" (text); allowed: a number from 0',
    "optim: {lr: 1e999}": "x.yaml:1:13: the number 1e999 is too large",
    "optim: {lr: 0}": "x.yaml:1:13: optim.lr: got 0 (a whole number); allowed: a number above 0",
    "optim: {lr: '1e-4'}": 'x.yaml:1:13: optim.lr: got "1e-4" (text)*; did you mean 1e-4',
    "optim: {momentum: 1}": "x.yaml:1:19: optim.momentum: got 1 *; allowed: a number from 0 below 1",
    "optim: {ema: 1}": "x.yaml:1:14: optim.ema: got 1 *; allowed: a number from 0 below 1",
    "optim: {momentum: 0, nesterov: true}": "x.yaml:1:32: optim.nesterov: *; allowed: momentum above 0",
    "run: {threads: 0}": "x.yaml:1:16: run.threads: got 0 *; allowed: auto, a whole number from 1 to 1024",
    "run: {compile: 'true'}": 'x.yaml:1:16: run.compile: got "true" (text); allowed: auto, true, false; *',
    "record: {probes: gradient_profile}": "x.yaml:1:18: *a list *; did you mean [gradient_profile]",
    "name: ..": 'x.yaml:1:7: name: got ".." (text)*',
    "name: a/b": 'x.yaml:1:7: name: got "a/b" (text)*',
    "name: 2024": 'x.yaml:1:7: name: got 2024 (a whole number)*; did you mean "2024"',
    f"name: {'x' * 101}": 'x.yaml:1:7: name: got "xxx*, at most 100 characters long',
    "data: {root: ''}": "x.yaml:1:14: data.root: *at least 1 characters long",
    "data: &a {root: x}\nmodel: *a": "x.yaml:1:7: the anchor &a is not allowed*",
    "seed: 1\nseed: 2": "x.yaml:2:1: seed: duplicate key; it stands first at x.yaml:1:1",
    "seed: 1\n---\nseed: 2": "x.yaml:2:1: a second document begins*",
    "- seed": "x.yaml:1:1: a list at the top*",
    "": "x.yaml:1:1: empty*",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:40]))
def test_a_mistake_is_told_with_its_place_what_is_allowed_and_what_was_meant(yaml_file, text):
    line = complaints(yaml_file(text))[0]
    position = 0
    for part in REFUSED[text].split("*"):  # what is between the stars stands there in this order
        assert part in line[position:], f"{line!r} lacks {part!r}"
        position = line.index(part, position) + len(part)
    assert line.startswith(REFUSED[text].split("*")[0])
    assert REFUSED[text].endswith("*") or line.endswith(REFUSED[text].split("*")[-1])


def test_all_mistakes_of_file_and_command_line_are_told_at_once_in_order(yaml_file):
    path = yaml_file("seed: x\nseed: 2\nmodel:\n  kind: plane\n  depht: 20\noptim: {lr: -1}\ndata: *a\n")
    lines = complaints(path, ["optim.steps=0", "foo=1", "record.every"])
    assert [line.split(": ")[0] for line in lines] == [
        "x.yaml:1:7", "x.yaml:2:1", "x.yaml:4:9", "x.yaml:5:3", "x.yaml:6:13", "x.yaml:7:7",
        "command line, --set record.every", "command line, --set optim.steps=0", "command line, --set foo=1",
    ]  # fmt: skip


def test_a_wrong_key_does_not_hide_a_rule_that_its_neighbours_break(yaml_file):
    lines = complaints(yaml_file("model: {depth: 57, kind: residul}\n"))
    assert [line.split("; ")[0] for line in lines] == [
        "x.yaml:1:16: model.depth: depth 57 does not fit blocks of 2 convs",
        'x.yaml:1:26: model.kind: got "residul" (text)',
    ]
    text = "optim: {schedule: {name: multstep}, nesterov: true, momentum: 0, lr: x}\n"
    lines = complaints(yaml_file(text))
    assert [line.split(": ")[1] for line in lines] == ["optim.schedule.name", "optim.nesterov", "optim.lr"]
    text = "optim: {lr: x, schedule: {name: multistep, milestones: [2, 1]}}\n"
    lines = complaints(yaml_file(text))
    assert [line.split(": ")[1] for line in lines] == ["optim.lr", "optim.schedule.milestones"]


def test_a_rule_is_not_asked_of_a_key_that_is_wrong_itself(yaml_file):
    (line,) = complaints(yaml_file("model: {depth: 57, convs_per_block: 7}\n"))
    assert line.startswith("x.yaml:1:37: model.convs_per_block: got 7")


def test_a_flood_of_mistakes_is_cut_and_counted(yaml_file):
    lines = complaints(yaml_file("".join(f"k{i}: 1\n" for i in range(100))))
    assert len(lines) == 21
    assert lines[-1] == "and 80 more"


def test_sets_go_through_the_same_checks_and_name_the_command_line():
    (line,) = complaints(None, ["model.depth=abc"])
    assert line.startswith(
        'command line, --set model.depth=abc: model.depth: got "abc" (text); allowed: a whole'
    )


def test_a_rule_between_keys_points_at_the_key_that_was_written():
    (line,) = complaints(None, ["model.convs_per_block=3"], {"model": {"depth": 14}})
    assert line.startswith("command line, --set model.convs_per_block=3: ")


def test_missing_files_say_what_there_is(tmp_path):
    (line,) = complaints("residul56")
    assert "no such file" in line
    assert line.endswith("did you mean residual56")
    assert "no such file" in complaints(str(tmp_path / "none.yaml"))[0]
    assert "a folder" in complaints(str(tmp_path))[0]
    assert "null byte" in complaints("a\0b")[0] or "no such file" in complaints("a\0b")[0]
    assert "too long" in complaints("x" * 5000)[0]


# Typos

SECTIONS: dict[str, tuple[type[Section], str]] = {
    "": (Config, "{}"),
    "data": (DataSection, "data: {}"),
    "model": (ModelSection, "model: {}"),
    "optim": (OptimSection, "optim: {}"),
    "optim.schedule": (MultistepSchedule, "optim: {schedule: {}}"),
    "optim.schedule (cosine)": (SmoothSchedule, "optim: {schedule: {}}"),
    "run": (RunSection, "run: {}"),
    "record": (RecordSection, "record: {}"),
}  # fmt: skip


def one_letter_typos(word: str) -> set[str]:
    cuts = [(word[:i], word[i:]) for i in range(len(word))]
    deleted = {head + tail[1:] for head, tail in cuts}
    swapped = {head + tail[1::-1] + tail[2:] for head, tail in cuts if len(tail) > 1}
    replaced = {head + letter + tail[1:] for head, tail in cuts for letter in string.ascii_lowercase + "_"}
    return (deleted | swapped | replaced) - {word, ""}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_one_letter_typo_of_every_key_is_refused_with_the_right_key(section):
    model = SECTIONS[section][0]
    prefix = section.split(" ")[0] + "." if section else ""
    chosen = ["optim.schedule.name=cosine"] if "cosine" in section else []
    typos = [(key, typo) for key in model.model_fields for typo in one_letter_typos(key)]
    assert len(typos) > 100
    for key, typo in typos:
        (line,) = complaints(None, [*chosen, f"{prefix}{typo}=1"])
        assert f": {prefix}{typo}: unknown key" in line
        assert line.endswith(f"; did you mean {key}"), line


# Back to YAML


def random_config(rng: random.Random) -> dict[str, Any]:
    def words(model: type[Section], key: str) -> Any:
        allowed = get_args(model.model_fields[key].annotation)
        own = [get_args(word) if get_origin(word) is Literal else (word,) for word in allowed]
        return rng.choice([word for part in own for word in part if isinstance(word, str)])

    def positive() -> float:
        return rng.random() * 10 ** rng.randint(-8, 8) + 1e-300

    convs = rng.choice([1, 2, 3])
    name = rng.choice(["cosine", "linear", "constant", "multistep"])
    schedule = {"name": name, "warmup_steps": rng.randint(0, 10**6), "warmup_factor": rng.random()}
    if name == "multistep":
        milestones = sorted(rng.sample(range(1, 10**6), rng.randint(0, 5)))
        schedule |= {"milestones": tuple(milestones), "factor": positive()}
    momentum = rng.choice([0.0, rng.random()])
    keys = ("kind", "order", "shortcut", "norm", "activation", "init")
    return {
        "name": "".join(rng.choices("abZ019._-eE", k=rng.randint(1, 20))) + "x",
        "seed": rng.randrange(2**53),
        "data": {
            "name": words(DataSection, "name"),
            "root": "".join(rng.choices("ab01/.~ :#'\"\\é中😀\xa0\u200d-", k=rng.randint(1, 15))),
            "validation": rng.randint(0, 5000),
            "normalize": words(DataSection, "normalize"),
            "augment": rng.random() < 0.5,
            "pad": words(DataSection, "pad"),
        },
        "model": {key: words(ModelSection, key) for key in keys}
        | {
            "depth": 3 * convs * rng.randint(1, 30) + 2,
            "width": 4 * rng.randint(1, 256),
            "convs_per_block": convs,
            "branch_scale": rng.gauss(0, 1),
            "shortcut_scale": float(rng.randint(-3, 3)),
            "learn_branch_scale": rng.random() < 0.5,
        },
        "optim": {
            "steps": rng.randint(1, 10**9),
            "batch_size": rng.randint(2, 65536),
            "lr": positive(),
            "momentum": momentum,
            "nesterov": momentum > 0 and rng.random() < 0.5,
            "weight_decay": rng.choice([0.0, positive()]),
            "ema": rng.choice([0.0, 0.99]),
            "schedule": schedule,
        },
        "run": {"threads": rng.choice(["auto", 1, 64]), "compile": rng.choice(["auto", True, False])},
        "record": {"probes": rng.choice([(), ("gradient_profile",)]), "every": rng.randint(1, 10**9)},
    }


def test_a_resolved_config_written_out_reads_back_equal(yaml_file):
    rng = random.Random(1)
    for _ in range(300):
        config = Config.model_validate(random_config(rng))
        text = write(config)
        again = load(yaml_file(text))
        assert again == config
        assert again.digest() == config.digest()
        assert write(again) == text
        assert yaml.load(text, yaml.CSafeLoader) == config.tree()  # and any other reader sees the same


def test_a_written_config_names_every_key():
    def keys(tree: dict[str, Any]) -> set[str]:
        return set(tree) | {key for part in tree.values() if isinstance(part, dict) for key in keys(part)}

    fields = {key for name in SECTIONS if "cosine" not in name for key in SECTIONS[name][0].model_fields}
    assert keys(yaml.safe_load(write(Config()))) == fields


# Mutations


def test_mutated_configs_give_a_config_or_one_line_a_mistake(tmp_path, sound):
    sound("mutated configs, each in less than a second", mutate_configs(tmp_path, 2_000, seed=2))


def test_mutated_configs_give_the_command_exit_0_or_2(tmp_path, sound):
    sound("mutated configs given to the real command", mutate_commands(tmp_path, 30, seed=4))


def test_mutated_sets_give_a_config_or_one_line_a_mistake():
    rng = random.Random(3)
    sets = [
        "optim.lr=0.1",
        "optim.schedule={name: cosine}",
        "optim.schedule.milestones=[1, 2]",
        "name=x",
        "model.depth=20",
    ]
    for _ in range(1000):
        texts = [mutate(rng.choice(sets), rng).decode(errors="surrogateescape") for _ in range(2)]
        config, lines = outcome(None, texts)
        assert not badly_said(lines, ("command line, --set",))
        assert lines or config is not None


# Shipped configs and what is made from the schema


def test_every_shipped_config_is_valid_names_its_data_and_asks_its_question():
    questions = dict(shipped())
    assert set(questions) >= {"plain20", "residual20", "plain56", "residual56", "vanishing", "he2015"}
    for name, question in questions.items():
        path = find_config(name)
        header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
        assert "?" in question
        assert header[0] == f"# {question}"
        for word in ("Command:", "Time:", "Result:"):
            assert any(line.startswith(f"# {word}") for line in header), (name, word)
        config = load(name)
        assert config == load(path)
        assert config.name == name
        assert config.data.name == "cifar10"
        assert yaml.safe_load(path.read_text("utf-8"))["data"]["name"] == "cifar10"


def test_shipped_twins_differ_in_the_kind_alone():
    for depth in (20, 56):
        differences = differing_keys(load(f"plain{depth}"), load(f"residual{depth}"))
        assert differences == [("model.kind", "plain", "residual")]
    fast = differing_keys(load("fast56-plain"), load("fast56-residual"))
    assert fast == [("model.kind", "plain", "residual")]


def test_the_fast_recipe_trains_the_papers_net():
    assert load("fast20").model == load("he2015").model
    assert load("fast56-residual").model == load("he2015", ["model.depth=56"]).model


def test_he2015_is_the_papers_recipe_and_110_layers_warm_up_for_400_steps():
    config = load("he2015")
    assert config.optim == OptimSection(
        steps=64000, batch_size=128, lr=0.1, momentum=0.9, nesterov=False, weight_decay=1e-4,
        schedule=MultistepSchedule(milestones=(32000, 48000), factor=0.1, warmup_steps=0),
    )  # fmt: skip
    assert (config.data.validation, config.data.normalize, config.data.augment) == (5000, "pixel_mean", True)
    assert (config.data.pad, config.run.precision) == ("after", "float32")
    assert config.model == ModelSection(depth=20)
    deep = load("he2015", ["model.depth=110", "optim.schedule.warmup_steps=400"]).optim.schedule
    assert isinstance(deep, MultistepSchedule)
    assert (deep.warmup_steps, deep.warmup_factor * config.optim.lr) == (400, pytest.approx(0.01))


def test_shipped_configs_are_seen_at_the_top_and_go_into_the_package():
    assert (ROOT / "configs").resolve() == FOLDER.resolve()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    carried = project["tool"]["setuptools"]["package-data"]["resexp"]
    assert {"configs/*.yaml", "report/templates/*", "kernels/source/*"} <= set(carried)


def test_the_json_schema_explains_every_key_and_forbids_others():
    schema = json_schema()
    json.dumps(schema)
    for definition in [schema, *schema["$defs"].values()]:
        assert definition["additionalProperties"] is False
        for key, field in definition["properties"].items():
            assert field.get("description"), key


def test_digest_covers_every_key_but_the_name():
    config = Config()
    flat = [key for key, _, _ in differing_keys(config, changed_everywhere())]
    assert "name" not in flat
    assert Config(name="other").digest() == config.digest()
    assert differing_keys(Config(name="other"), config) == []
    digests = {load(None, [text]).digest() for text in CHANGES}
    assert len(digests) == len(CHANGES)
    assert config.digest() not in digests


def test_keys_that_came_later_leave_the_digest_of_what_began_before_them() -> None:
    # As the first version of the schema had it, which knew neither data.test nor data.test_split.
    first = "e6d6473b5324d73db2c3ac2617083534ba164e031683bcaa6ee5ae8515705375"
    assert Config().digest() == first
    folder = load(None, ["data.name=folder"])
    for text in ("data.test=val", "data.test_split=0.2"):
        assert load(None, ["data.name=folder", text]).digest() != folder.digest()


CHANGES = [
    "seed=1", "data.name=folder", "data.root=x", "data.validation=1", "data.normalize=pixel_mean",
    "data.augment=false", "data.pad=after", "model.kind=plain", "model.depth=20", "model.width=8",
    "model.convs_per_block=1", "model.order=pre", "model.shortcut=projection", "model.norm=none",
    "model.activation=tanh", "model.init=xavier", "model.branch_scale=0", "model.shortcut_scale=0.5",
    "model.learn_branch_scale=true",
    "optim.name=adam", "optim.steps=1",
    "optim.batch_size=2", "optim.lr=1", "optim.momentum=0", "optim.nesterov=true", "optim.weight_decay=0",
    "optim.ema=0.9", "optim.schedule.name=cosine", "optim.schedule.milestones=[]", "optim.schedule.factor=1",
    "optim.schedule.warmup_steps=1", "optim.schedule.warmup_factor=1", "run.device=cpu",
    "run.precision=float32", "run.compile=false", "run.threads=1", "run.kernels=torch",
    "record.gradient_norm=false", "record.probes=[]", "record.every=1",
    "record.eval_every=1", "record.checkpoint_every=1", "record.checkpoint_minutes=1",
]  # fmt: skip


def changed_everywhere() -> Config:
    names = {"optim.name=adam", "optim.schedule.name=cosine", "optim.momentum=0", "model.convs_per_block=1"}
    return load(None, [text for text in CHANGES if text not in names])


def test_a_younger_key_leaves_the_names_of_older_runs_as_they_were():
    """Digests of before there were data.pad and run.kernels, as run folders and manifests hold them."""
    assert Config().digest() == "e6d6473b5324d73db2c3ac2617083534ba164e031683bcaa6ee5ae8515705375"
    assert load("fast20").digest() == "b6dce7b6dc310bf52710ac890e7bbd6a51734fdbeb654622e038f162620e4eac"
    for key, value in AS_EVER.items():
        assert flat(Config().tree())[key] == value, "the default is what was ever done"


def test_differing_keys_name_both_values_and_none_where_one_has_no_such_key():
    a, b = load(None, ["seed=1"]), load(None, ["optim.schedule.name=cosine"])
    assert differing_keys(a, b) == [
        ("seed", 1, 0),
        ("optim.schedule.name", "multistep", "cosine"),
        ("optim.schedule.milestones", [32000, 48000], None),
        ("optim.schedule.factor", 0.1, None),
    ]
    assert differing_keys(a, a) == []


def test_nearest_depths_are_valid_and_enclose():
    for convs in (1, 2, 3):
        valid = [3 * convs * n + 2 for n in range(1, 100)]
        for near in range(5, 200):
            if near not in valid and near > valid[0]:
                below, above = valid_depths(convs, near)
                assert below == max(depth for depth in valid if depth < near)
                assert above == min(depth for depth in valid if depth > near)


def test_reading_a_config_imports_neither_torch_nor_numpy():
    code = (
        "import sys, resexp.config.load as l; l.load('he2015'); print({'torch', 'numpy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
