from .feature_store import FeatureStore as FeatureStore
from .heads import build_extractor as build_extractor
from .heads import build_head as build_head
from .probe_checks import check_probe as check_probe
from .probing import open_probe as open_probe

__all__ = [
    "FeatureStore",
    "build_extractor",
    "build_head",
    "check_probe",
    "open_probe",
]
