"""May it be: what rules say of who wants to do what with which content, and why.

Facts go in as values, decisions come out; whoever asks fills the facts in. Nothing here reads content.

    facts       what rules may look at; what is not known is told apart from everything else
    licences    which group a licence belongs to
    asking      the protocols between those who ask and those who decide
    fields      the language of rules: which facts a condition may be about
    wanted      what a condition may want of a fact
    logic       true, false, not known
    expressions the escape hatch: CEL
    model       the shape of policy files; yaml_lines reads them and remembers the lines
    compiled    a rule made ready
    engine      rules that decide, and explain
    loading     from files, folders and presets to rules
    current     the rules that hold now, read anew when their files change
    waivers     the policy with its dated exceptions
    desk        where holds wait for approvers
    lore        what is kept here of a repository, as facts
    record      what was asked; simulation asks a draft the same
    announcing  events for webhooks, made of what the audit log is told; courier brings them
    short_facts facts as people write them; cases: the tests beside rules
"""
