"""What is written on the pages of the site. The pages themselves: test_browser.py."""

import csv
import re
from pathlib import Path

import boxes
import check_links
import links
import make_site
import nbformat
import pytest
import section_pages
from notebook_cache import executed
from packaging.requirements import Requirement
from section_facts import FACTS, section_numbers

import d2l_recsys
from chapters.__main__ import SECTIONS

ROOT = Path(__file__).parents[2]
CSV = (ROOT / "chapters/runner/printed.csv").read_text(encoding="utf-8")
PRINTED = [*csv.DictReader(CSV.splitlines())]
TRAINED = {"data": "ml-100k", "metrics": {"test_rmse": 1.0}, "history": [{"epoch": 1}]}
NOTEBOOK = nbformat.v4.new_notebook()


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("slug", sorted({row["section"] for row in PRINTED}))
def test_each_printed_figure_is_shown_with_its_errata(slug):
    box = boxes.figures_box(slug, TRAINED, NOTEBOOK)
    known = set(re.findall(r"^\((e\d\d)\)=$", errata(), re.MULTILINE))
    for row in (row for row in PRINTED if row["section"] == slug):
        value, marks = re.escape(row["value"]), row["because"].split()
        where = re.escape(f"*{row['edition']}, {row['framework']}*")
        (found,) = re.findall(rf"(?:\*\*|\| |>){value}\**([^*<]*){where}", box)[:1]
        assert re.findall(r"\[(E\d\d)\]\(#(e\d\d)\)", found) == [
            (mark, mark.lower()) for mark in marks
        ]
        for mark in marks:
            assert mark.lower() in known
            assert f"\n- [{mark}](#{mark.lower()}): " in box


def errata():
    return links.label_errata(read("docs/errata.md"))


