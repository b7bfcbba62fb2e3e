import pytest
from gradio_client import Client
from served import served


@pytest.fixture(scope="session")
def address():
    with served() as url:
        yield url


@pytest.fixture
def client(address, tmp_path):
    return Client(address, verbose=False, download_files=tmp_path)
