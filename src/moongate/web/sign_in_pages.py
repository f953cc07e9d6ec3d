"""The few pages around signing in. They hold no script, load nothing, and are framed by nobody."""

from __future__ import annotations

from html import escape

HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)


def message_page(title: str, text: str, link: str = "", link_text: str = "") -> bytes:
    """A page that says one thing, and perhaps where to go on."""
    further = f'<p><a href="{escape(link)}">{escape(link_text)}</a></p>' if link else ""
    return _page(title, f"<p>{escape(text)}</p>{further}")


def sign_out_page(user: str, csrf: str) -> bytes:
    """Asks whether to sign out."""
    form = (
        f'<form method="post" action="/logout"><input type="hidden" name="csrf" value="{escape(csrf)}">'
        '<button type="submit">Sign out</button></form>'
    )
    return _page("Sign out", f"<p>You are signed in as <b>{escape(user)}</b>.</p>{form}")


def device_page(user: str, csrf: str, code: str, wrong: str = "") -> bytes:
    """Asks for a device's code, and whether to allow it."""
    notice = f'<p role="alert">{escape(wrong)}</p>' if wrong else ""
    form = (
        f'<form method="post" action="/device"><input type="hidden" name="csrf" value="{escape(csrf)}">'
        f'<p><label for="user_code">Code</label> <input id="user_code" name="user_code" required '
        f'autocomplete="off" value="{escape(code)}"></p>'
        '<p><button type="submit" name="answer" value="allow">Allow</button> '
        '<button type="submit" name="answer" value="deny">Deny</button></p></form>'
    )
    text = (
        f"<p>A command line wants to act as <b>{escape(user)}</b>. Allow it only if you started it, and if "
        "it shows this code.</p>"
    )
    return _page("Allow a device", f"{notice}{text}{form}")


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)} · Moongate</title></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    ).encode()
