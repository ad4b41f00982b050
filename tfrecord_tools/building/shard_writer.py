"""One shard made from its rows, alone and again if need be, and the shards of a set brought into place.

Shards are made in a hidden folder beside the set, `.making-{split}`, each with an entry that says what it was made
from and what came out. A build that was cut off finds its finished shards there.
"""

import collections
import hashlib
import json
import os
import re
import secrets

import tfrecord_tools
from tfrecord_tools import errors, schema
from tfrecord_tools.building import record_conversion
from tfrecord_tools.io import atomic_write, filesystem, manifest, tfrecord


def make_jobs(rows, output, split, options, on_error):
    """Describes the work of each shard, complete in itself: plain values that any process or machine can take.

    Args:
        rows: DataFrame ordered by `shard`, with the columns that `record_conversion.to_record` reads.
        output: Folder of the record set.
        split: `train` or `test`.
        options: See `record_conversion.to_record`.
        on_error: `stop` or `skip`.

    Returns:
        List of dicts.
    """
    columns = ["image_name", "path", "offset", "length", "integers"]
    jobs = []
    for shard, part in rows.groupby("shard", sort=True):
        described = part[columns].to_dict("records")
        job = {"split": split, "shard": int(shard), "options": options, "on_error": on_error, "rows": described}
        job["fingerprint"] = _fingerprint(job)
        jobs.append(job | {"staged": os.path.join(_staging(output, split), f"{split}{shard:02d}")})
    return jobs


def _staging(output, split):
    return os.path.join(output, f".making-{split}")


def _fingerprint(job):
    """Changes with anything that decides a shard's bytes; of its sources, local ones are known by size and time."""
    sources = {row["path"] for row in job["rows"]}
    stats = [(path, os.stat(path)) for path in sorted(sources) if os.path.exists(path)]
    facts = [tfrecord_tools.__version__, job, [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_shard(job, advance=lambda: None):
    """Makes one shard and its entry; the same job gives the same bytes.

    Args:
        job: See `make_jobs`.
        advance: Called after each image; what it raises ends the work.

    Raises:
        IsicError: An image cannot be read or decoded and `on_error` is `stop`, or the shard cannot be written.
    """
    count, skipped, tags = 0, [], collections.Counter()
    # Attempts of one shard may run at once on several machines; the last to end is the one that stays.
    staged = f"{job['staged']}-{secrets.token_hex(4)}.tfrec"
    with atomic_write.replaced(staged) as temporary:
        row = {"image_name": "the first image"}
        try:
            with filesystem.open(temporary, "wb") as file:
                for row in job["rows"]:
                    record, disagreements, problem = _convert(row, job)
                    if problem:
                        skipped.append({"image_name": row["image_name"], "problem": problem})
                    else:
                        tfrecord.write(file, record)
                        count += 1
                    if disagreements is not None:
                        tags.update(["files", *disagreements])
                    advance()
        except Exception as error:
            if not filesystem.is_failure(error):
                raise
            raise errors.IsicError(
                f"cannot write {os.path.basename(job['staged'])} in {os.path.dirname(job['staged'])} at image "
                f"{row['image_name']}: {_one_line(error)}; free space and give the same command to go on"
            ) from error
        entry = manifest.describe_shard(temporary, f"{job['split']}{job['shard']:02d}-{count}.tfrec", count)
    entry = {"fingerprint": job["fingerprint"], "staged": staged, "shard": entry, "skipped": skipped, "tags": tags}
    atomic_write.write_text(f"{job['staged']}.json", json.dumps(entry))


def _convert(row, job):
    try:
        record, disagreements = record_conversion.to_record(row, job["options"])
    except Exception as error:
        if not isinstance(error, ValueError) and not filesystem.is_failure(error):
            raise
        problem = _one_line(error)
        if job["on_error"] == "stop":
            raise errors.IsicError(
                f"image {row['image_name']}: {problem}; or leave such out by --on_error=skip"
            ) from error
        # The manifest names files, not folders of the machine.
        return None, None, problem.replace(os.path.join(os.path.dirname(row["path"]), ""), "")
    return record, disagreements, ""


def _one_line(error):
    return " ".join(str(getattr(error, "message", error)).split())


def find_finished(job, output):
    """Gives the entry of a shard that an earlier run finished from the same job, or None.

    Such a shard lies in the staging folder or, where the run was cut off at its very end, in place already.
    """
    if not filesystem.exists(f"{job['staged']}.json"):
        return None
    try:
        entry = json.loads(filesystem.read(f"{job['staged']}.json"))
        if entry["fingerprint"] != job["fingerprint"]:
            return None
        for path in (entry["staged"], os.path.join(output, entry["shard"]["name"])):
            shard = entry["shard"]
            if filesystem.exists(path) and manifest.describe_shard(path, shard["name"], shard["records"]) == shard:
                return entry
    except (ValueError, KeyError, TypeError):
        # The entry is not whole: the shard is made again.
        return None
    return None


def clear_leftovers(output, split, entries):
    """Removes what earlier runs left unfinished, or finished from other jobs, of a split that no run works on now."""
    kept = {os.path.basename(entry["staged"]) for entry in entries}
    kept |= {re.sub(r"-[0-9a-f]{8}\.tfrec$", ".json", name) for name in kept}
    folder = _staging(output, split)
    for name in filesystem.listdir(folder):
        if name not in kept:
            filesystem.remove(os.path.join(folder, name))
    for name in filesystem.listdir(output):
        if re.fullmatch(rf"\.tmp-\d+-{split}\.(manifest\.json|index\.csv)", name):
            filesystem.remove(os.path.join(output, name))


def put_in_place(output, split, entries):
    """Moves finished shards to their names, over those of an earlier set, and removes the shards of that set.

    Args:
        output: Folder of the record set.
        split: `train` or `test`.
        entries: See `find_finished`.
    """
    kept = {entry["shard"]["name"]: entry["staged"] for entry in entries if entry["shard"]["records"]}
    for name, staged in kept.items():
        if filesystem.exists(staged):
            filesystem.replace(staged, os.path.join(output, name))
    for name in set(shards_there(output, split)) - set(kept):
        filesystem.remove(os.path.join(output, name))
    filesystem.rmtree(_staging(output, split))


def shards_there(output, split):
    """Lists the names of a split's shards in a folder, in order."""
    pattern = re.compile(rf"{split}\d+-\d+\.tfrec")
    return list(filter(pattern.fullmatch, filesystem.listdir(output)))


def refuse_foreign(output, split):
    """Raises an IsicError where `output` holds shards of the split without a manifest: not ours to replace."""
    there = shards_there(output, split)
    if there and not filesystem.exists(os.path.join(output, f"{split}.manifest.json")):
        raise errors.IsicError(
            f"{output} holds {split} shards without a manifest, as {there[0]}; choose another --output"
        )


def positions(entry, rows):
    """Gives the rows of a shard that became records, in order of position, with the columns of an index.

    Args:
        entry: See `find_finished`.
        rows: DataFrame of the shard's rows.
    """
    skipped = {row["image_name"] for row in entry["skipped"]}
    kept = rows[~rows["image_name"].isin(skipped)].reset_index(drop=True)
    return kept.assign(shard=entry["shard"]["name"], position=range(len(kept)))[list(schema.INDEX_COLUMNS)]
