"""The boundary between this user and files of strangers; every command goes through these checks.

consent.py           what a file names runs, or reaches a server, only on this user's word (--trust, --set)
paths.py             names that become parts of paths, paths out of an index, links
safe_files.py        what is replaced and removed: locks, writing aside, the record of what the toolkit wrote
argument_secrets.py  secrets that would stand among the arguments of a process

The door of a store is toolkit/store/catalog.py. docs/trust.md says what each kind of file may do.
"""
