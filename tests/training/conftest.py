from pathlib import Path

import pytest
from toy_training import toy_vocabulary


@pytest.fixture(scope="session")
def vocabulary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_vocabulary(tmp_path_factory.mktemp("vocabulary"))
