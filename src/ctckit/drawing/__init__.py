"""What every picture is drawn with: sheets and files (canvas.py), text and its width (text.py), colours (colors.py).

Explanations and alignments share it, so that their pictures look alike and end up in the same formats. matplotlib is
imported when the first picture is drawn. May import files/ and errors.py.
"""
