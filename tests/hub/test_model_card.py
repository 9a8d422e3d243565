"""The card says what the folder says, read back with huggingface_hub's own reader; and nothing else."""

import io
import json

import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from modeling_ocrnet.hub.example_images import sample_pictures
from modeling_ocrnet.hub.folder import HubError, read_folder
from modeling_ocrnet.hub.model_card import make_card
from modeling_ocrnet.training import recipe as R


def card_of(folder, **options) -> ModelCard:
    return ModelCard(str(make_card(read_folder(folder), "you/street", **options)))


def test_metadata(run_folder):
    """As huggingface_hub reads it, against the run that was written."""
    data = card_of(run_folder()).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "image-segmentation", "apache-2.0")
    assert data.base_model == "timm/hrnet_w18.ms_in1k"
    assert data.tags == ["ocrnet", "semantic-segmentation", "hrnet", "street_scenes"]
    assert data.model_name == "street"
    results = {x.metric_type: (x.metric_value, x.dataset_type, x.dataset_split) for x in data.eval_results}
    assert results == {
        "mean_iou": (0.61234567, "street_scenes", "val"),
        "mean_accuracy": (0.7, "street_scenes", "val"),
        "overall_accuracy": (0.9, "street_scenes", "val"),
    }


def test_text(run_folder):
    """It holds what the run's recipe and scores say."""
    text = card_of(run_folder(), pictures=["pictures/a.png"]).text
    for said in (
        "one of 3 classes",
        "Classes: road, sky, train.",
        'from_pretrained("you/street", trust_remote_code=True)',
        "| steps | 420 |",
        "| global batch | 8 |",
        "| optimizer | sgd, learning rate 0.01, weight decay 0.0005 |",
        "drawn data has no other terms",
        "| mIoU | 61.23 |",
        "| road | 80.00 |",
        "| train | – |",
        "![image, prediction, truth](pictures/a.png)",
        "arxiv.org/abs/1909.11065",
        "@inproceedings{yuan2020ocr",
        "under Apache-2.0",
    ):
        assert said in text, said
    assert "weights taken after" not in text


def test_how_the_numbers_were_taken_is_said(run_folder):
    evaluation = R.EvaluationRecipe(limit=50, resize=True, inference=R.InferenceOptions(scales=[0.5, 1.0], flip=True))
    text = card_of(run_folder(evaluation=evaluation)).text
    assert (
        "on street scenes, split `val`, only its first 50 images, images resized to 2048x1024 first, "
        "scales (0.5, 1.0), with flips, whole images, in percent"
    ) in text


@pytest.mark.parametrize("metrics", [None, {}, {"mean_iou": float("nan")}])
def test_what_was_not_measured_is_not_claimed(run_folder, metrics):
    card = card_of(run_folder(metrics=metrics))
    assert "No evaluation is recorded" in card.text
    assert card.data.eval_results is None
    assert card.data.metrics is None
    assert "mIoU" not in card.text


def test_a_folder_that_only_save_pretrained_wrote(run_folder):
    folder = run_folder(metrics=None)
    (folder / "recipe.yaml").unlink()
    card = card_of(folder)
    assert "doesn't record how the weights were trained" in card.text
    assert "doesn't record a licence" in card.text
    assert card.data.license is card.data.base_model is None


def test_licences_of_datasets_are_passed_on(run_folder):
    data = card_of(run_folder(dataset="cityscapes")).data
    assert (data.license, data.license_name) == ("other", "cityscapes")
    assert card_of(run_folder(dataset="camvid")).data.license == "cc-by-nc-4.0"


@pytest.mark.parametrize(("path", "told"), [("user/set", "Data: `user/set`."), ("/data/private/set", "Data: `hub`.")])
def test_own_data_is_named_if_it_lies_on_the_hub(run_folder, path, told):
    source = R.DataRecipe("hub", path=path, classes="/data/private/classes.json")
    folder = run_folder("folder")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(R.as_dict(R.Recipe(data=source))))
    card = card_of(folder)
    assert told in card.text
    assert "private" not in str(card)
    assert card.data.license is None
    assert source.title == "hub" if path.startswith("/") else source.title == path


