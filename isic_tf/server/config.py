"""Options of serve."""

import dataclasses
import ipaddress

from isic_tf.diagnosis.config import JudgeConfig
from tfrecord_tools import cli, configuration

# Exit code of a worker whose networks hang.
HANGING = 75
_PACKAGES = ("fastapi", "uvicorn", "python_multipart")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig(JudgeConfig):
    """Options of `serve`: the run, the address, and what one request may take.

    Examples:
        >>> ServeConfig(workdir="runs/lite0").is_local, ServeConfig(workdir="runs/lite0", host="0.0.0.0").is_local
        (True, False)
    """

    host: str = cli.option(
        "127.0.0.1",
        help="Address to listen at. Any but this machine's own, such as 0.0.0.0 for all, needs a token: that of the "
        "environment variable ISIC_TOKEN, or one that is made up and printed once.",
    )
    port: int = cli.option(8000, lower=0, upper=65535, help="Port to listen at; 0 for a free one, which is printed.")
    max_images: int = cli.option(20, lower=1, upper=200, help="Most images of one request.")
    max_upload_megabytes: int = cli.option(64, lower=1, upper=4096, help="Largest request, all its images, in MB.")
    max_seconds: float = cli.option(
        60.0, lower=1, help="Longest time that the images of one request may take to arrive, and to be judged, in s."
    )

    @property
    def is_local(self) -> bool:
        """Whether only this machine is answered."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_inputs(self) -> None:
        """Checks that the packages of the extra `serve` are installed, and that the run exists."""
        require_packages()
        super().check_inputs()


def require_packages() -> None:
    """Checks that the packages of the extra `serve` are installed.

    Raises:
        ConfigError: One is not.
    """
    configuration.require_packages("isic_tf.serve", _PACKAGES, "fastapi uvicorn python-multipart")
