"""Front matter within bounds, and the checks of `validate-yaml`."""

from __future__ import annotations

import pytest

from moongate.wire.cards import MISSING, check_card
from moongate.wire.front_matter import BadCard, front_matter


def _card(text: str) -> str:
    return f"---\n{text}\n---\n# A model\n"


def test_values_are_read_by_the_newer_rules_of_yaml() -> None:
    text = "language: no\nday: 2024-01-31\nyes: on\nn: [1, 2.5, 1e3, ~, true, 'no', 0x10, .nan, 12:30:45]"
    assert front_matter(_card(text)) == {
        "language": "no",
        "day": "2024-01-31",
        "yes": "on",
        "n": [1, 2.5, 1000.0, None, True, "no", "0x10", None, "12:30:45"],
    }


@pytest.mark.parametrize(
    "readme",
    ["", "# A model\n", "text\n---\na: b\n---\n", "---\n---\n", "----\na: b\n---\n", "---\n# no\n---"],
)
def test_a_readme_without_metadata(readme: str) -> None:
    assert front_matter(readme) is None
    assert check_card(readme, "model").warnings == (MISSING,)


@pytest.mark.parametrize(
    "readme",
    ["---\r\nlicense: mit\r\n---\r\n", "\n\n---\nlicense: mit\n---", "\ufeff---\nlicense: mit\n---  \n---\n"],
)
def test_fences_as_people_write_them(readme: str) -> None:
    assert front_matter(readme) == {"license": "mit"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x [1]\nb: *x", r"anchors and aliases.* \(line 2, column 4\)"),
        ("a: !!python/object/apply:os.system [id]", "type tags"),
        ("a: !custom b", "type tags"),
        ("- a", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("a: 1\na: 2", "'a' is said twice"),
        ("? [a]\n: b", "plain text"),
        ("a: [", "no YAML"),
        ("a: b: c", r"no YAML.* \(line 2"),
        ('a: "\\ud800"', "no YAML|characters"),
        ("a: \x01", "characters"),
        ("a: b\n--- \nc: d\n...", "must be|second|never closed|plain|no YAML"),
    ],
)
def test_metadata_that_is_not_taken(text: str, why: str) -> None:
    if text.endswith("..."):  # what follows the closing line is no metadata
        assert front_matter(_card(text)) == {"a": "b"}
        return
    with pytest.raises(BadCard, match=why):
        front_matter(_card(text))
    assert len(check_card(_card(text), "model").errors) == 1


def test_an_open_fence_is_an_error() -> None:
    with pytest.raises(BadCard, match="never closed"):
        front_matter("---\na: b\n")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "a: [" + "[], " * 400_000 + "]",
        "a: '" + "x" * (3 << 20) + "'",
        "a: 1" + "\n" * (2 << 20),
        "".join(f"\n---x{n}" for n in range(200_000)),
    ],
)
def test_what_is_nested_or_long_is_refused_soon(text: str) -> None:
    with pytest.raises(BadCard):
        front_matter(_card(text))


def test_laughs_are_not_multiplied() -> None:
    text = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    with pytest.raises(BadCard, match="anchors and aliases"):
        front_matter(_card(text))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("license: asdf", '"license" must be one of [apache-2.0, mit, '),
        ("license: [mit, nonsense]", '"license" must be one of ['),
        ("license: 3", '"license" must be one of ['),
        ("tags: one", '"tags" must be an array'),
        ("tags: [one, 2]", '"tags[1]" must be a string'),
        ("widget: {text: hello}", '"widget" must be an array'),
        ("language: {a: b}", '"language" must be one of [string, array]'),
        ("pipeline_tag: [a]", '"pipeline_tag" must be a string'),
        ("base_model: a b", '"base_model" with value "a b" is not valid. Use a model id'),
        ("base_model: [acme/tiny, 3]", '"base_model[1]" must be a string'),
        ("base_model_relation: cousin", '"base_model_relation" must be one of [adapter, merge'),
        ("model-index: not correct", '"model-index" must be an array'),
        ("model-index: [{results: []}]", '"model-index[0].name" is required'),
        ("model-index: [{name: x}]", '"model-index[0].results" is required'),
        ("model-index: [{name: x, results: [{}]}]", '"model-index[0].results[0].task.type" is required'),
        (
            "model-index: [{name: x, results: [{task: {type: t}, metrics: [{type: acc}]}]}]",
            '"model-index[0].results[0].metrics[0].value" is required',
        ),
    ],
)
def test_errors_are_worded_as_the_hub_words_them(text: str, error: str) -> None:
    assert any(said.startswith(error) for said in check_card(_card(text), "model").errors)


@pytest.mark.parametrize(
    "text",
    [
        "license: mit\nlanguage: en\ntags: [a, b]\ndatasets: glue\nmetrics: acc",
        "license: [mit, apache-2.0]\nbase_model: [gpt2, acme/tiny]\nbase_model_relation: merge",
        "model-index:\n- name: x\n  results:\n  - {task: {type: t}, metrics: [{type: acc, value: 0.9}]}",
        "tags:\nlicense:\nwidget:",
    ],
)
def test_a_good_card_passes(text: str) -> None:
    assert check_card(_card(text), "model").as_json() == {"errors": [], "warnings": []}


def test_what_is_odd_is_a_warning() -> None:
    text = "pipeline_tag: dreaming\nlanguage: [en, english]\nlicense: other"
    check = check_card(_card(text), "model")
    assert not check.errors
    assert [warning.split('"')[1] for warning in check.warnings] == ["dreaming", "english", "other"]


def test_a_space_names_its_sdk_and_colours() -> None:
    assert check_card(_card("sdk: cobol\ncolorFrom: mauve"), "space").errors == (
        '"sdk" must be one of [gradio, docker, static, streamlit]',
        '"colorFrom" must be one of [red, yellow, green, blue, indigo, purple, pink, gray]',
    )
    assert not check_card(_card("sdk: cobol"), "model").errors