@pytest.mark.parametrize("folder", ["/data/private", "private"])
def test_a_local_file_is_no_base_model(run_folder, folder):
    card = card_of(run_folder(model=R.ModelRecipe(backbone=f"{folder}/hrnet.safetensors")))
    assert card.data.base_model is None
    assert "private" not in str(card)
    assert "`hrnet.safetensors`" in card.text


def test_the_model_that_a_run_started_from_is_named(run_folder):
    card = card_of(run_folder(model=R.ModelRecipe(init_from="me/street-scenes")))
    assert card.data.base_model == "me/street-scenes"
    assert "| initial weights | `me/street-scenes` |" in card.text
    assert "The model started from `me/street-scenes`, whose licence applies too." in card.text
    assert "scratch" not in card.text


def test_pictures_are_few_and_small(run_folder):
    folder = run_folder()
    (folder.parent / "pictures" / "._frame_1.png").write_bytes(b"what macOS leaves beside it")
    pictures = sample_pictures(read_folder(folder))
    assert list(pictures) == ["pictures/frame_1.png", "pictures/frame_3.png", "pictures/frame_5.png"]
    for data in pictures.values():
        assert Image.open(io.BytesIO(data)).size == (960, 80)


@pytest.mark.parametrize("dataset", ["cityscapes", "camvid", "folder"])
def test_frames_of_others_are_never_shown(run_folder, dataset):
    assert sample_pictures(read_folder(run_folder(dataset=dataset))) == {}


def test_pictures_that_show_something_else_are_left_out(run_folder):
    """Those of other weights (the best, not the last), and those that lie beside the folder by chance."""
    folder = run_folder()
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "step": 200}))
    assert sample_pictures(read_folder(folder)) == {}
    assert "| weights taken after step | 200 |" in card_of(folder).text
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert sample_pictures(read_folder(folder))
    (folder.parent / "metrics.jsonl").unlink()
    assert sample_pictures(read_folder(folder)) == {}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.json", "{", "metrics.json: can't be read"),
        ("recipe.yaml", "a: [", "recipe.yaml: can't be read"),
        ("recipe.yaml", "- a", "recipe.yaml: expected fields and values, got list"),
        ("config.json", '{"model_type": "bert"}', "model_type is 'bert', expected 'ocrnet'"),
    ],
)
def test_damaged_files_are_named(run_folder, file, content, message):
    folder = run_folder()
    (folder / file).write_text(content)
    with pytest.raises(HubError, match=message) as error:
        read_folder(folder)
    assert "\n" not in str(error.value)


def test_the_metadata_is_yaml_in_front(run_folder):
    text = str(make_card(read_folder(run_folder()), "you/street"))
    start, metadata, body = text.split("---\n", 2)
    assert start == ""
    assert set(yaml.safe_load(metadata)) >= {"license", "pipeline_tag", "tags", "model-index", "library_name"}
    assert body.lstrip().startswith("# street\n")


@pytest.mark.parametrize(
    ("weights", "gated"),
    [
        ("facebook/dinov3-vits16-pretrain-lvd1689m", True),
        ("timm/vit_small_patch16_dinov3.lvd1689m", False),
        ("timm/convnext_tiny.dinov3_lvd1689m", False),
    ],
)
def test_the_terms_of_known_weights_are_said(run_folder, weights, gated):
    """In the metadata, where the data's licence would stand otherwise; the text says both."""
    card = card_of(run_folder(model=R.ModelRecipe(weights)))
    link = "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"
    assert (card.data.license, card.data.license_name, card.data.license_link) == ("other", "dinov3-license", link)
    assert card.data.base_model == weights
    assert f"`{weights}` is under the [DINOv3 License]({link})." in card.text
    assert (f"accepted on https://huggingface.co/{weights}" in card.text) == gated
    assert "drawn data has no other terms" in card.text


def test_other_weights_leave_the_datas_licence(run_folder):
    card = card_of(run_folder(model=R.ModelRecipe("facebook/dinov2-small")))
    assert card.data.license == "apache-2.0"
    assert "DINOv3" not in card.text


@pytest.mark.parametrize("source", ["./street", "weights/street.pdparams", "weights/street.ckpt"])
def test_a_file_or_folder_that_is_gone_is_no_repository(source, run_folder):
    folder = read_folder(run_folder(model=R.ModelRecipe(init_from=source)))
    assert (folder.pretrained, folder.base_model) == (source.rpartition("/")[2], None)
