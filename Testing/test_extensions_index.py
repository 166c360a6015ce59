"""The entry for Slicer's Extensions Index, against its schema and the checks that the index runs on a submission."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "ContextPropagation.json"
TYPES = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}
"""Every key that version 1.0.2 of the schema knows."""

ENTRY = json.loads(FILE.read_text("utf-8"))


def cmake_setting(name: str) -> str:
    found = re.search(rf'set\({name} "([^"]+)"\)', (ROOT / "CMakeLists.txt").read_text("utf-8"))
    assert found is not None
    return found.group(1)


def test_the_entry_has_the_keys_that_the_schema_needs_and_no_others():
    assert {"$schema", "category", "scm_url"} <= set(ENTRY)
    assert {key: type(value) for key, value in ENTRY.items()} == {key: TYPES[key] for key in ENTRY}
    assert ENTRY["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")


def test_the_entry_is_named_after_the_extension():
    assert f"project({FILE.stem})" in (ROOT / "CMakeLists.txt").read_text("utf-8")


def test_the_entry_and_the_build_agree():
    assert ENTRY["build_dependencies"] == [cmake_setting("EXTENSION_DEPENDS")]
    assert ENTRY["scm_url"] == cmake_setting("EXTENSION_HOMEPAGE")
    assert f"/{ENTRY['scm_revision']}/" in cmake_setting("EXTENSION_ICONURL")


def test_the_index_accepts_category_tier_and_address():
    assert ENTRY["category"] in ("Segmentation", "Radiotherapy")
    assert 1 <= ENTRY["tier"] <= 5
    assert re.fullmatch(r"https://\S+/Slicer\w+", ENTRY["scm_url"])


def test_the_file_has_plain_line_ends():
    assert b"\r" not in FILE.read_bytes()


def test_the_description_is_one_or_two_sentences():
    assert 1 <= len(re.findall(r"[.!?](?: |$)", cmake_setting("EXTENSION_DESCRIPTION"))) <= 2


def test_contributors_are_names_with_their_organisations_and_the_same_everywhere():
    contributors = cmake_setting("EXTENSION_CONTRIBUTORS")
    module = (ROOT / "SlicerContextPropagation" / "ContextPropagation.py").read_text("utf-8")

    assert re.fullmatch(r"[^(),]+ \([^()]+\)(, [^(),]+ \([^()]+\))*", contributors)
    for one in re.findall(r"[^(),]+ \([^()]+\)", contributors):
        assert f'"{one.strip()}"' in module


def test_the_homepage_says_how_to_cite_and_for_what_to_look():
    readme, citation = ((ROOT / name).read_text("utf-8") for name in ("README.md", "CITATION.cff"))

    assert "## How to cite" in readme
    assert "Keywords: " in readme
    title = "Interactive Radiotherapy Target Delineation with 3D-Fused Context"
    assert title in readme
    assert title in citation
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.search(r'^version = "(.*)"', project, re.MULTILINE).group(1) in citation


def test_the_sample_case_stands_under_a_category_with_a_title():
    package = ROOT / "SlicerContextPropagation" / "context_propagation"
    source = (package / "gui" / "module" / "sample_data.py").read_text("utf-8")

    assert 'CATEGORY, SAMPLE = "Context Propagation", ' in source
