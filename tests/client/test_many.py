"""Many programs at once, which ask for the same images: each gets them whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore")  # what the client's own libraries warn of is not ours

CLIENTS, CALLS = 6, 6


def pictures(gallery):
    """The pictures of a gallery, decoded to their ends."""
    found = []
    for row in gallery:
        with Image.open(row["image"]) as image:
            found.append(np.asarray(image))
    return np.stack(found)


def test_programs_that_ask_for_the_same_images_at_once_get_them_whole(address, tmp_path):
    def asks(k):
        client = Client(address, verbose=False, download_files=tmp_path / str(k))
        images, overlays = [], []
        for _ in range(CALLS):
            images.append(pictures(client.predict("avatars-128", "0-3", 0.7, api_name="/generate")))
            overlays.append(pictures(client.predict("avatars-128", "0-3", 0.7, None, api_name="/segment")[1]))
        return images, overlays

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(asks, range(CLIENTS)))
    (first, *_), (reading, *_) = answers[0]
    for images, overlays in answers:
        assert all(np.array_equal(each, first) for each in images)
        assert all(np.array_equal(each, reading) for each in overlays)
    assert not np.array_equal(first, reading)
