"""The documentation: its Python runs, its command lines exist, its links lead somewhere."""

import re
import shutil
import sys

import pytest
from helpers.adapters import lora
from helpers.documentation import (
    MANUAL,
    ROOT,
    all_command_lines,
    anchors,
    blocks,
    command_lines,
    inline_code,
    links,
    markdown_files,
)
from helpers.documented_commands import NotThere, all_options, check, unknown_options
from helpers.tiny import tiny_config

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, data
from modeling_ocrnet.inference import predictor
from modeling_ocrnet.preparation.export_dataset import export

PYTHON = [x for page in MANUAL for x in blocks(page) if x.language == "python"]
ADD_A_DATASET = ROOT / "docs" / "add_a_dataset.md"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny network for the street scenes' classes, of random weights."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    config = tiny_config(id2label=dict(enumerate(data.label_set("street_scenes").names)))
    OCRNetForSemanticSegmentation(config).save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch, checkpoint, scenes):
    """A folder with all that the pages' code reads; what it names /data/cityscapes is drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])  # transformers adds the folder of code that came with a checkpoint
    monkeypatch.setattr(predictor, "compiled", lambda model: model)  # minutes; compiling has tests of its own
    shutil.copytree(checkpoint, tmp_path / "runs/street_scenes/model")
    shutil.copy(min(scenes.rglob("*_leftImg8bit.png")), tmp_path / "street.png")
    shutil.copytree(scenes, tmp_path / "data/cityscapes")
    return tmp_path


@pytest.mark.parametrize("block", [x for x in PYTHON if not x.not_run], ids=str)
def test_python_runs(block, workplace):
    code = block.text.replace('"/data/cityscapes"', '"data/cityscapes"')
    names = {"__name__": "documented"}
    if block.page == ADD_A_DATASET:  # a file of this package
        names["__package__"] = "modeling_ocrnet.data.datasets"
    if "exported/street_scenes" in code:
        export("street_scenes", "exported/street_scenes", root="data/cityscapes")
    if block.page.name == "peft.md":
        pytest.importorskip("peft")
        lora(OCRNetForSemanticSegmentation.from_pretrained("runs/street_scenes/model")).save_pretrained("runs/adapter")
    exec(compile(code, str(block), "exec"), names)
    if "label_map" in names:
        assert tuple(names["label_map"].shape) == (64, 128)
    if "rows" in names:
        assert set(next(iter(names["rows"]))) == {"image", "label", "name"}


def test_few_blocks_are_not_run():
    assert len([x for x in PYTHON if x.not_run]) <= 2
    assert len(PYTHON) > 12


def problem(line) -> str | None:
    try:
        check(line)
    except NotThere as error:
        return f"{line}\n    {error}"


@pytest.mark.parametrize("page", MANUAL, ids=lambda p: p.name)
def test_command_lines_exist(page):
    problems = [found for line in all_command_lines(page) if (found := problem(line))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", MANUAL, ids=lambda p: p.name)
def test_blocks_of_shell_parse(page, monkeypatch, capsys):
    """Values too, and no option is written as it was once: then a line on standard error says how it is now."""
    monkeypatch.chdir(ROOT)
    for block in (x for x in blocks(page) if x.language == "bash"):
        for line in command_lines(str(block), block.text.replace("potholes", "camvid")):
            call = check(line)
            if call is not None:
                try:
                    call.parse()
                except SystemExit:
                    pytest.fail(f"{line}\n    {capsys.readouterr().err}")
                assert capsys.readouterr().err == "", line


@pytest.mark.parametrize("page", MANUAL, ids=lambda p: p.name)
def test_options_in_the_text_exist(page):
    known, problems = all_options(), []
    text = page.read_text(encoding="utf-8").splitlines()
    for place, code in inline_code(page):
        line = text[int(place.rpartition(":")[2]) - 1]
        foreign = page.stem == "from_mmsegmentation" and f"`{code}`" in line.replace(r"\|", "|").split(" | ")[0]
        if code.startswith("--") and not foreign:
            problems += [f"{place}: no command has {x}" for x in unknown_options(code.split(), known)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", MANUAL, ids=lambda p: p.name)
def test_files_in_the_text_exist(page):
    ours = r"(configuration|modeling_ocrnet|scripts|benchmarks|tests|examples)/[\w./-]*"
    named = [(place, code) for place, code in inline_code(page) if re.fullmatch(ours, code)]
    assert not [f"{place}: there is no {code}" for place, code in named if not (ROOT / code).exists()]


def test_a_wrong_command_line_is_found():
    wrong = {
        "ocrnet segment photo.jpg": "no command segment",
        "ocrnet predict model photo.jpg --windows 512,1024": "--windows",
        "ocrnet data inspect --data.nam camvid": "--data.nam",
        "ocrnet train --config cityscapes/ocrnet_hr19": "no recipe",
        "ocrnet train --model.config.drop_out 0.1": "--model.config.drop_out",
        "python scripts/trane.py": "no scripts/trane.py",
        "python scripts/benchmark.py infer --pear x": "--pear",
        "accelerate launch --num_process 2 scripts/train.py": "--num_process",
        "accelerate launch --config_file configuration/accelerate/gpu_3.yaml scripts/train.py": "gpu_3.yaml",
        "accelerate launch scripts/train.py --schedule.steps 3": "--schedule.steps",
        "srun bash -c 'exec accelerate launch -m modeling_ocrnet.cli.train --outputs x'": "--outputs",
        "make trane": "no trane",
        "make train MINUTE=3": "no MINUTE",
        "pip install -e '.[fats]'": "no extra fats",
    }
    for text, said in wrong.items():
        (line,) = command_lines("here", text)
        assert said in (problem(line) or ""), text


@pytest.mark.parametrize("page", markdown_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    problems = []
    for place, target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            problems.append(f"{place}: there is no {path}")
        elif anchor and anchor not in anchors(file):
            problems.append(f"{place}: {file.name} has no heading #{anchor}")
    assert not problems, "\n".join(problems)


def test_pages_that_the_code_names_exist():
    sources = [
        p for kind in ("*.py", "*.yaml") for x in ("modeling_ocrnet", "configuration") for p in (ROOT / x).rglob(kind)
    ]
    named = {(p.name, x) for p in sources for x in re.findall(r"docs/[\w-]+\.md", p.read_text(encoding="utf-8"))}
    assert named
    assert not [f"{file}: there is no {page}" for file, page in named if not (ROOT / page).exists()]


def test_every_page_is_linked_from_both_readmes():
    pages = {f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")}
    for readme in MANUAL[:2]:
        assert pages <= {target.partition("#")[0] for _, target in links(readme)}, readme.name


def test_the_readme_is_short_and_the_chinese_one_shows_the_same_commands():
    english, chinese = MANUAL[:2]
    assert len(english.read_text(encoding="utf-8").splitlines()) <= 200
    shown = [
        [line.words for x in blocks(page) if x.language == "bash" for line in command_lines("", x.text)]
        for page in (english, chinese)
    ]
    assert shown[0] == shown[1]
    assert len(shown[0]) > 10
