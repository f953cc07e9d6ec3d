"""What a repository is and does here: which commit, which file, who may, and every ready-made answer.

No HTTP in this room: routes come in as values, answers go out as values or as errors of the core's tree.

    rules       the times and switches everything here obeys
    notes       writing down what was learned, if there is room
    flights     one question at a time, in this process and across processes
    answers     an answer and the memory in front of the index
    events      what is counted
    audit       what is written down for an auditor
    asker       upstream, counted
    keys        how kept answers are named
    infos       asking upstream for a repository's info, and learning all it says
    access      who may see a repository and read its files
    refs        which commit a revision is
    entries     which file a path is
    listings    trees and paths answered from a listing that is known whole
    questions   routes about a commit as questions, and what their answers teach
    pinned      answers about one commit
    ageing      answers that age
    identity    who am I, and may I read this
    manifests   what ollama asks for
    pull        fetch repositories ahead of need
    bundle      carry repositories across an air gap (bundle_file: the container, bundle_words: its JSON)
    proxied     the front of the room for JSON answers, commits and files
    fill        bytes
"""
