import numpy as np
import pytest
from edited_pictures import EDITS, picture

from tfrecord_tools.deduplication import image_similarity


@pytest.mark.parametrize("edit", EDITS)
def test_descriptors_do_not_change_with_a_rotation_or_a_flip(edit):
    originals = [picture(seed) for seed in range(6)]
    rows = np.concatenate(
        [image_similarity.make_views(image) for image in originals + list(map(EDITS[edit], originals))]
    )
    embeddings = image_similarity.embed(image_similarity.describe(rows))
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-3)
    similarity = embeddings[:6] @ embeddings[6:].T
    assert similarity.argmax(axis=1).tolist() == list(range(6))
    assert np.diag(similarity).min() > 0.9


def test_views_are_the_complete_image_its_center_and_the_content_of_a_frame():
    image = np.full((80, 160, 3), 120, np.uint8)
    assert image_similarity.make_views(image).shape == (2, image_similarity.SIDE, image_similarity.SIDE)
    assert image_similarity.make_views(image[:, :80]).shape == (1, image_similarity.SIDE, image_similarity.SIDE)
    image[:20] = 0
    assert image_similarity.make_views(image).shape == (3, image_similarity.SIDE, image_similarity.SIDE)
