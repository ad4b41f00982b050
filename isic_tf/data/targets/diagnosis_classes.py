"""The classes of `--target=diagnosis`, and the diagnoses of each."""

from tfrecord_tools import schema

# The nine classes of the challenge's first place (Ha, Liu and Liu 2020, arXiv:2010.05351), and the diagnoses of each.
CLASSES = {
    "nevus": ("nevus",),
    "melanoma": ("melanoma",),
    "benign keratosis": (
        "benign keratosis",
        "seborrheic keratosis",
        "lentigo NOS",
        "lichenoid keratosis",
        "solar lentigo",
    ),
    "basal cell carcinoma": ("basal cell carcinoma",),
    "actinic keratosis": ("actinic keratosis",),
    "squamous cell carcinoma": ("squamous cell carcinoma",),
    "dermatofibroma": ("dermatofibroma",),
    "vascular lesion": ("vascular lesion",),
    "unknown": ("unknown", "cafe-au-lait macule", "atypical melanocytic proliferation"),
}
MELANOMA = "melanoma"
UNKNOWN = "unknown"
# A class of its own, where asked for: malignant images whose diagnosis has no other class.
OTHER = "other malignant"


def list_codes() -> list[int]:
    """Returns the place of the class of each diagnosis code, and last that of the code -1, for an unknown diagnosis."""
    names = list(CLASSES)
    places = {diagnosis: names.index(name) for name, diagnoses in CLASSES.items() for diagnosis in diagnoses}
    return [*(places[diagnosis] for diagnosis in schema.CATEGORIES["diagnosis"]), names.index(UNKNOWN)]


def name_diagnosis(code: int) -> str:
    """Returns the name of a diagnosis code, for messages."""
    return "without a diagnosis of the schema" if code == schema.UNKNOWN else schema.CATEGORIES["diagnosis"][code]
