import numpy as np
import pytest

from tfrecord_tools.imaging import channel_order, codec

RED, BLUE = (180.0, 120.0), (120.0, 180.0)


def test_the_means_are_those_of_red_and_blue():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = (40, 80, 200)
    assert channel_order.mean_red_and_blue(image) == (50.0, 10.0)


def test_the_means_are_exact_for_any_image():
    image = np.random.default_rng(0).integers(0, 256, (251, 333, 3), np.uint8)
    blue, _, red = image.astype(np.int64).sum(axis=(0, 1))
    assert channel_order.mean_red_and_blue(image) == (red / (251 * 333), blue / (251 * 333))


@pytest.mark.parametrize(
    ("num_blue", "total", "is_found"),
    [
        (0, 0, False),
        (3, 3, False),
        (4, 4, True),
        (24, 24, True),
        # At 5 %, 3 or more of 5 come by chance in 1.2e-3 of the sets, 4 or more in 3e-5.
        (3, 5, False),
        (4, 5, True),
        (10, 384, False),
        (74, 299, False),
        (75, 299, True),
        (38, 384, False),
        (39, 384, True),
        (71, 71, True),
    ],
)
def test_a_set_is_suspected_where_chance_does_not_explain_a_quarter_or_of_many_a_tenth(num_blue, total, is_found):
    found = channel_order.find_exchanged([BLUE] * num_blue + [RED] * (total - num_blue))
    assert (found is not None) is is_found
    if found:
        assert found.startswith(f"{num_blue} of {total} images have more blue than red (in real sets 0.5 to 3 %)")


def test_equal_channels_are_not_blue():
    assert channel_order.find_exchanged([(100.0, 100.0)] * 50) is None


@pytest.mark.realdata
def test_real_sets_are_in_order_and_are_found_when_exchanged(real_data):
    files = sorted((real_data / "isic2020" / "jpeg512" / "train").glob("*.jpg"))[::8]
    images = [codec.decode(path.read_bytes(), path.name, at_least=1)[0] for path in files]
    assert channel_order.find_exchanged([channel_order.mean_red_and_blue(image) for image in images]) is None
    assert channel_order.find_exchanged([channel_order.mean_red_and_blue(image[..., ::-1]) for image in images])


def test_chance_is_that_of_a_binomial_distribution():
    # Of 3 images of which 5 % are blue: 1, 1 - 0.95^3, 3 * 0.05^2 * 0.95 + 0.05^3 and 0.05^3.
    expected = [1, 0.142625, 0.00725, 0.000125]
    assert [channel_order._chance(count, 3) for count in range(4)] == pytest.approx(expected)
