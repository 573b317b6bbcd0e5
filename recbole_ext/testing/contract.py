"""Tests of models by name, which a subclass gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from recbole_ext.registry import ModelSpec
from recbole_ext.registry.find import find_model


def of_models(which: Callable[[ModelSpec], bool]) -> Callable[[Any], Any]:
    """Decorates a test that is one of some models only."""

    def marked(test: Any) -> Any:
        test.of_models = which
        return test

    return marked


class Contract:
    """Tests, each of which is run for every model that a subclass names; a test asks for the model as `name`."""

    models: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    """Name -> parameters that make its training short."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "name" in metafunc.fixturenames:
            which = getattr(metafunc.function, "of_models", None)
            names = [name for name in self.models if which is None or which(find_model(name))]
            metafunc.parametrize("name", names)

    @pytest.fixture(scope="class", autouse=True)
    def own_cache(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """Embeddings of tests stay out of the user's cache, unless another is named."""
        with pytest.MonkeyPatch.context() as patch:
            if "RECBOLE_EXT_CACHE" not in os.environ:
                patch.setenv("RECBOLE_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
            yield
