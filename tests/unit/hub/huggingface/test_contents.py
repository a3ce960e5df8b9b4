"""What an exported folder may contain."""

import torch
import toy

from plugins.hub.huggingface import contents


class OfAPlugin(torch.nn.Linear):
    """Has the tensors of its parent."""


def test_a_class_of_a_plugin_is_not_exported_as_its_parent():
    contents.check_ours(torch.nn.Sequential(torch.nn.Linear(1, 1)))
    with toy.refused("OfAPlugin", __name__.partition(".")[0]):
        contents.check_ours(torch.nn.Sequential(OfAPlugin(1, 1)))