def test_our_figures_stand_beside_the_books():
    text = "predicted rating of user 21 for item 31: 3.226\n"
    output = nbformat.v4.new_output("stream", text=text)
    cell = nbformat.v4.new_code_cell(outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    record = {**TRAINED, "history": [{"train_loss": 0.5}, {"train_loss": 0.25}]}
    box = boxes.figures_box("mf", record, notebook)
    assert "| train loss | **0.250** | **0.066**" in box
    assert "| test RMSE | **1.000** | **1.055**" in box
    assert "| rating of (20, 30) | **3.226** | **3.1662967**" in box
    assert "| examples per second | **–** |" in box  # nothing printed, nothing shown


def test_figures_of_other_data_are_not_compared():
    record = {**TRAINED, "data": "synthetic"}
    assert boxes.data_box(TRAINED) == ""
    assert "**synthetic data**" in boxes.data_box(record)
    reason = "All figures here come from other data than the book's."
    assert reason in boxes.figures_box("fm", record, NOTEBOOK)
    assert reason not in boxes.figures_box("mf", TRAINED, NOTEBOOK)


def test_section_numbers_are_those_of_the_printed_figures():
    assert [n for _, _, n in section_numbers(1)] == ["15.1", "17.1", "21.1"]
    for row in PRINTED:
        number = SECTIONS.index(row["section"]) + 2
        numbers = {year: n for year, _, n in section_numbers(number)}
        assert numbers[row["edition"][:4]] == row["where"]


def test_names_that_changed_stand_in_the_row_of_their_edition():
    rows = boxes.edition_box("neumf", 6).splitlines()
    (row,) = [row for row in rows if "`mlp_layers`" in row]
    assert row.startswith("| **2020**, first edition | 15.6 |")
    assert "`nums_hiddens`" in row
    assert "ctx_list" in row


def test_all_names_of_a_section_are_listed_with_their_lines():
    assert [*FACTS] == SECTIONS == [*section_pages.formulas()]
    home = {name: slug for name, slug in d2l_recsys._HOME_OF.items() if slug in FACTS}
    to = links.Links(make_site.pages(), "https://github.com/a/b")
    for name, slug in home.items():
        path = f"d2l_recsys/{slug}.py"
        row = rf"`{name} <d2l_recsys\.{slug}\.{name}>` \| .*{path}#L(\d+)-L(\d+)\""
        first, last = map(int, re.search(row, section_pages.model(slug, to)).groups())
        lines = read(path).splitlines()
        assert re.match(rf"(class|def) {name}\b", lines[first - 1])
        assert lines[last - 1]
        assert last == len(lines) or not lines[last]


@pytest.mark.parametrize("repository", ["", "https://github.com/a/b"])
def test_links_lead_to_pages_or_to_the_source(repository):
    to = links.Links(make_site.pages(), repository)
    for path in [*map(str, to.pages)]:
        if path.endswith(".md"):
            make_site.text_page(path, to)  # raises an error for a file that is not here
    text = (
        "[a](../README.md#x) [b](../LICENSE) [c](https://d2l.ai) `[d](e)` ![f](f.png)"
    )
    to.pages["docs/f.png"] = "f.png"
    source = f"{repository}/blob/main/LICENSE" if repository else "source/LICENSE.md"
    assert to.rewrite(text, "docs/data.md", "data") == (
        f"[a](index.md#x) [b]({source}) [c](https://d2l.ai) `[d](e)` ![f](f.png)"
    )
    assert ("LICENSE" in to.sources) == (not repository)
    with pytest.raises(ValueError, match=r"data: there is no file docs/g\.md"):
        to.rewrite("[g](g.md)", "docs/data.md", "data")


def test_errata_are_linked_in_text_only():
    text = "E11 `E12` $E13$ [E14](x.md)\n# E15\n```\nE16\n```\n$$E17$$ and (E18)"
    assert links.link_errata(text) == (
        text.replace("E11", "[E11](#e11)").replace("E18", "[E18](#e18)")
    )


def test_a_page_has_one_title():
    text = "# A\n## b\n# C\n```\n# comment\n```\n## d\n"
    assert links.with_one_title(text) == (
        "# A\n## b\n## C\n```\n# comment\n```\n### d\n"
    )


def test_the_front_page_has_a_row_for_each_section():
    to = links.Links(make_site.pages())
    page = make_site.text_page("README.md", to)
    assert "](#" not in page  # a section that is only in the README
    for number, slug in enumerate(SECTIONS, 2):
        assert re.search(
            rf"^\| \[\.{number} .*\]\(sections/{slug}\.ipynb\)", page, re.M
        )
        assert f"(source/tests/sections/test_{slug}.py.md)" in page


def test_faults_of_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"></a><a href="b.html#there"></a><a href="c.html"></a>'
        '<a href="https://d2l.ai"></a><script src="https://cdn/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    assert check_links.faults(tmp_path) == [
        "a.html: no such anchor: b.html#there",
        "a.html: no such file: c.html",
        "a.html: loads https://cdn/x.js",
    ]


def test_a_notebook_is_executed_once_and_shown_with_its_boxes(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    notebook, record = executed("ranking", tmp_path, "--smoke")
    assert capsys.readouterr().out == "executing ranking\n"
    assert executed("ranking", tmp_path, "--smoke") == (notebook, record)
    assert capsys.readouterr().out == ""
    to = links.Links(make_site.pages())
    page = section_pages.section_page("ranking", notebook, record, to)
    nbformat.validate(page)
    text = "\n".join(cell.source for cell in page.cells)
    assert ":pyobject: BPRLoss" in text
    assert "**tiny synthetic data**" in text
    assert [c for c in page.cells if c.cell_type == "code"][-1].outputs
    plain = section_pages.published("ranking", notebook, "https://github.com/a/b")
    first = nbformat.reads(plain, as_version=4).cells[0]
    assert first.source.startswith("%pip install -q git+https://github.com/a/b\n")


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_packages_of_the_site_are_added_to_those_of_the_lock(python):
    def releases(path):
        lines = re.findall(r"^[\w-]+==[^\\\n]+", read(path), re.MULTILINE)
        here = {"python_version": python, "python_full_version": f"{python}.0"}
        found = map(Requirement, lines)
        return {
            (x.name, str(x.specifier))
            for x in found
            if not x.marker or x.marker.evaluate(here)
        }

    site, lock = releases("requirements-site.txt"), releases("requirements.txt")
    assert lock <= site
    assert {"sphinx", "myst-nb", "furo"} <= {name for name, _ in site - lock}
