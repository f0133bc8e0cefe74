"""Run untrusted SQL safely, take it out of a model's text, compare results, and judge candidates against gold.

``executor`` executes, ``judge`` judges, ``extract`` extracts, ``candidates`` reads files of candidate SQL. What is
covered and what is not is said in ``executor``. Importing the package imports none of them.
"""
