"""Which files of a folder count: those that somebody put there."""

from context_propagation.core.storage.counted_files import counted_files


def test_what_systems_and_editors_leave_does_not_count(tmp_path):
    folder = tmp_path / ".hidden above"  # where the folder itself lies does not matter
    put = [folder / "dataset.json", folder / "fold_0" / "checkpoint_final.pth", folder / "x.py"]
    left = [".DS_Store", "fold_0/._checkpoint_final.pth", "Thumbs.db", "desktop.ini", "x.py~", ".x.py.swp", ".git/x.py"]
    for file in (*put, *(folder / name for name in left), folder / "fold_0" / "__pycache__" / "x.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    assert counted_files(folder) == sorted(put)
    assert counted_files(folder, "*.py") == [folder / "x.py"]
