"""The chapter's sections as scripts: ``python -m chapters`` runs them in order."""
