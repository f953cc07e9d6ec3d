"""May it be: what rules say of who wants to do what with which content, and why.

Facts go in as values, decisions come out; whoever asks fills the facts in. Nothing here reads content.

    facts       what rules may look at; what is not known is told apart from everything else
    licences    which group a licence belongs to
    asking      the protocols between those who ask and those who decide
"""
