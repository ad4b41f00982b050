"""What a training would take, as a dry run measured it, and how that is told."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingEstimate:
    """What a training run would take on this machine, as a dry run measured it.

    Args:
        images_per_epoch: Images that are trained on in an epoch.
        steps_per_epoch: Steps in an epoch.
        epochs: Epochs of a fold.
        folds: Folds that would be trained.
        parameters: Weights of the model.
        trainable_parameters: Weights that are trained.
        device_memory: Estimated bytes that a step needs on each device.
        step_speed: Images per second that the training step processes.
        input_speed: Images per second that the input pipeline decodes.
        building_seconds: Time until the step is compiled, of a fold.
        epoch_seconds: Time of an epoch's steps.
        evaluation_seconds: Time of evaluating the held-out images after an epoch.
        detector_seconds: Time of fitting the detector of unlike images at the end of a fold.
        decoding_seconds: Time of decoding all images once, before the first fold; 0 without a cache.
        feature_seconds: Time of the backbone in a linear probe, of all folds; 0 in other trainings.

    Examples:
        >>> import isic_tf
        >>> config = isic_tf.TrainConfig(data_dir="records/384", workdir="runs/b0", dry_run=True)
        >>> isic_tf.train(config).estimate.fold_seconds / 3600  # doctest: +SKIP
        2.8
    """

    images_per_epoch: int
    steps_per_epoch: int
    epochs: int
    folds: int
    parameters: int
    trainable_parameters: int
    device_memory: int
    step_speed: float
    input_speed: float
    building_seconds: float
    epoch_seconds: float
    evaluation_seconds: float
    detector_seconds: float
    decoding_seconds: float
    feature_seconds: float = 0.0

    @property
    def fold_seconds(self) -> float:
        """Time of a fold, in seconds."""
        # The weights that are kept are evaluated once more.
        evaluations = self.epochs + 1
        trained = self.building_seconds + self.epochs * self.epoch_seconds
        return trained + evaluations * self.evaluation_seconds + self.detector_seconds

    @property
    def total_seconds(self) -> float:
        """Time of all folds, with decoding and features, in seconds."""
        return self.decoding_seconds + self.feature_seconds + self.folds * self.fold_seconds


def describe_speed(estimate: TrainingEstimate, image_size: int, is_cached: bool) -> str:
    """Formats the speeds of a training, and what bounds it.

    Args:
        estimate: What the dry run measured.
        image_size: Side of the images in pixels.
        is_cached: Whether decoded images are kept.

    Returns:
        Text without a full stop.
    """
    if estimate.feature_seconds:
        return (
            f"features of the frozen backbone at {image_size} px: {_format_duration(estimate.feature_seconds)}; then "
            f"training steps of the head: {estimate.step_speed:.0f} images/s"
        )
    if is_cached:
        bound = "the input is decoded once, for the cache"
    elif estimate.input_speed < estimate.step_speed:
        bound = "input-bound: more cores or --cache would help"
    else:
        bound = "not input-bound"
    return (
        f"training steps: {estimate.step_speed:.0f} images/s; input of this host: {estimate.input_speed:.0f} images/s "
        f"at {image_size} px: {bound}"
    )


def describe_time(estimate: TrainingEstimate, num_missing: int) -> str:
    """Formats the times of a training.

    Args:
        estimate: What the dry run measured.
        num_missing: Images that are to be decoded for the cache before.

    Returns:
        Sentences.
    """
    epoch = _format_duration(estimate.epoch_seconds)
    evaluation = _format_duration(estimate.evaluation_seconds)
    parts = [
        f"{estimate.epochs} epochs of {epoch} and {evaluation} of evaluation: "
        f"{_format_duration(estimate.fold_seconds)} per fold"
    ]
    if estimate.folds > 1:
        parts.append(f"{estimate.folds} folds: {_format_duration(estimate.folds * estimate.fold_seconds)}")
    if estimate.feature_seconds:
        parts.append(f"with the features: {_format_duration(estimate.total_seconds)}")
    if num_missing:
        parts.append(f"decoding {num_missing} images before: {_format_duration(estimate.decoding_seconds)}")
    return f"{'; '.join(parts)}. Nothing was written."


def _format_duration(seconds: float) -> str:
    """Formats a time in its two largest units."""
    all_minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(all_minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
