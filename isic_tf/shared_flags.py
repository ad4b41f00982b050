"""Flags that several commands share."""

from absl import flags

from isic_tf.augmentation import presets
from isic_tf.data import clinical_metadata, targets
from isic_tf.distribution import strategies
from isic_tf.models import backbones, patient_context_head, pooling_layers
from isic_tf.optim import lr_schedules, optimizers
from isic_tf.training import losses


def define_strategy_flags():
    """Defines the flags of every command that uses a device."""
    flags.DEFINE_enum("strategy", "auto", strategies.STRATEGIES, "What to run on; auto takes what the machine has.")
    flags.DEFINE_string("tpu", "", "Name or address of a TPU elsewhere; 'local' for that of this machine.")


_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def define_data_flags():
    """Defines the flags that say what is trained on and how it is read."""
    flags.DEFINE_string("data_dir", None, "Folder of a record set with its index; several are separated by commas.")
    flags.DEFINE_string("extra_data_dir", "", "Folders of record sets that are always trained on, never held out.")
    flags.DEFINE_string("mix", "", "How often a set's records come in an epoch, as in 'ham=0.5'; 1 where not named.")
    flags.DEFINE_string("duplicates", None, "CSV file of pairs: extra records that show a held-out image are left out.")
    flags.DEFINE_string("pseudo_csv", None, "Prediction file: soft labels of test and of unlabelled extra records.")
    flags.DEFINE_integer("malignant_repeats", 1, "How often a malignant record comes in an epoch.", 1, 1000)
    flags.DEFINE_float("balance", 0.0, "Share of malignant records in an epoch; 0: as they come.", 0.0, 0.99)
    flags.DEFINE_string("augment_policy", "light", f"One of {', '.join(presets.PRESETS)}, or a JSON file.")
    flags.DEFINE_float("augment_strength", 1.0, "Factor on the policy's strengths; 0: no augmentation.", 0.0, 5.0)
    flags.DEFINE_string("cache", "none", "Where decoded images are kept: none, memory, or a folder for later runs too.")
    flags.DEFINE_integer("shuffle_buffer", 2048, "Records shuffled at a time, as JPEG bytes.", lower_bound=1)
    flags.DEFINE_enum("on_corrupt", "stop", ("stop", "skip"), "What a record does that cannot be read.")
    flags.DEFINE_integer("threads", 0, "Images decoded at once; 0: as many as there are cores.", 0, 1024)


def define_model_flags():
    """Defines the flags that say what the network is and what it is to say."""
    flags.DEFINE_integer("image_size", 384, "Side of the model's square input, pixels.", 32, 4096)
    flags.DEFINE_enum("backbone", "efficientnet-b0", backbones.BACKBONES, "The network before the head.")
    flags.DEFINE_string("weights", "noisy-student", f"Weights to start from: {', '.join(backbones.WEIGHTS)} or a path.")
    flags.DEFINE_string("init_from", "", "Run, or a fold's folder in it, whose weights to start from instead.")
    flags.DEFINE_enum(
        "pooling", "gap", pooling_layers.POOLINGS, "Mean over the image, or generalised mean of a learned power."
    )
    flags.DEFINE_integer("hidden_units", 0, "Units of a layer before the logits; 0: no such layer.", 0, 65536)
    flags.DEFINE_float("dropout", 0.2, "Share of features dropped before the logits.", 0.0, 0.95)
    flags.DEFINE_integer("dropout_samples", 1, "Dropouts of which the logits are the mean.", 1, 64)
    fields = ",".join(clinical_metadata.FIELDS)
    flags.DEFINE_string("metadata", "", f"What the network sees beside the image: some of {fields}.")
    context_help = "set: a patient's lesions correct each other's logits, trained together with the backbone."
    flags.DEFINE_enum("context", "none", patient_context_head.CONTEXTS, context_help)
    flags.DEFINE_integer("bag_size", 8, "Of --context=set: images that are trained on together, of one patient.", 2, 64)
    flags.DEFINE_enum("target", "binary", targets.TARGETS, "Malignant or not, or nine diagnoses, melanoma among them.")
    losses_help = (
        "Cross-entropy, focal loss, or a stand-in for the AUC, whose predictions are ranks and no probabilities."
    )
    flags.DEFINE_enum("loss", "cross_entropy", losses.LOSSES, losses_help)
    flags.DEFINE_float("label_smoothing", 0.05, "s: of two classes the targets become s/2 and 1 - s/2.", 0.0, 0.99)
    flags.DEFINE_float("focal_gamma", 2.0, "Power of the focal loss.", 0.0, 10.0)
    flags.DEFINE_float("malignant_weight", 1.0, "How often a malignant image counts in the loss.", 0.0, 1000.0)


