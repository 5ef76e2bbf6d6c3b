"""One command per file: arguments in, function calls, words out."""
