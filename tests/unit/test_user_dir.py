"""The user's plugin folder."""

import sys

import pytest
import toy

from plugins import user_dir


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(user_dir, "_imported", [])
    before = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before[0]:
        if name.startswith("users_"):
            del sys.modules[name]
    sys.path[:] = before[1]


def package(folder, text=""):
    folder.mkdir()
    (folder / "__init__.py").write_text(text)
    return folder


def test_runs_get_the_folder_that_was_imported_last(fresh, tmp_path):
    assert user_dir.for_runs() == user_dir.OURS == str(toy.ROOT / "plugins")
    user_dir.load(None)
    for name in ("users_first", "users_second"):
        user_dir.load(str(package(tmp_path / name)))
        assert name in sys.modules and user_dir.for_runs() == str(tmp_path / name)


def test_what_is_not_a_package_is_named(fresh, tmp_path):
    with toy.refused(f"--user-dir {tmp_path}"):
        user_dir.load(str(tmp_path))
    assert user_dir.for_runs() == user_dir.OURS


def test_another_package_of_the_same_name_is_named(fresh, tmp_path):
    user_dir.load(str(package(tmp_path / "users_third")))
    (tmp_path / "other").mkdir()
    with toy.refused("--user-dir", "'users_third'"):
        user_dir.load(str(package(tmp_path / "other" / "users_third")))


def test_an_import_error_of_the_plugin_itself_is_not_changed(fresh, tmp_path):
    with pytest.raises(ImportError) as error:
        user_dir.load(str(package(tmp_path / "users_fourth", "import no_such_module_of_ours")))
    assert "no_such_module_of_ours" in str(error.value)


def test_a_relative_folder_is_passed_on_as_an_absolute_one(fresh, tmp_path, monkeypatch):
    package(tmp_path / "users_fifth")
    monkeypatch.chdir(tmp_path)
    user_dir.load("users_fifth")
    assert user_dir.for_runs() == str(tmp_path / "users_fifth")
