"""From the bytes of a request's images to what the run says of them."""

import asyncio
import concurrent.futures
import dataclasses

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata
from isic_tf.diagnosis import diagnosis_page, judge
from isic_tf.diagnosis.config import NOTICE
from isic_tf.distribution import cpu
from isic_tf.server import answers, metadata
from isic_tf.server.batching import Batcher
from isic_tf.server.config import ServeConfig
from isic_tf.server.uploads import Form, Upload
from isic_tf.visualization import grad_cam

_PATIENT = "patient"
# Of clocks and timers, in s.
_MARGIN = 0.1


class JudgingService:
    """A run that judges the images of many requests: decoded by several threads, judged by one."""

    def __init__(self, config: ServeConfig) -> None:
        """Loads the run and judges one empty image, so that the first request waits for nothing.

        Args:
            config: The run and the limits.

        Raises:
            IsicError: See `Judge`.
        """
        self._config = config
        self._judge = judge.Judge(config)
        # A context model may use metadata that the networks do not.
        stage = self._judge.stage
        used = ",".join(clinical_metadata.FIELDS) if stage and stage.uses_metadata else self._judge.metadata
        self.fields = metadata.list_fields(used, self._judge.list_numeric())
        self._reader = self._judge.make_reader()
        self._pool = concurrent.futures.ThreadPoolExecutor(cpu.count_cores(), "decode")
        size = self._judge.run["image_size"]
        black = np.zeros([1, size, size, 3], np.uint8)
        rows = metadata.encode_rows(pd.DataFrame({"image_name": [""]}), self.fields, {})
        grad_cam.overlay(black, self._judge.compute(black, self._encode(rows), [""]).maps)
        self._batcher = Batcher(self._judge.compute)

    @property
    def is_alive(self) -> bool:
        """Whether images can be judged."""
        return self._batcher.is_alive and self._batcher.seconds < self._config.max_seconds

    @property
    def is_hanging(self) -> bool:
        """Whether the pass through the networks that is running has taken longer than the time of a request."""
        return self._batcher.seconds >= self._config.max_seconds

    @property
    def seconds_left(self) -> float:
        """Time until the pass that is running counts as hanging, in s; 0 where none is running."""
        seconds = self._batcher.seconds
        return max(0.0, self._config.max_seconds - seconds) + _MARGIN if seconds else 0.0

    def abandon(self, error: Exception) -> None:
        """See `Batcher.abandon`."""
        self._batcher.abandon(error)

    @property
    def passes(self) -> int:
        """Passes through the networks so far."""
        return self._batcher.passes

    @property
    def is_calibrated(self) -> bool:
        """Whether the run has a calibration."""
        return bool(self._judge.fitted)

    def collect_facts(self) -> answers.RunFacts:
        """Collects what the page and clients need to know."""
        return answers.RunFacts(
            notice=NOTICE,
            is_calibrated=self.is_calibrated,
            has_patient_context=self._judge.has_patient_context,
            metadata=self.fields,
            max_images=self._config.max_images,
            max_upload_megabytes=self._config.max_upload_megabytes,
            **self._judge.collect_facts(),
        )

    def _encode(self, rows: pd.DataFrame) -> np.ndarray | None:
        return clinical_metadata.encode(rows, self._judge.metadata) if self._judge.metadata else None

    async def judge(self, form: Form, prevalence: float | None, with_maps: bool) -> list[answers.JudgedImage]:
        """Judges the images of one patient.

        Args:
            form: The image files, and their metadata.
            prevalence: See `Judge.conclude`.
            with_maps: Whether pictures and maps are asked for.

        Returns:
            What the run says of each.

        Raises:
            CorruptRecordError: One cannot be decoded within the limits.
            HTTPException: 422 for metadata that cannot be read.
        """
        loop = asyncio.get_running_loop()
        rows = pd.DataFrame({"image_name": [upload.name for upload in form.images], "patient_id": _PATIENT})
        rows = metadata.encode_rows(rows, self.fields, form.values)
        tasks = [loop.run_in_executor(self._pool, self._read, upload) for upload in form.images]
        read = []
        # All, so that none goes on after the answer; where this is cancelled, they are too.
        for one in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(one, BaseException):
                raise one
            read.append(one)
        squares = np.stack([square for square, _ in read])
        results = await asyncio.wrap_future(self._batcher.submit(squares, self._encode(rows)))
        warnings = [own for _, own in read]

        def conclude() -> list[answers.JudgedImage]:
            found = self._judge.conclude(rows, results, warnings, prevalence)
            overlays = grad_cam.overlay(squares, results.maps) if with_maps else squares
            return [
                answers.JudgedImage(
                    **dataclasses.asdict(one),
                    fold_scores=results.fold_scores[place].tolist(),
                    picture=diagnosis_page.encode(squares[place]) if with_maps else None,
                    map=diagnosis_page.encode(overlays[place]) if with_maps else None,
                )
                for place, one in enumerate(found)
            ]

        return await loop.run_in_executor(self._pool, conclude)

    def _read(self, upload: Upload) -> tuple[np.ndarray, list[str]]:
        photograph = self._reader.read_bytes(upload.data, upload.name)
        return photograph.square, judge.list_warnings(photograph)

    def calibrate(self, fold_scores: np.ndarray, prevalence: float) -> list[answers.Calibrated]:
        """Calibrates scores for a prevalence.

        Args:
            fold_scores: Float `[n, folds]`, 0 to 1.
            prevalence: Between 0 and 1.

        Returns:
            Probability and interval of each image.

        Raises:
            ConfigError: The run has no calibration.
        """
        return [
            answers.Calibrated(probability=probability, interval=(low, high))
            for probability, low, high in self._judge.calibrate(fold_scores, prevalence).tolist()
        ]

    def close(self) -> None:
        """Finishes what is queued, unless the networks hang."""
        self._batcher.close(self._config.max_seconds + _MARGIN)
        self._pool.shutdown()
