"""The chapter's sections as scripts: ``python -m chapters`` runs them in order."""

import sys

from chapters.runner import failures

if sys.argv[:1] == ["-m"]:  # a script of ours is being started, not merely imported
    sys.excepthook = failures.report
