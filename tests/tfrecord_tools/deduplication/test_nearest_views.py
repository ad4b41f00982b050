import numpy as np
import pytest

from tfrecord_tools.deduplication import nearest_views


@pytest.mark.parametrize("columns", [128, 384, 2560])
def test_the_largest_values_are_those_of_a_complete_sort(columns):
    rng = np.random.default_rng(columns)
    values = rng.permutation(5 * columns).reshape(5, columns).astype(np.float32)
    values[:, -100:] = -np.inf
    # All of a row's largest in one group.
    values[0, 10:16] = 5 * columns + np.arange(6)
    found = nearest_views.find_largest(values, 6)
    assert np.array_equal(np.sort(found, axis=1), np.sort(np.argsort(values, axis=1)[:, -6:], axis=1))


def make_descriptors(count, size=24):
    """Random directions; each of the last half is near that of the first half."""
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count // 2, size))
    values = np.concatenate([values, values + 0.4 * rng.normal(size=values.shape)]).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("first", [None, 300])
def test_all_cells_together_give_what_a_comparison_with_all_gives(first, monkeypatch):
    descriptors = make_descriptors(600)
    owners = np.repeat(np.arange(500), [2] * 100 + [1] * 400)
    expected = nearest_views.find_nearest(descriptors, owners, first, 3)
    monkeypatch.setattr(nearest_views, "EXACT_UP_TO", 10)
    monkeypatch.setattr(nearest_views, "PROBES", 1000)
    found = nearest_views.find_nearest(descriptors, owners, first, 3, workers=2)
    assert np.array_equal(found, expected)
    one, other = owners[found].T
    assert (one != other).all()
    assert first is None or ((one < first) & (other >= first)).all()


def test_a_few_cells_find_the_near_ones_and_the_same_in_every_run(monkeypatch):
    descriptors = make_descriptors(2000)
    monkeypatch.setattr(nearest_views, "EXACT_UP_TO", 1000)
    # Of 180 cells.
    monkeypatch.setattr(nearest_views, "PROBES", 24)
    found = nearest_views.find_nearest(descriptors, np.arange(2000), None, 1)
    assert np.array_equal(found, nearest_views.find_nearest(descriptors, np.arange(2000), None, 1, workers=2))
    wanted = {(row, row + 1000) for row in range(1000)}
    assert len(wanted & set(map(tuple, found.tolist()))) >= 990


@pytest.mark.parametrize("copies", [301, 1500])
def test_many_copies_of_one_descriptor_are_found_and_hide_no_others(copies, monkeypatch):
    descriptors = make_descriptors(2000)
    descriptors[:copies] = descriptors[0]
    monkeypatch.setattr(nearest_views, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(nearest_views, "PROBES", 24)
    # Several parts of the largest cell.
    monkeypatch.setattr(nearest_views, "_SIMILARITIES", 2**16)
    found = nearest_views.find_nearest(descriptors, np.arange(2000), None, 1)
    equal = found[(found < copies).all(axis=1)]
    assert np.array_equal(np.unique(equal), np.arange(copies))
    wanted = {(row, row + 1000) for row in range(copies, 1000)}
    assert len(wanted & set(map(tuple, found.tolist()))) >= 0.99 * len(wanted)


def test_up_to_a_size_all_are_compared_with_all(monkeypatch):
    monkeypatch.setattr(nearest_views, "_search_cells", None)
    assert len(nearest_views.find_nearest(make_descriptors(400), np.arange(400), None, 1))


def test_centers_of_equal_descriptors_stay_what_they_are():
    equal = np.tile(np.float32([[0.6, 0.8]]), (5, 1))
    assert np.allclose(nearest_views.find_centers(equal, 3), equal[:3])
