"""YAML as the settings are written in."""

from __future__ import annotations

from recbole_ext.core.yaml_files import read_yaml


def test_an_exponent_is_a_number_and_what_is_quoted_is_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "a: [1e-4, 1.5E+3, 2, .5e1, 1.0e-5]\nb: {c: '01', d: \"1e-4\"}\ne: 2e\nf: 1e5x\n"
    )
    found = read_yaml(path)
    assert found == {
        "a": [1e-4, 1500.0, 2, 5.0, 1e-5],
        "b": {"c": "01", "d": "1e-4"},
        "e": "2e",
        "f": "1e5x",
    }
    assert [type(x) for x in found["a"]] == [float, float, int, float, float]
