"""From a training run's folder to the Hub, and back in a process without the package."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers.clean_process import run_without_the_package
from helpers.hub_on_loopback import READER, WRITER, Repository
from huggingface_hub import HfApi, constants
from PIL import Image

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.hub.folder import HubError
from modeling_ocrnet.hub.push import push

ROOT = Path(__file__).parents[2]
CODE = ["backbone_ocrnet", "configuration_hrnet", "configuration_ocrnet"]
CODE += ["feature_pyramid_ocrnet", "fusion_ocrnet", "gradient_checkpointing"]
CODE += ["heads_ocrnet", "image_processing_ocrnet", "labels_ocrnet"]
CODE += ["loss_bootstrapped_ocrnet", "loss_classes_ocrnet", "loss_cross_entropy_ocrnet", "loss_dice_ocrnet"]
CODE += ["loss_fields_ocrnet", "loss_focal_ocrnet", "loss_lovasz_ocrnet", "loss_ocrnet", "loss_rmi_ocrnet"]
CODE += ["modeling_hrnet", "modeling_ocrnet", "pixels_ocrnet", "resizing_ocrnet"]


def contents(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha1(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def api(hub, token=WRITER) -> HfApi:
    return HfApi(endpoint=hub.url, token=token)


def test_everything_arrives_in_one_commit(run_folder, hub):
    folder = run_folder()
    (folder / "optimizer.bin").write_bytes(b"not to be shared")
    before = contents(folder.parent)
    pushed = push(str(folder), "street", api=api(hub))
    repository = hub.repositories["me/street"]
    assert pushed.repo_id == "me/street"
    assert pushed.url == f"{hub.url}/me/street"
    assert repository.commits == 1
    expected = {f"{name}.py" for name in CODE}
    expected |= {"config.json", "preprocessor_config.json", "model.safetensors", "metrics.json", "recipe.yaml"}
    expected |= {"README.md", "pictures/frame_1.png", "pictures/frame_3.png", "pictures/frame_5.png"}
    assert set(pushed.files) == expected
    assert set(repository.files) - {".gitattributes"} == expected
    assert repository.files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert contents(folder.parent) == before


def test_paths_of_this_machine_stay_here(run_folder, hub):
    folder = run_folder()
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["model"]["backbone"] = "/data/private/hrnet.safetensors"
    recipe["model"] |= {"init_from": "/data/private/street", "variant": "/data/private/dinov3"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    push(str(folder), "me/street", api=api(hub))
    files = hub.repositories["me/street"].files
    assert [name for name, data in files.items() if b"/data/private" in data] == []
    shared = yaml.safe_load(files["recipe.yaml"])
    assert shared["data"].pop("root") is shared.pop("output") is None
    assert shared["model"]["backbone"] == "hrnet.safetensors"
    assert (shared["model"]["init_from"], shared["model"]["variant"]) == ("street", "dinov3")
    assert shared["schedule"] == recipe["schedule"]


def test_a_readme_of_ones_own_is_kept(run_folder, hub):
    folder = run_folder()
    (folder / "README.md").write_text("---\nlicense: mit\n---\nMine.\n")
    push(str(folder), "me/street", api=api(hub))
    files = hub.repositories["me/street"].files
    assert files["README.md"] == b"---\nlicense: mit\n---\nMine.\n"
    assert not [name for name in files if name.startswith("pictures/")]


def test_private_and_pull_requests(run_folder, hub):
    folder = str(run_folder())
    push(folder, "me/street", private=True, api=api(hub))
    repository = hub.repositories["me/street"]
    assert repository.private
    before = dict(repository.files)
    pushed = push(folder, "me/street", pull_request=True, api=api(hub))
    assert pushed.url == f"{hub.url}/me/street/discussions/1"
    assert set(repository.pull_requests[0]) == set(pushed.files)
    assert repository.files == before


def refused(folder, hub, message, repo_id="me/street", token=WRITER, **options):
    """Pushing fails with one line, and neither the Hub nor the folder changes."""
    local, remote = contents(folder.parent), {name: dict(x.files) for name, x in hub.repositories.items()}
    with pytest.raises(HubError, match=message) as error:
        push(str(folder), repo_id, api=api(hub, token), **options)
    assert "\n" not in str(error.value)
    assert contents(folder.parent) == local
    assert {name: x.files for name, x in hub.repositories.items()} == remote


def test_refusals_lose_nothing(run_folder, hub):
    folder = run_folder()
    hub.repositories["me/taken"] = Repository(files={"config.json": b"{}", "README.md": b"theirs"})
    hub.repositories["other/open"] = Repository()
    refused(folder, hub, "no token for the Hub was found: log in with", token=None)
    refused(folder, hub, "doesn't accept the token: log in with", token="hf_expired")
    refused(folder, hub, "me/street: the token has no write access there", token=READER)
    refused(folder, hub, "you/street: the token has no write access there", repo_id="you/street")
    refused(folder, hub, "'me/a b' isn't a valid repository name: expected owner/name", repo_id="me/a b")
    refused(folder, hub, "me/taken exists and holds 2 files, which aren't overwritten: .* --pr", repo_id="me/taken")
    refused(folder, hub, "me/street doesn't exist, .* leave --pr out", pull_request=True)
    refused(folder, hub, "other/open exists and is public", repo_id="other/open", private=True)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, hub, "holds no model.safetensors; save the weights with")


def test_no_network(run_folder, hub):
    """A Hub that can't be reached is said in one line."""
    folder = run_folder()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = HfApi(endpoint=f"http://127.0.0.1:{free.getsockname()[1]}", token=WRITER)
        with pytest.raises(HubError, match=r"the Hub at .* can't be reached .*try again when") as error:
            push(str(folder), "me/street", api=nowhere)
    assert "\n" not in str(error.value)