def define_optimizer_flags():
    """Defines the flags that say how the weights are changed."""
    flags.DEFINE_integer("epochs", 15, "Passes over the training images.", lower_bound=1)
    flags.DEFINE_integer("global_batch_size", 32, "Images in a step, of all replicas together.", lower_bound=1)
    flags.DEFINE_enum("optimizer", "adamw", optimizers.OPTIMIZERS, "The last four need tensorflow-addons.")
    flags.DEFINE_float("learning_rate", 3e-4, "Peak learning rate.", lower_bound=0.0)
    flags.DEFINE_enum("schedule", "cosine", lr_schedules.SCHEDULES, "How the learning rate goes after the warm-up.")
    flags.DEFINE_float("warmup_epochs", 1.0, "Epochs in which the learning rate rises to its peak.", lower_bound=0.0)
    flags.DEFINE_float("hold_epochs", 0.0, "Epochs at the peak, for --schedule=deotte.", lower_bound=0.0)
    flags.DEFINE_float("weight_decay", 0.01, "Decoupled weight decay, times the learning rate; not for adam.", 0.0, 1.0)
    flags.DEFINE_float("clip_norm", 0.0, "Largest norm of all gradients together; 0: any.", lower_bound=0.0)
    flags.DEFINE_integer("accumulate", 1, "Parts in which a replica's batch passes the network, to save memory.", 1)
    flags.DEFINE_float(
        "ema",
        0.0,
        "Decay of the moving average of weights and batch statistics that is judged and kept; 0: none.",
        0.0,
        1.0,
    )
    flags.DEFINE_float("backbone_rate", 1.0, "Factor on the backbone's learning rate.", lower_bound=0.0)
    flags.DEFINE_integer("freeze_epochs", 0, "Epochs that leave the backbone as it is, its statistics too.", 0)
    flags.DEFINE_enum("precision", "float32", _PRECISIONS, "Of the network; its weights and the loss stay float32.")
    flags.DEFINE_bool("sync_batch_norm", False, "Batch statistics of all replicas together, not of each by itself.")
    keep = "Which epoch's weights: the best on the held-out fold, whose figure then flatters a little, or the last."
    flags.DEFINE_enum("keep", "best", ("best", "last"), keep)
    flags.DEFINE_integer("early_stop_patience", 0, "Epochs without a better one that end a fold; 0: any number.", 0)


def define_run_flags():
    """Defines the flags that say where, how long and how visibly it runs."""
    flags.DEFINE_string("workdir", None, "Folder of the run: one configuration, a subfolder for each fold.")
    flags.DEFINE_string("fold", "0", "The fold to hold out; 'all': each in turn; 'full': none.")
    flags.DEFINE_integer("seed", 0, "Fixes initial weights, order and augmentation.", 0, 2**31 - 1)
    flags.DEFINE_bool("deterministic", False, "The same bits from the same run on the same device; slower.")
    flags.DEFINE_integer("save_steps", 1000, "Steps between checkpoints, besides that of every epoch.", lower_bound=1)
    flags.DEFINE_integer("steps_per_execution", 1, "Steps that the device takes without asking the host; for TPUs.", 1)
    flags.DEFINE_bool("tensorboard", True, "Write TensorBoard events into the fold's folder.")
    flags.DEFINE_string("profile", "", "First and last step to profile for TensorBoard, as in 10:20.")
    flags.DEFINE_bool("dry_run", False, "Build all, take a few steps, say what the run would take, and write nothing.")
