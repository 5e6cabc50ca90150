"""At which doses a shift changes an answer, and at which the text falls apart."""
