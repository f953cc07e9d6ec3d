"""What people see in a browser: routes that gather values, of the same objects the API answers from.

pages      which page answers an address, for whom           home, browse, repo, blob …   one page each
visits     a request by a person, and what it is answered    sessions   who is signed in
forms      what a form may do, and that it is ours           asking     the hub's answers, as this visitor's
"""
