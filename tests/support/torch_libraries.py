"""Networks of PyTorch's libraries, in a process of their own: PyTorch and TensorFlow in one may crash."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest


def run(library, *arguments):
    """Runs this file as a program where a library is installed, and skips the test elsewhere; returns its output."""
    for name in ("torch", library):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = [sys.executable, __file__, library, *arguments]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout


def create(library, name):
    """Creates a network, and the function that computes its features."""
    if library == "timm":
        import timm

        model = timm.create_model(name, pretrained=False)
        return model, model.forward_features
    if library == "torchvision":
        import torchvision

        model = getattr(torchvision.models, name)(weights=None)
        return model, model.features
    import efficientnet_pytorch

    model = efficientnet_pytorch.EfficientNet.from_name(name, image_size=65)
    return model, model.extract_features


def save_features(library, name, path):
    """Saves a made-up state dict of a network, normalized `images` `[1, 65, 65, 3]` and their `features` as .npz."""
    import torch

    model, compute = create(library, name)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            # Otherwise features grow from layer to layer, and rounding with them.
            module.weight.data.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.2, 2, generator=generator)
    model.eval()
    images = np.random.default_rng(1).normal(0, 1, (1, 65, 65, 3)).astype(np.float32)
    with torch.no_grad():
        features = compute(torch.tensor(images.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.savez(f"{path}/{name}.npz", **{key: tensor.numpy() for key, tensor in model.state_dict().items()})
    np.savez(f"{path}/features.npz", images=images, features=features)


def print_means():
    """Prints the mean of the normalization of timm's EfficientNets, by their names."""
    import timm.models

    names = timm.models.list_pretrained("*efficientnet*")
    print(json.dumps({name: timm.models.get_pretrained_cfg(name).mean[0] for name in names}))


if __name__ == "__main__":
    print_means() if len(sys.argv) == 2 else save_features(*sys.argv[1:])
