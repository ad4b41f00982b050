from .config import VerifyConfig as VerifyConfig
from .record_set_verifier import Verification as Verification
from .record_set_verifier import verify_record_set as verify_record_set
from .shard_checks import check_leaks as check_leaks
from .shard_checks import examine_shard as examine_shard

__all__ = [
    "Verification",
    "VerifyConfig",
    "check_leaks",
    "examine_shard",
    "verify_record_set",
]
