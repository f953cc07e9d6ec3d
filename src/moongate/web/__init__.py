"""Pages: values in, HTML out. Nothing here asks, decides or keeps anything; routes in `app` give the values.

templates/   Jinja2, escaped, every undefined name an error        frame     what is around each page
static/      one sheet, small modules, no build step               cards     markdown made harmless
"""
