#!/bin/sh
# isic-metadata 4.12.0 (the ISIC Archive's own check of metadata, Python 3.13) against the columns of the SIIM-ISIC
# 2020 competition: `age_approx` and `benign_malignant` are accepted with any content and not checked (only `age` is
# known), `torso`, the commonest site of the competition, is refused (the Archive divides it into anterior, posterior
# and lateral), and an age above 85 comes back as 85. A table that passes is thus not a table that was understood.
#
# Seen: age_approx "minus five" passes; anatom_site_general "torso" is refused; age 88 becomes 85.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3.13 -m venv environment
environment/bin/pip install --quiet isic-metadata==4.12.0
cat > check.py <<'PYTHON'
from isic_metadata.metadata import MetadataRow
from pydantic import ValidationError

row = MetadataRow.model_validate({"age_approx": "minus five", "benign_malignant": "perhaps"})
print("not checked:", row.unstructured)
assert row.unstructured == {"age_approx": "minus five", "benign_malignant": "perhaps"}, "the behavior has changed"

age = MetadataRow.model_validate({"age": "88"}).age
print("age 88 is read as", age)
assert int(age) == 85, "the behavior has changed"

try:
    MetadataRow.model_validate({"anatom_site_general": "torso"})
except ValidationError as error:
    print("torso is refused:", error.errors()[0]["type"])
else:
    raise AssertionError("the behavior has changed")
PYTHON
environment/bin/python check.py
