"""Charts as SVG text, made for reading: direct labels, few ticks, colours that come from the page's style sheet.

Every chart carries a text alternative, scales with the page, and names its parts by CSS class only, so that
light, dark and printed pages share one drawing. Class names are escaped; nothing else in here is foreign text.
"""
