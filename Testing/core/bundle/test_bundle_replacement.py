"""A bundle takes the place of an older one, and of nothing else that lies where it is saved."""

import shutil

import pytest

from bundle_checks import everything_below
from bundles import PROVENANCE, random_fusion, write_bundle
from context_propagation.core.bundle.bundle import load_bundle
from context_propagation.core.bundle.bundle_saving import check_bundle_destination, save_bundle
from context_propagation.core.errors import UserInputError
from context_propagation.core.storage import whole_file

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("what", ["file", "empty folder", "folder", "trained model", "another tool's bundle"])
def test_what_is_no_bundle_is_not_replaced(tmp_path, base, what):
    path = tmp_path / "taken"
    if what == "file":
        path.write_text("mine")
    elif what == "trained model":
        shutil.copytree(base, path)
    else:
        path.mkdir()
        if what != "empty folder":
            (path / "bundle.json" if "bundle" in what else path / "mine.txt").write_text('{"format": "mine"}')
    before = everything_below(tmp_path)

    for attempt in (lambda: write_bundle(path, base, folds=[0]), lambda: check_bundle_destination(path)):
        with pytest.raises(UserInputError, match=r"taken' exists and is not a bundle; choose another name"):
            attempt()
    assert everything_below(tmp_path) == before


def test_a_bundle_with_a_file_of_somebody_s_is_not_replaced(bundle, base):
    (bundle / "notes.txt").write_text("mine")
    before = everything_below(bundle)
    with pytest.raises(UserInputError, match="holds 'notes.txt', which is not of the bundle; move it away first"):
        write_bundle(bundle, base, folds=[0])
    assert everything_below(bundle) == before


def test_a_folder_that_is_missing_is_named(tmp_path, base):
    with pytest.raises(UserInputError, match=r"nowhere' does not exist; create it"):
        write_bundle(tmp_path / "nowhere" / "b", base, folds=[0])


def test_a_bundle_is_replaced_by_the_next_one(bundle, base):
    write_bundle(bundle, base, folds=[1], seed=3)

    assert len(load_bundle(bundle, device="cpu")[1].networks) == 1
    assert not (bundle / "fusion_0.safetensors").exists()
    assert list(bundle.parent.iterdir()) == [bundle]


def test_the_training_s_logs_go_into_the_bundle_and_with_it(tmp_path, base):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "fusion_0.csv").write_text("epoch")
    save_bundle(tmp_path / "b", base, random_fusion(), PROVENANCE, label="GTV", folds=[0], training=tmp_path / "logs")
    assert [path.name for path in (tmp_path / "b" / "training").iterdir()] == ["fusion_0.csv"]
    load_bundle(tmp_path / "b", device="cpu")

    check_bundle_destination(tmp_path / "b")
    write_bundle(tmp_path / "b", base, folds=[0])
    assert not (tmp_path / "b" / "training").exists()


def test_a_bundle_can_be_replaced_by_one_on_its_own_base_model(bundle):
    write_bundle(bundle, bundle / "model", folds=[0], seed=3)

    assert load_bundle(bundle, device="cpu")[1].content_hash == random_fusion(seed=3).content_hash


def test_a_bundle_that_would_refer_to_what_it_replaces_is_refused(bundle):
    before = everything_below(bundle)
    with pytest.raises(UserInputError, match="lies inside .*which is replaced; copy it into the bundle"):
        write_bundle(bundle, bundle / "model", folds=[0], copy_base=False)
    assert everything_below(bundle) == before


def test_remains_of_a_process_that_was_killed_do_no_harm(bundle, base):
    for prefix in (whole_file.PARTIAL, whole_file.REPLACED):
        (bundle.parent / f"{prefix}{bundle.name}" / "model").mkdir(parents=True)

    write_bundle(bundle, base, folds=[0])

    assert list(bundle.parent.iterdir()) == [bundle]


@pytest.mark.quick(ending="partial")
@pytest.mark.parametrize("ending", ["partial", "replaced"])
def test_a_folder_beside_the_bundle_that_is_somebody_s_own_is_not_touched(base, tmp_path, ending):
    (tmp_path / f"bundle.{ending}").mkdir()
    (tmp_path / f"bundle.{ending}" / "thesis.txt").write_text("mine")

    write_bundle(tmp_path / "bundle", base, folds=[0])

    assert (tmp_path / f"bundle.{ending}" / "thesis.txt").read_text() == "mine"
    load_bundle(tmp_path / "bundle", device="cpu")
