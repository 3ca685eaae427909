"""The leaves: pure functions on the way of a command that exist twice, in C and in Python.

A leaf is declared once, as a Python function below `@leaf` (`choice`). A function of the same name in C, beside it in a file
of the same name, takes its place where it was compiled. The two give the same for the same arguments, and the Python one says
what that is. Who calls a leaf need not ask which one it is.

Pure, but for `choice`, which reads the environment once. Nothing else of kvserver is imported here.
"""
