from .record_set_verifier import VerifyConfig as VerifyConfig, verify_record_set as verify_record_set

__all__ = [
    "VerifyConfig",
    "verify_record_set",
]
