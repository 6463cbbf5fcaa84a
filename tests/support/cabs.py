"""A small bigram model of the words a, ab, ba and cab, as the text of an ARPA file."""

ARPA = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
-99\t<s>\t-0.3
-0.9\t</s>\t0
-0.6\ta\t-0.2
-0.8\tab\t-0.4
-0.7\tcab\t-0.1
-1.1\tba\t-0.3

\\2-grams:
-0.2\t<s> cab
-0.3\tcab ab
-0.5\tab </s>
-0.4\ta a

\\end\\
"""
