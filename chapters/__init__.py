"""The sections as scripts: ``python -m chapters`` runs all of them in order."""

import sys

from chapters.runner import failures

if sys.argv[:1] == ["-m"]:  # a script is being run, not just imported
    failures.install()
    from d2l_recsys.runtime import mxnet_engine  # slow to import; Ctrl-C is handled

    mxnet_engine.choose()
