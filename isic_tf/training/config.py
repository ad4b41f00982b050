"""Checks that the flags of a training run fit together."""

import tensorflow as tf

from isic_tf.augmentation import policies
from isic_tf.data import clinical_metadata
from isic_tf.models import backbones


def check_bags(recipe, replicas):
    """Raises a ValueError where a recipe of bags does not fit the devices, or mixes or repeats lesions."""
    size, parts = recipe["bag_size"], replicas * recipe["accumulate"]
    if recipe["global_batch_size"] // parts % size:
        shares = f"{replicas} replicas" + (f" in {recipe['accumulate']} parts" if recipe["accumulate"] > 1 else "")
        whole = parts * size
        raise ValueError(
            f"expected a global batch that {shares} can share in bags of {size}, got {recipe['global_batch_size']}; "
            f"--global_batch_size={-(-recipe['global_batch_size'] // whole) * whole} would do, or another --bag_size"
        )
    mixes = sorted(
        set(policies.read_policy(recipe["augment_policy"], recipe["augment_strength"])) & set(policies.MIXES)
    )
    if mixes:
        raise ValueError(
            f"expected an --augment_policy without {' and '.join(mixes)} for --context=set: a lesion mixed with "
            "another is of no patient"
        )
    if recipe["malignant_repeats"] != 1 or recipe["balance"]:
        raise ValueError(
            "expected --malignant_repeats=1 and --balance=0 with --context=set: that a lesion is beside itself would "
            "tell that it is malignant; --malignant_weight makes such count more"
        )


def check_config(recipe, strategy, fold):
    """Raises a ValueError where the flags do not fit each other or the devices."""
    replicas = strategy.num_replicas_in_sync
    batch_size, parts = recipe["global_batch_size"], replicas * recipe["accumulate"]
    if batch_size % parts:
        shares = f"{replicas} replicas" + (f" in {recipe['accumulate']} parts" if recipe["accumulate"] > 1 else "")
        raise ValueError(
            f"expected a global batch that {shares} can share evenly, got {batch_size}; "
            f"--global_batch_size={-(-batch_size // parts) * parts} would do"
        )
    if recipe["precision"] == "mixed_float16" and (recipe["backbone_rate"] != 1 or recipe["freeze_epochs"]):
        # Two optimizers would scale one loss.
        wanted = "--backbone_rate=1 and --freeze_epochs=0"
        raise ValueError(f"expected {wanted} with --precision=mixed_float16; mixed_bfloat16 takes any")
    if recipe["precision"] == "mixed_float16" and isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError("expected --precision=mixed_bfloat16 or float32 on a TPU, got mixed_float16")
    if recipe["sync_batch_norm"] and recipe["accumulate"] > 1 and replicas > 1:
        # TensorFlow lets replicas meet in no loop.
        raise ValueError("expected --accumulate=1 with --sync_batch_norm on several replicas")
    if recipe["loss"] == "auc" and recipe["accumulate"] > 1:
        raise ValueError("expected --accumulate=1 with --loss=auc, which compares all images of a batch")
    if recipe["pseudo_csv"] and recipe["target"] != "binary":
        raise ValueError("expected --target=binary with --pseudo_csv, whose predictions are of no diagnosis")
    if recipe["loss"] == "auc" and recipe["malignant_weight"] != 1:
        raise ValueError("expected --malignant_weight=1 with --loss=auc, which compares pairs of either class")
    if recipe["init_from"] and recipe["weights"] not in backbones.WEIGHTS:
        raise ValueError("expected one start: --init_from, or the path of a file as --weights, got both")
    if fold == "full" and recipe["early_stop_patience"]:
        raise ValueError("expected --early_stop_patience=0 with --fold=full, where nothing is held out to judge by")
    clinical_metadata.parse(recipe["metadata"])
    policies.read_policy(recipe["augment_policy"])
    if recipe["context"] == "set":
        check_bags(recipe, replicas)
