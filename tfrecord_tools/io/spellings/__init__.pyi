from .merged_identities import describe_spellings as describe_spellings

__all__ = ["describe_spellings"]
