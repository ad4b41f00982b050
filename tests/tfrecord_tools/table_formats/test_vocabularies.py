"""Lists of words are read as text."""

import pytest

from tfrecord_tools.table_formats import vocabularies


@pytest.mark.parametrize("name", ["diagnoses.yaml", "sites.yaml"])
def test_all_words_are_texts(name):
    def list_words(value):
        parts = value.values() if isinstance(value, dict) else value
        return [value] if isinstance(value, str) else [word for part in parts for word in list_words(part)]

    words = list_words(vocabularies.read(name))
    assert len(words) > 100
    assert all(isinstance(word, str) and word == word.strip() and word for word in words)


def test_words_that_yaml_reads_as_others_stay_as_they_are():
    assert {"none", "nan", "-1", "na"} <= set(vocabularies.read("sites.yaml")["unknown"])
