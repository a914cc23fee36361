"""Context-free grammars: parsers and lexers of Lark, judged byte by byte."""
