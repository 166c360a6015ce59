"""A command that loads no model again."""

import pytest


@pytest.fixture
def models_loaded_once(monkeypatch):
    """For tests of what a command reads, computes and writes: loading a model took half of their time."""
    from command_models import load_once

    monkeypatch.setattr("context_propagation.cli.model_and_image.load_model", load_once)
