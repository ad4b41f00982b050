"""Runs one training epoch."""

import tensorflow as tf
from tqdm import tqdm

# Steps between looks at whether the loss is still a number; each look waits for the device.
_CHECK_STEPS = 100


def run_epoch(step, state, batches, steps, label, *, chunk=1, pauses=(), check=lambda: None):
    """Runs what is left of an epoch.

    Args:
        step: See `train_step.make_train_step`.
        state: See `train_state.make_state`.
        batches: Iterator of distributed batches from the state's step on.
        steps: Steps of an epoch.
        label: Text before the progress bar.
        chunk: Steps that the device takes without asking the host.
        pauses: Functions to call between steps, with the numbers of steps done since the run began, before and now.
        check: Function to call now and then, which raises where the training has diverged.

    Returns:
        Dict of the epoch's mean `loss` and `gradient_norm`; the steps that were run; and the seconds waited for input.
    """
    first, now = int(state.epoch) * steps, int(state.step)
    # Counted here, since a look at the state's own number would wait for the device.
    start, last, waited = now, first + steps, []
    with tqdm(desc=label, total=steps, initial=now - first, leave=False, unit="step", disable=None) as progress:
        while now < last:
            before, now = now, min(now + chunk, last)
            waited.append(step(batches, now - before))
            progress.update(now - before)
            if now // _CHECK_STEPS > before // _CHECK_STEPS:
                check()
            for pause in pauses:
                pause(before, now)
    check()
    figures = {"loss": float(state.loss) / steps, "gradient_norm": float(state.gradient_norm) / steps}
    return figures, last - start, float(tf.add_n(waited)) if waited else 0.0


def describe_epoch(name, epochs, history, speed):
    """Says in a line how the last epoch went, and how many images a second were trained on."""
    row, aucs = history[-1], [row["auc"] for row in history if "auc" in row]
    verdict = f"  auc {aucs[-1]:.4f}  best {max(aucs):.4f}" if aucs else ""
    return f"{name} epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}{verdict}  {speed:.0f} images/s"
