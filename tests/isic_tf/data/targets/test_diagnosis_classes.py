from isic_tf.data.targets import diagnosis_classes
from tfrecord_tools import schema


def test_every_diagnosis_of_the_schema_is_in_one_class():
    members = [name for names in diagnosis_classes.CLASSES.values() for name in names]
    assert sorted(members) == sorted(schema.CATEGORIES["diagnosis"])
    names = list(diagnosis_classes.CLASSES)
    places = diagnosis_classes.list_codes()
    assert [names[places[schema.encode("diagnosis", text)]] for text in ("BKL", "SCC", "solar lentigo", "zoster")] == [
        "benign keratosis",
        "squamous cell carcinoma",
        "benign keratosis",
        "unknown",
    ]
