"""The commands. Data goes to stdout, words and progress to stderr, `--json` gives machines the same facts.

    main        the table of commands, and what becomes of every error
    exits       exit codes and hints, one table
    options     flags that several commands share
    repos       repositories and patterns as people type them
    terminal    tables, sizes, JSON, progress bars
    times       times and durations
    house       the store and the index of a home, opened for one command
    gateway     the admin API of a running gateway (MOONGATE_URL)

Every other file is one command, or a family of them. A command imports what it needs inside its function,
so that `--help` answers at once; the shell completes names without loading a database driver.
"""
