"""Threat intelligence: what feeds and services say of content, repositories, authors and packages.

    hash_lists · stix · misp · osv · virustotal · hub_status    formats: bytes in, statements out
    gathering                   one feed of any kind, by way of a `Fetch`, as what it says now
    refreshing                  when, by whom, and whether what came may count (caps)
    services                    questions about one hash: quota, cache, privacy
    intelligence                answers `hub.intelligence.Intelligence` from all of it
    bundles                     feeds in one file, for gateways without a network

A feed can only add suspicion. It never makes content clean, it may not suddenly call much of what is kept
dangerous (that waits for approval), and every finding says which feed spoke and how old it is.
"""