def test_offline_mode_is_named(run_folder, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(run_folder(), hub, "can't be reached .*offline mode is enabled")


def test_a_readme_that_the_hub_would_refuse(run_folder, hub):
    folder = run_folder()
    (folder / "README.md").write_text("---\n- no fields\n---\nMine.\n")
    with pytest.raises(HubError, match="me/street: .*metadata.*nothing was uploaded") as error:
        push(str(folder), "me/street", api=api(hub))
    assert "\n" not in str(error.value)
    assert set(hub.repositories["me/street"].files) == {".gitattributes"}


def test_weights_that_the_storage_refuses(run_folder, hub):
    """They go first: without them there is no commit."""
    folder = run_folder()
    hub.break_uploads = True
    with pytest.raises(HubError, match=r"me/street: Error while uploading 'model.safetensors'.*nothing was uploaded"):
        push(str(folder), "me/street", api=api(hub))
    assert set(hub.repositories["me/street"].files) == {".gitattributes"}
    hub.break_uploads = False
    push(str(folder), "me/street", api=api(hub))
    assert hub.repositories["me/street"].files["model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_a_broken_connection_can_be_tried_again(run_folder, hub):
    """The repository was made, but it holds nothing yet: the same command then fills it."""
    folder = run_folder()
    hub.break_commits = True
    with pytest.raises(HubError, match="can't be reached .*the folder is unchanged: try again"):
        push(str(folder), "me/street", api=api(hub))
    assert set(hub.repositories["me/street"].files) == {".gitattributes"}
    hub.break_commits = False
    push(str(folder), "me/street", api=api(hub))
    assert "model.safetensors" in hub.repositories["me/street"].files


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "holds no config.json; give a model folder"),
        ("preprocessor_config.json", "holds no preprocessor_config.json; save the image processor too"),
        ("modeling_ocrnet.py", "holds no modeling_ocrnet.py, which config.json names"),
        ("image_processing_ocrnet.py", "holds no image_processing_ocrnet.py, which preprocessor_config.json names"),
    ],
)
def test_incomplete_folders_are_refused_before_anything_is_sent(run_folder, hub, file, message):
    folder = run_folder()
    (folder / file).unlink()
    refused(folder, hub, message)


def script(hub, *arguments, token=WRITER):
    environment = {k: v for k, v in os.environ.items() if k != "HF_TOKEN"} | hub.environment(token)
    command = [sys.executable, str(ROOT / "scripts" / "push_to_hub.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_script_pushes_and_the_cards_six_lines_load(run_folder, hub, tmp_path):
    folder = run_folder()
    done = script(hub, folder, "me/street")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{hub.url}/me/street"

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    image = Image.effect_noise((90, 60), 80).convert("RGB")
    image.save(elsewhere / "street.png")
    inputs = OCRNetImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    logits = OCRNetForSemanticSegmentation.from_pretrained(folder)(**inputs).logits
    upsampled = torch.nn.functional.interpolate(logits, size=(60, 90), mode="bilinear")
    torch.save(upsampled.argmax(1)[0], elsewhere / "expected.pt")

    card = hub.repositories["me/street"].files["README.md"].decode()
    code = card.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 6
    code += """
import torch
assert torch.equal(label_map, torch.load("expected.pt"))
from transformers import pipeline
segments = pipeline("image-segmentation", model="me/street", trust_remote_code=True)(image)
assert {x["label"] for x in segments} == {("road", "sky", "train")[i] for i in label_map.unique()}
assert all(x["mask"].size == image.size for x in segments)
assert type(model).__module__.startswith("transformers_modules")
"""
    said = run_without_the_package(code, elsewhere, hub.environment(token=None))
    assert "not supported" not in said


@pytest.mark.slow
def test_the_script_ends_in_one_line_without_a_token(run_folder, hub):
    done = script(hub, run_folder(), "me/street", token=None)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("push_to_hub.py: no token for the Hub was found")
