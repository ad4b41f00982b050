#!/bin/sh
# tfrecord 1.14.6 (the PyTorch reader of TFRecords): `tfrecord_iterator` yields views of one buffer that it fills again
# for the next record. A list of its records therefore holds the last record as often as there are records; no error,
# no warning. Parse or copy (`bytes(record)`) each record before you ask for the next one.
#
# Seen: three records are written, `list(tfrecord_iterator(...))` has three times the third.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet tfrecord==1.14.6 numpy protobuf
cat > check.py <<'PYTHON'
import tfrecord
from tfrecord.reader import tfrecord_iterator

names = [b"ISIC_0000001", b"ISIC_0000002", b"ISIC_0000003"]
writer = tfrecord.TFRecordWriter("train00-3.tfrec")
for name in names:
    writer.write({"image_name": (name, "byte")})
writer.close()

one_by_one = [bytes(record)[-12:] for record in tfrecord_iterator("train00-3.tfrec")]
collected = [bytes(record)[-12:] for record in list(tfrecord_iterator("train00-3.tfrec"))]
print("copied one by one:", one_by_one)
print("collected first:  ", collected)
assert one_by_one == names
assert collected == [names[-1]] * 3, "the behavior has changed"
PYTHON
environment/bin/python check.py
